"""Reading pictures: turns, depths, channels, limits and broken files."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from ovsam_core.errors import PictureError
from ovsam_core.pictures import (
    DECODING_RULE,
    Picture,
    load_picture,
    max_megapixels,
    picture_key,
    picture_size,
    small_picture,
    stretch,
    window_to_rgb,
)

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (11, 17, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (11, 17)).astype(np.uint16)
DEEP_RGB = RNG.integers(0, 65536, (11, 17, 3)).astype(np.uint16)


def oriented(array, orientation):
    """The EXIF standard's table: what a viewer must show."""
    return {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: np.swapaxes(array, 0, 1),
        6: np.swapaxes(array, 0, 1)[:, ::-1],
        7: np.swapaxes(array, 0, 1)[::-1, ::-1],
        8: np.swapaxes(array, 0, 1)[::-1],
    }[orientation]


def encoded(array, kind):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def saved(path, array, orientation=None, **options):
    exif = Image.Exif()
    if orientation:
        exif[274] = orientation
    Image.fromarray(array).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_eight_bits_are_turned_once(tmp_path, suffix, orientation):
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    path = saved(tmp_path / f"a{suffix}", RGB, orientation, **options)
    picture = load_picture(path)
    np.testing.assert_array_equal(picture.rgb, oriented(RGB, orientation))
    assert picture.rgb.flags.c_contiguous
    assert picture.raw is None
    assert picture_size(path) == picture.size_hw[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_turned_once(tmp_path, suffix, orientation):
    path = saved(tmp_path / f"a{suffix}", DEEP, orientation)
    picture = load_picture(path)
    np.testing.assert_array_equal(picture.raw, oriented(DEEP, orientation))
    assert picture.raw.dtype == np.uint16
    assert picture_size(path) == picture.size_hw[::-1]


def test_jpeg_is_turned_once(tmp_path):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :20] = 255
    path = saved(tmp_path / "a.jpg", wide, 6, quality=95)
    rgb = load_picture(path).rgb
    assert rgb.shape == (40, 20, 3)
    assert rgb[:10].min() > 240
    assert rgb[30:].max() < 15
    assert picture_size(path) == (20, 40)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_small_view_is_turned_and_looks_like_the_picture(tmp_path, suffix):
    wide = np.zeros((400, 800, 3), np.uint8)
    wide[:, :400] = 255
    small = small_picture(saved(tmp_path / f"a{suffix}", wide, 6), 100)
    assert small.shape == (100, 50, 3)
    assert small[:45].min() > 240
    assert small[55:].max() < 15
    assert small_picture(saved(tmp_path / f"b{suffix}", wide[:30, :40]), 100).shape == (30, 40, 3)


def test_a_small_view_of_a_jpeg_never_holds_all_of_it(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.jpg", RNG.integers(0, 256, (1600, 1600, 3)).astype(np.uint8))
    held = []
    load = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda self, *a, **k: held.append(self.size) or load(self, *a, **k))
    assert small_picture(path, 128).shape == (128, 128, 3)
    assert held == [(200, 200)]


def test_a_small_view_of_what_is_no_picture_says_so(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(encoded(RGB, "JPEG")[:200])
    with pytest.raises(PictureError, match=r"a\.jpg: damaged"):
        small_picture(tmp_path / "a.jpg", 100)
    with pytest.raises(PictureError, match="no such file"):
        small_picture(tmp_path / "b.jpg", 100)
    monkeypatch.setenv("OVSAM_MAX_MEGAPIXELS", "0.0001")
    with pytest.raises(PictureError, match="exceed the limit"):
        small_picture(saved(tmp_path / "c.jpg", RGB), 100)


def test_sixteen_bit_colour_keeps_every_value(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), DEEP_RGB[..., ::-1])
    tifffile.imwrite(tmp_path / "a.tif", DEEP_RGB)
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(DEEP_RGB, -1, 0), planarconfig="separate", photometric="rgb")
    cv2.imwrite(str(tmp_path / "lzw.tif"), DEEP_RGB[..., ::-1])  # OpenCV writes LZW, which tifffile alone does not read
    for name in ("a.png", "a.tif", "planes.tif", "lzw.tif"):
        picture = load_picture(tmp_path / name)
        np.testing.assert_array_equal(picture.raw, DEEP_RGB, err_msg=name)
        np.testing.assert_array_equal(picture.rgb, stretch(DEEP_RGB))
        assert picture_size(tmp_path / name) == (17, 11)


