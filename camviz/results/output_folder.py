"""Write files into a user's folder: all of them or none, and never over one of the user's files.

The folder holds a manifest, `.camviz-files.json`, which lists the files written there with their SHA-256. A file
belongs to camviz only while its bytes match the list; every other file is the user's. The next run finishes or rolls
back a write that was interrupted, even by `kill -9` (see `camviz.results.output_transaction`). A lock on `.camviz-lock`
keeps other processes out; the system releases it when its holder exits for any reason.
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
    """Lock a folder (created if missing), then finish or roll back an interrupted write.

    Args:
        folder: where to write; a link to a folder is followed.
        force: whether to overwrite the user's files that have the names of new files, and to replace a manifest that
            cannot be read. No other file of the user's is ever touched.

    Raises:
        OutputFolderError: it is not a folder, another process has reserved it, its manifest cannot be read, or the
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
    """A folder reserved for this process by `reserve`."""

    def __init__(self, path: Path, force: bool, manifest: Manifest) -> None:
        self._path, self._force, self._manifest = path, force, manifest

    def check(self, names: Iterable[str]) -> None:
        """Check that files with these names can be written, before computing them.

        Raises:
            ValueError: as in `write`.
            OutputFolderError: a name belongs to a link or a folder, or to a user's file and `force` is False.
        """
        names = list(names)
        check_names(names)
        with _explained(f"{str(self._path)!r} cannot be read", "check its permissions, or choose another folder"):
            self._in_the_way(names)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Replace the files that camviz wrote here with these: all of them or none.

        Args:
            files: the content of each file, by plain file name.

        Raises:
            ValueError: a name is not a plain file name, starts with `.camviz-`, or differs from another by case only.
            OutputFolderError: as in `check`, or the system refuses, for instance because the disk is full.
        """
        self.check(files)
        folder = self._path
        with _explained(f"Nothing was written to {str(folder)!r}", "make room or choose another folder"):
            try:
                journal = self._journal(stage(folder, files))
                commit(folder, journal)
            except BaseException:
                # An interrupt may come just after the commit: the files on disk decide.
                self._manifest = recover(folder, _read(folder, self._force))
                raise
        with _explained(
            f"{str(folder)!r} is only partly written", "run the same command again, which finishes it first"
        ):
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
        """Hashes, by name, of existing files with these names: camviz's and, with `force`, the user's."""
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
    """The folder's manifest; an empty one if there is none, or if it cannot be read and `force` is set."""
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
    """Take the lock and return its file descriptor."""
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
        if sys.platform != "win32":  # Windows cannot remove open files
            with _explained(f"{str(folder / LOCK)!r} cannot be removed", "remove it by hand"):
                (folder / LOCK).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_open_at(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to this file; the lock's last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def _explained(what: str, advice: str) -> Iterator[None]:
    """Turn a system error into one sentence."""
    try:
        yield
    except OSError as error:
        raise OutputFolderError(f"{what} ({error.strerror or error}): {advice}.") from error
