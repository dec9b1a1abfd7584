"""The annotator's model layer: documents, prompts, shapes, edits, settings; without Qt."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ovsam_annotator.model.class_book import ClassBook, rgb_of
from ovsam_annotator.model.document import Document, Item
from ovsam_annotator.model.editing import Overlap, filled_rings, resolve_overlap, rings_of, stroke_mask
from ovsam_annotator.model.prompt_state import PromptState
from ovsam_annotator.model.settings import Settings, load_settings, save_settings
from ovsam_annotator.model.shapes import mask_shape, pixel_shape, trace_loops
from ovsam_core.errors import PromptError
from ovsam_core.masks import Mask
from ovsam_core.store import ObjectRow, PictureRow

BITMAPS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def _area(loop):
    x, y = loop[:, 0].astype(float), loop[:, 1].astype(float)
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


@given(BITMAPS)
def test_outlines_enclose_every_pixel_once(pixels):
    loops = trace_loops(pixels, 3, 5)
    assert sum(_area(loop) for loop in loops) == pixels.sum()
    parts = cv2.connectedComponents(pixels.astype(np.uint8), connectivity=4)[0] - 1
    assert sum(_area(loop) > 0 for loop in loops) == parts
    for loop in loops:
        assert (np.count_nonzero(np.diff(loop, axis=0, append=loop[:1]), axis=1) == 1).all()


@given(BITMAPS)
def test_a_shape_has_the_masks_pixels(pixels):
    shape, same = mask_shape(Mask.of(pixels)), pixel_shape(pixels)
    assert shape.area == same.area == pixels.sum()
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            assert shape.contains(x + 0.5, y + 0.5) == pixels[y, x] == same.contains(x, y)
    assert not shape.contains(-1, 0)


def _item(x, y, size, uid):
    pixels = np.zeros((60, 60), bool)
    pixels[y : y + size, x : x + size] = True
    mask = Mask.of(pixels)
    return Item(ObjectRow(uid, 1, mask), mask_shape(mask))


def test_the_smallest_object_under_the_cursor_comes_first():
    document = Document(
        PictureRow(1, "a.png"), [_item(5, 5, 10, "small"), _item(0, 0, 50, "big"), _item(2, 2, 30, "middle")]
    )
    assert [item.uid for item in document.under(7, 7)] == ["small", "middle", "big"]
    assert [item.uid for item in document.under(40, 40)] == ["big"]
    assert not document.under(55, 55)


def test_selection_follows_what_is_there():
    document = Document(PictureRow(1, "a.png"), [_item(0, 0, 5, "a"), _item(9, 9, 5, "b")])
    assert document.select(["b", "x", "a", "b"]) == ("b", "a")
    document.drop(["b", "y"])
    assert document.selection == ("a",)
    assert document.neighbour(1) == "a"
    assert Document(PictureRow(1, "a.png")).neighbour(1) is None


def test_a_prompt_goes_back_step_by_step():
    first = PromptState().with_point(1, 2, positive=True, now=5.0)
    answered = first.answered(np.zeros((4, 4), np.float16))
    second = answered.with_point(3, 4, positive=False, now=9.0)
    assert second.started == 5.0
    assert second.prompt().mask is not None
    assert second.back() is answered
    assert first.back() is None
    boxed = second.with_box((1, 1, 9, 9), 10.0)
    assert boxed.mask is None
    assert boxed.clicks == 3
    assert boxed.record()[0] == {"box": [1, 1, 9, 9]}
    with pytest.raises(PromptError):
        PromptState().prompt()


def test_refining_goes_back_to_the_finished_mask():
    base = PromptState.refining("u", np.ones((4, 4), bool), 1.0)
    assert base.empty
    clicked = base.with_point(1, 1, positive=True, now=2.0)
    assert clicked.back() is base
    assert clicked.with_box((0, 0, 2, 2), 3.0).mask is base.base


def test_a_stroke_covers_its_path_and_stays_in_the_picture():
    mask = stroke_mask(np.array([[10.0, 10.0], [50.0, 10.0]]), 4.0, 40, 60)
    full = mask.full()
    assert full[10, 5:55].sum() >= 48
    assert not full[20:].any()
    assert abs(mask.area - (40 * 8 + np.pi * 16)) < 80
    assert stroke_mask(np.array([[-99.0, -99.0]]), 3.0, 40, 60).area == 0
    dot = stroke_mask(np.array([[5.5, 5.5]]), 0.5, 40, 60)
    assert dot.full()[5, 5]


@settings(max_examples=40)
@given(arrays(bool, (9, 11)))
def test_rings_give_the_mask_back(pixels):
    mask = Mask.of(pixels)
    assert filled_rings(rings_of(mask, 0.0), 9, 11).full().tolist() == pixels.tolist()


@given(BITMAPS, st.data())
def test_the_overlap_rules_leave_no_common_pixel(pixels, draw):
    other = Mask.of(draw.draw(arrays(bool, pixels.shape)))
    new = Mask.of(pixels)
    kept, changed = resolve_overlap(new, [other], Overlap.GIVE_WAY)
    assert kept.intersect(other).area == 0
    assert not changed
    cut, changed = resolve_overlap(new, [other], Overlap.CUT)
    assert cut == new
    assert changed.get(0, other).intersect(new).area == 0
    assert resolve_overlap(new, [other], Overlap.ALLOW) == (new, {})


def test_classes_are_claimed_once_and_get_colours_and_hotkeys():
    book = ClassBook()
    cat, new = book.claim("cat.n.01", "cat")
    assert new
    assert cat.hotkey == "Ctrl+1"
    assert book.claim("cat.n.01", "cat") == (cat, False)
    assert book.claim("", "CAT ")[0] is cat
    dog, _ = book.claim("", "my dog")
    assert dog.entry_id == "own:my-dog"
    assert dog.colour != cat.colour
    assert book.with_hotkey("Ctrl+2") is dog
    assert rgb_of("#0a0b0c") == (10, 11, 12)
    assert rgb_of("nonsense") == rgb_of("")
    for k in range(12):
        book.claim("", f"name {k}")
    assert sum(row.hotkey is not None for row in book) == 10


def test_settings_survive_and_nonsense_is_replaced_field_by_field(tmp_path):
    path = tmp_path / "deep" / "settings.json"
    kept = (
        Settings(theme="dark", hover=False, fill=0.2, keys={"picture.next": ("N",)}).with_recent("/a").with_recent("/b")
    )
    save_settings(kept, path)
    assert load_settings(path) == kept
    path.write_text('{"theme": "pink", "fill": "much", "hover": false, "unknown": 1, "recent": 3}')
    assert load_settings(path) == Settings(hover=False)
    path.write_text("[")
    assert load_settings(path) == Settings()
    assert load_settings(tmp_path / "none.json") == Settings()
    assert Settings().changed("fill", True) == Settings()


def test_the_model_layer_imports_neither_qt_nor_torch():
    code = (
        "import sys, pkgutil, importlib, ovsam_annotator.model as m\n"
        "for found in pkgutil.iter_modules(m.__path__, m.__name__ + '.'): importlib.import_module(found.name)\n"
        "bad = [n for n in sys.modules if n.split('.')[0] in ('PySide6', 'torch')]\n"
        "assert not bad, bad\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
