"""Reading pictures: one decoding rule for display, prediction, cache and export."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import xxhash
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ovsam_core.errors import PictureError

if TYPE_CHECKING:
    from typing import IO, Any

    from numpy.typing import NDArray

__all__ = [
    "DECODING_RULE",
    "PICTURE_SUFFIXES",
    "Picture",
    "load_picture",
    "max_megapixels",
    "picture_key",
    "picture_size",
    "small_picture",
    "stretch",
    "window_to_rgb",
]

DECODING_RULE = "r1"
"""Part of every picture key: raise it whenever the same file would decode to other pixels."""

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".avif", ".jp2"}
)
"""Lower-case file name endings that folders are searched for."""

_DEFAULT_MEGAPIXELS = 600.0  # 24,500 x 24,500: 1.8 GB as RGB, the most that 8 GB machines hold beside a model
_STRETCH_PERCENT = (
    0.1,
    99.9,
)  # fixed for every picture of more than 8 bits, so that a model sees the same input everywhere
_PAPER = 255  # transparent pixels are laid on white, as browsers and print do
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = ExifTags.Base.Orientation
_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_PILLOW_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The limit of this module replaces Pillow's own, which warns at 89 and fails at 179 megapixels.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        rgb: (H, W, 3) uint8, EXIF-turned, C-contiguous; what models and (by default) people see.
        key: content key: 32 hex digits of xxh3_128 over the file's bytes, a hyphen and the decoding rule.
        path: the file, or None for an array.
        raw: the stored values where the file holds more than 8 bits a channel: (H, W) or (H, W, C) uint16, int32 or
            float32, EXIF-turned; None otherwise. For display windows only (`window_to_rgb`).
    """

    rgb: NDArray[np.uint8]
    key: str
    path: Path | None = None
    raw: NDArray[Any] | None = None

    @classmethod
    def of(cls, rgb: NDArray[np.uint8], path: Path | None = None) -> Self:
        """Wrap an array (H, W, 3) uint8; its key is the hash of shape and pixels.

        Raises:
            PictureError: the array has another shape or type.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise PictureError(f"picture: expected (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
        pixels = np.ascontiguousarray(rgb)
        digest = xxhash.xxh3_128(str(pixels.shape).encode())
        digest.update(pixels.data)
        return cls(pixels, f"{digest.hexdigest()}-{DECODING_RULE}", path)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]


def max_megapixels() -> float:
    """Pixel limit in megapixels: the environment variable OVSAM_MAX_MEGAPIXELS, otherwise 600.

    Raises:
        PictureError: the variable is not a positive number.
    """
    text = os.environ.get("OVSAM_MAX_MEGAPIXELS", "")
    if not text:
        return _DEFAULT_MEGAPIXELS
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise PictureError(f"OVSAM_MAX_MEGAPIXELS: expected a positive number, got {text!r}")
    return value


def picture_key(path: str | Path) -> str:
    """Content key of a picture file, read in pieces and not decoded.

    Raises:
        PictureError: the file cannot be read.
    """
    digest = xxhash.xxh3_128()
    try:
        with Path(path).open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise _unreadable(Path(path), error) from error
    return f"{digest.hexdigest()}-{DECODING_RULE}"


def picture_size(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels after the EXIF turn, from the header alone.

    Raises:
        PictureError: the file is missing or not a picture.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, Image.open(file) as image:
            return _turned_size(image)
    except OSError as error:
        if isinstance(error, UnidentifiedImageError):
            pixels = _decode_deep(path, _read(path))
            return pixels.shape[1], pixels.shape[0]
        raise _unreadable(path, error) from error
    except (SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise PictureError(f"{path}: not a picture this program can read ({error})") from error


def load_picture(path: str | Path, *, megapixels: float | None = None) -> Picture:
    """Decode a picture file once: EXIF turn, palette, grey, alpha (on white), 8 and 16 bits, integers and floats.

    Pictures with more than 8 bits a channel are stretched to 8 from the 0.1 to the 99.9 percentile of the whole
    picture; their stored values stay in `Picture.raw`. Of files with several pages the first is read.

    Args:
        path: the file; names of any script.
        megapixels: pixel limit; None takes `max_megapixels()`.

    Raises:
        PictureError: missing, empty, damaged, not a picture, or larger than the limit.
    """
    path = Path(path)
    data = _read(path)
    limit = max_megapixels() if megapixels is None else megapixels
    key = f"{xxhash.xxh3_128_hexdigest(data)}-{DECODING_RULE}"
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = _turned_size(image)
            _check_limit(path, width, height, limit)
            if _bits(image, data) <= 8:
                return Picture(_to_rgb(image), key, path)
            orientation = _orientation(image)
    except UnidentifiedImageError:
        orientation = 1
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError, EOFError) as error:
        raise PictureError(f"{path}: damaged picture ({error})") from error
    raw = _turn(_decode_deep(path, data), orientation)
    _check_limit(path, raw.shape[1], raw.shape[0], limit)
    rgb = _channels_to_rgb(raw if raw.dtype == np.uint8 else stretch(raw))
    return Picture(rgb, key, path, None if raw.dtype == np.uint8 else raw)


def small_picture(path: str | Path, side: int) -> NDArray[np.uint8]:
    """Decode a picture for a small view of it; of a JPEG only about as much as is shown.

    Args:
        path: the file.
        side: neither width nor height of the result is larger; smaller pictures keep their size.

    Returns:
        (h, w, 3) uint8, EXIF-turned.

    Raises:
        PictureError: as `load_picture`.
    """
    path = Path(path)
    pixels = _draft(path, side)
    if pixels is None:
        pixels = load_picture(path).rgb
    shrink = max(pixels.shape[:2]) / side
    if shrink <= 1:
        return pixels
    import cv2  # noqa: PLC0415 - slow to import and seldom needed

    size = (max(1, round(pixels.shape[1] / shrink)), max(1, round(pixels.shape[0] / shrink)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _draft(path: Path, side: int) -> NDArray[np.uint8] | None:
    """A JPEG at the smallest of its eighths that is not smaller than asked for; None for what is none."""
    try:
        with Image.open(io.BytesIO(_read(path))) as image:
            width, height = _turned_size(image)
            _check_limit(path, width, height, max_megapixels())
            if image.draft(None, (side, side)) is None:  # None keeps the colours
                return None
            return _to_rgb(image)
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError, EOFError) as error:
        raise PictureError(f"{path}: damaged picture ({error})") from error


def stretch(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """Map the 0.1 to 99.9 percentiles of all finite values linearly to 0 to 255, all channels alike.

    Args:
        raw: (H, W) or (H, W, C) of any real type; values that are not finite become 0. An alpha channel (the second
            of two, the fourth of four) neither counts nor changes: it is scaled from its full range.
    """
    colours = raw[..., : _colour_channels(raw)] if raw.ndim == 3 else raw
    low, high = _percentiles(colours)
    result = _scaled(raw, low, high)
    if colours.shape != raw.shape:
        top = float(np.iinfo(raw.dtype).max) if raw.dtype.kind in "ui" else 1.0
        result[..., -1] = _scaled(raw[..., -1], 0.0, top)
    return result


def window_to_rgb(raw: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Show the values `low` to `high` of `Picture.raw` as (H, W, 3) uint8; never changes what a model sees."""
    return _channels_to_rgb(_scaled(raw, low, high))


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not data:
        raise PictureError(f"{path}: the file is empty")
    return data


