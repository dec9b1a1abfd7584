"""The command that everybody is measured by, on pictures whose answers are known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ovsam_core.predictor import OvsamPredictor
from ovsam_core.text import EncodedVocabulary
from ovsam_core.vocabulary import Vocabulary
from tests.training.builders import NAMES, coco_file, scene
from training.args import ConfigError, command
from training.bad_pictures import TooManyBadPicturesError
from training.cases import draw_case
from training.evaluate import EvaluateArgs, evaluate, split_of
from training.measuring import measure, official_centre
from training.metrics import centre_point
from training.records import read_records
from training.summary import summarise
from training.systems import Answer, System, merged_phrases

VOCABULARY = Vocabulary.of(NAMES, "three")


class Oracle(System):
    """Knows the truth; masks lose their left part, names are wrong for cups; clicks repair half of what is missing."""

    name = "oracle"

    def set_image(self, picture):
        self.objects = scene(int(picture.path.stem))[1]

    def answer(self, prompts, truth_boxes):
        return [self._one(p) for p in prompts]

    def _one(self, prompt):
        if prompt.box_xyxy is not None:
            x, y = prompt.box_xyxy[:2] + (prompt.box_xyxy[2:] - prompt.box_xyxy[:2]) / 2
        else:
            x, y = prompt.points_xy[0]
        name, mask = next((n, m) for n, m in self.objects if m[int(y), int(x)])
        mask = mask.copy()
        columns = np.flatnonzero(mask.any(0))
        mask[:, columns[: max(0, 4 - 2 * max(0, len(prompt.points_xy) - 1))]] = False
        ids = [VOCABULARY.find(n).id for n in NAMES]
        first = VOCABULARY.find("dog" if name == "cup" else name).id
        names = [(first, 0.8), *((i, 0.1) for i in ids if i != first)]
        return Answer(mask, (), tuple(names), np.zeros((4, 4)), 0.9)


def test_figures_of_a_known_system(tmp_path):
    pictures = read_records(coco_file(tmp_path, 4))
    report = summarise(measure(Oracle(), pictures, VOCABULARY, split={"own:person": "base", "own:cup": "novel"}))
    assert report["n"] == report["n_named"] == 12
    assert report["top1"] == pytest.approx(2 / 3)
    assert report["top5"] == 1.0
    assert report["base"]["top1"] == 1.0
    assert report["novel"]["top1"] == 0.0
    assert report["novel"]["n"] == 4
    assert report["top1_non_person"] == pytest.approx(1 / 2)
    assert report["ece"] == pytest.approx(abs(0.8 - 2 / 3), abs=0.35)
    expected = []
    for i in range(4):
        for _, mask in scene(i)[1]:
            cut = mask.copy()
            cut[:, np.flatnonzero(mask.any(0))[:4]] = False
            expected.append(cut.sum() / mask.sum())
    assert report["miou"] == pytest.approx(np.mean(expected))
    assert report["se"]["miou"] == pytest.approx(np.std(expected, ddof=1) / np.sqrt(12))
    assert report["miou_by_size"]["small"] == report["miou"]
    for name in ("miou", "miou_oracle", "top1", "top5", "top1_class_mean", "top1_non_person", "ece"):
        assert report["se"][name] is not None, name
    assert report["se"]["top1_by_size"]["small"] == report["se"]["top1"] == pytest.approx((2 / 9 / 11) ** 0.5)
    assert report["se"]["miou_at_clicks"] == [report["se"]["miou"]]
    assert report["miou_by_size"]["large"] is None


def test_clicks_raise_the_iou(tmp_path):
    pictures = read_records(coco_file(tmp_path, 3))
    report = summarise(measure(Oracle(), pictures, VOCABULARY, prompt="clicks", clicks=3))
    assert report["miou_at_clicks"] == sorted(report["miou_at_clicks"])
    assert report["miou_at_clicks"][2] == 1.0
    assert report["clicks_to_90"]["mean"] == pytest.approx(3, abs=1)
    assert report["clicks_to_90"]["reached"] == 1.0


def test_crowds_small_objects_and_foreign_names_are_left_out(tmp_path):
    path = coco_file(tmp_path, 2, crowd=True)
    pictures = read_records(path)
    assert len(measure(Oracle(), pictures, VOCABULARY).objects) == 4
    assert len(measure(Oracle(), pictures, VOCABULARY, min_area=180).objects) < 4
    run = measure(Oracle(), pictures, Vocabulary.of(["person"]))
    assert [o.rank is not None for o in run.objects] == [True, False, True, False]


def test_only_the_worst_masks_are_kept(tmp_path):
    """All masks of a whole data set would not fit into memory."""
    run = measure(Oracle(), read_records(coco_file(tmp_path, 4)), VOCABULARY, keep_masks=3)
    ordered = sorted(run.objects, key=lambda o: o.iou)
    assert [o.mask is not None for o in ordered] == [True] * 3 + [False] * 9


def test_the_report_lies_beside_the_figures(tmp_path):
    data = coco_file(tmp_path, 1)
    args = EvaluateArgs(data, tmp_path / "a.json", baseline="rectangle", worst=2)
    evaluate(args)
    assert {p.name for p in (tmp_path / "a_report").iterdir()} == {"report.md", "iou_by_size.png", "worst"}
    assert len(list((tmp_path / "a_report" / "worst").iterdir())) == 2
    evaluate(replace(args, json=tmp_path / "b.json", report="none"))
    assert not (tmp_path / "b_report").exists()


def test_the_worst_cases_show_truth_answer_and_prompt(tmp_path):
    """Green and red outlines, the given clicks, and a line that names the answer as people say it."""
    pictures = read_records(coco_file(tmp_path, 1))
    run = measure(Oracle(), pictures, VOCABULARY, prompt="clicks", clicks=2, keep_masks=9)
    cup = next(o for o in run.objects if o.thing.name == "cup")
    assert cup.answer == "dog"
    assert [label for *_, label in cup.clicks] == [1, 1]
    x, y, _ = cup.clicks[0]
    assert scene(0)[1][2][1][int(y), int(x)]
    drawn = draw_case(cup, pictures[0]).astype(int)
    for colour in ((60, 200, 75), (235, 60, 60), (255, 255, 255)):
        assert (abs(drawn[20:] - colour).max(2) < 12).sum() > 10, colour
    boxed = measure(Oracle(), pictures, VOCABULARY, keep_masks=9).objects[0]
    assert boxed.clicks == []
    assert max(draw_case(boxed, pictures[0]).shape) >= 480  # small objects are enlarged


def test_a_report_replaces_the_one_before(tmp_path):
    args = EvaluateArgs(coco_file(tmp_path, 2), tmp_path / "a.json", baseline="rectangle", worst=4)
    evaluate(args)
    evaluate(replace(args, worst=1))
    text = (tmp_path / "a_report" / "report.md").read_text()
    (kept,) = (tmp_path / "a_report" / "worst").iterdir()
    assert f"](worst/{kept.name})" in text
    assert "](iou_by_size.png)" in text
    assert f"data `{args.data}`" in text


def test_too_many_unreadable_pictures_stop(tmp_path):
    pictures = read_records(coco_file(tmp_path, 3))
    (tmp_path / "images" / "1.png").write_bytes(b"")
    with pytest.raises(
        TooManyBadPicturesError, match=r"1 of 3 pictures could not be read, .*first is [^:]*1\.png: the file is empty"
    ):
        measure(Oracle(), pictures, VOCABULARY, max_bad=0.01)


def test_unreadable_pictures_are_counted(tmp_path):
    pictures = read_records(coco_file(tmp_path, 2))
    (tmp_path / "images" / "0.png").write_bytes(b"")
    report = summarise(measure(Oracle(), pictures, VOCABULARY))
    assert report["n"] == 3
    assert report["unreadable"][0].endswith("0.png")


def test_the_papers_splits_ship():
    coco = split_of("auto", Vocabulary.load("coco"), frozenset())
    assert [sum(v == s for v in coco.values()) for s in ("base", "novel")] == [48, 17]
    lvis = split_of("auto", Vocabulary.load("lvis"), frozenset())
    assert sum(v == "novel" for v in lvis.values()) == 337
    assert split_of("seen", VOCABULARY, frozenset({"dog"})) == {
        "own:person": "novel",
        "own:dog": "base",
        "own:cup": "novel",
    }


@pytest.mark.parametrize("prompt", ["box", "centre", "clicks"])
def test_the_command_writes_the_contracts_keys(tmp_path, prompt):
    data = coco_file(tmp_path, 2)
    out = tmp_path / "out" / "figures.json"
    argv = ["--model", "tiny", "--data", str(data), "--images", str(tmp_path / "images"), "--prompt", prompt]
    argv += ["--vocabulary", "coco", "--clicks", "2", "--json", str(out), "--report", str(tmp_path / "report")]
    assert command(EvaluateArgs, evaluate, program="evaluate", argv=argv) == 0
    report = json.loads(out.read_text())
    keys = {"n", "miou", "miou_by_size", "miou_at_clicks", "top1", "top5", "top1_class_mean", "base", "novel", "ece"}
    assert keys <= set(report)
    assert set(report["ms"]) == {"encode", "decode"}
    assert (report["n"], report["protocol"]) == (6, "corrected")
    assert 0 <= report["miou"] <= 1
    assert len(report["miou_at_clicks"]) == (2 if prompt == "clicks" else 1)
    assert "| mean IoU |" in (tmp_path / "report" / "report.md").read_text()
    assert "standard error" in (tmp_path / "report" / "report.md").read_text()
    assert len(list((tmp_path / "report" / "worst").glob("*.jpg"))) == 6
    assert (tmp_path / "report" / "iou_at_clicks.png").exists() == (prompt == "clicks")


@pytest.mark.parametrize("baseline", ["rectangle", "grabcut", "image-crop", "feature-crop", "sam"])
def test_baselines_go_through_the_same_evaluator(tmp_path, baseline):
    args = EvaluateArgs(coco_file(tmp_path, 2), tmp_path / "out.json", model="tiny", baseline=baseline, sam_type="toy")
    report = evaluate(args)
    assert report["n"] == 6
    if baseline == "rectangle":
        assert 0.5 < report["miou"] < 0.95  # circles fill 78 % of their boxes
    if baseline == "grabcut":
        assert report["miou"] > 0.95  # bright shapes on grey
    assert (report["top1"] is not None) == (baseline in {"image-crop", "feature-crop"})


def test_the_crop_baselines_look_at_different_things(tmp_path, monkeypatch):
    """The feature crop pools the whole picture's map; the image crop sends the cut-out pixels through CLIP again."""
    data = coco_file(tmp_path, 1)
    pooled = []
    region_embedding = OvsamPredictor.region_embedding
    monkeypatch.setattr(
        OvsamPredictor,
        "region_embedding",
        lambda self, boxes: pooled.append(len(boxes)) or region_embedding(self, boxes),
    )
    evaluate(EvaluateArgs(data, tmp_path / "a.json", model="tiny", baseline="image-crop"))
    assert not pooled
    evaluate(EvaluateArgs(data, tmp_path / "b.json", model="tiny", baseline="feature-crop"))
    assert pooled == [3]


