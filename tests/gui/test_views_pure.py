"""The parts of the views that need no Qt: rendering, placement, filters, commands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovsam_annotator.model.shapes import pixel_shape
from ovsam_annotator.views.commands import COMMANDS, MENUS, command_by_id, conflicts, default_keys
from ovsam_annotator.views.data import PictureRow, PictureState
from ovsam_annotator.views.palette import luminance, readable_on
from ovsam_annotator.views.picture_filter import parse_filter
from ovsam_annotator.views.placement import Box, place_beside
from ovsam_annotator.views.pyramid import build_levels, level_for_scale, picture_image
from ovsam_annotator.views.render import TileStyle, compose_tile, picture_tile, stretch
from ovsam_annotator.views.report_panel import histogram

RED, BLUE = (255, 0, 0), (0, 0, 255)


def square(x, y, side):
    return pixel_shape(np.ones((side, side), bool), x, y)


# --- render ----------------------------------------------------------------------------------------------------------


def test_a_filled_mask_is_premultiplied_in_its_colour():
    tile = compose_tile([(square(2, 3, 4), RED)], 0, 0, (10, 10), 1, TileStyle(0.5, 0))
    assert tile[4, 4].tolist() == [0, 0, 128 * 255 // 255, 128]
    assert not tile[0, 0].any()
    assert np.count_nonzero(tile[..., 3]) == 16


def test_later_masks_lie_on_top():
    tile = compose_tile([(square(0, 0, 6), RED), (square(3, 0, 6), BLUE)], 0, 0, (10, 10), 1, TileStyle(1.0, 0))
    assert tile[2, 4].tolist() == [255, 0, 0, 255]
    assert tile[2, 1].tolist() == [0, 0, 255, 255]


def test_outlines_are_opaque_and_leave_the_inside_free():
    tile = compose_tile([(square(1, 1, 8), RED)], 0, 0, (10, 10), 1, TileStyle(0.0, 2))
    assert tile[1, 1].tolist() == [0, 0, 255, 255]
    assert tile[2, 5, 3] == 255
    assert tile[5, 5, 3] == 0


def test_neighbouring_tiles_meet_without_an_outline_between_them():
    whole = compose_tile([(square(4, 4, 24), RED)], 0, 0, (32, 32), 1, TileStyle(0.4, 2))
    halves = [compose_tile([(square(4, 4, 24), RED)], x, 0, (32, 16), 1, TileStyle(0.4, 2)) for x in (0, 16)]
    assert np.array_equal(np.concatenate(halves, axis=1), whole)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.sampled_from([1, 2, 4, 8]))
def test_a_mask_never_vanishes_and_never_leaves_its_box(x, y, side, shrink):
    tile = compose_tile([(square(x, y, side), RED)], 0, 0, (80 // shrink, 80 // shrink), shrink, TileStyle(0.5, 0))
    rows, columns = np.nonzero(tile[..., 3])
    assert len(rows)
    assert columns.min() >= x // shrink
    assert columns.max() <= (x + side - 1) // shrink
    assert rows.min() >= y // shrink
    assert rows.max() <= (y + side - 1) // shrink


def test_an_empty_mask_paints_nothing():
    empty = pixel_shape(np.zeros((4, 4), bool))
    assert not compose_tile([(empty, RED)], 0, 0, (8, 8), 1, TileStyle(1.0, 2)).any()


def test_a_picture_tile_is_cut_at_the_edge_and_has_qts_byte_order():
    level = np.zeros((5, 7, 3), np.uint8)
    level[4, 6] = (1, 2, 3)
    tile = picture_tile(level, 4, 4, 512, None)
    assert tile.shape == (1, 3, 4)
    assert tile[0, 2].tolist() == [3, 2, 1, 255]


def test_the_contrast_window_maps_its_ends_to_black_and_white():
    values = np.array([[0, 1000, 1500, 2000, 65535]], np.uint16)
    assert stretch(values, (1000, 2000)).tolist() == [[0, 0, 128, 255, 255]]


def test_levels_halve_until_small_and_keep_the_mean():
    pixels = np.random.default_rng(0).integers(0, 255, (600, 900, 3), np.uint8)
    levels = build_levels(pixels)
    assert [level.shape[:2] for level in levels] == [(600, 900), (300, 450), (150, 225)]
    assert abs(float(levels[-1].mean()) - float(pixels.mean())) < 1


@pytest.mark.parametrize(("scale", "level"), [(8, 0), (1, 0), (0.8, 0), (0.5, 1), (0.3, 1), (0.25, 2), (0.001, 3)])
def test_the_level_has_a_pixel_for_each_screen_pixel(scale, level):
    assert level_for_scale(scale, 4) == level


def test_sixteen_bits_get_a_window_and_grey_gets_three_channels():
    pixels = np.full((40, 50), 1200, np.uint16)
    pixels[:20] = 800
    image = picture_image(1, pixels)
    assert image.levels[0].shape == (40, 50, 3)
    assert image.window == (800.0, 1200.0)
    assert picture_image(1, np.zeros((4, 4, 3), np.uint8)).window is None


# --- placement -------------------------------------------------------------------------------------------------------

VIEW = Box(0, 0, 1000, 700)
sides = st.floats(1, 400)


@given(st.floats(0, 900), st.floats(0, 650), sides, sides)
def test_the_list_stays_on_screen_and_off_the_mask_when_there_is_room(x, y, width, height):
    target = Box(x, y, min(width, 1000 - x), min(height, 700 - y))
    place = place_beside((250, 280), target, [VIEW])
    assert place.x >= 0
    assert place.y >= 0
    assert place.right <= 1000
    assert place.bottom <= 700
    free = max(target.x, 1000 - target.right) >= 264 or max(target.y, 700 - target.bottom) >= 294
    assert place.overlap(target) == 0 or not free


@given(st.lists(st.tuples(st.floats(0, 990), st.floats(0, 690)), max_size=8), st.floats(0, 900), st.floats(0, 650))
def test_the_list_stays_on_screen_and_off_the_main_part_whatever_crumbs_there_are(crumbs, x, y):
    target = Box(x, y, 100, 50)
    others = [Box(a, b, 6, 6) for a, b in crumbs]
    place = place_beside((250, 280), target, [VIEW], others=others)
    assert place.inside(VIEW) == place
    assert place.overlap(target) == 0


def test_the_list_slides_past_a_crumb_instead_of_leaving_the_mask():
    target, crumb = Box(300, 300, 100, 100), Box(450, 340, 20, 20)
    place = place_beside((250, 280), target, [VIEW], others=[crumb, Box(5, 5, 4, 4)])
    assert place.overlap(crumb) == place.overlap(target) == 0
    assert place.overlap(Box(250, 250, 200, 200)) > 0


def test_a_mask_over_the_whole_canvas_sends_the_list_to_the_window():
    canvas, window = Box(200, 0, 800, 700), Box(0, 0, 1300, 700)
    place = place_beside((250, 280), canvas, [canvas, window])
    assert place.overlap(canvas) == 0
    assert place.right <= 1300


def test_the_list_stays_where_it_is_while_that_is_right():
    target = Box(300, 200, 100, 100)
    first = place_beside((200, 200), target, [VIEW])
    grown = Box(290, 190, 110, 110)
    assert place_beside((200, 200), grown, [VIEW], previous=first) == first


# --- filter ----------------------------------------------------------------------------------------------------------

ROW = PictureRow(1, "Hafen/Boot 7.jpg", PictureState.DONE, 3, classes=("boat", "traffic light"), lowest_score=0.4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "boot",
        "HAFEN 7",
        "label:boat",
        'label:"traffic light"',
        "is:done",
        "is:unreviewed",
        "score<0.5",
        "objects:3",
        "objects>2 label:traf",
        'label:"traffic li',
        "objects<=3 score>=0.4",
    ],
)
def test_filters_that_pass(text):
    assert parse_filter(text).matches(ROW)


@pytest.mark.parametrize(
    "text",
    [
        "schiff",
        "label:cat",
        "is:approved",
        "is:missing",
        "score<0.4",
        "objects:0",
        "boot objects>3",
        "is:nonsense",
        "score<x",
    ],
)
def test_filters_that_do_not_pass(text):
    assert not parse_filter(text).matches(ROW)


def test_words_that_mean_nothing_are_named():
    assert parse_filter("boot is:dnoe").wrong == ("is:dnoe",)


@given(st.text(max_size=30))
def test_any_text_is_a_filter(text):
    parse_filter(text).matches(ROW)


# --- commands, colours, report ----------------------------------------------------------------------------------------


def test_shipped_keys_do_not_clash_and_ids_are_unique():
    assert conflicts(default_keys()) == {}
    ids = [command.command_id for command in COMMANDS]
    assert len(set(ids)) == len(ids)
    assert {command.menu for command in COMMANDS} <= {*MENUS, ""}


def test_a_clash_names_both_commands():
    keys = default_keys() | {"tool.brush": ("A",)}
    assert conflicts(keys) == {"A": ("tool.brush", "picture.previous")}
    assert command_by_id("tool.brush").keys == ("B",)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_text_on_any_colour_has_the_contrast_that_large_text_needs(colour):
    light, dark = sorted((luminance(colour), luminance(readable_on(colour))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_every_value_once(values):
    counts = histogram(values, (2, 5, 10))
    assert sum(counts) == len(values)
    assert counts[0] == sum(value < 2 for value in values)
