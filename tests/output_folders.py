"""Folders with a result of camviz's and files of a user's, and what may be seen in them."""

import hashlib
import json

import pytest

from camviz.results.output_folder import OutputFolderError, write_files
from camviz.results.output_transaction import MANIFEST

OLD = {"a.txt": b"old a", "b.txt": b"old b", "gone.txt": b"gone", "same.txt": b"same"}
NEW = {"a.txt": b"new a", "b.txt": b"new b" * 1000, "fresh.txt": b"new b" * 1000, "same.txt": b"same", "empty.txt": b""}


def visible(folder):
    """All that a user sees in a folder: what camviz keeps for itself is left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.relative_to(folder).parts[0].startswith(".camviz-"):
            name = str(path.relative_to(folder))
            found[name] = f"-> {path.readlink()}" if path.is_symlink() else None if path.is_dir() else path.read_bytes()
    return found


def everything(folder):
    return {path.name: path.is_symlink() or path.is_dir() or path.read_bytes() for path in folder.iterdir()}


def passes_for_whole(folder):
    """Whether a manifest that is finished matches the files; written without the module's own code."""
    if not (folder / MANIFEST).exists():
        return False
    raw = json.loads((folder / MANIFEST).read_text())
    return raw["finished"] and all(
        (folder / name).is_file() and hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
        for name, sha256 in raw["files"].items()
    )


def hidden(folder):
    return {path.name for path in folder.iterdir() if path.name.startswith(".camviz-")}


def refused(folder, files, *words, force=False):
    """Assert that a write is refused in one sentence, and that nothing in the folder changes."""
    before = everything(folder) if folder.is_dir() else None
    with pytest.raises(OutputFolderError) as caught:
        write_files(folder, files, force)
    one_sentence(str(caught.value), *words)
    assert before is None or everything(folder) == before


def one_sentence(told, *words):
    assert told.endswith(".")
    assert "\n" not in told
    assert "None" not in told
    for word in words:
        assert word in told


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def with_old_result(folder):
    """Make a folder with an old result, and files of the user's."""
    write_files(folder, OLD)
    (folder / "mine.txt").write_bytes(b"mine")
    (folder / "drafts").mkdir()
    (folder / "drafts" / "a.txt").write_bytes(b"draft")
    (folder / "link").symlink_to("mine.txt")
    return folder


USERS = {"mine.txt": b"mine", "drafts": None, "drafts/a.txt": b"draft", "link": "-> mine.txt"}
