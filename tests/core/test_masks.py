"""Masks and polygons: run lengths, windows, set operations, shaping, outlines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from ovsam_core.errors import FormatError
from ovsam_core.masks import Mask, iou_matrix, union_all
from ovsam_core.polygons import PolygonPart, coco_polygons, mask_to_polygons, polygons_to_mask

steady = settings(deadline=None, max_examples=80)  # no deadline: a busy machine is no failure

pixels = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))
pairs = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)


def drawn(text):
    """A mask from lines in which # is a pixel of the object."""
    return Mask.of(np.array([[c == "#" for c in line] for line in text.split()]))


def shown(mask):
    return "\n".join("".join(".#"[int(v)] for v in row) for row in mask.full())


DONUT = drawn("""
.......
.#####.
.#...#.
.#...#.
.#####.
.......
""")


# ---- run lengths


@steady
@given(pixels)
def test_every_form_of_run_lengths_comes_back(array):
    mask = Mask.of(array)
    np.testing.assert_array_equal(mask.full(), array)
    assert mask.area == array.sum()
    size = list(array.shape)
    assert Mask.from_rle(mask.rle) == mask
    assert Mask.from_rle({"size": size, "counts": mask.counts}) == mask
    assert Mask.from_rle({"size": size, "counts": mask.runs().tolist()}, *size) == mask
    assert mask.runs().sum() == array.size
    assert hash(Mask.of(array.copy())) == hash(mask)


@steady
@given(pixels, st.integers(0, 3))
def test_window_holds_exactly_the_object(array, margin):
    mask = Mask.of(array)
    crop, x, y = mask.window(margin)
    assert Mask.from_window(crop, x, y, *array.shape) == mask
    if array.any():
        rows, columns = np.nonzero(array)
        left, top = max(0, columns.min() - margin), max(0, rows.min() - margin)
        assert (x, y) == (left, top)
        assert crop.shape == (
            min(array.shape[0], rows.max() + 1 + margin) - top,
            min(array.shape[1], columns.max() + 1 + margin) - left,
        )
        assert mask.bbox_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    else:
        assert crop.shape == (0, 0)
        assert mask.bbox_xywh == (0, 0, 0, 0)


@steady
@given(pixels, st.integers(-5, 15), st.integers(-5, 15))
def test_a_window_is_cut_at_the_picture(array, x, y):
    wide = np.zeros((40, 40), np.bool_)
    wide[y + 10 : y + 10 + array.shape[0], x + 10 : x + 10 + array.shape[1]] = array
    assert Mask.from_window(array, x, y, 9, 11) == Mask.of(wide[10:19, 10:21])


def test_run_lengths_with_needless_empty_runs_are_the_same_mask():
    assert Mask.from_runs([3, 2, 0, 1, 6], 3, 4) == Mask.from_runs([3, 3, 6], 3, 4)
    assert Mask.from_runs([0, 0, 12], 3, 4) == Mask.empty(3, 4)
    assert Mask.from_runs([0, 12, 0], 3, 4).area == 12
    assert Mask.from_runs([2, 0, 0, 4, 6], 3, 4) == Mask.from_runs([2, 4, 6], 3, 4)


def test_long_runs_survive():
    mask = Mask.from_window(np.ones((2, 3), np.bool_), 19_000, 18_000, 20_000, 20_000)
    assert mask.area == 6
    assert mask.bbox_xywh == (19_000, 18_000, 3, 2)
    assert mask.contains(19_000.5, 18_001.9)
    assert mask.window()[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"counts": "x"}, "size: expected"),
        ({"size": [3], "counts": "x"}, "size: expected"),
        ({"size": [3, -4], "counts": "x"}, "size: expected"),
        ({"size": [3.0, 4], "counts": "x"}, "size: expected"),
        ({"size": [4, 3], "counts": "x"}, "mask is 3 x 4, picture is 4 x 3"),
        ({"size": [3, 4]}, "counts: expected a text or a list"),
        ({"size": [3, 4], "counts": 5}, "counts: expected a text or a list"),
        ({"size": [3, 4], "counts": [12.0]}, "whole numbers"),
        ({"size": [3, 4], "counts": [5, 5]}, "add up to 10"),
        ({"size": [3, 4], "counts": [13, -1]}, "add up to 12|negative"),
        ({"size": [3, 4], "counts": "\x7f\x7f"}, "not a compressed"),
        ({"size": [3, 4], "counts": "日本"}, "not a compressed"),
        ({"size": [3, 4], "counts": "o"}, "not a compressed"),
        ({"size": [3, 4], "counts": "ooooooooooo0"}, "40 bits"),
        ({"size": [3, 4], "counts": "oOO"}, "negative|add up"),
        ({"size": [3, 4], "counts": ""}, "add up to 0"),
    ],
)
def test_run_lengths_that_do_not_fit_are_refused(rle, message):
    with pytest.raises(FormatError, match=message):
        Mask.from_rle(rle, 3, 4)


