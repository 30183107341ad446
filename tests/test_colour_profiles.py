"""Colour profiles: pictures come out in sRGB, by formula; what is no profile of theirs changes nothing."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, features

import camviz
from camviz.samples import SAMPLES

# Columns: red, green and blue in XYZ under D50, and the curve from numbers to light.
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
WHITE = (0.9642, 1.0, 0.8249)
SAMPLE = (60, 200, 60)


def fixed(*numbers):
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def icc(space, device=b"mntr", connection=b"XYZ ", **tags):
    """A profile (version 2.4) of these tags: name -> bytes."""
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, device, space, connection)
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + fixed(*WHITE)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def described():
    return b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 78


def xyz(*numbers):
    return b"XYZ \0\0\0\0" + fixed(*numbers)


def gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def curve(values):
    return b"curv\0\0\0\0" + struct.pack(f">I{len(values)}H", len(values), *(round(v * 65535) for v in values))


def light(numbers):
    """Of sRGB's numbers in [0, 1]; Display P3 has the same."""
    return np.where(numbers <= 0.04045, numbers / 12.92, ((numbers + 0.055) / 1.055) ** 2.4)


def numbers_of(linear):
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def colours(primaries, tone):
    tags = {f"{name}XYZ": xyz(*column) for name, column in zip("rgb", primaries.T, strict=True)}
    return icc(b"RGB ", desc=described(), wtpt=xyz(*WHITE), **tags, **{f"{name}TRC": tone for name in "rgb"})


PROFILES = {
    "Display P3": (colours(P3, curve(light(np.linspace(0, 1, 1024)))), P3, light, (0, 203, 11)),
    "Adobe RGB": (colours(ADOBE, gamma(2.2)), ADOBE, lambda numbers: numbers**2.2, (0, 201, 37)),
}


def by_formula(pixels, primaries, tone):
    """Light in XYZ, light in sRGB, numbers."""
    linear = tone(np.asarray(pixels) / 255) @ primaries.T @ np.linalg.inv(SRGB).T
    return np.rint(255 * numbers_of(linear)).astype(int)


def stored(image, profile, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, icc_profile=profile, **options)
    return stream.getvalue()


def every_colour():
    steps = np.arange(0, 256, 15).astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(18, -1, 3)


@pytest.mark.parametrize("name", PROFILES)
def test_the_colour_that_a_person_expects(name):
    profile, *_, expected = PROFILES[name]
    image = Image.new("RGB", (4, 4), SAMPLE)
    assert np.abs(camviz.load_image(stored(image, profile))[0, 0].astype(int) - expected).max() <= 2


@pytest.mark.parametrize("name", PROFILES)
def test_every_colour_by_formula(name):
    profile, primaries, tone, _ = PROFILES[name]
    pixels = every_colour()
    found = camviz.load_image(stored(Image.fromarray(pixels), profile)).astype(int)
    assert np.abs(found - by_formula(pixels, primaries, tone)).max() <= 2


