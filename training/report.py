"""What people read of an evaluation: a Markdown table, plots, and the worst cases as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter

from training.cases import draw_case
from training.metrics import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from training.measuring import Measured, Run
    from training.records import PictureRecord

__all__ = ["markdown", "write_report"]

mpl.rcParams["font.size"] = 9
_AP_ROWS = {
    "detector_labels": "the detector's labels (Tables 4, S2)",
    "our_labels": "our labels, all names (Table 2 on LVIS)",
    "generalized_base": "our labels of base and novel: AP of base (Tables 2, 3)",
    "generalized_novel": "our labels of base and novel: AP of novel (Tables 2, 3)",
    "generalized_all": "our labels of base and novel: AP of both (Tables 2, 3)",
    "constrained_base": "our labels of base alone (Table 3)",
    "constrained_novel": "our labels of novel alone (Table 3)",
}
_SIZES = {"from_32px": "at least 32² pixels"}


def write_report(
    folder: Path, report: Mapping[str, Any], run: Run, pictures: Sequence[PictureRecord], *, worst: int = 12
) -> None:
    """Write `report.md`, `iou_by_size.png`, `iou_at_clicks.png` (with clicks) and `worst/*.jpg`, afresh.

    Args:
        folder: where to; created.
        report: what `evaluate` returned.
        run: the measured objects, with their masks.
        pictures: the truth.
        worst: how many worst cases are drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _plot_sizes(folder / "iou_by_size.png", run.objects)
    plots = ["iou_by_size.png"]
    if len(report["miou_at_clicks"]) > 1:
        _plot_clicks(folder / "iou_at_clicks.png", report)
        plots.append("iou_at_clicks.png")
    shown = folder / "worst"
    for old in shown.glob("*_iou*.jpg"):  # of an earlier evaluation in the same folder
        old.unlink()
    cases = sorted((o for o in run.objects if o.mask is not None), key=lambda o: o.iou)[:worst]
    for number, one in enumerate(cases):
        shown.mkdir(exist_ok=True)
        path = shown / f"{number:02d}_iou{one.iou:.2f}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(draw_case(one, pictures[one.picture]), cv2.COLOR_RGB2BGR))
        plots.append(f"worst/{path.name}")
    (folder / "report.md").write_text(markdown(report) + _pictures(plots), encoding="utf-8")


def _pictures(paths: Sequence[str]) -> str:
    """Return Markdown that shows the plots, then the worst cases."""
    plots = [p for p in paths if "/" not in p]
    text = "\n" + " ".join(f"![{p.removesuffix('.png')}]({p})" for p in plots) + "\n"
    worst = [p for p in paths if "/" in p]
    if worst:
        text += "\nThe worst cases; the truth is green, the answer red, the prompt white:\n\n"
        text += "\n".join(f"![{p.removesuffix('.jpg')}]({p})" for p in worst) + "\n"
    return text


def markdown(report: Mapping[str, Any]) -> str:
    """Return the figures as one table, a line each, with standard errors where there are some."""
    options = report.get("options", {})
    lines = [
        f"# {report['system']}: {report['prompt']} prompts, {report['protocol']} protocol",
        "",
        *([f"Model `{options['model']}`, data `{options['data']}`.", ""] if options else []),
        f"{report['n']} objects, {report['n_named']} of them with a name in the vocabulary{_vocabulary(report)}.",
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
    lines += _precision(report.get("ap", {}))
    if report["unreadable"]:
        lines += ["", "Unreadable: " + ", ".join(report["unreadable"])]
    return "\n".join(lines) + "\n"


def _vocabulary(report: Mapping[str, Any]) -> str:
    names = report.get("vocabulary")
    return f" ({names['id']}, {names['size']} names)" if names else ""


def _precision(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table of mask AP, a line for each protocol."""
    rows = {kind: found[kind] for kind in _AP_ROWS if kind in found}
    if not rows:
        return []
    columns = list(dict.fromkeys(k for figures in rows.values() for k in figures if k != "se"))
    lines = ["", "| mask AP with the detector's boxes | " + " | ".join(columns) + " |"]
    lines += ["|---" * (len(columns) + 1) + "|"]
    for kind, figures in rows.items():
        errors = figures.get("se", {})
        cells = [shown(figures.get(k), errors.get(k), 4) for k in columns]
        lines.append(f"| {_AP_ROWS[kind]} | " + " | ".join(cells) + " |")
    return lines


_Row = tuple[str, float | None, float | None]


def _overall(report: Mapping[str, Any]) -> list[_Row]:
    """Return what every evaluation has: figure, value, standard error."""
    errors, sizes = report["se"], report["n_by_size"]

    def by_size(key: str, words: str) -> list[_Row]:
        return [(f"{words}, {_SIZES.get(s, s)} (n = {sizes[s]})", v, errors[key][s]) for s, v in report[key].items()]

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


def _axes(y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_ylabel(y)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    return figure, axes


def _plot_clicks(path: Path, report: Mapping[str, Any]) -> None:
    """Draw mean IoU after each click, with its standard error."""
    figure, axes = _axes("mean IoU")
    means, errors = report["miou_at_clicks"], [e or 0.0 for e in report["se"]["miou_at_clicks"]]
    axes.errorbar(range(1, len(means) + 1), means, yerr=errors, marker="o", capsize=3, label=report["system"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("clicks (bars: one standard error)")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _plot_sizes(path: Path, objects: Sequence[Measured]) -> None:
    """Draw IoU against object size: every object, and the mean in bins of equal mass."""
    side = np.sqrt([max(1.0, o.thing.area) for o in objects])
    iou = np.array([o.iou for o in objects])
    figure, axes = _axes("IoU")
    axes.scatter(side, iou, s=6, alpha=0.35, label="one object")
    parts = [p for p in np.array_split(np.argsort(side), min(8, len(side))) if len(p)]
    places, means = [side[p].mean() for p in parts], [iou[p].mean() for p in parts]
    axes.plot(places, means, color="black", marker="o", label=f"mean of a group ({len(parts)} of equal size)")
    for limit in (32, 96):
        axes.axvline(limit, linestyle=":", color="grey")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([8, 16, 32, 64, 96, 128, 256, 512, 1024, 2048]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.9 * side.min(), 1.1 * side.max())
    axes.set_xlabel("square root of the area, pixels (dotted: COCO's limits)")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _cell(value: float | None) -> str:
    return shown(value, digits=4 if value is not None and abs(value) < 10 else 1)
