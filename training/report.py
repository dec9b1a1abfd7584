"""What people read of an evaluation: a Markdown table, plots, and the worst cases as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ovsam_core.pictures import load_picture
from training.records import decode_mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.measuring import Measured, Run
    from training.records import PictureRecord

__all__ = ["draw_case", "markdown", "plot_curves", "write_report"]

mpl.rcParams["font.size"] = 9
TRUTH, ANSWER = (60, 180, 75), (230, 60, 60)  # RGB


def write_report(
    folder: Path, report: Mapping[str, Any], run: Run, pictures: Sequence[PictureRecord], *, worst: int = 12
) -> None:
    """Write `report.md`, `iou_by_size.png`, `iou_at_clicks.png` (with clicks) and `worst/*.jpg`.

    Args:
        folder: where to; created.
        report: what `evaluate` returned.
        run: the measured objects, with their masks.
        pictures: the truth.
        worst: how many worst cases are drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
    _plot_sizes(folder / "iou_by_size.png", run.objects)
    if len(report["miou_at_clicks"]) > 1:
        plot_curves(folder / "iou_at_clicks.png", {report["system"]: report["miou_at_clicks"]}, "clicks", "mean IoU")
    cases = sorted((o for o in run.objects if o.mask is not None), key=lambda o: o.iou)[:worst]
    for number, one in enumerate(cases):
        _draw(folder / "worst" / f"{number:02d}_iou{one.iou:.2f}.jpg", one, pictures[one.picture])


def markdown(report: Mapping[str, Any]) -> str:
    """Return the figures as one table, a line each, with standard errors where there are some."""
    lines = [
        f"# {report['system']}: {report['prompt']} prompts, {report['protocol']} protocol",
        "",
        f"{report['n']} objects, {report['n_named']} of them with a name in the vocabulary.",
        "",
        "| figure | value | standard error |",
        "|---|---|---|",
    ]
    rows = [*_overall(report), *_added(report)]
    lines += [f"| {name} | {_cell(value)} | {_cell(error)} |" for name, value, error in rows if value is not None]
    if len(report["miou_at_clicks"]) > 1:
        lines += ["", "| clicks | " + " | ".join(str(k + 1) for k in range(len(report["miou_at_clicks"]))) + " |"]
        lines += ["|---" * (len(report["miou_at_clicks"]) + 1) + "|"]
        for name, values in (
            ("mean IoU", report["miou_at_clicks"]),
            ("standard error", report["se"]["miou_at_clicks"]),
        ):
            lines += [f"| {name} | " + " | ".join(_cell(v) for v in values) + " |"]
    for kind, figures in report.get("ap", {}).items():
        errors = figures.get("se", {})
        cells = [
            f"{k} {_cell(v)}" + (f" ± {_cell(errors[k])}" if k in errors else "")
            for k, v in figures.items()
            if not isinstance(v, dict)
        ]
        lines += ["", f"Mask AP, {kind}: " + ", ".join(cells)]
    if report["unreadable"]:
        lines += ["", "Unreadable: " + ", ".join(report["unreadable"])]
    return "\n".join(lines) + "\n"


_Row = tuple[str, float | None, float | None]


def _overall(report: Mapping[str, Any]) -> list[_Row]:
    """Return what every evaluation has: figure, value, standard error."""
    errors, sizes = report["se"], report["n_by_size"]

    def by_size(key: str, words: str) -> list[_Row]:
        return [(f"{words}, {s} (n = {sizes[s]})", v, errors[key][s]) for s, v in report[key].items()]

    def by_split(key: str, words: str) -> list[_Row]:
        return [
            (f"{words}, {s} (n = {report[s]['n']})", report[s][key], report[s]["se"][key]) for s in ("base", "novel")
        ]

    return [
        ("mean IoU", report["miou"], errors["miou"]),
        ("mean IoU, best candidate", report["miou_oracle"], errors["miou_oracle"]),
        *by_size("miou_by_size", "mean IoU"),
        *by_split("miou", "mean IoU"),
        ("top-1", report["top1"], errors["top1"]),
        ("top-5", report["top5"], errors["top5"]),
        ("top-1, mean over classes", report["top1_class_mean"], errors["top1_class_mean"]),
        ("top-1 without person", report["top1_non_person"], errors["top1_non_person"]),
        *by_size("top1_by_size", "top-1"),
        *by_split("top1", "top-1"),
        ("expected calibration error, 10 bins of equal mass", report["ece"], errors["ece"]),
    ]


