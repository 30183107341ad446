"""Masks from files: PNG or NPZ, with pixels inside and outside and nothing between."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from camviz.images import MAX_PIXELS, ImageError
from camviz.workbench.cache_keys import Key, Kind
from camviz.workbench.host import Host
from camviz.workbench.pictures import SeenPicture, network_key, picture_id

_MOST = MAX_PIXELS + 1000  # bytes of an array with its header
_ENDINGS = (".png", ".npz")
# What people add to a picture's name to name its mask.
_SUFFIXES = ("_mask", "-mask", ".mask", "_segmentation", "_seg")


class MaskError(ValueError):
    """A file that is no mask of its picture; the message says why and what to do."""


def stem(name: str) -> str:
    """What a picture's and its mask's file names have in common."""
    bare = PurePath(name).stem.lower()
    return next((bare.removesuffix(suffix) for suffix in _SUFFIXES if bare.endswith(suffix)), bare)


def seen_mask(of: SeenPicture, data: bytes, name: str) -> NDArray[np.bool_]:
    """A picture's mask from its file, as the network sees it, bool (h, w): sampled nearest.

    Args:
        of: the picture.
        data: the file's bytes.
        name: its name, which ends in .png or .npz.

    Raises:
        MaskError: bytes that are no mask, one of another size than the picture, grey, empty or full in the view.
    """
    key = Key(Kind.MASK, of.picture.id, network_key(of.net), (of.fit, picture_id(data), PurePath(name).suffix))
    found = of.host.kept(key, lambda: _read_and_fit(of, data, name))
    if isinstance(found, str):
        raise MaskError(found)
    return found


def _read_and_fit(of: SeenPicture, data: bytes, name: str) -> NDArray[np.bool_] | str:
    """The mask, or why there is none."""
    try:
        mask = read_mask(of.host, data, name)
        size = _size(of)
    except (MaskError, ImageError) as error:
        return str(error)
    if mask.shape != size:
        return (
            f"It has {mask.shape[1]} × {mask.shape[0]} pixels and its picture {size[1]} × {size[0]}: a mask needs the "
            "picture's own size."
        )
    view = of.net.view(mask, of.fit)
    if view.any() and not view.all():
        return view
    what = "Everything is" if view.all() else "Nothing is"
    where = "" if mask.all() or not mask.any() else ", once the picture is fitted into the network's view"
    return f"{what} inside this mask{where}: a mask needs pixels on both sides."


def _size(of: SeenPicture) -> tuple[int, int]:
    content = of.picture.content
    if isinstance(content, bytes):
        with of.host.working():
            return of.host.reader.size(content)
    return content.shape[0], content.shape[1]


def read_mask(host: Host, data: bytes, name: str) -> NDArray[np.bool_]:
    """Read a mask, bool (H, W).

    Raises:
        MaskError: another kind of file, or more than two values.
        ImageError: a PNG that cannot be decoded.
    """
    ending = PurePath(name).suffix.lower()
    if ending not in _ENDINGS:
        raise MaskError("A mask is a PNG with two colours, or an NPZ file with one array: convert this one.")
    if ending == ".npz":
        return _two_sided(_array_of(data))
    with host.working():
        pixels = host.reader.pixels(data)
    if (pixels != pixels[..., :1]).any():
        raise MaskError("This mask has colours. It needs two values only: white inside, black outside.")
    return _two_sided(pixels[..., 0])


def _two_sided(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each pixel is inside: 0 is outside, and one other value inside."""
    if values.dtype == np.bool_:
        return values
    least, most = values.min(), values.max()
    between = values[(values != 0) & (values != most)]
    if least < 0 or between.size:
        odd = least if least < 0 else between[0]
        raise MaskError(
            f"This mask holds the value {odd} besides 0 and {most}. It needs two values only: 0 outside and one other "
            "inside."
        )
    return values != 0


def _array_of(data: bytes) -> NDArray[Any]:
    """The one array (H, W) in an NPZ file; its header must match its length before the array is made."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise MaskError(f"This NPZ file holds {len(names)} arrays: a mask's holds one.")
            entry = archive.getinfo(names[0])
            size = entry.file_size
            # Of other kinds, zipfile would inflate more than is read.
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise MaskError("This NPZ file is packed in a way that NumPy does not use: save it again.")
            if size > _MOST:
                raise MaskError(f"This array has {size:,} bytes and the limit is {_MOST:,}: save it as bool.")
            with archive.open(names[0]) as stream:
                content = io.BytesIO(stream.read(size))
        shape, by_columns, dtype = _header(content)
        sound = len(shape) == 2 and all(type(side) is int and side > 0 for side in shape) and dtype.kind in "bui"
        fits = sound and math.prod(shape) * dtype.itemsize == size - content.tell()
    except MaskError:
        raise
    except Exception as error:
        # Deliberately broad: zipfile and numpy fail in many ways on hostile bytes.
        raise MaskError("This NPZ file is damaged: save it again with numpy.savez.") from error
    if not fits:
        raise MaskError(f"This file holds an array of {dtype} {shape}: a mask is one of bool or whole numbers, (H, W).")
    array = np.frombuffer(content.getbuffer(), dtype, offset=content.tell())
    return array.reshape(shape, order="F" if by_columns else "C")


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array in the npy format."""
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(stream)]
    return read(stream, max_header_size=1000)
