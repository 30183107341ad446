"""Results in one file, written and read: a zip of the picture, the maps, the scores and a manifest.

A bundle is read in memory, from a fixed list of members, and nothing in it is run or unpacked to disk. Its members are
not compressed, so the file's length bounds the memory that reading it takes.
"""

from __future__ import annotations

import hashlib
import io
import math
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from camviz.decoding import DirectReader, Reader
from camviz.images import ImageError
from camviz.merging import RULES
from camviz.results.exports import csv
from camviz.results.finding import Finding, KnownShape, as_png
from camviz.results.manifest import BundleError, Manifest, as_json, parse

__all__ = ["SUFFIX", "BundleError", "read", "write"]

SUFFIX = ".camviz.zip"
MAX_BYTES = 512 * 2**20
MANIFEST, PICTURE, VIEW, MAPS, MERGED, SCORES, SHAPES, MERGES = (
    "manifest.json",
    "picture",
    "view.png",
    "maps.npy",
    "merged.npy",
    "scores.csv",
    "shapes.png",
    "merges.npy",
)
# The largest size of each member, in bytes.
LIMITS = {
    MANIFEST: 2**20,
    PICTURE: 256 * 2**20,
    VIEW: 32 * 2**20,
    MAPS: 256 * 2**20,
    MERGED: 32 * 2**20,
    SCORES: 2**20,
    SHAPES: 32 * 2**20,
    MERGES: 256 * 2**20,
}
_MOST_PIXELS = LIMITS[MERGED] // 4  # of the view: as many as the merged map can have
# Present only if shapes are known, or if the merging rule needs more than the maps.
OPTIONAL = {SHAPES, MERGES}
_MAX_DIRECTORY = 4096  # bytes at the end of a zip that list its members
_LOCAL, _ENTRY, _END = 30, 46, 22  # bytes of a zip's records, without names
_SAME_TIME = (1980, 1, 1, 0, 0, 0)
_FLOATS = np.dtype("<f4")
_ASK_AGAIN = "ask for the file again"


def write(finding: Finding) -> bytes:
    """Write a result as a bundle's bytes; the same result gives the same bytes.

    Raises:
        BundleError: it is larger than `read` accepts.
    """
    members = {
        PICTURE: finding.picture,
        VIEW: as_png(finding.view),
        MAPS: _npy(finding.maps),
        MERGED: _npy(finding.merged),
        SCORES: csv(finding),
    }
    if finding.shapes:
        members[SHAPES] = as_png(_numbered(finding.shapes))
    if finding.merges is not None:
        members[MERGES] = _npy(finding.merges)
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    members = {MANIFEST: as_json(finding, sha256).encode(), **members}
    for name, data in members.items():
        if len(data) > LIMITS[name]:
            raise BundleError(
                f"This result's {name} has {len(data):,} bytes, but a bundle holds at most {LIMITS[name]:,}: "
                "use fewer layers or a smaller picture."
            )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            member = zipfile.ZipInfo(name, _SAME_TIME)
            member.create_system = 3  # Unix, wherever it is written
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, data)
    return stream.getvalue()


def read(data: bytes, reader: Reader | None = None) -> Finding:
    """Read a result from a bundle's bytes, which may be untrusted; nothing is computed again.

    The model's name may be anything: check that it is a known network before you load it.

    Args:
        data: the bundle's bytes.
        reader: reads the pictures in it; None to read them in this process.

    Raises:
        BundleError: it is not a bundle, is damaged, or holds impossible values; the message says which.
    """
    members = _members(data)
    manifest = parse(members[MANIFEST])
    _check_hashes(members, manifest.sha256)
    maps, merged = _array(members[MAPS], MAPS, 3), _array(members[MERGED], MERGED, 2)
    reader = reader or DirectReader()
    with _readable("picture"):
        reader.size(members[PICTURE])
    with _readable("view"):
        view = reader.pixels(members[VIEW], _MOST_PIXELS)
    _check_sizes(manifest, view, maps, merged)
    finding = Finding(
        settings=manifest.settings,
        name=manifest.name,
        picture=members[PICTURE],
        view=view,
        maps=maps,
        merged=merged,
        label=manifest.label,
        probability=manifest.probability,
        floor=manifest.floor,
        top=manifest.top,
        scores=manifest.scores,
        baselines=manifest.baselines,
        layers=manifest.layers,
        shapes=_shapes(members, manifest, view, reader),
        merges=_merges(members, manifest, maps),
        versions=manifest.versions,
        device=manifest.device,
    )
    if csv(finding, averaging=manifest.version > 2) != members[SCORES]:
        raise BundleError(f"This bundle's table of scores differs from its manifest: {_ASK_AGAIN}.")
    return finding