def test_sixteen_bit_alpha_is_laid_on_white(tmp_path):
    deep = np.zeros((4, 6, 4), np.uint16)
    deep[..., 0] = np.linspace(0, 65535, 6).astype(np.uint16)
    deep[:, 3:, 3] = 65535
    cv2.imwrite(str(tmp_path / "a.png"), deep[..., [2, 1, 0, 3]])
    picture = load_picture(tmp_path / "a.png")
    assert picture.raw.shape == (4, 6, 4)
    assert (picture.rgb[:, :3] == 255).all()
    assert (picture.rgb[:, 3:, 1] == 0).all()
    assert picture.rgb[0, 5, 0] == 255


def test_float_pictures_with_and_without_odd_values(tmp_path):
    values = np.linspace(-5, 5, 200, dtype=np.float32).reshape(10, 20)
    values[0, :3] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", values)
    picture = load_picture(tmp_path / "a.tif")
    assert picture.raw.dtype == np.float32
    assert picture.rgb[0, 0, 0] == 0
    assert picture.rgb[0, 1, 0] == 255
    assert picture.rgb[0, 2, 0] == 0
    assert picture.rgb[-1, -1, 0] == 255
    steps = np.diff(picture.rgb[..., 0].reshape(-1)[3:].astype(int))
    assert (steps >= 0).all()
    assert steps.max() <= 2


def test_the_stretch_is_that_of_the_percentiles():
    values = RNG.normal(1000, 50, (100, 120)).clip(0, 65535).astype(np.uint16)
    low, high = np.percentile(values, [0.1, 99.9], method="lower")
    expected = np.clip(np.rint((values.astype(np.float64) - low) * 255 / (high - low)), 0, 255)
    assert np.abs(stretch(values).astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(stretch(values.astype(np.int32)), stretch(values))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_constant_pictures_do_not_divide_by_zero(dtype):
    assert stretch(np.full((4, 5), 7, dtype)).max() == 0
    spike = np.zeros((200, 200), dtype)
    spike[0, 0] = 100
    assert stretch(spike)[0, 0] == 255
    assert (stretch(np.full((2, 2), np.nan, np.float32)) == 0).all()


def test_a_display_window_is_linear_and_leaves_the_picture_alone():
    raw = np.arange(0, 1000, 10, dtype=np.uint16).reshape(10, 10)
    before = raw.copy()
    shown = window_to_rgb(raw, 200, 700)
    assert shown.shape == (10, 10, 3)
    assert (shown[raw <= 200] == 0).all()
    assert (shown[raw >= 700] == 255).all()
    np.testing.assert_array_equal(raw, before)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    image = Image.fromarray(RGB).convert(mode)
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png")
    image.save(path)
    picture = load_picture(path)
    with Image.open(path) as reference:
        np.testing.assert_array_equal(picture.rgb, np.asarray(reference.convert("RGB")))


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[:, 1] = (10, 20, 30, 255)
    rgba[:, 2] = (0, 0, 0, 128)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    rgb = load_picture(tmp_path / "a.png").rgb
    assert rgb[0, 0].tolist() == [255, 255, 255]
    assert rgb[0, 1].tolist() == [10, 20, 30]
    assert abs(int(rgb[0, 2, 0]) - 127) <= 1
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 0, 0, 0, 200, 0])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png", transparency=0)
    assert load_picture(tmp_path / "p.png").rgb[0].tolist() == [[255, 255, 255], [0, 200, 0]]


def test_file_names_of_any_script(tmp_path):
    for name in ("ü ß.png", "写真.png", "صورة.tif", "фото 📷.png"):
        path = saved(tmp_path / name, DEEP)
        assert load_picture(path).size_hw == (11, 17)
        assert picture_size(str(path)) == (17, 11)


def test_the_first_page_of_many(tmp_path):
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(load_picture(tmp_path / "a.tif").rgb, RGB)


def test_keys_follow_content_not_names(tmp_path):
    one, two = saved(tmp_path / "1.png", RGB), saved(tmp_path / "2.png", RGB)
    other = saved(tmp_path / "3.png", 255 - RGB)
    assert load_picture(one).key == load_picture(two).key == picture_key(one)
    assert picture_key(other) != picture_key(one)
    key, _, rule = picture_key(one).partition("-")
    assert len(key) == 32
    assert rule == DECODING_RULE


