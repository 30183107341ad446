"""Every kind of picture a stranger may offer, from real bytes; and what a model sees of it."""

import io
import itertools
import re
import resource
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms as T
from PIL import ExifTags, Image

from camviz.images import ImageError, fit_view, load_image

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
RNG_SEED = 20261122


def encode(picture, fmt="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, fmt, **options)
    return stream.getvalue()


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height, width):
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(9 * x + 4 * y), np.cos(11 * y), np.sin(25 * x * y)]
    return np.uint8(np.rint(127.5 + 127 * np.stack(waves, axis=-1)))


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, *extra):
    """A PNG by hand: rows are the bytes of each scan line, extra (kind, data) chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def tiff(width, height, bits, pixels, photometric=1, sample_format=1, order="<", extra=()):
    """An uncompressed, single-strip TIFF by hand; bits is one number a sample, extra further (tag, value)."""
    offset = 8
    blob = pixels + b"\0" * (len(pixels) % 2)
    if len(bits) > 2:  # does not fit into the entry itself
        bits_value = offset + len(blob)
        blob += struct.pack(f"{order}{len(bits)}H", *bits)
        blob += b"\0" * (len(blob) % 2)
    entries = [(256, 3, 1, width), (257, 3, 1, height), (259, 3, 1, 1), (262, 3, 1, photometric)]
    entries += [(273, 4, 1, offset), (277, 3, 1, len(bits)), (278, 3, 1, height), (279, 4, 1, len(pixels))]
    entries += [(339, 3, 1, sample_format)] if len(bits) == 1 else []
    entries += [(tag, 3, 1, value) for tag, value in extra]
    body = {tag: struct.pack(order + "HHI", tag, kind, n) + value_field(kind, v, order) for tag, kind, n, v in entries}
    packed = struct.pack(order + "2H", *(*bits, 0)[:2]) if len(bits) <= 2 else struct.pack(order + "I", bits_value)
    body[258] = struct.pack(order + "HHI", 258, 3, len(bits)) + packed
    directory = b"".join(body[tag] for tag in sorted(body))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", offset + len(blob))
    return start + blob + struct.pack(order + "H", len(body)) + directory + b"\0\0\0\0"


def value_field(kind, value, order):
    return struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))


def assert_grey(result, expected):
    assert np.array_equal(result, np.repeat(np.asarray(expected, np.uint8)[..., None], 3, axis=2))


# Formats and sources


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_lossless_formats_come_back_exactly(fmt):
    pixels = noise(5, 7) // 128 * 255  # eight colours: fits GIF's palette
    options = {"lossless": True} if fmt == "WEBP" else {}
    result = load_image(encode(Image.fromarray(pixels), fmt, **options))
    assert np.array_equal(result, pixels)


def test_jpeg_is_close():
    pixels = smooth(40, 60)
    result = load_image(encode(Image.fromarray(pixels), "JPEG", quality=98, subsampling=0))
    assert result.shape == pixels.shape
    assert np.abs(result.astype(int) - pixels).mean() < 1.5


def test_mpo_of_a_phone_gives_its_first_picture():
    first, second = Image.new("RGB", (16, 8), (250, 0, 0)), Image.new("RGB", (16, 8), (0, 0, 250))
    data = encode(first, "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    result = load_image(data)
    assert result.shape == (8, 16, 3)
    assert np.abs(result.astype(int) - (250, 0, 0)).max() <= 3


def test_every_kind_of_source_gives_the_same(tmp_path):
    pixels = noise(4, 6)
    data = encode(Image.fromarray(pixels))
    path = tmp_path / "a.jpg"  # a wrong name: content decides
    path.write_bytes(data)
    stream = io.BytesIO(data)
    for _ in range(2):  # the second time the stream stands at its end
        assert np.array_equal(load_image(stream), pixels)
    assert not stream.closed
    with path.open("rb") as file:
        for source in (data, bytearray(data), path, str(path), file):
            assert np.array_equal(load_image(source), pixels)
        assert not file.closed


def test_result_is_plain_own_memory():
    exif = Image.Exif()
    exif[274] = 6  # a rotation is where a view would slip through
    data = encode(Image.fromarray(noise(3, 5)), exif=exif)
    result = load_image(data)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.flags.owndata
    again = load_image(data)
    result[:] = 0
    assert again.any()
    assert np.array_equal(load_image(data), again)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_one_pixel(fmt):
    result = load_image(encode(Image.new("RGB", (1, 1), (255, 255, 255)), fmt))
    assert result.tolist() == [[[255, 255, 255]]]


# Rotation

UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation(fmt, orientation):
    pixels = noise(3, 5)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if fmt == "WEBP" else {}
    result = load_image(encode(Image.fromarray(pixels), fmt, exif=exif, **options))
    assert np.array_equal(result, UPRIGHT[orientation](pixels))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_orientation_of_jpeg(orientation):
    pixels = smooth(32, 48)
    exif = Image.Exif()
    exif[274] = orientation
    result = load_image(encode(Image.fromarray(pixels), "JPEG", exif=exif, quality=98, subsampling=0))
    expected = UPRIGHT[orientation](pixels)
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).mean() < 1.5


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_exif_orientation_of_16_bit(fmt):
    values = (np.arange(15, dtype=np.uint16) * 4369).reshape(3, 5)
    exif = Image.Exif()
    exif[274] = 6
    result = load_image(encode(Image.fromarray(values), fmt, exif=exif))
    assert_grey(result, np.rot90(np.arange(15).reshape(3, 5) * 17, -1))


@pytest.mark.parametrize("exif", [b"Exif\0\0not a TIFF header", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_garbled_exif_block_does_not_cost_the_picture(exif):
    pixels = noise(3, 5)
    assert np.array_equal(load_image(encode(Image.fromarray(pixels), exif=exif)), pixels)


def test_an_unknown_orientation_means_upright():
    pixels = noise(3, 5)
    exif = Image.Exif()
    exif[274] = 99
    assert np.array_equal(load_image(encode(Image.fromarray(pixels), exif=exif)), pixels)


# Transparency


def on_white(colour, alpha):
    weight = np.asarray(alpha, np.float64)[..., None] / 255
    return colour * weight + 255 * (1 - weight)


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP"])
def test_rgba_on_white(fmt):
    pixels = noise(6, 8, channels=4)
    pixels[0, :2, 3] = 0, 255
    options = {"lossless": True, "exact": True} if fmt == "WEBP" else {}
    result = load_image(encode(Image.fromarray(pixels), fmt, **options))
    assert np.abs(result - on_white(pixels[..., :3], pixels[..., 3])).max() <= 0.51
    assert (result[0, 0] == 255).all()
    assert np.array_equal(result[0, 1], pixels[0, 1, :3])


def test_grey_with_alpha_on_white():
    pixels = noise(6, 8, channels=2)
    result = load_image(encode(Image.fromarray(pixels, "LA")))
    assert np.abs(result - on_white(pixels[..., :1], pixels[..., 1])).max() <= 0.51


def test_palette_with_alpha_per_entry():
    picture = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8), "L").copy()
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    data = encode(picture, transparency=bytes([255, 0, 51, 255]))
    assert load_image(data).tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 255], [9, 9, 9]]]


@pytest.mark.parametrize("fmt", ["PNG", "GIF"])
def test_palette_with_one_transparent_entry(fmt):
    picture = Image.fromarray(np.array([[0, 1, 2, 1]], np.uint8), "L").copy()
    picture.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    data = encode(picture, fmt, transparency=1)
    assert load_image(data).tolist() == [[[200, 0, 0], [255, 255, 255], [0, 0, 200], [255, 255, 255]]]


def test_transparent_colour_of_rgb_and_grey():
    rgb = encode(Image.fromarray(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)), transparency=(1, 2, 3))
    assert load_image(rgb).tolist() == [[[255, 255, 255], [1, 2, 4]]]
    grey = encode(Image.fromarray(np.array([[7, 8]], np.uint8)), transparency=7)
    assert_grey(load_image(grey), [[255, 8]])


def test_transparent_colour_of_1_2_and_4_bit_grey():
    key = (b"tRNS", struct.pack(">H", 1))
    assert_grey(load_image(png(4, 1, 2, 0, [bytes([0b00011011])], key)), [[0, 255, 170, 255]])
    assert_grey(load_image(png(4, 1, 4, 0, [bytes([0x01, 0x2F])], key)), [[0, 255, 34, 255]])
    assert_grey(load_image(png(4, 1, 1, 0, [bytes([0b01010000])], (b"tRNS", b"\0\0"))), [[255, 255, 255, 255]])
    assert_grey(load_image(png(4, 1, 1, 0, [bytes([0b01010000])], key)), [[0, 255, 0, 255]])


def test_transparent_colour_of_16_bit_grey():
    row = struct.pack(">4H", 300, 301, 65535, 0)
    data = png(4, 1, 16, 0, [row], (b"tRNS", struct.pack(">H", 300)))
    assert_grey(load_image(data), [[255, 1, 255, 0]])


def test_transparent_colour_of_16_bit_rgb():
    row = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0x3400, 0x7800, 0xBC00)
    data = png(2, 1, 16, 2, [row], (b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)))
    assert load_image(data).tolist() == [[[255, 255, 255], [0x34, 0x78, 0xBC]]]


def test_premultiplied_alpha():
    rgba = tiff(1, 1, [8, 8, 8, 8], bytes([100, 50, 0, 128]), photometric=2, extra=[(338, 1)])
    # 100 of a possible 128: on white that is 100 + 255 - 128; unpremultiplying may cost a level
    assert np.abs(load_image(rgba)[0, 0].astype(int) - (227, 177, 127)).max() <= 1
    grey = tiff(1, 1, [8, 8], bytes([100, 128]), extra=[(338, 1)])
    assert np.abs(load_image(grey)[0, 0].astype(int) - 227).max() <= 1


# Colour spaces


def test_cmyk():
    ink = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
    result = load_image(encode(Image.fromarray(ink, "CMYK"), "TIFF"))
    assert result.tolist() == [[[255, 255, 255], [0, 255, 255], [255, 0, 0], [0, 0, 0]]]
    jpeg = load_image(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=98))
    assert np.abs(jpeg.astype(int) - (255, 0, 0)).max() <= 3


def test_ycbcr():
    picture = Image.new("RGB", (4, 4), (200, 30, 60))
    result = load_image(encode(picture.convert("YCbCr"), "TIFF"))
    assert np.abs(result.astype(int) - (200, 30, 60)).max() <= 2


def test_one_bit_and_grey():
    bits = np.array([[True, False, True]])
    for fmt in ("PNG", "TIFF", "BMP", "GIF"):
        assert_grey(load_image(encode(Image.fromarray(bits), fmt)), [[255, 0, 255]])
    assert_grey(load_image(tiff(3, 1, [1], bytes([0b10100000]), photometric=0)), [[0, 255, 0]])
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert_grey(load_image(encode(Image.fromarray(ramp))), ramp)


# Deep pictures

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
RAMP_8 = np.rint(RAMP / 257.0)  # 257 is odd, so there are no ties


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(fmt):
    assert_grey(load_image(encode(Image.fromarray(RAMP), fmt)), RAMP_8)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_in_both_byte_orders(order):
    data = tiff(256, 256, [16], RAMP.astype(order + "u2").tobytes(), order=order)
    assert Image.open(io.BytesIO(data)).mode == {"<": "I;16", ">": "I;16B"}[order]
    assert_grey(load_image(data), RAMP_8)


def test_deep_tiff_whose_white_is_zero():
    data = tiff(256, 256, [16], RAMP.astype("<u2").tobytes(), photometric=0)
    assert_grey(load_image(data), 255 - RAMP_8)
    floats = np.array([[0.0, 0.2, 1.0]], "<f4").tobytes()
    assert_grey(load_image(tiff(3, 1, [32], floats, photometric=0, sample_format=3)), [[255, 204, 0]])


def test_packed_12_bit_tiff():
    data = tiff(4, 1, [12], bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x10]))
    assert_grey(load_image(data), [[0, 255, 128, 1]])  # 0, 4095, 2048, 16


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_rgb(order):
    values = np.stack([RAMP, RAMP.T, RAMP[::-1]], axis=-1)
    if order == "<":
        data = tiff(256, 256, [16, 16, 16], values.astype("<u2").tobytes(), photometric=2)
    else:
        data = png(256, 256, 16, 2, [row.astype(">u2").tobytes() for row in values])
    # Pillow keeps the high byte, which is at most one level from the rounded value
    assert np.array_equal(load_image(data), values >> 8)
    assert np.abs((values >> 8) - np.rint(values / 257.0)).max() <= 1


def test_16_bit_alpha():
    row = struct.pack(">8H", 0, 0, 0, 0x8000, 65535, 0, 0, 65535)
    assert load_image(png(2, 1, 16, 6, [row])).tolist() == [[[127, 127, 127], [255, 0, 0]]]
    grey = png(2, 1, 16, 4, [struct.pack(">4H", 0, 0x8000, 0x4000, 65535)])
    assert_grey(load_image(grey), [[127, 64]])


def test_32_bit_integers_are_stretched():
    values = np.array([[-1000, 0, 1000, 3100]], np.int32)
    assert_grey(load_image(encode(Image.fromarray(values), "TIFF")), [[0, 62, 124, 255]])
    extremes = np.array([[-(2**31), 0, 2**31 - 1]], np.int32)  # their difference overflows int32
    assert_grey(load_image(encode(Image.fromarray(extremes), "TIFF")), [[0, 128, 255]])
    for constant in (70000, 1):
        values = np.full((2, 3), constant, np.int32)
        assert_grey(load_image(encode(Image.fromarray(values), "TIFF")), np.zeros((2, 3)))


def float_tiff(*values):
    return encode(Image.fromarray(np.array([values], np.float32)), "TIFF")


def test_floats_within_one_are_scaled():
    assert_grey(load_image(float_tiff(0.2, 0.4, 0.6)), [[51, 102, 153]])
    assert_grey(load_image(float_tiff(0.2, 0.2)), [[51, 51]])


def test_other_floats_are_stretched():
    assert_grey(load_image(float_tiff(-1.0, 0.0, 1.0)), [[0, 128, 255]])
    assert_grey(load_image(float_tiff(100.0, 150.0, 350.0)), [[0, 51, 255]])
    assert_grey(load_image(float_tiff(-3e38, 0.0, 3e38)), [[0, 128, 255]])  # their difference overflows float32
    assert_grey(load_image(float_tiff(7.0, 7.0)), [[0, 0]])


def test_holes_in_floats_take_the_minimum():
    hole, above, below = float("nan"), float("inf"), float("-inf")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_grey(load_image(float_tiff(hole, 10.0, above, 20.0, below)), [[0, 0, 0, 255, 0]])
        assert_grey(load_image(float_tiff(hole, 0.2, above, 0.4, below)), [[51, 51, 51, 102, 51]])
        assert_grey(load_image(float_tiff(hole, above, below)), [[0, 0, 0]])


# Animations


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame(fmt):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if fmt == "WEBP" else {}
    data = encode(frames[0], fmt, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.array_equal(load_image(data), np.asarray(frames[0]))


# Bombs


@pytest.fixture
def little_memory():
    """Lets 200 MB more be allocated, decoders and filters in C included (where the system tells its use)."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    usage = Path("/proc/self/statm")
    if usage.exists():
        in_use = int(usage.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 200_000_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture
def undecoded(monkeypatch):
    """Makes decoding fail in another way than the ceiling does."""

    def load(_self):
        raise AssertionError("a pixel was decoded")

    for module in ("ImageFile.ImageFile", "TiffImagePlugin.TiffImageFile", "WebPImagePlugin.WebPImageFile"):
        monkeypatch.setattr(f"PIL.{module}.load", load)


def oversized(fmt, width, height):
    """A small file whose header claims the size."""
    data = bytearray(encode(Image.new("RGB", (8, 8)), fmt))
    if fmt == "PNG":
        return png(width, height, 8, 0, [])
    if fmt == "GIF":
        screen = struct.pack("<HH", width, height)
        frame = data.index(b"\x2c\0\0\0\0\x08\0\x08\0") + 5
        data[6:10], data[frame : frame + 4] = screen, screen
    elif fmt == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif fmt == "JPEG":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", height, width)
    else:
        return tiff(width, height, [8], b"\0" * 64)
    return bytes(data)


@pytest.mark.usefixtures("undecoded", "little_memory")
@pytest.mark.parametrize("fmt", ["PNG", "GIF", "BMP", "JPEG", "TIFF"])
@pytest.mark.parametrize("size", [(8000, 5001), (9000, 9900), (10000, 10000)])
def test_bombs_are_refused_from_the_header(fmt, size):
    data = oversized(fmt, *size)
    assert len(data) < 10_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's own warning starts at 89 megapixels
        with pytest.raises(ImageError, match=r"limit is 40 megapixels") as refusal:
            load_image(data)
    assert f"{size[0]} x {size[1]}" in str(refusal.value)
    assert f"{size[0] * size[1] / 1e6:.1f} megapixels" in str(refusal.value)


@pytest.mark.usefixtures("undecoded", "little_memory")
@pytest.mark.parametrize("fmt", ["PNG", "GIF", "BMP", "JPEG", "TIFF"])
def test_bombs_that_pillow_itself_refuses_read_the_same(fmt):
    data = oversized(fmt, 60000, 60000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    with pytest.raises(ImageError, match=r"has 3600\.0 megapixels, but the limit is 40 megapixels"):
        load_image(data)


def test_a_gif_frame_larger_than_its_screen():
    data = oversized("GIF", 9000, 9900)
    data = data[:6] + struct.pack("<HH", 8, 8) + data[10:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="9000 x 9900"):
            load_image(data)


def test_a_webp_bomb():
    data = encode(Image.new("RGB", (8000, 5001)), "WEBP", lossless=True, method=0)
    assert len(data) < 100_000
    with pytest.raises(ImageError, match="8000 x 5001"):
        load_image(data)


def test_a_picture_of_several_strips():
    pixels = noise(600, 3)
    assert np.array_equal(load_image(encode(Image.fromarray(pixels))), pixels)


def test_exactly_forty_megapixels_pass():
    data = png(8000, 5000, 1, 0, [b"\xff" * 1000] * 5000)
    result = load_image(data)
    assert result.shape == (5000, 8000, 3)
    assert result.min() == 255


# What is refused, and how

EMPTY_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
STRANGERS = {
    "pdf": EMPTY_PDF,
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>",
    "html": b"<!doctype html><img src='x.png'>",
    "text": "schöne Grüße".encode(),
    "psd": b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + b"\0" * 300,
    "eps": encode(Image.new("RGB", (8, 8)), "EPS"),
    "ppm": encode(Image.new("RGB", (8, 8)), "PPM"),
    "ico": encode(Image.new("RGB", (16, 16)), "ICO"),
    "signature only": b"\x89PNG\r\n\x1a\n",
    "zeros": b"\0" * 5000,
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_other_formats_are_refused_whatever_their_name(kind, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(STRANGERS[kind])
    for source in (STRANGERS[kind], path):
        with pytest.raises(ImageError, match="use a PNG, JPEG, WebP, AVIF, BMP, GIF or TIFF picture") as refusal:
            load_image(source)
        assert_one_sentence(refusal)


def assert_one_sentence(refusal):
    text = str(refusal.value)
    assert re.fullmatch(r"[^\n]+: [^\n]+\.", text)
    assert not re.search(r"0x[0-9a-f]{6}|Traceback|BytesIO|site-packages|/tmp/", text)


def test_empty():
    for source in (b"", io.BytesIO()):
        with pytest.raises(ImageError, match="empty") as refusal:
            load_image(source)
        assert_one_sentence(refusal)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_cut_short(fmt):
    data = encode(Image.fromarray(noise(64, 64)), fmt)
    with pytest.raises(ImageError, match="damaged") as refusal:
        load_image(data[: len(data) // 2])
    assert_one_sentence(refusal)
    assert refusal.value.__cause__ is not None  # a developer still sees what happened


def test_corrupt_pixels():
    data = bytearray(encode(Image.fromarray(noise(64, 64))))
    middle = len(data) // 2
    data[middle : middle + 40] = b"\xaa" * 40
    with pytest.raises(ImageError, match="damaged"):
        load_image(bytes(data))


def test_any_exception_of_a_decoder_becomes_an_image_error(monkeypatch):
    def load(_self):
        raise struct.error("unpack requires a buffer of 4 bytes, 0xdeadbeef")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(ImageError, match="damaged") as refusal:
        load_image(encode(Image.new("RGB", (2, 2))))
    assert_one_sentence(refusal)


def test_paths_that_are_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for source in ("missing.png", Path("missing.png"), "folder", "/dev/null", "a\0b", "x" * 5000):
        with pytest.raises(ImageError, match="check") as refusal:
            load_image(source)
        assert repr(str(source)) in str(refusal.value)
        assert str(tmp_path) not in str(refusal.value)


def test_sources_that_give_no_bytes():
    with pytest.raises(ImageError, match="open it in binary mode"):
        load_image(io.StringIO("text"))
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(closed)
    for source in (None, 7, np.zeros((2, 2))):
        with pytest.raises(ImageError, match=type(source).__name__):
            load_image(source)


def test_image_error_is_a_value_error():
    assert issubclass(ImageError, ValueError)


def fuzz_seeds():
    rgb, exif = Image.fromarray(noise(12, 17)), Image.Exif()
    exif[274] = 6
    frames = [Image.fromarray(noise(12, 17, seed=seed)) for seed in (1, 2)]
    palette = rgb.quantize(16)
    yield "PNG", encode(rgb.convert("RGBA"), exif=exif)
    yield "PNG palette", encode(palette, transparency=3)
    yield "PNG 16 bit", encode(Image.fromarray(RAMP[:9, :9].copy()))
    yield "APNG", encode(rgb, save_all=True, append_images=frames)
    yield "JPEG", encode(rgb, "JPEG", exif=exif)
    yield "MPO", encode(rgb, "MPO", save_all=True, append_images=frames)
    yield "GIF", encode(palette, "GIF", transparency=3, save_all=True, append_images=frames)
    yield "WEBP", encode(rgb, "WEBP", lossless=True, exif=exif)
    yield "WEBP animated", encode(rgb, "WEBP", save_all=True, append_images=frames)
    yield "TIFF", encode(rgb, "TIFF", exif=exif)
    yield "TIFF lzw", encode(rgb, "TIFF", compression="tiff_lzw", exif=exif)
    yield "TIFF float", encode(Image.fromarray(np.ones((9, 9), np.float32) * 2.5), "TIFF")
    yield "BMP", encode(rgb, "BMP")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "data"), list(fuzz_seeds()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_fuzz(kind, data):
    random = np.random.RandomState(RNG_SEED + len(kind))
    outcomes = {"picture": 0, "refused": 0}
    for turn in range(60):
        broken = bytearray(data)
        if turn % 3 == 0:
            broken = broken[: random.randint(len(data))]
        else:  # the header half of the time: that is where the decisions are
            end = len(data) if turn % 3 == 1 else min(len(data), 120)
            for place in random.randint(end, size=random.randint(1, 6)):
                broken[place] ^= 1 << random.randint(8)
        try:
            result = load_image(bytes(broken))
        except ImageError:
            outcomes["refused"] += 1
        else:
            assert result.dtype == np.uint8
            assert result.ndim == 3
            assert result.shape[2] == 3
            assert result.size > 0
            outcomes["picture"] += 1
    assert outcomes["refused"] > 5  # the damage reached the decoder
    assert load_image(data).shape[2] == 3


# What a model sees

SHAPES = [(256, 256), (333, 500), (500, 333), (225, 1001), (97, 61), (31, 400), (1013, 640), (1000, 401)]


def evaluation_transform(image, size, resize, resample):
    steps = T.Compose([T.Resize(resize, T.InterpolationMode(resample.name.lower())), T.CenterCrop(size)])
    return np.asarray(steps(Image.fromarray(image)))


@pytest.mark.parametrize("resample", [BILINEAR, BICUBIC])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "resize"), [(224, 256), (224, 224), (225, 256), (64, 73)])
def test_crop_is_the_evaluation_transform(shape, size, resize, resample):
    """Exactly, also on noise, where a resize whose two passes are swapped is 18 grey levels off."""
    for image in (smooth(*shape), noise(*shape)):
        result = fit_view(image, size, resize, "crop", resample)
        assert np.array_equal(result, evaluation_transform(image, size, resize, resample))
        assert result.flags.c_contiguous


@pytest.mark.parametrize("shape", [(3, 1000), (1300, 5), (7, 7 * 200 + 3), (1, 301)])
def test_crop_of_a_thin_picture_is_the_evaluation_transform(shape):
    """Within one grey level: past 64:1 the ends are cut before, which may change the scale by 1 in 16384."""
    image = noise(*shape)
    result = fit_view(image, 224, 255, "crop", BILINEAR)
    difference = np.abs(result.astype(int) - evaluation_transform(image, 224, 255, BILINEAR))
    assert difference.max() <= 1
    assert difference.mean() < 0.1


@pytest.mark.parametrize("shape", [(333, 500), (97, 61), (640, 1013)])
@pytest.mark.parametrize("resample", [BILINEAR, BICUBIC])
def test_crop_of_a_mask_is_nearest(shape, resample):
    mask = smooth(*shape)[..., 0] > 128
    expected = evaluation_transform(np.uint8(mask), 224, 256, Image.Resampling.NEAREST) > 0
    result = fit_view(mask, 224, 256, "crop", resample)
    assert result.dtype == np.bool_
    assert result.shape == (224, 224)
    assert (result != expected).mean() < 0.002


def test_crop_of_a_mask_follows_its_image():
    image = np.zeros((300, 500, 3), np.uint8)
    image[100:180, 210:330] = 255
    view = fit_view(image, 224, 256, "crop", BILINEAR)
    mask = fit_view(image[..., 0] > 0, 224, 256, "crop", BILINEAR)
    assert mask.any()
    assert not mask.all()
    assert (mask != (view[..., 0] > 127)).mean() < 0.002


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
def test_own_size_is_left_alone(fit):
    image = noise(224, 224)
    assert np.array_equal(fit_view(image, 224, 256, fit, BILINEAR), image)
    mask = image[..., 0] > 128
    assert np.array_equal(fit_view(mask, 224, 256, fit, BILINEAR), mask)


@pytest.mark.parametrize("resample", [BILINEAR, BICUBIC])
def test_squeeze_takes_the_whole_picture(resample):
    image = noise(90, 210)
    expected = np.asarray(Image.fromarray(image).resize((64, 64), resample))
    assert np.array_equal(fit_view(image, 64, 73, "squeeze", resample), expected)
    mask = np.zeros((8, 4), bool)
    mask[6:, 3] = True
    expected = np.zeros((4, 4), bool)
    expected[3, 3] = True
    assert np.array_equal(fit_view(mask, 4, 4, "squeeze", resample), expected)


def test_nearest_pictures_keep_their_colours():
    image = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], np.uint8)
    result = fit_view(image, 4, 4, "squeeze", Image.Resampling.NEAREST)
    assert np.array_equal(result, image.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((50, 100), slice(16, 48), slice(0, 64)),
        ((100, 50), slice(0, 64), slice(16, 48)),
        ((10, 40), slice(24, 40), slice(0, 64)),  # smaller than the view: enlarged
        ((3, 2000), slice(31, 32), slice(0, 64)),  # never thinner than a pixel
        ((64, 33), slice(0, 64), slice(15, 48)),
    ],
)
def test_pad_geometry(shape, rows, columns):
    result = fit_view(np.full((*shape, 3), 255, np.uint8), 64, 73, "pad", BICUBIC)
    expected = np.empty((64, 64, 3), np.uint8)
    expected[:] = 124, 116, 104
    expected[rows, columns] = 255
    assert np.array_equal(result, expected)
    mask = fit_view(np.ones(shape, bool), 64, 73, "pad", BICUBIC)
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, (expected == 255).all(axis=2))