def _numbered(shapes: Sequence[KnownShape]) -> NDArray[np.uint8]:
    """Masks (h, w) as one picture (h, w, 3): the number of the visible shape, counted from 1, or 0."""
    numbers = np.zeros(shapes[0].mask.shape, np.uint8)
    for number, shape in enumerate(shapes, 1):
        numbers[shape.mask] = number
    return np.repeat(numbers[..., None], 3, axis=2)


def _shapes(
    members: Mapping[str, bytes], manifest: Manifest, view: NDArray[np.uint8], reader: Reader
) -> tuple[KnownShape, ...]:
    """The shapes that the picture is known to contain."""
    if (SHAPES in members) != bool(manifest.shapes):
        raise BundleError(f"This bundle's {SHAPES} does not match its manifest: {_ASK_AGAIN}.")
    if not manifest.shapes:
        return ()
    with _readable("picture of shapes"):
        numbers = reader.pixels(members[SHAPES], _MOST_PIXELS)
    if numbers.shape != view.shape or numbers.max() > len(manifest.shapes):
        raise BundleError(f"This bundle's {SHAPES} does not match its view or its manifest: {_ASK_AGAIN}.")
    return tuple(
        KnownShape(label, numbers[..., 0] == number, is_tag)
        for number, (label, is_tag) in enumerate(manifest.shapes, 1)
    )


