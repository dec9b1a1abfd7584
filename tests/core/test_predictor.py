"""The predictor on `tiny`: coordinates, batches, threads, branches, empty masks, zoom, everything."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovsam_core import answer, everything
from ovsam_core.embedding import ImageEmbedding
from ovsam_core.embedding_cache import EmbeddingCache
from ovsam_core.errors import CancelledError, EmbeddingError, ModelError, PromptError, VocabularyError
from ovsam_core.mask_window import picture_mask, picture_window
from ovsam_core.modeling.mask_decoder import DecodedMasks, postprocess_logits
from ovsam_core.pictures import Picture
from ovsam_core.predictor import load_predictor
from ovsam_core.prompt_batch import fallback_box, mask_logits
from ovsam_core.prompts import Prompt
from ovsam_core.vocabulary import Vocabulary
from ovsam_core.zoom import Zoom, paste_logits, zoom_window


@pytest.fixture(scope="module")
def predictor():
    return load_predictor("tiny", "cpu")


@pytest.fixture(scope="module")
def rgb():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (90, 140, 3), dtype=np.uint8)
    pixels[20:60, 30:80] = (200, 40, 30)
    return pixels


@pytest.fixture(scope="module")
def embedding(predictor, rgb):
    return predictor.set_image(rgb)


NAMES = Vocabulary.of(["cat", "dog", "red bird", "traffic light"])
PROMPTS = [
    Prompt.of(points=[[50, 40]]),
    Prompt.of(box=[30, 20, 80, 60]),
    Prompt.of(points=[[50, 40], [10, 80]], labels=[1, 0]),
    Prompt.of(points=[[50, 40]], box=[30, 20, 80, 60]),
    Prompt.of(points=[[20, 20]]),
    Prompt.of(mask=np.pad(np.ones((40, 50), bool), ((20, 30), (30, 60)))),
    Prompt.of(box=[0, 0, 140, 90]),
]


def agree(one, other):
    assert len(one.candidates) == len(other.candidates)
    for a, b in zip(one.candidates, other.candidates, strict=True):
        assert (a.mask.full() != b.mask.full()).mean() < 1e-3
        assert a.predicted_iou == pytest.approx(b.predicted_iou, abs=1e-4)
        np.testing.assert_allclose(a.region, b.region, atol=1e-4)
        np.testing.assert_allclose(a.logits.astype(np.float32), b.logits.astype(np.float32), atol=0.02)
        assert [x.name for x in a.labels] == [x.name for x in b.labels]


def test_the_random_model_is_the_same_everywhere(predictor, rgb, embedding):
    other = load_predictor("tiny", "cpu")
    assert other.info == predictor.info
    assert predictor.info.random_weights
    again = other.set_image(rgb)
    assert all(torch.equal(again.tensors[k], embedding.tensors[k]) for k in embedding.tensors)


def test_an_embedding_holds_half_precision_and_its_place(predictor, embedding, rgb):
    assert {t.dtype for t in embedding.tensors.values()} == {torch.float16}
    assert embedding.size_hw == (90, 140)
    assert embedding.input_hw == (82, 128)
    assert embedding.scale_xy == pytest.approx((128 / 140, 82 / 90))
    assert embedding.encoder_hash == predictor.info.encoder_hash
    assert embedding.picture_key == ""
    picture = Picture.of(rgb)
    assert predictor.set_image(picture).picture_key == picture.key


def test_candidates_come_best_first_at_the_picture_size(predictor, embedding):
    found = predictor.predict([[50, 40]], embedding=embedding, vocabulary=NAMES)
    assert len(found.candidates) == 4
    scores = [c.predicted_iou for c in found.candidates if c.mask.area]
    assert scores == sorted(scores, reverse=True)
    for candidate in found.candidates:
        assert (candidate.mask.height, candidate.mask.width) == (90, 140)
        assert candidate.logits.shape == (32, 32)
        assert candidate.logits.dtype == np.float16
        assert np.linalg.norm(candidate.region) == pytest.approx(1, abs=1e-4)
        assert {label.name for label in candidate.labels} == {e.name for e in NAMES}
        assert candidate.crop_region is None
        x1, y1, x2, y2 = candidate.box_xyxy
        if candidate.mask.area:
            assert (x1, y1, x2 - x1, y2 - y1) == candidate.mask.bbox_xywh
    assert found.branches == ("head", "clip")
    assert set(found.timing_ms) == {"decode", "names"}


def test_a_batch_equals_one_by_one_in_any_order(predictor, embedding):
    together = predictor.predict_batch(PROMPTS, embedding=embedding, vocabulary=NAMES)
    for prompt, answered in zip(PROMPTS, together, strict=True):
        agree(answered, predictor.predict_batch([prompt], embedding=embedding, vocabulary=NAMES)[0])
    turned = predictor.predict_batch(PROMPTS[::-1], embedding=embedding, vocabulary=NAMES)
    for one, other in zip(together, turned[::-1], strict=True):
        agree(one, other)


def test_no_prompts_no_predictions(predictor, embedding):
    assert predictor.predict_batch([], embedding=embedding) == []


def test_more_prompts_than_a_chunk(predictor, embedding):
    prompts = [Prompt.of(points=[[x, 40]]) for x in range(1, 140, 2)]
    found = predictor.predict_batch(prompts, embedding=embedding)
    assert len(found) == 70
    agree(found[40], predictor.predict_batch([prompts[40]], embedding=embedding)[0])


def test_threads_with_their_own_pictures(predictor):
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 255, (60, 80 + 10 * i, 3), dtype=np.uint8) for i in range(3)]
    alone = []
    for pixels in pictures:
        embedding = predictor.set_image(pixels)
        alone.append(predictor.predict_batch(PROMPTS[:2], embedding=embedding, vocabulary=NAMES))
    found = [None] * 3

    def work(i):
        embedding = predictor.set_image(pictures[i])
        for _ in range(5):
            found[i] = predictor.predict_batch(PROMPTS[:2], embedding=embedding, vocabulary=NAMES)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, found, strict=True):
        for a, b in zip(one, other, strict=True):
            agree(a, b)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": [[141, 5]]}, "outside the picture of 140 x 90"),
        ({"points": [[5, -1]]}, "outside"),
        ({"box": [150, 0, 160, 10]}, "outside"),
        ({"mask": np.ones((9, 9), bool)}, "bool mask needs"),
        ({}, "needs a point"),
        ({"points": [[1, 2, 3]]}, "shape"),
    ],
)
def test_prompts_that_mean_nothing_are_refused(predictor, embedding, arguments, message):
    with pytest.raises(PromptError, match=message):
        predictor.predict(embedding=embedding, **arguments)


def test_a_box_beyond_the_edge_is_cut(predictor, embedding):
    over = predictor.predict(box=[-20, -20, 60, 50], embedding=embedding)
    agree(over, predictor.predict(box=[0, 0, 60, 50], embedding=embedding))


def test_embeddings_of_another_encoder_are_refused(predictor, embedding, rgb):
    with pytest.raises(EmbeddingError, match="another encoder"):
        predictor.predict([[5, 5]], embedding=replace(embedding, encoder_hash="other"))
    with pytest.raises(EmbeddingError, match="no picture yet"):
        load_predictor("tiny", "cpu").predict([[5, 5]])
    with pytest.raises(EmbeddingError, match="pixels"):
        predictor.predict([[5, 5]], embedding=embedding, picture=rgb[:50])


def test_unknown_models_devices_and_vocabularies_are_told(predictor, embedding):
    with pytest.raises(ModelError, match="no such model"):
        load_predictor("nothing-like-it")
    with pytest.raises(ModelError, match="cannot be used"):
        load_predictor("tiny", "quantum")
    with pytest.raises(VocabularyError):
        predictor.predict([[5, 5]], embedding=embedding, vocabulary="no-such-list")


def test_set_image_uses_the_cache(tmp_path, predictor, rgb, monkeypatch):
    cache = EmbeddingCache(tmp_path, ram_bytes=0)
    picture = Picture.of(rgb)
    first = predictor.set_image(picture, cache=cache)
    monkeypatch.setattr(type(predictor), "_encode", lambda *_: pytest.fail("encoded again"))
    second = predictor.set_image(picture, cache=cache)
    agree(predictor.predict([[50, 40]], embedding=first), predictor.predict([[50, 40]], embedding=second))
    assert predictor.predict([[50, 40]]).candidates  # it is the current one


def test_the_crop_branch_names_a_single_candidate_too(predictor, rgb, embedding, monkeypatch):
    crop = replace(predictor.config.crop, enabled=True)
    monkeypatch.setattr(predictor, "config", replace(predictor.config, crop=crop))
    found = predictor.everything(embedding, boxes=[[30, 20, 80, 60]], vocabulary=NAMES, picture=rgb)
    assert [len(prediction.candidates) for prediction in found] == [1]
    assert "crop" in found[0].branches
    assert len(found[0].labels) == len(NAMES)


def test_crop_branch_runs_where_pixels_are(predictor, embedding, rgb, monkeypatch):
    set_answer(monkeypatch, torch.stack([blob(2, 2, 25, 19), blob(5, 6, 20, 15)]), torch.tensor([0.9, 0.5]))
    with_crop = predictor.predict([[50, 40]], embedding=embedding, vocabulary=NAMES, picture=rgb, crop=True)
    assert with_crop.branches == ("head", "clip", "crop")
    assert np.linalg.norm(with_crop.best.crop_region) == pytest.approx(1, abs=1e-4)
    assert all(c.crop_region is None for c in with_crop.candidates[1:])
    without = predictor.predict([[50, 40]], embedding=embedding, vocabulary=NAMES, crop=True)
    assert without.branches == ("head", "clip")
    assert {a.name: a.score for a in with_crop.labels} != {a.name: a.score for a in without.labels}


def test_without_vocabulary_there_are_no_names(predictor, embedding):
    found = predictor.predict([[50, 40]], embedding=embedding)
    assert found.labels == ()
    assert found.branches == ()
    assert found.best.region.shape == (32,)


def test_region_embedding_is_the_frozen_branch(predictor, embedding):
    boxes = np.array([[30, 20, 80, 60], [0, 0, 140, 90]], np.float32)
    found = predictor.region_embedding(boxes, embedding)
    assert found.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    by_prompt = predictor.predict(box=boxes[0], embedding=embedding)
    np.testing.assert_allclose(by_prompt.best.region, found[0], atol=1e-4)
    assert predictor.region_embedding(np.zeros((0, 4)), embedding).shape == (0, 32)


def test_vocabularies_are_encoded_once(predictor):
    one = predictor.encode_vocabulary(NAMES)
    assert predictor.encode_vocabulary(Vocabulary.of([e.name for e in NAMES], NAMES.id)) is one
    with pytest.raises(CancelledError):
        predictor.encode_vocabulary(Vocabulary.of(["something new"]), cancelled=lambda: True)


def set_answer(monkeypatch, logits, iou):
    """Let the decoder answer the same (M, 32, 32) logits and (M,) scores to every prompt."""

    def decode(look, features, place, side, prompts):
        n = len(prompts)
        return DecodedMasks(
            logits[None].repeat(n, 1, 1, 1), None if iou is None else iou[None].repeat(n, 1), torch.zeros(n, 32)
        )

    monkeypatch.setattr(answer, "decode", decode)
    monkeypatch.setattr(everything, "decode", decode)


def blob(x1, y1, x2, y2):
    logits = torch.full((32, 32), -5.0)
    logits[y1:y2, x1:x2] = 5.0
    return logits


@pytest.mark.parametrize(
    ("arguments", "region"),
    [
        ({"points": [[50, 40]]}, (34, 24, 66, 56)),
        ({"points": [[2, 2]]}, (0, 0, 32, 32)),
        ({"points": [[1, 1], [139, 89]], "point_labels": [0, 1]}, (108, 58, 140, 90)),
        ({"box": [30, 20, 80, 60]}, (30, 20, 80, 60)),
        ({"mask": np.full((32, 32), -3.0, np.float32)}, (0, 0, 140, 90)),
    ],
)
def test_an_empty_mask_is_named_by_the_prompts_region(predictor, embedding, monkeypatch, arguments, region):
    set_answer(monkeypatch, torch.full((2, 32, 32), -4.0), torch.tensor([0.1, 0.9]))
    found = predictor.predict(embedding=embedding, vocabulary=NAMES, **arguments)
    assert found.empty
    assert found.mask.area == 0
    assert found.box_xyxy == region
    assert len(found.labels) == 4


def test_an_empty_candidate_comes_last(predictor, embedding, monkeypatch):
    set_answer(monkeypatch, torch.stack([torch.full((32, 32), -4.0), blob(4, 4, 12, 12)]), torch.tensor([0.9, 0.1]))
    found = predictor.predict([[50, 40]], embedding=embedding)
    assert not found.empty
    assert [bool(c.mask.area) for c in found.candidates] == [True, False]


def test_point_prompts_are_named_by_their_masks_box(predictor, embedding, monkeypatch):
    set_answer(monkeypatch, blob(4, 6, 12, 14)[None], torch.tensor([0.5]))
    found = predictor.predict([[50, 40]], embedding=embedding)
    scale = np.array([128 / 140, 82 / 90] * 2)
    expected = predictor.region_embedding(np.array([[16, 24, 48, 56]]) / scale, embedding)
    np.testing.assert_allclose(found.best.region, expected[0], atol=1e-4)


def test_the_one_mask_form_scores_by_stability(predictor, embedding, monkeypatch):
    unsure = torch.full((32, 32), 0.5)
    unsure[:16] = 5.0
    set_answer(monkeypatch, torch.stack([blob(2, 2, 20, 20), unsure]), None)
    found = predictor.predict([[50, 40]], embedding=embedding)
    assert [c.predicted_iou for c in found.candidates] == pytest.approx([1.0, 0.5])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(3, 300), st.integers(3, 300)),
    seed=st.integers(0, 9999),
    quiet=st.floats(-3.0, 1.0),
    outline_only=st.booleans(),
)
def test_windows_equal_whole_picture_processing(size, seed, quiet, outline_only):
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, 4, 4, generator=random) * 3 + quiet
    logits = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic")[0, 0]
    longer = max(size)
    input_hw = tuple(max(1, int(s * 128 / longer + 0.5)) for s in size)
    whole = postprocess_logits(logits[None, None], padded=128, input_hw=input_hw, size_hw=size)[0, 0].numpy()
    window, x, y = picture_window(logits, padded=128, input_hw=input_hw, size_hw=size)
    pasted = np.full(size, -1.0, np.float32)
    pasted[y : y + window.shape[0], x : x + window.shape[1]] = window
    sure = np.abs(whole) > 1e-4  # rounding may turn what lies on the border
    assert ((pasted > 0) == (whole > 0))[sure].all()
    inside = whole[y : y + window.shape[0], x : x + window.shape[1]]
    np.testing.assert_allclose(window, inside, atol=1e-4)
    place = ImageEmbedding({}, size, input_hw, (1.0, 1.0), "", "")
    with pytest.MonkeyPatch.context() as patch:
        if outline_only:
            patch.setattr("ovsam_core.mask_window._DENSE", 0)
        mask = picture_mask(logits, place, 128).full()
    assert (mask == (whole > 0))[sure].all()


def test_a_bool_mask_becomes_logits_where_it_is(predictor, embedding):
    mask = np.zeros((90, 140), bool)
    mask[20:60, 30:80] = True
    logits = mask_logits(mask, embedding, 128)
    assert logits.shape == (1, 32, 32)
    assert logits.max() == 6
    assert logits.min() == -6
    again = picture_mask(logits[0], embedding, 128).full()
    assert (again & mask).sum() / (again | mask).sum() > 0.9
    resized = mask_logits(np.full((64, 64), 2.0, np.float16), embedding, 128)
    assert resized.shape == (1, 32, 32)
    assert resized.unique().tolist() == [2.0]


def test_a_mask_alone_can_be_refined(predictor, embedding):
    first = predictor.predict([[50, 40]], embedding=embedding)
    again = predictor.predict([[50, 40]], mask=first.logits, embedding=embedding)
    assert again.logits.shape == first.logits.shape
    assert not np.array_equal(again.logits, first.logits)


def test_the_zoom_window_stays_inside_and_is_worth_it():
    assert zoom_window(np.array([10, 10, 30, 20]), (200, 300), 2.0) == (0, 0, 40, 40)
    assert zoom_window(np.array([280, 180, 300, 200]), (200, 300), 2.0) == (260, 160, 300, 200)
    assert zoom_window(np.array([10, 10, 200, 200]), (200, 300), 2.0) is None
    assert zoom_window(np.array([100, 100, 102, 102]), (200, 300), 2.0) == (85, 85, 117, 117)


@pytest.mark.parametrize("size", [0, 64])
def test_the_zoom_pass_runs_on_small_objects_only(predictor, embedding, rgb, monkeypatch, size):
    config = replace(predictor.config, zoom=replace(predictor.config.zoom, size=size))
    monkeypatch.setattr(predictor.model, "config", config)
    small = blob(8, 8, 13, 13)
    set_answer(monkeypatch, small[None], torch.tensor([0.5]))
    seen = []
    real = answer.decode

    def decode(look, features, place, side, prompts):
        seen.append((side, place.size_hw, prompts[0]))
        if len(seen) % 2 == 0:  # the crop: answer its middle
            return DecodedMasks(blob(8, 8, 24, 24)[None, None], torch.tensor([[0.8]]), torch.zeros(1, 32))
        return real(look, features, place, side, prompts)

    monkeypatch.setattr(answer, "decode", decode)
    found = predictor.predict([[45, 45]], embedding=embedding, picture=rgb, zoom=True)
    assert found.branches == ("zoom",)
    assert "zoom" in found.timing_ms
    side, size_hw, prompt = seen[1]
    assert side == (size or 128)
    assert size_hw[0] == size_hw[1]
    x, y, w, h = predictor.predict([[45, 45]], embedding=embedding).mask.bbox_xywh
    assert size_hw[0] == max(32, round(2 * max(w, h)))
    assert prompt.points_xy.tolist()[0] == pytest.approx([size_hw[0] / 2, size_hw[0] / 2], abs=6)
    assert (prompt.mask[12:20, 12:20] > 0).all()  # the first answer, twice enlarged, in the middle
    assert (prompt.mask[:, :4] < 0).all()
    assert (prompt.mask[:4] < 0).all()
    assert found.best.predicted_iou == pytest.approx(0.8)
    cx, cy = x + w / 2, y + h / 2
    bx1, by1, bx2, by2 = found.box_xyxy
    assert ((bx1 + bx2) / 2, (by1 + by2) / 2) == pytest.approx((cx, cy), abs=2)
    set_answer(monkeypatch, blob(2, 2, 30, 20)[None], torch.tensor([0.5]))
    assert predictor.predict([[45, 45]], embedding=embedding, picture=rgb, zoom=True).branches == ()


def test_the_closer_look_stays_the_first_candidate(predictor, embedding, rgb, monkeypatch):
    set_answer(monkeypatch, torch.stack([blob(8, 8, 13, 13), blob(7, 7, 14, 14)]), torch.tensor([0.9, 0.8]))
    real = answer.decode

    def decode(look, features, place, side, prompts):
        if place.size_hw != embedding.size_hw:
            return DecodedMasks(blob(8, 8, 24, 24)[None, None], torch.tensor([[0.6]]), torch.zeros(1, 32))
        return real(look, features, place, side, prompts)

    monkeypatch.setattr(answer, "decode", decode)
    found = predictor.predict([[45, 45]], embedding=embedding, picture=rgb, zoom=True)
    plain = predictor.predict([[45, 45]], embedding=embedding)
    assert [c.predicted_iou for c in found.candidates] == pytest.approx([0.9, 0.8])
    assert found.candidates[0].mask != plain.candidates[0].mask
    assert found.candidates[1].mask == plain.candidates[1].mask


def test_a_closer_looks_candidates_vote_by_their_scores():
    logits = torch.tensor([[[4.0, 4.0, -4.0]], [[4.0, -4.0, -4.0]], [[4.0, -4.0, -4.0]]])
    assert (answer.blended(logits, torch.tensor([0.5, 0.5, 0.5])) > 0).tolist() == [[True, False, False]]
    assert (answer.blended(logits, torch.tensor([0.9, 0.5, 0.5])) > 0).tolist() == [[True, True, False]]
    torch.testing.assert_close(answer.blended(logits[:1], torch.tensor([0.5])), logits[0])


def test_a_zoom_that_finds_another_object_is_dropped(predictor, embedding, rgb, monkeypatch):
    calls = []

    def decode(look, features, place, side, prompts):
        calls.append(1)
        logits = blob(8, 8, 13, 13) if len(calls) == 1 else blob(0, 0, 3, 3)
        return DecodedMasks(logits[None, None], torch.tensor([[0.5]]), torch.zeros(1, 32))

    monkeypatch.setattr(answer, "decode", decode)
    found = predictor.predict([[45, 45]], embedding=embedding, picture=rgb, zoom=True)
    assert len(calls) == 2
    assert found.branches == ()


def test_zoomed_logits_lie_where_the_mask_lies(predictor, embedding, rgb):
    zoom = Zoom(rgb, (40, 20, 100, 80))
    window = np.full((60, 60), -8.0, np.float32)
    window[20:40, 10:50] = 8.0  # picture pixels 50..90 x 40..60
    logits = paste_logits(window, zoom, embedding, 128)
    mask = picture_mask(logits, embedding, 128).full()
    truth = np.zeros((90, 140), bool)
    truth[40:60, 50:90] = True
    assert (mask & truth).sum() / (mask | truth).sum() > 0.85
    prompt = zoom.prompt(Prompt.of([[70, 50], [5, 5]], [1, 0], [50, 40, 90, 60]), logits, embedding, 128)
    assert prompt.points_xy.tolist() == [[30, 30]]
    assert prompt.labels.tolist() == [1]
    assert prompt.box_xyxy.tolist() == [10, 20, 50, 40]
    ys, xs = np.nonzero(prompt.mask > 0)
    cell = 60 / 32
    assert ((xs.mean() + 0.5) * cell, (ys.mean() + 0.5) * cell) == pytest.approx((30, 30), abs=1)
    assert len(xs) * cell**2 == pytest.approx(800, rel=0.15)


def test_everything_keeps_one_of_each(predictor, embedding, monkeypatch):
    set_answer(monkeypatch, torch.stack([blob(4, 4, 12, 12), blob(0, 0, 30, 20)]), torch.tensor([0.9, 0.7]))
    shares = []
    found = predictor.everything(embedding, grid=6, vocabulary=NAMES, progress=shares.append)
    assert len(found) == 1  # the better candidate of every click is the same object
    assert found[0].best.predicted_iou == pytest.approx(0.9)
    assert len(found[0].labels) == 4
    assert len(found[0].candidates) == 1
    assert shares == sorted(shares)
    assert shares[-1] == 1
    with pytest.raises(CancelledError):
        predictor.everything(embedding, grid=6, cancelled=lambda: True)
    with pytest.raises(PromptError, match="not both"):
        predictor.everything(embedding, grid=6, boxes=[[0, 0, 5, 5]])
    with pytest.raises(PromptError, match="grid"):
        predictor.everything(embedding, grid=0)


def test_everything_drops_what_is_unsure_or_unstable(predictor, embedding, monkeypatch):
    set_answer(monkeypatch, blob(4, 4, 12, 12)[None], torch.tensor([0.3]))
    assert predictor.everything(embedding, grid=3) == []
    assert len(predictor.everything(embedding, grid=3, quality=0.2)) == 1
    set_answer(monkeypatch, (blob(4, 4, 12, 12) / 10)[None], torch.tensor([0.9]))
    assert predictor.everything(embedding, grid=3) == []


def test_everything_answers_each_given_box(predictor, embedding):
    boxes = [[30, 20, 80, 60], [0, 0, 140, 90], [30, 20, 80, 60]]
    found = predictor.everything(embedding, boxes=boxes, vocabulary=NAMES)
    assert len(found) == 3
    alone = predictor.predict(box=boxes[0], embedding=embedding, vocabulary=NAMES)
    assert found[0].mask == found[2].mask
    assert max(c.predicted_iou for c in alone.candidates) == pytest.approx(found[0].best.predicted_iou, abs=1e-4)
    assert predictor.everything(embedding, boxes=[]) == []


@pytest.mark.parametrize("arguments", [{"grid": 3}, {"boxes": [[30, 30, 60, 60]]}])
def test_everything_looks_closer_where_the_picture_is_given(predictor, embedding, rgb, monkeypatch, arguments):
    def decode(look, features, place, side, prompts):
        n, whole = len(prompts), place.size_hw == embedding.size_hw
        logits = blob(8, 8, 13, 13) if whole else blob(8, 8, 24, 24)
        return DecodedMasks(logits[None, None].repeat(n, 1, 1, 1), torch.full((n, 1), 0.7), torch.zeros(n, 32))

    monkeypatch.setattr(answer, "decode", decode)
    monkeypatch.setattr(everything, "decode", decode)
    shares = []
    found = predictor.everything(embedding, picture=rgb, zoom=True, progress=shares.append, **arguments)
    assert [one.branches for one in found] == [("zoom",)]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    without = predictor.everything(embedding, zoom=True, **arguments)
    assert [one.branches for one in without] == [()]
    assert without[0].mask != found[0].mask


def test_the_grid_covers_the_picture_evenly():
    points = np.array(everything.grid_points((90, 180), 8))
    assert len(points) == 32
    assert points.min(0).tolist() == [11.25, 11.25]
    assert points.max(0).tolist() == [168.75, 78.75]
    assert everything.grid_points((5, 500), 4) == [(62.5, 2.5), (187.5, 2.5), (312.5, 2.5), (437.5, 2.5)]


def test_suppression_keeps_the_best_of_the_same():
    logits = torch.stack([blob(4, 4, 12, 12), blob(4, 4, 12, 13), blob(20, 20, 30, 30), blob(4, 4, 30, 30)])
    kept = everything.suppress(logits, torch.tensor([0.5, 0.9, 0.8, 0.7]), 0.7)
    assert kept.tolist() == [1, 2, 3]


def test_fallback_of_a_small_picture_is_the_picture(predictor):
    small = predictor.set_image(np.zeros((10, 20, 3), np.uint8))
    assert fallback_box(Prompt.of([[5, 5]]), small).tolist() == [0, 0, 20, 10]
    assert predictor.predict([[5, 5]], embedding=small, vocabulary=NAMES).labels