def test_only_flat_arrays_are_masks():
    with pytest.raises(FormatError, match=r"expected shape \(H, W\)"):
        Mask.of(np.zeros((2, 2, 3), np.bool_))
    with pytest.raises(FormatError, match="list of whole numbers"):
        Mask.from_runs([1.5, 10.5], 3, 4)


def test_boxes_are_rounded_and_cut():
    assert shown(Mask.from_box((0.6, -3, 2, 5), 3, 4)) == ".##.\n.##.\n...."
    assert Mask.from_box((9, 9, 2, 2), 3, 4) == Mask.empty(3, 4)


# ---- combining


@steady
@given(pairs)
def test_set_operations(pair):
    a, b = pair
    one, two = Mask.of(a), Mask.of(b)
    assert one.union(two) == Mask.of(a | b)
    assert one.intersect(two) == Mask.of(a & b)
    assert one.subtract(two) == Mask.of(a & ~b)
    assert one.invert() == Mask.of(~a)
    assert one.invert().invert() == one
    assert union_all([one, two, one], *a.shape) == Mask.of(a | b)
    expected = 1.0 if not (a | b).any() else (a & b).sum() / (a | b).sum()
    assert one.iou(two) == pytest.approx(expected)


@steady
@given(pixels)
def test_contains_looks_at_the_pixel_under_the_point(array):
    mask = Mask.of(array)
    for y in range(-1, array.shape[0] + 1):
        for x in range(-1, array.shape[1] + 1):
            inside = 0 <= y < array.shape[0] and 0 <= x < array.shape[1] and array[y, x]
            assert mask.contains(x + 0.99, y + 0.01) == inside


def test_masks_of_different_pictures_do_not_mix():
    one, two = Mask.empty(3, 4), Mask.empty(4, 3)
    for mix in (one.union, one.intersect, one.subtract, one.iou):
        with pytest.raises(FormatError, match="sizes differ"):
            mix(two)
    with pytest.raises(FormatError, match="sizes differ"):
        iou_matrix([one], [two])
    with pytest.raises(FormatError, match="sizes differ"):
        union_all([one, two], 3, 4)


def test_iou_of_every_pair():
    masks = [Mask.from_box((n, 0, 2, 2), 4, 8) for n in (0, 1, 4)]
    table = iou_matrix(masks, masks[:2])
    np.testing.assert_allclose(table, [[1, 1 / 3], [1 / 3, 1], [0, 0]])
    assert iou_matrix([], masks).shape == (0, 3)
    assert union_all([], 3, 4) == Mask.empty(3, 4)


# ---- shaping


def test_fill_holes_of_any_or_small_area():
    assert DONUT.fill_holes().area == 20
    assert DONUT.fill_holes(max_area=5) == DONUT
    assert DONUT.fill_holes(max_area=6).area == 20
    assert Mask.empty(3, 4).fill_holes() == Mask.empty(3, 4)


def test_a_bay_open_to_the_edge_is_no_hole():
    bay = drawn("###. #... ###.")
    assert bay.fill_holes() == bay


def test_drop_crumbs_keeps_the_largest_part():
    mask = drawn("##..#.. ##..... ....##.")
    assert shown(mask.drop_crumbs(3)) == "##.....\n##.....\n......."
    assert mask.drop_crumbs(2).area == 6
    assert mask.drop_crumbs(1000).area == 4
    assert Mask.empty(3, 4).drop_crumbs(3) == Mask.empty(3, 4)


def test_parts_touching_at_a_corner_stay_together():
    mask = drawn("##..# ..#.. .....")
    assert [part.area for part in mask.split()] == [3, 1]
    assert union_all(mask.split(), 3, 5) == mask
    assert Mask.empty(3, 4).split() == []


def test_grow_is_a_disc_and_shrink_takes_it_back():
    dot = drawn("....... ....... ....... ...#... ....... ....... .......")
    assert shown(dot.grow(2)) == ".......\n...#...\n..###..\n.#####.\n..###..\n...#...\n......."
    assert dot.grow(2).shrink(2) == dot
    assert dot.shrink(1) == Mask.empty(7, 7)
    assert dot.grow(0) == dot
    assert Mask.empty(3, 4).grow(2) == Mask.empty(3, 4)


def test_growing_stops_at_the_picture_and_shrinking_spares_its_edge():
    left = drawn("##.. ##.. ##..")
    assert shown(left.grow(5)) == "####\n####\n####"
    assert shown(left.shrink(1)) == "#...\n#...\n#..."
    full = Mask.empty(3, 4).invert()
    assert full.shrink(2) == full
    assert full.grow(2) == full