FORMATS = {
    "PNG": {},
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize(("kind", "options"), FORMATS.items(), ids=FORMATS)
def test_every_format_that_holds_profiles(kind, options):
    profile, *_, expected = PROFILES["Display P3"]
    data = stored(Image.new("RGB", (16, 16), SAMPLE), profile, kind, **options)
    assert np.abs(camviz.load_image(data)[8, 8].astype(int) - expected).max() <= (8 if kind == "AVIF" else 4)


def test_avif_is_there():
    assert features.check("avif")


def test_transparent_and_palette_pictures():
    profile, *_, expected = PROFILES["Display P3"]
    half = Image.new("RGBA", (4, 4), (*SAMPLE, 128))
    over_white = [value * 128 / 255 + 127 for value in expected]
    assert np.abs(camviz.load_image(stored(half, profile))[0, 0] - over_white).max() <= 3
    palette = Image.new("RGB", (4, 4), SAMPLE).quantize()
    assert np.abs(camviz.load_image(stored(palette, profile))[0, 0].astype(int) - expected).max() <= 2


def test_grey_of_an_rgb_profile():
    profile, _, tone, _ = PROFILES["Adobe RGB"]
    found = camviz.load_image(stored(Image.new("L", (4, 4), 100), profile))
    expected = 255 * numbers_of(tone(np.array(100 / 255)))
    assert np.abs(found - expected).max() <= 1.5


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_grey_profile(mode):
    """Numbers that are light itself."""
    profile = icc(b"GRAY", desc=described(), wtpt=xyz(*WHITE), kTRC=gamma(1.0))
    image = Image.fromarray(np.full((4, 4), 64 * 257, np.uint16)) if mode == "I;16" else Image.new(mode, (4, 4))
    if mode != "I;16":
        image.paste((64, 255) if mode == "LA" else 64, (0, 0, 4, 4))
    found = camviz.load_image(stored(image, profile))
    assert np.abs(found - 255 * numbers_of(np.array(64 / 255))).max() <= 1.5


def test_a_cmyk_profile():
    """Of a press with odd inks: one is grey, L* 50, and two over each other are darker, L* 20."""

    def lab(lightness):
        return bytes([round(lightness * 2.55), 128, 128])

    corners = b"".join(lab(100 if inks == 0 else 50 if inks.bit_count() == 1 else 20) for inks in range(16))
    ramp, identity = bytes(range(256)), b"".join(fixed(*row) for row in np.eye(3))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + corners + ramp * 3
    profile = icc(b"CMYK", b"prtr", b"Lab ", desc=described(), wtpt=xyz(*WHITE), A2B0=table, A2B1=table)
    for ink, lightness in (((255, 0, 0, 0), 50), ((0, 0, 255, 0), 50), ((0, 255, 255, 0), 20), ((0, 0, 0, 0), 100)):
        grey = 255 * float(numbers_of(np.array(((lightness + 16) / 116) ** 3)))
        found = camviz.load_image(stored(Image.new("CMYK", (8, 8), ink), profile, "TIFF"))[0, 0]
        assert np.abs(found - grey).max() <= 4, ink


def srgb():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


SOUND = PROFILES["Display P3"][0]
WRONG = {
    "empty": b"",
    "no profile": b"a profile of something else" * 20,
    "cut off": SOUND[:200],
    "garbled": SOUND[:140] + bytes(len(SOUND) - 140),
    "of grey": icc(b"GRAY", desc=described(), wtpt=xyz(*WHITE), kTRC=gamma(1.0)),
    "of another space": icc(b"HSV ", desc=described(), wtpt=xyz(*WHITE)),
    "without a table": icc(b"CMYK", b"prtr", b"Lab ", desc=described(), wtpt=xyz(*WHITE)),
    "sRGB itself": srgb(),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_profile_of_the_picture_changes_nothing(name):
    pixels = every_colour()
    assert np.array_equal(camviz.load_image(stored(Image.fromarray(pixels), WRONG[name])), pixels)


def test_every_profile_with_one_byte_changed_is_read_or_ignored():
    image = Image.fromarray(every_colour()[:2])
    for place in range(0, 700, 3):
        changed = bytearray(SOUND)
        changed[place] ^= 0xFF
        assert camviz.load_image(stored(image, bytes(changed))).shape == (2, 18 * 18, 3)


def test_a_photograph_tagged_with_another_profile_is_seen_in_its_own_colours():
    """The Cat sample in the numbers of Display P3 is the same picture, and of the same class; untagged it is not."""
    own = camviz.load_image(SAMPLES["Cat"].path)
    linear = light(own / 255) @ SRGB.T @ np.linalg.inv(P3).T
    moved = np.rint(255 * numbers_of(linear)).astype(np.uint8)
    tagged = camviz.load_image(stored(Image.fromarray(moved), SOUND))
    assert np.abs(tagged.astype(int) - own).max() <= 3
    assert np.abs(moved.astype(int) - own).mean() > 3
    net = camviz.load_model("efficientnet-lite0", "cpu")
    x = torch.cat([net.preprocess(image) for image in (own, tagged, moved)])
    assert [net.labels[index] for index in net.module(x).argmax(1)] == ["tiger cat", "tiger cat", "Egyptian cat"]