def _unreadable(path: Path, error: OSError) -> PictureError:
    if isinstance(error, FileNotFoundError):
        return PictureError(f"{path}: no such file")
    if isinstance(error, PermissionError):
        return PictureError(f"{path}: no permission to read it")
    return PictureError(f"{path}: cannot be read ({error.strerror or error})")


def _check_limit(path: Path, width: int, height: int, limit: float) -> None:
    if width * height > limit * 1e6:
        raise PictureError(
            f"{path}: {width} x {height} = {width * height / 1e6:.1f} megapixels exceed the limit of {limit:g}; "
            "raise it with OVSAM_MAX_MEGAPIXELS"
        )


def _orientation(image: Image.Image) -> int:
    # Called on the class, because for PNG Pillow's own method decodes the whole picture to look for a late EXIF chunk.
    value = Image.Image.getexif(image).get(_ORIENTATION)
    if value is None and image.format == "PNG":
        value = _late_png_orientation(image)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _late_png_orientation(image: Image.Image) -> int | None:
    """Orientation in an EXIF chunk behind the pixels, found by hopping from chunk to chunk."""
    file: IO[bytes] = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length = int.from_bytes(head[:4])
            if head[4:] == b"eXIf":
                exif = Image.Exif()
                exif.load(file.read(length))
                return exif.get(_ORIENTATION)
            file.seek(length + 4, io.SEEK_CUR)
    finally:
        file.seek(place)
    return None


