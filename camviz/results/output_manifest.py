"""The list of files that camviz wrote into a folder, as JSON. It is untrusted: every value read is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

RESERVED = ".camviz-"
MAX_BYTES = 2**23
SHA256 = re.compile("[0-9a-f]{64}")
_FORMAT, _VERSION = "camviz output folder", 1
_NOTE = "camviz overwrites or deletes a file here only if its SHA-256 is in this list."
_MAX_FILES, _MAX_NAME = 5000, 255
# Not allowed in a name: separators and drives of any system, and control characters.
_SEPARATORS = re.compile(r"[/\\:\x00-\x1f\x7f]")


class ManifestError(ValueError):
    """A manifest that cannot be read; the message continues a sentence that starts with its path."""


@dataclass(frozen=True)
class Manifest:
    """The files of a result: names with SHA-256 hashes in hexadecimal.

    Attributes:
        files: the result's files.
        finished: whether all of them are in place; if not, the manifest is the journal of a write.
        old: camviz's files that the unfinished write replaces or removes.
        forced: the user's files that it overwrites, as the user requested.
    """

    files: dict[str, str] = field(default_factory=dict)
    finished: bool = True
    old: dict[str, str] = field(default_factory=dict)
    forced: dict[str, str] = field(default_factory=dict)

    def owns(self, name: str, sha256: str) -> bool:
        """Whether camviz wrote a file with this name and content."""
        return sha256 in (self.files.get(name), self.old.get(name))

    def completed(self) -> Manifest:
        """The manifest once the write is finished."""
        return Manifest(self.files)

    def encoded(self) -> bytes:
        """As JSON; equal manifests give equal bytes."""
        raw = {"format": _FORMAT, "version": _VERSION, "note": _NOTE, **asdict(self)}
        return json.dumps(raw, indent=1, ensure_ascii=False).encode()


def parse(text: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it is damaged, has another version, or names anything but files in its own folder.
    """
    if len(text) > MAX_BYTES:
        raise ManifestError("is too large for a list of files")
    try:
        raw = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
        version = raw["version"] if raw["format"] == _FORMAT else None
        if type(version) is int and version != _VERSION:
            raise ManifestError("was written by another version of camviz")
        if type(version) is not int or type(raw["finished"]) is not bool:
            raise ValueError("a value is invalid")
        return Manifest(_hashes(raw["files"]), raw["finished"], _hashes(raw["old"]), _hashes(raw["forced"]))
    except ManifestError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError("is damaged") from error


def check_names(names: Iterable[str]) -> None:
    """Check that a manifest may list these names.

    Raises:
        ValueError: a name is reserved or not a plain file name, two differ by case only, or there are too many.
    """
    names = list(names)
    for name in names:
        if not _is_name(name):
            raise ValueError(
                f"{name!r} cannot be written: choose a plain file name that does not start with {RESERVED}"
            )
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError("two files have names that differ by case only: rename one")
    if len(names) > _MAX_FILES:
        raise ValueError(f"{len(names)} files are too many: write at most {_MAX_FILES}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _hashes(raw: dict[str, str]) -> dict[str, str]:
    if len(raw) > 2 * _MAX_FILES:  # old files may come from two results
        raise ValueError("too many files")
    if not all(_is_name(name) and SHA256.fullmatch(sha256) for name, sha256 in raw.items()):
        raise ValueError("not a file name, or not a hash")
    return raw


def _is_name(name: str) -> bool:
    """Whether this names a file in the folder itself that is not one of camviz's own records."""
    if name in ("", ".", "..") or name.casefold().startswith(RESERVED) or _SEPARATORS.search(name):
        return False
    try:
        return len(name.encode()) <= _MAX_NAME
    except UnicodeEncodeError:  # a lone surrogate
        return False