def test_pad_keeps_the_picture_inside():
    image = smooth(60, 128)
    expected = np.asarray(Image.fromarray(image).resize((64, 30), BILINEAR))
    assert np.array_equal(fit_view(image, 64, 73, "pad", BILINEAR)[17:47], expected)


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
@pytest.mark.parametrize("shape", [(40_000, 1), (1, 40_000), (1, 1), (2, 1)])
def test_thin_and_tiny_pictures(shape, fit):
    image = np.full((*shape, 3), 77, np.uint8)
    result = fit_view(image, 224, 256, fit, BICUBIC)
    assert result.shape == (224, 224, 3)
    if fit == "pad" and shape != (1, 1):
        assert (result == 77).all(axis=2).any()
    else:
        assert (result == 77).all()
    assert fit_view(np.ones(shape, bool), 224, 256, fit, BICUBIC).any()


@pytest.mark.usefixtures("little_memory")
def test_crop_of_a_very_long_picture_stays_small_and_in_the_middle():
    """Resized as a whole it would be 256 x 5,120,000,000."""
    long = np.zeros((20_000_001, 1, 3), np.uint8)
    long[10_000_000] = 200
    result = fit_view(long, 224, 256, "crop", BILINEAR)
    assert result[112, 112, 0] >= 199
    assert result[0, 0, 0] < result[56, 0, 0] < result[112, 0, 0] > result[168, 0, 0] > result[223, 0, 0]
    assert np.abs(result.astype(int) - result[::-1]).max() <= 2
    mask = fit_view(long[..., 0] > 0, 224, 256, "crop", BILINEAR)
    assert mask.all()  # the crop is 224/256 of one source pixel


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("fit", ["squeeze", "pad"])
def test_the_whole_of_a_very_long_picture(fit):
    """A filter's table for 8,000,000 rows would take 256 MB; averaging first must not shift the picture."""
    long = np.zeros((8_000_000, 1, 3), np.uint8)
    long[4_000_000:] = 200
    column = fit_view(long, 100, 100, fit, BICUBIC)[:, 50 if fit == "squeeze" else 49, 0]
    assert (column[:48] == 0).all()
    assert (column[52:] == 200).all()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32 (4, 4, 3)"),
        (np.zeros((4, 4, 4), np.uint8), "uint8 (4, 4, 4)"),
        (np.zeros((4, 4), np.uint8), "uint8 (4, 4)"),
        (np.zeros((4, 4, 3), bool), "bool (4, 4, 3)"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 (0, 4, 3)"),
    ],
)
def test_wrong_arrays_are_named(image, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        fit_view(image, 4, 4, "crop", BILINEAR)


def test_wrong_options_are_named():
    image = noise(9, 9)
    with pytest.raises(ValueError, match="stretch"):
        fit_view(image, 4, 4, "stretch", BILINEAR)
    with pytest.raises(ValueError, match="resize 223"):
        fit_view(image, 224, 223, "crop", BILINEAR)
    with pytest.raises(ValueError, match="size 0"):
        fit_view(image, 0, 4, "pad", BILINEAR)
    assert fit_view(image, 6, 4, "pad", BILINEAR).shape == (6, 6, 3)  # resize is the crop's alone


def test_exif_blocks_of_every_length():
    """Cut short anywhere, or with any byte changed, they leave a sound picture as it is, or turn it."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "A camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = 0.5
    block, pixels = exif.tobytes(), noise(3, 5)
    upright = {pixels.tobytes(), np.rot90(pixels, -1).tobytes()}
    changed = [block[:length] for length in range(len(block))]
    places = itertools.product(range(6, len(block)), (b"\0", b"\x7f", b"\xff"))
    changed += [block[:place] + value + block[place + 1 :] for place, value in places]
    for each in changed:
        found = load_image(encode(Image.fromarray(pixels), exif=each))
        assert found.shape in ((3, 5, 3), (5, 3, 3))
        assert np.array_equal(np.sort(found, axis=None), np.sort(pixels, axis=None))
    assert load_image(encode(Image.fromarray(pixels), exif=block)).tobytes() in upright


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heic_is_told_a_way_out(brand):
    with pytest.raises(ImageError, match="HEIC pictures cannot be read here: export this one as JPEG") as refusal:
        load_image(struct.pack(">I", 24) + b"ftyp" + brand + b"\0" * 200)
    assert_one_sentence(refusal)


def test_tiffs_that_are_no_pictures_are_told_apart():
    """Colours as floating-point numbers, which Pillow does not read."""
    rgb = tiff(1, 1, (32, 32, 32), struct.pack("<3f", 0.1, 0.5, 0.9), photometric=2, extra=[(339, 3)])
    with pytest.raises(ImageError, match=r"This TIFF .* floating-point numbers or more bands") as refusal:
        load_image(rgb)
    assert_one_sentence(refusal)
