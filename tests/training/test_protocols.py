"""Detector boxes, vocabulary size, cost and CoOp: the rest of the paper's protocols."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ovsam_core.errors import CheckpointError, FormatError
from ovsam_core.masks import Mask
from ovsam_core.vocabulary import Vocabulary
from tests.training.builders import NAMES, coco_file
from tests.training.test_evaluate import VOCABULARY, Oracle
from training import coop
from training.cost import model_cost
from training.detections import average_precision, detection_report, read_detections
from training.evaluate import EvaluateArgs, evaluate
from training.networks import load_network
from training.records import read_records
from training.scaling import with_distractors


def detections(path, data, *, shift=0):
    """Write the truth's boxes as a detector's results; labels of every third object are wrong."""
    raw = json.loads(data.read_text())
    found = [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"] % 3 + 1 if a["id"] % 3 == 0 else a["category_id"],
            "bbox": [a["bbox"][0] + shift, *a["bbox"][1:]],
            "score": 0.9 - a["id"] / 100,
        }
        for a in raw["annotations"]
    ]
    path.write_text(json.dumps(found))
    return path


def test_ap_agrees_with_pycocotools(tmp_path):
    data = coco_file(tmp_path, 5)
    raw = json.loads(data.read_text())
    rng = np.random.default_rng(0)
    results = []
    for item in raw["annotations"]:
        mask = Mask.from_rle(item["segmentation"]).full()
        moved = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
        label = item["category_id"] if rng.random() < 0.8 else int(rng.integers(1, 4))
        results.append(
            {
                "image_id": item["image_id"],
                "category_id": label,
                "segmentation": Mask.of(moved).rle,
                "score": float(rng.random()),
            }
        )
    ours = average_precision(raw, [dict(r) for r in results])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data))
        run = COCOeval(truth, truth.loadRes([dict(r) for r in results]), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    assert 0.05 < ours["AP"] < 0.95
    assert [ours[k] for k in ("AP", "AP50", "AP75", "AP_S")] == pytest.approx(run.stats[:4].tolist(), abs=1e-9)


def test_detector_protocols(tmp_path):
    data = coco_file(tmp_path, 4)
    results = detections(tmp_path / "found.json", data)
    split = {
        VOCABULARY.find("person").id: "base",
        VOCABULARY.find("dog").id: "base",
        VOCABULARY.find("cup").id: "novel",
    }
    args = EvaluateArgs(data, tmp_path / "o.json", detections=results)
    report = detection_report(args, Oracle(), read_records(data), VOCABULARY, split)
    assert 0 < report["detector_labels"]["AP50"] < 1
    # The oracle calls every cup a dog: cups are lost until only novel names are offered.
    assert report["generalized_novel"]["AP50"] == 0
    assert report["constrained_novel"]["AP50"] == pytest.approx(1 / 3, abs=0.35)
    assert report["constrained_novel"]["AP50"] > 0
    assert report["generalized_base"]["AP50"] > report["generalized_novel"]["AP50"]
    assert {"AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"} <= set(report["our_labels"])


def test_names_beside_the_split_count_among_all_names_only(tmp_path):
    """COCO's 80 names hold 15 of neither side: they are names like others, but take no part in the paper's setting."""
    data = coco_file(tmp_path, 4)
    results = detections(tmp_path / "found.json", data)
    split = {VOCABULARY.find("cup").id: "novel"}
    args = EvaluateArgs(data, tmp_path / "o.json", detections=results, ap_groups=0)
    report = detection_report(args, Oracle(), read_records(data), VOCABULARY, split)
    # The oracle calls cups dogs: without that name, it finds them.
    everything = detection_report(args, Oracle(), read_records(data), VOCABULARY, {})
    assert report["our_labels"] == everything["our_labels"]
    assert report["generalized_novel"]["AP50"] > 0


def test_ap_has_standard_errors(tmp_path):
    data = coco_file(tmp_path, 6)
    results = detections(tmp_path / "found.json", data)
    results.write_text(json.dumps([d for d in json.loads(results.read_text()) if d["image_id"] not in (0, 4)]))
    args = EvaluateArgs(data, tmp_path / "o.json", detections=results, ap_groups=3)
    report = detection_report(args, Oracle(), read_records(data), VOCABULARY, {})
    assert 0 < report["detector_labels"]["se"]["AP50"] < 0.5
    assert report["detector_labels"]["AP_L"] is None  # there is no large object
    same = average_precision(json.loads(data.read_text()), [])
    assert same["AP"] == 0.0
    none = detection_report(replace(args, ap_groups=0), Oracle(), read_records(data), VOCABULARY, {})
    assert "se" not in none["detector_labels"]
    assert none["detector_labels"]["AP"] == report["detector_labels"]["AP"]


def test_the_report_has_a_line_for_each_of_the_papers_tables(tmp_path):
    data = coco_file(tmp_path, 3)
    args = EvaluateArgs(
        data, tmp_path / "o.json", model="tiny", detections=detections(tmp_path / "found.json", data), ap_groups=2
    )
    report = evaluate(args)
    lines = (tmp_path / "o_report" / "report.md").read_text().splitlines()
    assert "| mask AP with the detector's boxes | AP | AP50 | AP75 | AP_S | AP_M | AP_L |" in lines
    (row,) = [line for line in lines if line.startswith("| the detector's labels (Tables 4, S2) |")]
    assert row.split(" | ")[1].startswith(f"{report['ap']['detector_labels']['AP']:.4f}")
    assert sum("Table 3)" in line or "Tables 2, 3)" in line for line in lines) == sum(
        "ed_" in key for key in report["ap"]
    )


def test_lvis_is_counted_by_its_own_rules(tmp_path):
    """A detection of a name that nobody looked for counts neither way; one of an absent name is wrong."""
    data = coco_file(tmp_path, 3, names=("person", "dog", "cup"))
    raw = json.loads(data.read_text())
    raw["categories"] = [c | {"frequency": f} for c, f in zip(raw["categories"], "rcf", strict=True)]
    raw["annotations"] = [a for a in raw["annotations"] if not (a["category_id"] == 3 and a["image_id"] == 0)]
    right = [
        {k: a[k] for k in ("image_id", "category_id", "segmentation")} | {"score": 0.5} for a in raw["annotations"]
    ]
    spare = next(a for a in raw["annotations"] if a["image_id"] == 0 and a["category_id"] == 1)
    wrong = {"image_id": 0, "category_id": 3, "segmentation": spare["segmentation"], "score": 0.9}
    found = {}
    for absent in ((), (3,)):
        for image in raw["images"]:
            image.update({"neg_category_ids": list(absent), "not_exhaustive_category_ids": []})
        found[absent] = average_precision(raw, [*right, wrong], lvis=True)
    assert found[()] == pytest.approx(
        dict.fromkeys(("AP", "AP50", "AP75", "AP_S", "AP_r", "AP_c", "AP_f"), 1.0)
        | {k: found[()][k] for k in ("AP_M", "AP_L")}
    )
    assert found[(3,)]["AP_f"] < 1.0
    assert found[(3,)]["AP_r"] == 1.0


def test_broken_detections_name_the_field(tmp_path):
    path = tmp_path / "r.json"
    path.write_text('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]')
    with pytest.raises(FormatError, match=r"\[0\]: category_id"):
        read_detections(path)
    path.write_text("{}")
    with pytest.raises(FormatError, match="expected a list"):
        read_detections(path)


def test_ap_needs_a_coco_file(tmp_path):
    """Project files and folders of SA-1B are read elsewhere; the evaluator of AP wants the document itself."""
    data = coco_file(tmp_path, 1)
    args = EvaluateArgs(tmp_path / "images", tmp_path / "o.json", detections=detections(tmp_path / "d.json", data))
    with pytest.raises(FormatError, match="images: --detections needs the truth as one COCO or LVIS file"):
        detection_report(args, Oracle(), read_records(data), VOCABULARY, {})


def test_distractors_nest():
    base, source = Vocabulary.load("coco"), Vocabulary.load("imagenet-1k")
    small, large = (with_distractors(base, n, source) for n in (100, 200))
    assert (len(small), len(large)) == (100, 200)
    assert {e.id for e in small} < {e.id for e in large}
    assert with_distractors(base, 20, source) is base


def test_cost_and_vocabulary_size_are_in_the_report(tmp_path):
    data = coco_file(tmp_path, 1)
    args = EvaluateArgs(data, tmp_path / "o.json", model="tiny", cost=True, vocabulary_sizes=(90,))
    report = evaluate(args)
    assert list(report["top1_by_vocabulary"]) == ["90"]
    assert report["cost"]["macs"]["at_10_prompts"] > report["cost"]["macs"]["picture"]


def test_the_papers_parameters():
    total = model_cost("ovsam-rn50x16-coco")["parameters"]["total"]
    assert total == pytest.approx(304e6, rel=0.02)  # Table 1; ours also counts positional buffers' learnt parts


def test_contexts_learn_and_name(tmp_path):
    data = coco_file(tmp_path, 3)
    out = tmp_path / "coop.safetensors"
    args = coop.CoopArgs(
        data, out, model="tiny", classes="data", contexts=4, loop=coop.CoopLoop(max_steps=6, device="cpu", log_every=1)
    )
    result = coop.train(args)
    assert result.step == 6
    rows = [json.loads(line) for line in (tmp_path / "coop_run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["names"] < rows[0]["names"]
    encoded = coop.encode_with_contexts("tiny", out, Vocabulary.of(NAMES))
    assert encoded.rows.shape == (3, 32)
    report = evaluate(EvaluateArgs(data, tmp_path / "o.json", model="tiny", baseline="feature-crop", coop=out))
    assert report["top1"] is not None


def test_contexts_take_the_place_of_tokens():
    network = load_network("tiny")
    words = "x x dog"
    tokens = network.tokenizer([words])
    plain = torch.nn.functional.normalize(network.text(tokens), dim=-1)
    holder = network.text.token_embedding.weight[tokens[0, 1:3]].detach()
    torch.testing.assert_close(coop.CoOp(network, holder)(["dog"]), plain)
    other = coop.CoOp(network, torch.zeros_like(holder))(["dog"])
    assert not torch.allclose(other, plain)


def test_contexts_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "c.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="not the contexts"):
        coop.encode_with_contexts("tiny", tmp_path / "c.safetensors", Vocabulary.of(["dog"]))