def _added(report: Mapping[str, Any]) -> list[_Row]:
    """Return what the options asked for beside, and the times."""
    rows: list[_Row] = []
    for target in ("80", "90"):
        found = report.get(f"clicks_to_{target}")
        if found:
            rows += [
                (f"clicks to reach 0.{target}", found["mean"], found["se"]),
                (f"share that reaches 0.{target}", found["reached"], None),
            ]
    for size, found in report.get("top1_by_vocabulary", {}).items():
        rows.append((f"top-1 among {size} names", found["top1"], found["se"]))
    if cost := report.get("cost"):
        rows += [
            ("parameters, millions", cost["parameters"]["total"] / 1e6, None),
            ("multiply-adds at 10 prompts, 10⁹", cost["macs"]["at_10_prompts"] / 1e9, None),
        ]
    return [
        *rows,
        ("encode, ms a picture (median)", report["ms"]["encode"], None),
        ("decode, ms a prompt (median)", report["ms"]["decode"], None),
    ]


def plot_curves(path: Path, curves: Mapping[str, Sequence[float]], x: str, y: str) -> None:
    """Draw one line per name; positions are 1, 2 and so on."""
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, values in curves.items():
        axes.plot(range(1, len(values) + 1), values, marker="o", label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def _plot_sizes(path: Path, objects: Sequence[Measured]) -> None:
    """Draw IoU against object size: every object, and the mean in bins of equal mass."""
    side = np.sqrt([max(1.0, o.thing.area) for o in objects])
    iou = np.array([o.iou for o in objects])
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(side, iou, s=4, alpha=0.3)
    parts = [p for p in np.array_split(np.argsort(side), min(8, len(side))) if len(p)]
    axes.plot([side[p].mean() for p in parts], [iou[p].mean() for p in parts], color="black", marker="o")
    for limit in (32, 96):
        axes.axvline(limit, linestyle=":", color="grey")
    axes.set_xscale("log")
    axes.set_xlabel("square root of the object's area, pixels")
    axes.set_ylabel("IoU")
    axes.set_ylim(0, 1)
    figure.savefig(path, dpi=120)


def _draw(path: Path, one: Measured, record: PictureRecord) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(draw_case(one, record), cv2.COLOR_RGB2BGR))


def draw_case(one: Measured, record: PictureRecord) -> NDArray[np.uint8]:
    """Draw truth and answer as outlines on the surroundings of the object, with a line of words above.

    Args:
        one: a measured object with its mask.
        record: its picture.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rgb = load_picture(record.path).rgb.copy()
    truth = decode_mask(one.thing, *rgb.shape[:2])
    assert one.mask is not None
    for mask, colour in ((truth, TRUTH), (one.mask, ANSWER)):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(rgb, outlines, -1, colour, 1)
    x1, y1, x2, y2 = (int(v) for v in one.thing.box_xyxy)
    margin = max(24, (x2 - x1 + y2 - y1) // 2)
    crop = rgb[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin]
    scale = max(1, 320 // max(crop.shape[:2]))
    crop = np.kron(crop, np.ones((scale, scale, 1), np.uint8))
    words = f"{one.thing.name} IoU {one.iou:.2f}" + (f" said {one.answer_id}" if one.answer_id else "")
    band = np.full((18, max(crop.shape[1], 8 * len(words)), 3), 255, np.uint8)
    cv2.putText(band, words, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    canvas = np.full((18 + crop.shape[0], band.shape[1], 3), 255, np.uint8)
    canvas[:18], canvas[18:, : crop.shape[1]] = band, crop
    return canvas


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
