"""Write files into a user's folder: all of them or none, and never over a file of the user's.

The folder holds a manifest, `.camviz-files.json`, which lists the files written there with their SHA-256. A file is
camviz's only while its bytes are those listed; every other file is the user's. A write that is interrupted, even by
`kill -9`, is finished or rolled back by the next run (see `camviz.results.output_transaction`). A lock on
`.camviz-lock` keeps other processes out; the system releases it when its holder ends, however that happens.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from camviz.results.output_manifest import MAX_BYTES, RESERVED, Manifest, ManifestError, check_names, parse
from camviz.results.output_transaction import (
    CREATE,
    MANIFEST,
    OutputFolderError,
    check_staging,
    clear_staging,
    commit,
    fingerprint,
    finish,
    recover,
    refuse_special,
    stage,
)

LOCK = f"{RESERVED}lock"

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def write_files(folder: Path, files: Mapping[str, bytes], force: bool = False) -> None:
    """Write files into a folder as one transaction: `reserve` it, then `OutputFolder.write`."""
    with reserve(folder, force) as reserved:
        reserved.write(files)


@contextmanager
def reserve(folder: Path, force: bool = False) -> Iterator[OutputFolder]:
    """Lock a folder, made if need be, after finishing or rolling back a write that was interrupted.

    Args:
        folder: where to write; a link to a folder is followed.
        force: whether to overwrite files of the user's that have the names of new files, and to replace a manifest
            that cannot be read. No other file of the user's is ever touched.

    Raises:
        OutputFolderError: it is no folder, another process has reserved it, its manifest cannot be read, or the
            system refuses.
    """
    with _explained(f"{str(folder)!r} cannot be used", "check its name and permissions, or choose another folder"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OutputFolderError(f"{str(folder)!r} is not a folder: choose another.") from error
        descriptor = _lock(folder)
    try:
        with _explained(f"{str(folder)!r} cannot be used", "check its permissions, or choose another folder"):
            check_staging(folder)
            manifest = recover(folder, _read(folder, force))
        yield OutputFolder(folder, force, manifest)
    finally:
        _unlock(folder, descriptor)


class OutputFolder:
    """A folder reserved for this process; `reserve` makes it."""

    def __init__(self, path: Path, force: bool, manifest: Manifest) -> None:
        self._path, self._force, self._manifest = path, force, manifest

    def check(self, names: Iterable[str]) -> None:
        """Find out whether files of these names could be written, before they are computed.

        Raises:
            ValueError: as in `write`.
            OutputFolderError: a name is that of a link or a folder, or of a user's file without `force`.
        """
        names = list(names)
        check_names(names)
        with _explained(f"{str(self._path)!r} cannot be read", "check its permissions, or choose another folder"):
            self._in_the_way(names)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Replace the files that camviz wrote here by these: all of them or none.

        Args:
            files: plain file names, and the content of each.

        Raises:
            ValueError: a name is no plain file name, starts with `.camviz-`, or differs from another by case only.
            OutputFolderError: as in `check`, or the system refuses, such as on a full disk.
        """
        self.check(files)
        folder = self._path
        with _explained(f"Nothing was written to {str(folder)!r}", "make room or choose another folder"):
            try:
                journal = self._journal(stage(folder, files))
                commit(folder, journal)
            except BaseException:
                # If stopped by hand, this may be just after the commit: what is on the disk decides.
                self._manifest = recover(folder, _read(folder, self._force))
                raise
        with _explained(f"{str(folder)!r} is half written", "run the same command again, which finishes it first"):
            self._manifest = finish(folder, journal)
            clear_staging(folder)

    def _journal(self, new: dict[str, str]) -> Manifest:
        known = self._manifest
        old, forced = self._in_the_way(new)
        for name in sorted((known.files.keys() | known.old.keys()) - new.keys()):
            now = fingerprint(self._path / name)
            if now and known.owns(name, now):
                old[name] = now
        return Manifest(new, False, old, forced)

    def _in_the_way(self, names: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Names and hashes of the files that have these names: camviz's, and, with `force`, the user's."""
        ours: dict[str, str] = {}
        users: dict[str, str] = {}
        for name in names:
            refuse_special(self._path / name)
            now = fingerprint(self._path / name)
            if now:
                (ours if self._manifest.owns(name, now) else users)[name] = now
        if users and not self._force:
            raise OutputFolderError(self._refusal(list(users)))
        return ours, users

    def _refusal(self, names: list[str]) -> str:
        path, more = str(self._path / names[0]), len(names) - 1
        why = "has changed since camviz wrote it" if names[0] in self._manifest.files else "was not written by camviz"
        others = f", and {more} more file{'s are' if more > 1 else ' is'} in the way" if more else ""
        return f"{path!r} {why}{others}: choose another folder, or use --force to overwrite."


def _read(folder: Path, force: bool) -> Manifest:
    """The folder's manifest; an empty one if there is none, or if `force` is to replace one that cannot be read."""
    path = folder / MANIFEST
    refuse_special(path)
    if not path.exists():
        return Manifest()
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    try:
        return parse(text)
    except ManifestError as error:
        if force:
            return Manifest()
        raise OutputFolderError(
            f"{str(path)!r} {error}: choose another folder, or use --force to replace it."
        ) from error


def _lock(folder: Path) -> int:
    """Take the lock, and return its open file."""
    path = folder / LOCK
    while True:
        refuse_special(path)
        descriptor = os.open(path, os.O_RDWR | CREATE, 0o666)
        held = False
        try:
            if os.fstat(descriptor).st_size:
                raise OutputFolderError(f"{str(path)!r} was not written by camviz: move it, or choose another folder.")
            if not _try_lock(descriptor):
                raise OutputFolderError(
                    f"Another camviz is using {str(folder)!r}: wait for it, or choose another folder."
                )
            held = _is_open_at(descriptor, path)
        finally:
            if not held:
                os.close(descriptor)
        if held:
            return descriptor


def _unlock(folder: Path, descriptor: int) -> None:
    try:
        if sys.platform != "win32":  # where open files cannot be removed
            with _explained(f"{str(folder / LOCK)!r} cannot be removed", "remove it by hand"):
                (folder / LOCK).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_open_at(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to this file: a lock's last holder removes it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def _explained(what: str, advice: str) -> Iterator[None]:
    """Turn an error of the system into one sentence."""
    try:
        yield
    except OSError as error:
        raise OutputFolderError(f"{what} ({error.strerror or error}): {advice}.") from error