def _merges(members: Mapping[str, bytes], manifest: Manifest, maps: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The running merges, if they cannot be computed from the maps."""
    if (MERGES in members) != (RULES[manifest.settings.recipe.rule].needs != "maps"):
        raise BundleError(f"This bundle's {MERGES} does not match its merging rule: {_ASK_AGAIN}.")
    if MERGES not in members:
        return None
    merges = _array(members[MERGES], MERGES, 3)
    if merges.shape != maps.shape:
        raise BundleError(f"This bundle's {MERGES} does not match its maps: {_ASK_AGAIN}.")
    return merges


def _npy(array: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    npy.write_array(stream, np.ascontiguousarray(array, _FLOATS), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    """A zip's members by name; everything in its directory is checked before any member is read."""
    _check_ends(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = archive.infolist()
            _check_names(listed)
            for member in listed:
                _check_member(member)
            if _length(listed) != len(data):
                raise BundleError(f"This bundle's length does not match its members, so it is damaged: {_ASK_AGAIN}.")
            return {member.filename: _content(archive, member) for member in listed}
    except BundleError:
        raise
    except Exception as error:
        # Deliberately broad: on hostile bytes zipfile raises struct.error, UnicodeDecodeError, RuntimeError...
        raise BundleError(f"This bundle is damaged: {_ASK_AGAIN}.") from error


def _check_ends(data: bytes) -> None:
    """Check a zip's first and last record before zipfile reads a directory of any length into memory."""
    if not data.startswith(b"PK\3\4"):
        raise BundleError("This isn't a camviz bundle. Choose a file ending in .camviz.zip.")
    if len(data) > MAX_BYTES:
        raise BundleError(
            f"This file has {len(data):,} bytes, but a bundle has at most {MAX_BYTES:,}: choose another file."
        )
    end = data[-_END:]
    if end[:4] != b"PK\5\6" and b"PK\5\6" not in data[-2 * _MAX_DIRECTORY :]:
        raise BundleError(f"This bundle is damaged or cut short: {_ASK_AGAIN}.")
    large = data[-_END - 20 : -_END].startswith(b"PK\6\7")  # zip64, for more than 4 GB
    if end[:4] != b"PK\5\6" or end[-2:] != b"\0\0" or large or int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY:
        raise BundleError(
            "This zip file isn't a camviz bundle, or it was packed again: use the file as camviz wrote it."
        )


def _check_names(listed: list[zipfile.ZipInfo]) -> None:
    """Compare the members' names with the fixed list."""
    names = [member.orig_filename for member in listed]
    if MANIFEST not in names:
        raise BundleError("This zip file isn't a camviz bundle (it has no manifest): choose another file.")
    missing = [name for name in LIMITS if name not in names and name not in OPTIONAL]
    if missing:
        raise BundleError(f"This bundle lacks its {missing[0]}: {_ASK_AGAIN}.")
    unexpected = [name for name in names if name not in LIMITS]
    if unexpected:
        raise BundleError(f"This bundle contains an unexpected file, {unexpected[0][:60]!r}: {_ASK_AGAIN}.")
    if len(set(names)) < len(names):
        raise BundleError(f"This bundle contains a file twice: {_ASK_AGAIN}.")


def _check_member(member: zipfile.ZipInfo) -> None:
    """Check a member's entry in the directory."""
    name = member.filename
    if member.flag_bits & 0x1:
        raise BundleError(f"This bundle's {name} is encrypted, which camviz never does: {_ASK_AGAIN}.")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise BundleError(f"This bundle's {name} is a link or another special file: {_ASK_AGAIN}.")
    if member.compress_type != zipfile.ZIP_STORED:
        raise BundleError(
            f"This bundle's {name} is compressed, so it was packed again: use the file as camviz wrote it."
        )
    if member.file_size > LIMITS[name]:
        raise BundleError(
            f"This bundle's {name} claims {member.file_size:,} bytes; the limit is {LIMITS[name]:,}: {_ASK_AGAIN}."
        )
    if member.file_size != member.compress_size:
        raise BundleError(f"This bundle states two different lengths for its {name}, so it is damaged: {_ASK_AGAIN}.")


def _length(listed: list[zipfile.ZipInfo]) -> int:
    """The length of a zip of these members without gaps, overlaps, comments or extra bytes anywhere."""
    return _END + sum(_LOCAL + _ENTRY + 2 * len(member.filename) + member.file_size for member in listed)


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes, never more than the directory states; zipfile checks the checksum at their end."""
    with archive.open(member) as stream:
        content = stream.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise BundleError(f"This bundle's {member.filename} is cut short: {_ASK_AGAIN}.")
    return content


def _check_hashes(members: Mapping[str, bytes], sha256: Mapping[str, str]) -> None:
    for name, data in members.items():
        if name != MANIFEST and sha256.get(name) != hashlib.sha256(data).hexdigest():
            raise BundleError(f"This bundle's {name} differs from the one in its manifest: {_ASK_AGAIN}.")
    if len(sha256) != len(members) - 1:
        raise BundleError(f"This bundle's manifest lists files that are missing: {_ASK_AGAIN}.")


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Refuse the bundle if a picture in it cannot be read in this block."""
    try:
        yield
    except ImageError as error:
        raise BundleError(f"The {what} in this bundle cannot be read. {error}") from error


def _array(data: bytes, name: str, dimensions: int) -> NDArray[np.float32]:
    """A float32 array in [0, 1] from the npy format; its header must match its length before the array is created."""
    stream = io.BytesIO(data)
    try:
        if npy.read_magic(stream) != (1, 0):
            raise ValueError("another version of the format")
        shape, by_columns, dtype = npy.read_array_header_1_0(stream, max_header_size=1000)
        sound = all(type(side) is int and side > 0 for side in shape)
        fits = math.prod(shape) * _FLOATS.itemsize == len(data) - stream.tell()
    except Exception as error:
        # Deliberately broad: numpy parses the header as Python, which has many ways to fail.
        raise BundleError(f"This bundle's {name} is damaged: {_ASK_AGAIN}.") from error
    if dtype != _FLOATS or by_columns or len(shape) != dimensions or not sound or not fits:
        raise BundleError(
            f"This bundle's {name} is not an array of 32-bit numbers with {dimensions} dimensions, or its length is "
            f"wrong: {_ASK_AGAIN}."
        )
    array = np.frombuffer(data, _FLOATS, offset=stream.tell()).reshape(shape).astype(np.float32)
    if not ((array >= 0) & (array <= 1)).all():  # also catches NaN
        raise BundleError(f"This bundle's {name} holds values outside 0 to 1: {_ASK_AGAIN}.")
    return array


def _check_sizes(
    manifest: Manifest, view: NDArray[np.uint8], maps: NDArray[np.float32], merged: NDArray[np.float32]
) -> None:
    layers = len(manifest.settings.recipe.layers)
    if maps.shape != (layers, *merged.shape) or view.shape[:2] != merged.shape:
        raise BundleError(
            f"This bundle's maps {maps.shape} and {merged.shape} do not match its view {view.shape[:2]} and "
            f"{layers} layers: {_ASK_AGAIN}."
        )