def _turned_size(image: Image.Image) -> tuple[int, int]:
    tags = getattr(image, "tag_v2", None)
    # TIFF: Pillow's size is turned or not depending on its version; the tags are the file's own.
    width, height = image.size if tags is None else (int(tags[256]), int(tags[257]))
    return (height, width) if _orientation(image) in _TURNED else (width, height)


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits a channel; Pillow hides that of 16-bit colour PNG and TIFF behind the mode RGB."""
    if image.mode in _DEEP_MODES:
        return 16
    if image.format == "PNG":
        return data[24]
    tags = getattr(image, "tag_v2", None)
    return max(tags.get(258, (1,))) if tags is not None else 8


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    orientation = _orientation(image)
    image.load()
    if getattr(image, "tag_v2", None) is not None:
        turned = ImageOps.exif_transpose(image)  # Pillow turns TIFF while loading; then this does nothing
    else:
        method = _PILLOW_TURNS.get(orientation)
        turned = image if method is None else image.transpose(method)
    if "A" in turned.getbands() or "transparency" in turned.info:
        coloured = turned.convert("RGBA")
        paper = Image.new("RGBA", coloured.size, (_PAPER, _PAPER, _PAPER, 255))
        turned = Image.alpha_composite(paper, coloured)
    return np.array(turned.convert("RGB"))


def _decode_deep(path: Path, data: bytes) -> NDArray[Any]:
    """Decode what Pillow cannot hold: 16-bit and float colour, scientific TIFF; (H, W) or (H, W, C), RGB order."""
    if data[:2] in (b"II", b"MM"):
        import tifffile  # noqa: PLC0415 - slow to import and seldom needed

        try:
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                page = file.pages[0]
                pixels = page.asarray()
                axes = page.axes
            if axes not in ("YX", "YXS", "SYX"):
                raise PictureError(  # noqa: TRY301 - passed on below, unlike every other failure
                    f"{path}: expected one plane or colour channels, got a stack {pixels.shape} ({axes})"
                )
            if axes == "SYX":
                pixels = np.moveaxis(pixels, 0, -1)
            return _checked_deep(path, pixels)
        except PictureError:
            raise
        except Exception:  # noqa: S110 - tifffile's failures have many types, and OpenCV reads other compressions
            pass
    import cv2  # noqa: PLC0415 - slow to import and seldom needed

    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"{path}: damaged picture ({str(error).strip()})") from error
    if decoded is None:
        raise PictureError(f"{path}: not a picture this program can read")
    pixels = decoded
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        order = (2, 1, 0, 3)[: pixels.shape[2]]  # OpenCV decodes to BGR(A)
        pixels = pixels[..., order]
    return _checked_deep(path, pixels)


def _checked_deep(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim not in (2, 3) or 0 in pixels.shape or pixels.dtype.kind not in "uifb":
        raise PictureError(f"{path}: expected one plane or colour channels, got {pixels.shape} {pixels.dtype}")
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    return np.ascontiguousarray(pixels)


def _turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation (1 to 8) to an array."""
    if orientation in _TURNED:
        pixels = np.swapaxes(pixels, 0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _colour_channels(pixels: NDArray[Any]) -> int:
    """Channels without alpha: 2 is grey with alpha, 4 is RGB with alpha."""
    channels: int = pixels.shape[2]
    return channels - 1 if channels in (2, 4) else channels


def _percentiles(values: NDArray[Any]) -> tuple[float, float]:
    if values.dtype == np.uint16:  # a histogram is exact and ten times faster than sorting
        counts = np.cumsum(np.bincount(values.reshape(-1), minlength=1 << 16))
        ranks = [np.floor(p / 100 * (counts[-1] - 1)) for p in _STRETCH_PERCENT]
        low, high = (float(np.searchsorted(counts, rank, side="right")) for rank in ranks)
    else:
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.reshape(-1)
        if not finite.size:
            return 0.0, 1.0
        low, high = (float(v) for v in np.percentile(finite, _STRETCH_PERCENT, method="lower"))
    if high > low:
        return low, high
    low, high = float(np.nanmin(values[np.isfinite(values)])), float(np.nanmax(values[np.isfinite(values)]))
    return (low, high) if high > low else (low, low + 1.0)


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    result = np.empty(values.shape, np.uint8)
    gain = 255.0 / max(high - low, 1e-12)
    for start in range(0, values.shape[0], 1024):  # in bands: float copies of 600 megapixels would not fit
        band = (values[start : start + 1024].astype(np.float32) - np.float32(low)) * np.float32(gain)
        np.nan_to_num(band, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
        result[start : start + 1024] = np.clip(np.rint(band), 0, 255).astype(np.uint8)
    return result


def _channels_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make (H, W, 3) of one, two (grey, alpha), three, four (RGB, alpha) or more channels (the first three)."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    colours = _colour_channels(pixels)
    rgb = pixels[..., :3] if colours >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint16)
        blended = rgb.astype(np.uint16) * alpha + _PAPER * (255 - alpha)
        rgb = ((blended + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(rgb)