def test_official_protocol_differs_in_points_only(tmp_path):
    data = coco_file(tmp_path, 2)
    runs = {}
    for protocol in ("corrected", "official"):
        for prompt in ("box", "centre"):
            args = EvaluateArgs(data, tmp_path / "o.json", model="tiny", protocol=protocol, prompt=prompt)
            runs[protocol, prompt] = evaluate(args)
    assert runs["official", "box"]["miou"] == runs["corrected", "box"]["miou"]
    assert runs["official", "centre"]["protocol"] == "official"
    assert "slips" in runs["official", "centre"]["system"]


def test_options_that_do_not_go_together(tmp_path):
    data = coco_file(tmp_path, 1)
    with pytest.raises(ConfigError, match="needs --prompt box"):
        evaluate(EvaluateArgs(data, tmp_path / "o.json", baseline="grabcut", prompt="centre"))
    with pytest.raises(ConfigError, match="published weights"):
        evaluate(EvaluateArgs(data, tmp_path / "o.json", baseline="sam"))


class Listening(Oracle):
    """Keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def answer(self, prompts, truth_boxes):
        self.asked += [tuple(map(float, p.points_xy[0])) for p in prompts]
        return super().answer(prompts, truth_boxes)


def test_the_official_centre_is_found_at_the_networks_size(tmp_path):
    """On the enlarged mask, and at the pixel's index instead of its middle."""
    pictures = read_records(coco_file(tmp_path, 2))
    ours, theirs = Listening(), Listening()
    measure(ours, pictures, None, prompt="centre")
    measure(theirs, pictures, None, prompt="centre", protocol="official")
    apart = np.abs(np.array(ours.asked) - np.array(theirs.asked)).max(1)
    assert (apart > 0).all()
    assert (apart < 3).all()
    mask = np.zeros((48, 64), bool)
    mask[10:21, 30:41] = True
    assert official_centre(mask, side=64) == (35.0, 15.0)
    assert centre_point(mask) == (35.5, 15.5)


