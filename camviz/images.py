"""Turn untrusted bytes into a safe RGB array, and that array into the square view that a model sees."""

import io
import re
import warnings
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffTags, UnidentifiedImageError

from camviz.colour_profiles import to_srgb

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF")  # JPEG covers the MPO that phones write
MAX_PIXELS = 40_000_000
_STRIP = 256  # rows converted at a time
PAD_COLOUR = (124, 116, 104)  # the mean colour of ImageNet: neutral to a network trained on it

Fit = Literal["crop", "squeeze", "pad"]
Pixel = TypeVar("Pixel", np.uint8, np.bool_)

# The start of a JPEG's scan of 1 to 4 colours. The film that a phone appends holds its first two bytes by chance.
_SCAN, _MOST_SCANS = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)"), 100
TOO_MUCH_WORK = (
    "This picture takes too much work to decode: open it in an image program and save it again as a PNG or JPEG."
)
_READABLE = "use a PNG, JPEG, WebP, AVIF, BMP, GIF or TIFF picture"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_TIFF = {info.name: tag for tag, info in TiffTags.TAGS_V2.items()}
# Whether to swap rows and columns, and the steps along rows and columns, which make a picture upright.
Turn = tuple[bool, int, int]
_TURNS: dict[int, Turn] = {  # by EXIF orientation
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


class ImageError(ValueError):
    """A picture cannot be read; the message is one sentence for the user who supplied it."""


def load_image(source: str | Path | bytes | BinaryIO, most: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a picture from a path, bytes or a file into an sRGB array that looks as a person expects.

    The format is detected from the content. Colours with a profile are converted to sRGB, EXIF rotation is applied,
    transparency is put on white, and an animation yields its first frame. 16-bit grey is scaled (65535 -> 255); 32-bit
    grey has no agreed white point and is stretched from its minimum to its maximum, unless it is float within [0, 1],
    which is scaled by 255.

    Args:
        source: a path, the bytes themselves, or a binary file object (read from its start).
        most: the largest number of pixels to accept, at most 40 megapixels.

    Returns:
        uint8 (H, W, 3), C-contiguous, owning its memory.

    Raises:
        ImageError: no such file, an unsupported format, a damaged file, or too many pixels.
    """
    with _open(source) as stream, warnings.catch_warnings():
        # Our limit below is lower than Pillow's. (Threads may mix up the filters: at worst this one stays.)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return _decode(stream, most)
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(_why_unidentified(stream)) from error
        except Image.DecompressionBombError as error:  # raised while opening, so width and height are unknown
            claim = re.search(r"(\d+) pixels", str(error))
            claimed = f"{int(claim[1]) / 1e6:.1f} megapixels" if claim else "far too many pixels"
            raise _too_large(claimed, most) from error
        except MemoryError as error:
            raise ImageError("This picture needs too much memory: make it smaller first.") from error
        except Exception as error:
            # Deliberately broad: on hostile bytes, decoders raise struct.error, KeyError, AttributeError...
            raise ImageError("This picture is damaged or truncated: save or download it again.") from error


def _open(source: str | Path | bytes | BinaryIO) -> BinaryIO:
    """Return a stream of the source that can be closed without closing the caller's own file object."""
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if isinstance(source, str | Path):
        try:
            if Path(source).is_file():  # not a directory, nor a device or pipe that never ends
                return Path(source).open("rb")
        except OSError as error:
            raise ImageError(f"{str(source)!r} cannot be opened: check its name and permissions.") from error
        raise ImageError(f"There is no file {str(source)!r}: check the name.")
    if not hasattr(source, "read"):
        raise ImageError(f"A picture must be a path, bytes or a binary file, not {type(source).__name__}.")
    try:
        if source.seekable():  # a Streamlit upload is read again on every rerun
            source.seek(0)
        data = source.read()
    except (AttributeError, OSError, ValueError) as error:
        raise ImageError("The file object cannot be read: open it for reading.") from error
    if not isinstance(data, bytes):
        raise ImageError("The file object returns text instead of bytes: open it in binary mode, 'rb'.")
    return io.BytesIO(data)


def _decode(stream: BinaryIO, most: int) -> NDArray[np.uint8]:
    pixels, turn = _as_stored(stream, most)
    return pixels if turn is None else _turned(pixels, *turn)  # now that the decoder's memory is free


def _as_stored(stream: BinaryIO, most: int) -> tuple[NDArray[np.uint8], Turn | None]:
    """Decode a picture as it is stored; also return how to make it upright."""
    if not stream.read(1):
        raise ImageError(f"The file is empty: {_READABLE}.")
    with Image.open(stream, formats=FORMATS) as picture:
        width, height = picture.size
        if width * height > most:
            raise _too_large(f"{width} x {height} pixels ({width * height / 1e6:.1f} megapixels)", most)
        _match_transparent_colour(picture)
        _require_few_scans(picture, stream)
        plain = _first_frame(picture) if picture.format == "WEBP" else picture
        plain.load()
        turn, profile = _turn(picture), picture.info.get("icc_profile")  # PNG may have them after the pixels
        plain = Image.fromarray(_to_grey(plain)) if _is_deep(plain) else plain
        return _to_array(plain, profile), turn


def _first_frame(picture: Image.Image) -> Image.Image:
    """Decode a WebP picture as Pillow does, but let go of the decoder before the pixels are copied.

    Its two canvases take 320 MB of 40 megapixels, and Pillow keeps them. The decoder is a private part of Pillow's.
    """
    webp = cast(Any, picture)
    frame = webp._decoder.get_next()
    webp._decoder = None
    if frame is None:
        raise EOFError("the first frame of a WebP file is damaged")
    return Image.frombuffer(picture.mode, picture.size, frame[0], "raw", webp.rawmode, 0, 1)


def _why_unidentified(stream: BinaryIO) -> str:
    """Why Pillow does not know the format, for the person who supplied the file."""
    stream.seek(0)
    start = stream.read(12)
    if start[4:8] == b"ftyp" and start[8:] in _HEIF_BRANDS:
        return (
            "HEIC pictures cannot be read here: export this one as JPEG (on an iPhone, Settings > Camera > Formats > "
            "Most Compatible does so for new ones)."
        )
    if start.startswith(_TIFF_STARTS):
        return (
            "This TIFF is damaged, or has colours as floating-point numbers or more bands than a picture: save it as "
            "an RGB picture of 8 or 16 bits."
        )
    return f"This picture is damaged or in an unsupported format: {_READABLE}."


def _too_large(size: str, most: int) -> ImageError:
    return ImageError(f"This picture has {size}, but the limit is {most / 1e6:g} megapixels: make it smaller first.")


def _require_few_scans(picture: Image.Image, stream: BinaryIO) -> None:
    """Refuse a progressive JPEG that goes over its blocks again and again: encoders do so some 10 times."""
    if picture.format in ("JPEG", "MPO"):
        stream.seek(0)
        if len(_SCAN.findall(stream.read())) > _MOST_SCANS:
            raise ImageError(TOO_MUCH_WORK)


def _match_transparent_colour(picture: Image.Image) -> None:
    """Convert a PNG's transparent colour to 8 bits, as Pillow does with the pixels; call this before load."""
    colour = picture.info.get("transparency")
    if picture.format != "PNG" or colour is None:
        return
    raw_mode = cast(Any, picture).tile[0].args
    if raw_mode in ("L;2", "L;4"):
        picture.info["transparency"] = colour * (85 if raw_mode == "L;2" else 17)
    elif raw_mode == "RGB;16B":
        picture.info["transparency"] = tuple(value >> 8 for value in colour)


def _turned(pixels: NDArray[np.uint8], swap: bool, rows: int, columns: int) -> NDArray[np.uint8]:
    """Swap the rows and columns of a picture, if asked to, then step along them forwards or backwards."""
    swapped = pixels.transpose(1, 0, 2) if swap else pixels
    return np.ascontiguousarray(swapped[::rows, ::columns])


def _turn(picture: Image.Image) -> Turn | None:
    """How to make the picture upright; None if it is."""
    try:
        return _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  (a garbled EXIF block, on which anything may fail, leaves the picture as it is)
        return None


def _is_deep(picture: Image.Image) -> bool:
    """Whether its values are grey, of 16 or 32 bits."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def _to_array(picture: Image.Image, profile: bytes | None) -> NDArray[np.uint8]:
    """Convert in strips: otherwise Pillow would hold several more copies of the whole picture."""
    result = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, _STRIP):
        bottom = min(top + _STRIP, picture.height)
        result[top:bottom] = np.asarray(_to_rgb(picture.crop((0, top, picture.width, bottom)), profile))
    return result


def _to_rgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if picture.mode == "La":  # Pillow cannot convert premultiplied grey to RGBA
        picture = picture.convert("LA")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        opaque = picture.convert("L") if picture.mode == "LA" else rgba.convert("RGB")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(to_srgb(opaque, profile), mask=rgba)
        return white
    return to_srgb(picture, profile)


def _to_grey(picture: Image.Image) -> NDArray[np.uint8]:
    """16- and 32-bit grey -> uint8 (H, W), where Pillow itself would clip."""
    tags = getattr(picture, "tag_v2", {})
    values = np.asarray(picture)
    if picture.mode.startswith("I;16"):
        grey = _scale(values, 0, 2 ** tags.get(_TIFF["BitsPerSample"], (16,))[0] - 1)  # packed TIFFs have 12
    else:
        finite = np.isfinite(values)
        if not finite.all():
            values = np.where(finite, values, values.min(where=finite, initial=np.inf))
        black, white = float(values.min()), float(values.max())
        within_unit = picture.mode == "F" and black >= 0 and white <= 1
        grey = _scale(values, 0, 1) if within_unit else _scale(values, black, white)
    if tags.get(_TIFF["PhotometricInterpretation"]) == 0:  # white is zero; Pillow handles this only up to 8 bits
        np.subtract(255, grey, out=grey)
    if "transparency" in picture.info:
        grey[values == picture.info["transparency"]] = 255
    return grey


def _scale(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    """Map [black, white] to [0, 255], or everything to black if the range is empty; in pieces, as float64 is large."""
    result = np.zeros(values.size, np.uint8)
    if white > black:
        step = 1 << 20
        for start in range(0, values.size, step):
            piece = values.reshape(-1)[start : start + step].astype(np.float64)
            result[start : start + step] = np.rint((piece - black) * (255 / (white - black)))
    return result.reshape(values.shape)


def fit_view(image: NDArray[Pixel], size: int, resize: int, fit: Fit, resample: Image.Resampling) -> NDArray[Pixel]:
    """Fit a picture or its mask into the square that a model sees.

    "crop" is torchvision's evaluation transform, Resize(resize) then CenterCrop(size), antialiased by Pillow;
    "squeeze" resizes the whole picture regardless of aspect ratio; "pad" centres the whole picture on neutral grey.

    Args:
        image: uint8 (H, W, 3), or a bool mask (H, W), which is sampled nearest and padded with False.
        size: side of the view, in pixels; an image of (size, size) is returned unchanged.
        resize: shorter side before the crop, in pixels, at least `size`; only used by "crop".
        fit: "crop", "squeeze" or "pad".
        resample: Pillow's filter.

    Returns:
        (size, size, 3) or (size, size), of the image's dtype.

    Raises:
        ValueError: an unknown fit, an unsupported dtype or shape, or `resize` below `size`.
    """
    height, width = _checked_shape(image)
    if fit not in get_args(Fit):
        raise ValueError(f"fit must be one of {', '.join(get_args(Fit))}, got {fit!r}")
    if size < 1 or (fit == "crop" and resize < size):
        raise ValueError(f"size must be at least 1 and resize at least size, got size {size}, resize {resize}")
    if (height, width) == (size, size):
        return image
    if fit == "crop":
        return _crop(image, size, resize, resample)
    if fit == "squeeze":
        return _resample(image, size, size, resample)
    rows, columns = (max(1, round(side * size / max(height, width))) for side in (height, width))
    top, left = (size - rows) // 2, (size - columns) // 2
    view = np.full((size, size, *image.shape[2:]), PAD_COLOUR if image.ndim == 3 else False, image.dtype)
    view[top : top + rows, left : left + columns] = _resample(image, rows, columns, resample)
    return view


def _checked_shape(image: NDArray[Any]) -> tuple[int, int]:
    picture = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    mask = image.dtype == np.bool_ and image.ndim == 2
    if not (picture or mask) or 0 in image.shape:
        raise ValueError(f"image must be uint8 (H, W, 3) or bool (H, W), got {image.dtype} {image.shape}")
    return image.shape[0], image.shape[1]


def _crop(image: NDArray[Pixel], size: int, resize: int, resample: Image.Resampling) -> NDArray[Pixel]:
    """Resize the whole picture, then crop: given the crop as a box, Pillow 13 may swap its two passes."""
    shorter = min(image.shape[:2])

    def middle(side: int) -> slice:
        # Resized whole, 1 x 40,000,000 would become 256 x 10^10. Beyond 64:1 the ends are far from the crop: drop
        # an even number of squares at each end, which leaves sampling points and rounding unchanged.
        ends = 2 * shorter * max(0, (side - 64 * shorter) // (4 * shorter))
        return slice(ends, side - ends)

    image = image[middle(image.shape[0]), middle(image.shape[1])]
    rows, columns = (int(resize * side / shorter) for side in image.shape[:2])
    top, left = (round((side - size) / 2.0) for side in (rows, columns))
    return _resample(image, rows, columns, resample)[top : top + size, left : left + size].copy()


def _resample(image: NDArray[Pixel], rows: int, columns: int, resample: Image.Resampling) -> NDArray[Pixel]:
    if image.dtype == np.bool_:
        return image[_nearest(image.shape[0], rows)[:, None], _nearest(image.shape[1], columns)]
    # A filter's table takes about 40 bytes per source pixel of a side: beyond JPEG's longest side, average first.
    gap = 3.0 if max(image.shape) > 65_535 else None
    return np.array(Image.fromarray(image).resize((columns, rows), resample, reducing_gap=gap))


def _nearest(side: int, count: int) -> NDArray[np.int64]:
    """For each of `count` pixels, the source pixel (of `side`) under its centre, in exact integer arithmetic."""
    return (2 * np.arange(count, dtype=np.int64) + 1) * side // (2 * count)