def test_arrays_are_pictures_too():
    picture = Picture.of(RGB)
    assert picture.size_hw == (11, 17)
    assert picture.key == Picture.of(RGB.copy()).key != Picture.of(RGB[:, ::-1]).key
    assert Picture.of(RGB[:, ::-1]).rgb.flags.c_contiguous
    for wrong in (RGB[..., 0], RGB.astype(np.float32), RGB[:0]):
        with pytest.raises(PictureError, match="expected"):
            Picture.of(wrong)


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path):
    data = encoded(RGB, "PNG")
    exif = Image.Exif()
    exif[274] = 6
    block = exif.tobytes()[6:]  # without the JPEG marker "Exif\0\0"
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    path = tmp_path / "late.png"
    path.write_bytes(data[:-12] + chunk + data[-12:])
    np.testing.assert_array_equal(load_picture(path).rgb, oriented(RGB, 6))
    assert picture_size(path) == (11, 17)


# ---- limits and broken files


def huge_png(width, height):
    """A PNG whose header promises more than anybody should decode."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_the_limit_is_checked_before_decoding_and_can_be_set(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(huge_png(40_000, 40_000))
    with pytest.raises(PictureError, match=r"1600\.0 megapixels exceed the limit of 600"):
        load_picture(path)
    assert picture_size(path) == (40_000, 40_000)
    small = saved(tmp_path / "b.png", RGB)
    with pytest.raises(PictureError, match="exceed the limit"):
        load_picture(small, megapixels=1e-4)
    monkeypatch.setenv("OVSAM_MAX_MEGAPIXELS", "0.0001")
    with pytest.raises(PictureError, match="OVSAM_MAX_MEGAPIXELS"):
        load_picture(small)
    load_picture(small, megapixels=1)


@pytest.mark.parametrize("text", ["many", "-3", "0", "nan"])
def test_a_limit_that_is_none_is_told(monkeypatch, text):
    monkeypatch.setenv("OVSAM_MAX_MEGAPIXELS", text)
    with pytest.raises(PictureError, match="expected a positive number"):
        max_megapixels()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's remark on cut TIFF tags
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.jpg", b"this is no picture", "not a picture"),
        ("cut.jpg", encoded(np.repeat(np.repeat(RGB, 20, 0), 20, 1), "JPEG")[:3000], "damaged picture"),
        ("cut.png", encoded(np.repeat(np.repeat(RGB, 9, 0), 9, 1), "PNG")[:400], "damaged picture"),
        ("deep.png", encoded(DEEP, "PNG")[:100], "damaged picture|not a picture"),
        ("cut.tif", encoded(DEEP, "TIFF")[:60], "damaged picture|not a picture"),
        ("header.tif", b"II*\0" + b"\xff" * 40, "damaged picture|not a picture"),
    ],
)
def test_broken_files_are_named(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(PictureError, match=message) as caught:
        load_picture(path)
    assert name in str(caught.value)


def test_missing_forbidden_and_directories(tmp_path, monkeypatch):
    for read in (load_picture, picture_key, picture_size):
        with pytest.raises(PictureError, match="no such file"):
            read(tmp_path / "none.png")
        with pytest.raises(PictureError, match="cannot be read"):
            read(tmp_path)
    path = saved(tmp_path / "a.png", RGB)

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    for read in (picture_key, picture_size):
        with pytest.raises(PictureError, match="no permission"):
            read(path)


def test_sizes_of_what_is_no_picture(tmp_path):
    (tmp_path / "text.jpg").write_bytes(b"this is no picture")
    with pytest.raises(PictureError, match="not a picture"):
        picture_size(tmp_path / "text.jpg")


def test_scientific_stacks_are_refused_with_their_shape(tmp_path):
    volume = np.zeros((3, 4, 5), np.uint16)
    tifffile.imwrite(tmp_path / "volume.tif", volume, volumetric=True, tile=(16, 16, 16), photometric="minisblack")
    with pytest.raises(PictureError, match=r"volume\.tif"):
        load_picture(tmp_path / "volume.tif")


def test_planes_beyond_three_show_the_first_three():
    cube = RNG.integers(0, 4000, (6, 7, 5)).astype(np.uint16)
    assert window_to_rgb(cube, 0, 4000).shape == (6, 7, 3)
    grey_alpha = np.dstack([np.full((2, 2), 100, np.uint8), np.array([[0, 255], [255, 255]], np.uint8)])
    assert window_to_rgb(grey_alpha, 0, 255)[0].tolist() == [[255] * 3, [100] * 3]


def test_bool_tiff(tmp_path):
    flags = RNG.random((9, 8)) < 0.5
    tifffile.imwrite(tmp_path / "flags.tif", flags, photometric="minisblack")
    np.testing.assert_array_equal(load_picture(tmp_path / "flags.tif").rgb[..., 0] > 127, flags)