def test_the_oracle_takes_the_best_candidate(tmp_path):
    class Second(Oracle):
        def _one(self, prompt):
            answer = super()._one(prompt)
            (whole,) = (mask for _, mask in self.objects if (mask & answer.mask).any())
            return replace(answer, others=(np.zeros_like(whole), whole))

    report = summarise(measure(Second(), read_records(coco_file(tmp_path, 2)), None))
    assert report["miou"] < 0.9
    assert report["miou_oracle"] == 1.0


def test_who_reaches_the_target_gets_no_further_click(tmp_path):
    pictures = read_records(coco_file(tmp_path, 2))
    every = measure(Oracle(), pictures, None, prompt="clicks", clicks=3).objects
    assert {len(o.clicks) for o in every} == {3}
    target = float(np.median([o.ious[0] for o in every]))
    some = measure(Oracle(), pictures, None, prompt="clicks", clicks=3, stop_at=target).objects
    assert [len(o.clicks) == 1 for o in some] == [o.ious[0] >= target for o in every]
    assert all(len(o.ious) == 3 for o in some)


def test_synonyms_by_the_nearest_or_by_their_mean():
    rows = np.eye(4, dtype=np.float16)[:3]
    encoded = EncodedVocabulary(Vocabulary.of(["cat", "dog"]), rows, np.array([0, 2]), "d")
    assert merged_phrases(encoded, "max") is encoded
    mean = merged_phrases(encoded, "mean")
    np.testing.assert_allclose(mean.rows.astype(float), [[0.5**0.5, 0.5**0.5, 0, 0], [0, 0, 1, 0]], atol=1e-3)
    assert mean.starts.tolist() == [0, 1]


