import json

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as rle_tools

from ovsam_core.config import named_config
from ovsam_core.errors import FormatError
from ovsam_core.modeling.mask_decoder import DecodedMasks
from ovsam_core.modeling.prompt_encoder import PromptTensors
from training.mask_data import MaskDataArgs, MaskSamples, collate, cut_window, load_objects
from training.mask_eval import mask_figures
from training.mask_task import (
    MaskTask,
    PromptArgs,
    corrected,
    deepest,
    first_prompts,
    next_clicks,
    trunk_channels,
    trunk_maps,
)

SMALL = {"sources": {"made": 1.0}, "samples": 8, "crop": 64, "whole": (64, 96), "smallest": 10.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pictures, each with a red disc and a green bar on grey, and their masks."""
    root = tmp_path_factory.mktemp("data")
    (root / "images").mkdir()
    images, notes = [], []
    for number in range(4):
        picture = np.full((90, 120, 3), 90, np.uint8)
        disc, bar = np.zeros((90, 120), np.uint8), np.zeros((90, 120), np.uint8)
        cv2.circle(disc, (30 + 10 * number, 40), 18, 1, -1)
        bar[70:84, 20:100] = 1
        picture[disc > 0], picture[bar > 0] = (30, 30, 200), (30, 200, 30)
        cv2.imwrite(str(root / "images" / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "width": 120, "height": 90})
        for mask in (disc, bar):
            rle = rle_tools.encode(np.asfortranarray(mask))
            box = [float(v) for v in rle_tools.toBbox(rle)]
            rle["counts"] = rle["counts"].decode()
            note = {"id": len(notes), "image_id": number, "category_id": 1, "bbox": box, "area": int(mask.sum())}
            notes.append({**note, "iscrowd": 0, "segmentation": rle})
    crowd = {**notes[0], "id": 99, "iscrowd": 1}
    data = {"images": images, "annotations": [*notes, crowd], "categories": [{"id": 1, "name": "thing"}]}
    (root / "made.json").write_text(json.dumps(data))
    return root


def task_of(seed=0, **prompts):
    import timm

    torch.manual_seed(seed)
    return MaskTask(timm.create_model("tf_efficientnet_lite0"), named_config("starter"), PromptArgs(**prompts))


def test_samples_are_the_same_in_every_run_and_fixed_ones_in_every_epoch(folder):
    args = MaskDataArgs(**SMALL, fixed=0.5)
    one, other = MaskSamples(folder, args, seed=3), MaskSamples(folder, args, seed=3)
    assert len(one.objects) == 8  # the crowd is left out
    for index in range(8):
        a, b = one[0, index], other[0, index]
        assert (a["pixels"] == b["pixels"]).all()
        assert a["seed"] == b["seed"]
    again, fresh = one[1, 0], one[1, 7]
    assert (again["pixels"] == one[0, 0]["pixels"]).all()
    assert again["seed"] != one[0, 0]["seed"]
    assert fresh["key"] is None
    assert not np.array_equal(fresh["pixels"], one[0, 7]["pixels"])


def test_masks_lie_on_their_objects(folder):
    samples = MaskSamples(folder, MaskDataArgs(**SMALL), seed=0)
    for index in range(8):
        sample = samples[0, index]
        assert sample["pixels"].shape[0] == 2 * sample["masks"].shape[1]
        large = sample["pixels"].astype(int)
        small = large.reshape(large.shape[0] // 2, 2, -1, 2, 3).mean((1, 3))
        for mask in sample["masks"]:
            inside = small[mask == 1]
            dull = inside.max(1) - inside.min(1) < 40  # grey where red or green is expected
            assert dull.mean() < 0.02


def test_a_window_is_cut_at_its_place_and_padded():
    picture = np.arange(100, dtype=np.uint8).reshape(10, 10)
    cut = cut_window(picture, -2, 7, 4, 4, 255)
    assert cut.tolist() == [[255, 255, 70, 71], [255, 255, 80, 81], [255, 255, 90, 91], [255, 255, 255, 255]]


def test_an_unreadable_picture_is_replaced_and_reported(folder, tmp_path):
    data = json.loads((folder / "made.json").read_text())
    (tmp_path / "images").mkdir()
    for image in data["images"][1:]:
        (tmp_path / "images" / image["file_name"]).write_bytes((folder / "images" / image["file_name"]).read_bytes())
    (tmp_path / "images" / "0.png").write_bytes(b"no picture")
    (tmp_path / "made.json").write_text(json.dumps(data))
    samples = MaskSamples(tmp_path, MaskDataArgs(**SMALL), seed=0)
    bad = [pair for i in range(8) for pair in samples[0, i]["bad"]]
    assert bad
    assert all(path.endswith("0.png") and "not a picture" in why for path, why in bad)


def test_masks_are_read_as_everywhere(folder, tmp_path):
    """Polygons too, and an error in the file names its place."""
    data = json.loads((folder / "made.json").read_text())
    data["annotations"][1]["segmentation"] = [[20, 70, 100, 70, 100, 84, 20, 84]]
    (tmp_path / "made.json").write_text(json.dumps(data))
    pictures, objects = load_objects(tmp_path / "made.json")
    assert [path.name for path in pictures] == ["0.png", "1.png", "2.png", "3.png"]
    assert objects[1].mask.area == 14 * 80
    assert objects[1].box_xyxy == (20, 70, 100, 84)
    assert len(objects) == 8  # the crowd is left out
    data["annotations"][2]["segmentation"]["size"] = [3]
    (tmp_path / "made.json").write_text(json.dumps(data))
    with pytest.raises(FormatError, match=r"annotations\[2\] id 2.*size"):
        load_objects(tmp_path / "made.json")


def test_the_next_click_is_deepest_in_the_larger_error():
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 5:20, 5:20] = True
    answer = np.zeros_like(truth)
    assert next_clicks(answer, truth)[1].tolist() == [1]
    assert next_clicks(answer, truth)[0].tolist() == [[12, 12]]
    answer[0, 5:20, 5:40] = True
    points, signs = next_clicks(answer, truth)
    assert signs.tolist() == [0]
    assert 20 <= points[0, 0] < 40
    assert (
        next_clicks(truth, truth)[1].tolist() == [0]
        or truth[0][tuple(next_clicks(truth, truth)[0][0][::-1].astype(int))]
    )


def test_deepest_keeps_away_from_the_picture_edge():
    assert deepest(np.ones((9, 9), bool)) == (4, 4)


def test_first_prompts_are_boxes_round_the_mask_or_clicks_on_it():
    truth = np.zeros((5, 40, 40), bool)
    truth[:, 10:30, 4:12] = True
    rng = np.random.default_rng(0)
    boxes = first_prompts(truth, rng, PromptArgs(jitter=0.0), with_box=True).boxes
    assert boxes.tolist() == [[8, 20, 24, 60]] * 5
    clicks = first_prompts(truth, rng, PromptArgs(), with_box=False)
    for x, y in (clicks.coords[:, 0] / 2).int().tolist():
        assert truth[0, y, x]


def test_a_correction_adds_a_click_and_the_previous_answer():
    truth = np.zeros((1, 32, 32), bool)
    truth[0, 8:24, 8:24] = True
    found = DecodedMasks(torch.full((1, 4, 16, 16), -3.0), torch.zeros(1, 4), torch.zeros(1, 8))
    prompts = PromptTensors(torch.tensor([[[2.0, 2.0]]]), torch.ones(1, 1, dtype=torch.int8))
    rng = np.random.default_rng(0)
    more = corrected(prompts, found, truth, rng, blurred=False, drop=False)
    assert more.coords.shape == (1, 2, 2)
    assert more.labels.tolist() == [[1, 1]]
    assert (more.mask_logits == -3).all()
    assert corrected(prompts, found, truth, rng, blurred=False, drop=True).mask_logits is None
    zoomed = corrected(prompts, found, truth, rng, blurred=True, drop=False)
    assert zoomed.coords.shape == (1, 1, 2)
    assert zoomed.mask_logits is not None


def test_kept_maps_give_the_loss_of_fresh_ones(folder):
    samples = MaskSamples(folder, MaskDataArgs(**SMALL, fixed=1.0, zoom=1.0, window=0.0), seed=0)
    task = task_of().eval()
    batch = collate([samples[0, i] for i in range(3)])
    with torch.no_grad():
        torch.manual_seed(0)
        first = task(batch, task.totals(batch))
        torch.manual_seed(0)
        second = task(batch, task.totals(batch))
    assert len(task._maps) == 3
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)  # else a resumed run would be another run


def test_a_few_steps_learn_and_leave_the_trunk_alone(folder):
    samples = MaskSamples(folder, MaskDataArgs(**SMALL, fixed=1.0), seed=0)
    task = task_of(rounds=(0.5, 0.5)).train()
    frozen = {k: v.clone() for k, v in task.trunk.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-3)
    batch = collate([samples[0, i] for i in range(4)])
    losses = []
    for _ in range(6):
        torch.manual_seed(0)
        loss = torch.stack(list(task(batch, task.totals(batch)).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    for name, value in task.trunk.state_dict().items():
        torch.testing.assert_close(value, frozen[name], rtol=0, atol=0)


def test_figures_of_an_untrained_network_are_those_of_the_rectangle(folder):
    task = task_of().eval()
    for mlp in task.path.decoder.output_hypernetworks_mlps:
        torch.nn.init.zeros_(mlp.layers[-1].weight)
        torch.nn.init.zeros_(mlp.layers[-1].bias)
    figures = mask_figures(task, folder / "made.json", limit=2, clicks=2, whole=128, zoom=160, smallest=10)
    assert figures["n"] == 2
    rectangle = (np.pi / 4 + 1) / 2  # a disc and a bar in their boxes
    assert abs(figures["box_whole"] - rectangle) < 0.06
    assert abs(figures["box_zoom"] - rectangle) < 0.06
    assert figures["clicks_2"] < 0.1


def test_an_efficientnet_has_four_maps():
    import timm

    trunk = timm.create_model("tf_efficientnet_lite0").eval()
    with torch.no_grad():
        maps = trunk_maps(trunk, torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, s, s) for c, s in zip(trunk_channels(trunk), (16, 8, 4, 2), strict=True)
    ]


def test_a_run_starts_from_another_with_other_windows():
    task, other = task_of(seed=0), task_of(seed=1)
    tensors = {k: v.clone() for k, v in other.trained_state().items()}
    wide = "path.neck.blocks.0.attn.rel_pos_h"
    tensors[wide] = tensors[wide][2:-2]
    tensors["path.decoder.iou_token.weight"] = torch.zeros(1, 3)
    del tensors["path.neck.pos_embed"]
    assert sorted(task.start_from(tensors)) == ["path.decoder.iou_token.weight", "path.neck.pos_embed"]
    mine = task.trained_state()
    torch.testing.assert_close(mine[wide][[0, -1]], tensors[wide][[0, -1]])  # the ends stay the ends
    torch.testing.assert_close(mine["path.skips.fine_in.weight"], tensors["path.skips.fine_in.weight"])