@steady
@given(pixels, st.integers(1, 3))
def test_growing_is_dilation_with_a_disc(array, radius):
    rows, columns = np.nonzero(array)
    y, x = np.mgrid[: array.shape[0], : array.shape[1]]
    near = ((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2 <= radius**2).any(-1)
    assert Mask.of(array).grow(radius) == Mask.of(near)


def test_resized_follows_the_picture():
    assert shown(drawn("#. .#").resized(4, 4)) == "##..\n##..\n..##\n..##"
    assert drawn("#. .#").resized(4, 4).resized(2, 2) == drawn("#. .#")


# ---- polygons


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' decode with current numpy
@steady
@given(pixels)
def test_polygons_along_pixel_edges_are_the_same_mask(array):
    mask = Mask.of(array)
    assert polygons_to_mask(mask_to_polygons(mask), *array.shape) == mask
    rings, whole = coco_polygons(mask)
    if whole:
        assert Mask.from_polygons(rings, *array.shape) == mask
        if rings:  # said without our own code
            merged = coco_mask.merge(coco_mask.frPyObjects([list(r) for r in rings], *array.shape))
            np.testing.assert_array_equal(coco_mask.decode(merged).astype(bool), array)


def test_a_donut_is_one_part_with_one_hole():
    (part,) = mask_to_polygons(DONUT)
    assert sorted(map(tuple, part.shell.tolist())) == [(1, 1), (1, 5), (6, 1), (6, 5)]
    assert [sorted(map(tuple, hole.tolist())) for hole in part.holes] == [[(2, 2), (2, 4), (5, 2), (5, 4)]]
    rings, whole = coco_polygons(DONUT)
    assert len(rings) == 1
    assert not whole


def test_an_island_in_a_hole_is_a_part_of_its_own():
    mask = drawn("##### #...# #.#.# #...# #####")
    parts = mask_to_polygons(mask)
    assert sorted(len(part.holes) for part in parts) == [0, 1]
    assert polygons_to_mask(parts, 5, 5) == mask


def test_pixels_that_touch_at_a_corner_are_two_parts():
    assert len(mask_to_polygons(drawn("#. .#"))) == 2
    assert len(mask_to_polygons(drawn(".# #."))) == 2


def test_no_mask_no_polygon():
    assert mask_to_polygons(Mask.empty(3, 4)) == []
    assert coco_polygons(Mask.empty(3, 4)) == ((), True)
    assert polygons_to_mask([], 3, 4) == Mask.empty(3, 4)
    assert Mask.from_polygons([], 3, 4) == Mask.empty(3, 4)


def test_simplification_moves_the_outline_by_less_than_the_tolerance():
    y, x = np.mgrid[:80, :100]
    disc = Mask.of(((x - 50) ** 2 + (y - 40) ** 2 < 30**2) & ((x - 50) ** 2 + (y - 40) ** 2 >= 10**2))
    exact, simple = mask_to_polygons(disc), mask_to_polygons(disc, 1.0)
    assert len(simple[0].shell) < len(exact[0].shell) / 3
    assert len(simple[0].holes) == 1
    again = polygons_to_mask(simple, 80, 100)
    ring = disc.grow(1.5).subtract(disc.shrink(1.5))
    changed = again.union(disc).subtract(again.intersect(disc))
    assert changed.subtract(ring).area == 0


@steady
@given(pixels, st.sampled_from([0.5, 1.0, 3.0]))
def test_simplification_never_breaks_or_loses_a_part(array, tolerance):
    parts = mask_to_polygons(Mask.of(array), tolerance)
    assert len(parts) >= len(mask_to_polygons(Mask.of(array)))
    polygons_to_mask(parts, *array.shape)


@pytest.mark.parametrize(
    ("ring", "message"),
    [
        ([0, 0, 4, 4], "three points"),
        ([0, 0, 4, 4, 5, 5, 6], "three points"),
        ([0, 0, 4, float("nan"), 5, 5], "finite"),
        ([0, 0, 4, "4", 5, 5], "list of numbers"),
        ([0, 0, True, 4, 5, 5], "list of numbers"),
        ("polygon", "list of numbers"),
        ([0, 0, 1e9, 4, 5, 5], "far outside"),
    ],
)
def test_polygons_that_are_none_are_refused(ring, message):
    with pytest.raises(FormatError, match=message):
        Mask.from_polygons([ring], 10, 10)


def test_rings_are_points():
    with pytest.raises(FormatError, match=r"points \(N, 2\)"):
        polygons_to_mask([PolygonPart(np.zeros(6))], 4, 4)