def test_the_true_region_names_alike_whatever_the_prompt(tmp_path):
    """With a click, the mask is the click's; with the true region, the names are the box prompt's."""
    data = coco_file(tmp_path, 2)
    found = {}
    for prompt, region in (("box", "mask"), ("centre", "mask"), ("centre", "truth")):
        args = EvaluateArgs(data, tmp_path / "o.json", model="tiny", prompt=prompt, region=region, report="none")
        found[prompt, region] = evaluate(args)
    truth, own = found["centre", "truth"], found["centre", "mask"]
    assert truth["miou"] == own["miou"]
    assert (truth["top5"], truth["ece"]) == (found["box", "mask"]["top5"], found["box", "mask"]["ece"])
    assert truth["ece"] != own["ece"]


@pytest.mark.parametrize("baseline", ["image-crop", "feature-crop"])
def test_crop_baselines_name_what_a_click_segmented(tmp_path, baseline):
    """Table 1's rows by points: the region is the mask's box, or the click's surroundings where there is no mask."""
    data = coco_file(tmp_path, 1)
    args = EvaluateArgs(data, tmp_path / "o.json", model="tiny", baseline=baseline, prompt="centre", report="none")
    report = evaluate(args)
    assert (report["n_named"], report["prompt"]) == (3, "centre")
    assert report["top1"] is not None
