"""The steps of a write into a folder: stage, commit, finish; and recovery by the next run.

1. The new files are written to `.camviz-staging/`, inside the folder, because its parent may be read-only or on another
   file system.
2. The manifest is replaced by a journal: the manifest of the new files, marked as unfinished, with the hashes of the
   files that they replace. This rename is the commit. Without it, the next run drops the staged files; with it, the
   next run finishes the write.
3. The new files are renamed into place, and old files without a successor are removed.
4. The journal is replaced by the finished manifest.

Each step is synced to the disk before the next. The journal takes the manifest's own place, so a mixture of old and
new files is marked as unfinished at every moment.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from camviz.results.output_manifest import RESERVED, SHA256, Manifest

MANIFEST, STAGING = f"{RESERVED}files.json", f"{RESERVED}staging"
CREATE = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# Keys of the two staged manifests; no file can have these names.
_JOURNAL, _FINISHED = f"{MANIFEST}/journal", f"{MANIFEST}/finished"
# The fingerprint of links, folders and devices, different from any hash.
_NOT_REGULAR = "not a regular file"


class OutputFolderError(Exception):
    """The folder cannot be written; the message is one sentence that says what to do."""


def stage(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """Write files to the staging folder, and return the SHA-256 of each."""
    for name, data in files.items():
        _write(folder, name, data)
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def commit(folder: Path, journal: Manifest) -> None:
    """Replace the manifest with the journal. Everything that needs disk space happens before that."""
    _write(folder, _FINISHED, journal.completed().encoded())
    _write(folder, _JOURNAL, journal.encoded())
    _sync(folder / STAGING)
    _sync(folder)
    _staged(folder, _JOURNAL).replace(folder / MANIFEST)


def finish(folder: Path, journal: Manifest) -> Manifest:
    """Put the staged files in place, remove old ones without a successor, and mark the manifest as finished."""
    _sync(folder)  # the journal must be durable before the first change
    for name, new in journal.files.items():
        if fingerprint(folder / name) != new:
            _staged(folder, name).replace(folder / name)
    placed = {_identity(folder / name) for name in journal.files}
    for name, old in journal.old.items():
        # On a file system that ignores case, an old name may lead to a new file.
        is_left = name not in journal.files and fingerprint(folder / name) == old
        if is_left and _identity(folder / name) not in placed:
            (folder / name).unlink()
    _sync(folder)
    manifest = journal.completed()
    staged, data = _staged(folder, _FINISHED), manifest.encoded()
    if fingerprint(staged) != hashlib.sha256(data).hexdigest():
        _write(folder, _FINISHED, data)
    staged.replace(folder / MANIFEST)
    _sync(folder)
    return manifest


def recover(folder: Path, manifest: Manifest) -> Manifest:
    """Finish a write that was committed, or drop what was staged for one that was not.

    A committed write cannot be finished if the user has changed its files since: its manifest stays marked as
    unfinished until the next write.
    """
    if not manifest.finished:
        if not _can_finish(folder, manifest):
            return manifest
        manifest = finish(folder, manifest)
    clear_staging(folder)
    return manifest


def clear_staging(folder: Path) -> None:
    """Remove the staging folder, even after an interruption."""
    check_staging(folder)
    if (folder / STAGING).exists():
        for path in (folder / STAGING).iterdir():
            path.unlink()
        (folder / STAGING).rmdir()


def check_staging(folder: Path) -> None:
    """Refuse a staging folder that holds anything but staged files, complete or not."""
    staging = folder / STAGING
    kind = _kind(staging)
    if kind is None:
        return
    if kind != stat.S_IFDIR:
        raise OutputFolderError(f"{str(staging)!r} was not made by camviz: move it, or choose another folder.")
    for path in sorted(staging.iterdir()):
        if not SHA256.fullmatch(path.name) or _kind(path) != stat.S_IFREG:
            raise OutputFolderError(f"{str(path)!r} was not written by camviz: move it, or choose another folder.")


def refuse_special(path: Path) -> None:
    """Refuse a path that exists and is not a regular file."""
    kind = _kind(path)
    if kind not in (None, stat.S_IFREG):
        what = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder"}.get(kind, "not a regular file")
        raise OutputFolderError(f"{str(path)!r} is {what}: move it, or choose another folder.")


def fingerprint(path: Path) -> str | None:
    """A file's SHA-256 in hexadecimal, None if it does not exist; links are not followed, and match no hash."""
    kind = _kind(path)
    if kind != stat.S_IFREG:
        return None if kind is None else _NOT_REGULAR
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _can_finish(folder: Path, journal: Manifest) -> bool:
    """Whether each new file is in place, or is staged and its place is empty or holds the file to be replaced."""
    for name, new in journal.files.items():
        now = fingerprint(folder / name)
        if now == new:
            continue
        if now not in (None, journal.old.get(name), journal.forced.get(name)):
            return False
        if fingerprint(_staged(folder, name)) != new:
            return False
    return True


def _staged(folder: Path, key: str) -> Path:
    """Where a file is staged: under a name that no user would choose, so it cannot be mistaken for a user's file."""
    return folder / STAGING / hashlib.sha256(key.encode()).hexdigest()


def _write(folder: Path, key: str, data: bytes) -> None:
    path = _staged(folder, key)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_EXCL | CREATE, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kind(path: Path) -> int | None:
    """The file type, as in `stat.S_IFMT`; None if there is no file."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except FileNotFoundError:
        return None


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _sync(folder: Path) -> None:
    """Make renames and removals in a folder durable; Windows cannot open folders for that."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)
