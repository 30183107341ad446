"""Masks from files: what is read, and that everything else is refused in a sentence."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from zip_files import packed

import camviz
from camviz.workbench.host import PlainHost
from camviz.workbench.masks import MaskError, read_mask, seen_mask, stem
from camviz.workbench.pictures import SeenPicture, pixels_as_picture

MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:7] = True
HOST = PlainHost()


def png(values, mode=None):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(values), mode).save(stream, "PNG")
    return stream.getvalue()


def npz(*arrays, save=np.savez):
    stream = io.BytesIO()
    save(stream, *arrays)
    return stream.getvalue()


def palette():
    picture = Image.fromarray(MASK.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.png", png(MASK.astype(np.uint8) * 255)),
        ("m.PNG", png(MASK.astype(np.uint8))),
        ("m.png", png(MASK)),  # one bit a pixel
        ("m.png", png(np.repeat(MASK[..., None] * np.uint8(255), 3, 2))),
        ("m.png", palette()),
        ("m.npz", npz(MASK)),
        ("m.npz", npz(MASK, save=np.savez_compressed)),
        ("m.npz", npz(np.asfortranarray(MASK))),
        ("m.npz", npz(MASK.astype(np.int64) * 7)),
    ],
)
def test_two_values_are_a_mask(name, data):
    assert np.array_equal(read_mask(HOST, data, name), MASK)


GREY = MASK.astype(np.uint8) * 255
GREY[0, 0] = 128
COLOURS = np.zeros((6, 8, 3), np.uint8)
COLOURS[0, 0] = (200, 10, 0)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("m.png", png(GREY), "holds the value 128 besides 0 and 255"),
        ("m.png", png(COLOURS), "has colours"),
        ("m.jpg", png(GREY), "A mask is a PNG with two colours, or an NPZ file"),
        ("m.npz", npz(np.full((2, 2), -1)), "holds the value -1"),
        ("m.npz", npz(MASK, MASK), "holds 2 arrays"),
        ("m.npz", npz(MASK.astype(float)), "an array of float64"),
        ("m.npz", npz(np.stack([MASK, MASK])), "a mask is one of bool or whole numbers"),
        ("m.npz", npz(np.array([{}], dtype=object)), "a mask is one of bool or whole numbers"),
        ("m.npz", b"PK\3\4 and nothing else", "damaged"),
        ("m.npz", packed({"a.npy": b"\x93NUMPY\x01\x00"}), "damaged"),
        ("m.npz", packed({"a.npy": npz(MASK)}), "damaged"),
        ("m.npz", packed({"a.npy": bytes(2000)}, zipfile.ZIP_BZIP2), "in a way that NumPy does not use"),
    ],
)
def test_everything_else_is_refused(name, data, words):
    with pytest.raises(MaskError, match=words):
        read_mask(HOST, data, name)


def test_a_header_that_promises_too_much_makes_no_array():
    header = b"{'descr': '|b1', 'fortran_order': False, 'shape': (100000, 100000), }"
    content = b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n"
    with pytest.raises(MaskError, match="an array of bool"):
        read_mask(HOST, packed({"a.npy": content + b"\0" * 100}), "m.npz")


def test_an_array_that_inflates_too_much_is_not_read():
    large = packed({"a.npy": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(MaskError, match="50,000,000 bytes and the limit is"):
        read_mask(HOST, large, "m.npz")


def test_a_picture_that_cannot_be_decoded_is_none():
    with pytest.raises(camviz.ImageError):
        read_mask(HOST, b"no picture", "m.png")


@pytest.mark.parametrize("name", ["cat.jpg", "CAT.png", "cat_mask.png", "folder/cat-mask.npz", "cat_seg.png"])
def test_names_that_belong_together(name):
    assert stem(name) == "cat"


@pytest.fixture(scope="module")
def net():
    return camviz.load_model("shapes-textured", "cpu")


def seen(net, height, width, fit="crop"):
    return SeenPicture(PlainHost(), pixels_as_picture(np.zeros((height, width, 3), np.uint8), "a"), net, fit)


def test_a_mask_is_seen_as_its_picture_is(net):
    mask = np.zeros((300, 448), bool)
    mask[50:200, 100:250] = True
    of = seen(net, 300, 448)
    assert np.array_equal(seen_mask(of, npz(mask), "m.npz"), net.view(mask, "crop"))
    assert np.array_equal(seen_mask(of, npz(mask), "m.npz"), net.view(mask, "crop"))  # from the cache


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((299, 448), bool), "448 × 299 pixels and its picture 448 × 300"),
        (np.zeros((300, 448), bool), "Nothing is inside this mask:"),
        (np.ones((300, 448), bool), "Everything is inside this mask:"),
        (np.pad(np.ones((300, 1), bool), ((0, 0), (0, 447))), "Nothing is inside this mask, once"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(net, mask, words):
    with pytest.raises(MaskError, match=words):
        seen_mask(seen(net, 300, 448), npz(mask), "m.npz")
