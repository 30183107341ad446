"""Writing into a user's folder: whose a file is, and what is left after any interruption."""

import ast
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from output_folders import (
    NEW,
    OLD,
    USERS,
    everything,
    hidden,
    one_sentence,
    passes_for_whole,
    refused,
    sha256,
    visible,
    with_old_result,
)
from shape_result import LAYERS, MODEL

from camviz import cli
from camviz.results import output_folder, output_manifest, output_transaction
from camviz.results.output_folder import LOCK, OutputFolderError, reserve, write_files
from camviz.results.output_transaction import MANIFEST, STAGING

FIVE = ("report.html", "scores.csv", "figure.pdf", "result.png", "layer-01-mine.png")


def manifest(**values):
    raw = {"format": "camviz output folder", "version": 1, "finished": True, "files": {}, "old": {}, "forced": {}}
    return json.dumps({**raw, **values})


@pytest.fixture
def folder(tmp_path):
    return with_old_result(tmp_path / "out")


def test_a_new_folder(tmp_path):
    write_files(tmp_path / "new" / "out", NEW)
    assert visible(tmp_path / "new" / "out") == NEW
    assert passes_for_whole(tmp_path / "new" / "out")
    assert hidden(tmp_path / "new" / "out") == {MANIFEST}


def test_a_second_result_replaces_the_first(folder):
    write_files(folder, NEW)
    assert visible(folder) == {**NEW, **USERS}
    assert passes_for_whole(folder)
    assert hidden(folder) == {MANIFEST}


def test_equal_results_give_equal_bytes(folder):
    before = everything(folder)
    write_files(folder, OLD)
    assert everything(folder) == before


def test_through_a_link_to_a_folder(folder, tmp_path):
    (tmp_path / "latest").symlink_to("out")
    write_files(tmp_path / "latest", NEW)
    assert visible(folder) == {**NEW, **USERS}


def test_several_writes_in_one_reservation(folder):
    with reserve(folder) as reserved:
        reserved.write(NEW)
        reserved.write({"one.txt": b"1"})
    assert visible(folder) == {"one.txt": b"1", **USERS}


def test_files_of_the_users_are_refused(tmp_path):
    """An earlier version of camviz kept no list, so its files are among them."""
    for name in ("b.txt", "same.txt", "other.txt"):
        (tmp_path / name).write_bytes(NEW.get(name, b"other"))
    refused(
        tmp_path, {"fresh.txt": b"1", "b.txt": b"2"}, "b.txt' was not written by camviz:", "another folder", "--force"
    )
    refused(tmp_path, NEW, "b.txt' was not written", ", and 1 more file is in the way:")
    write_files(tmp_path, {"fresh.txt": b"1"})
    assert visible(tmp_path) == {"fresh.txt": b"1", "b.txt": NEW["b.txt"], "same.txt": b"same", "other.txt": b"other"}


def test_files_changed_since_are_refused(folder):
    for name in ("a.txt", "b.txt", "same.txt"):
        (folder / name).write_bytes(b"edited")
    refused(folder, NEW, "a.txt' has changed since camviz wrote it, and 2 more files are in the way:")


def test_a_changed_file_without_a_successor_stays(folder):
    (folder / "gone.txt").write_bytes(b"edited")
    write_files(folder, NEW)
    assert visible(folder) == {**NEW, "gone.txt": b"edited", **USERS}
    refused(folder, OLD, "gone.txt' was not written by camviz:")


def test_a_file_that_the_user_deleted(folder):
    (folder / "a.txt").unlink()
    (folder / "gone.txt").unlink()
    write_files(folder, NEW)
    assert visible(folder) == {**NEW, **USERS}


def test_force_overwrites_names_that_collide_and_nothing_else(folder):
    (folder / "a.txt").write_bytes(b"edited")
    (folder / "gone.txt").write_bytes(b"edited")
    (folder / "fresh.txt").write_bytes(b"mine too")
    write_files(folder, NEW, force=True)
    assert visible(folder) == {**NEW, "gone.txt": b"edited", **USERS}
    assert passes_for_whole(folder)


@pytest.mark.parametrize("force", [False, True])
def test_links_and_folders_are_refused(folder, tmp_path, force):
    target = tmp_path / "elsewhere.txt"
    target.write_bytes(OLD["a.txt"])  # the very bytes that the manifest lists
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(target)
    refused(folder, NEW, "a.txt' is a link", force=force)
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(tmp_path / "nothing")
    refused(folder, NEW, "a.txt' is a link", force=force)
    (folder / "a.txt").unlink()
    (folder / "a.txt").mkdir()
    refused(folder, NEW, "a.txt' is a folder", force=force)
    (folder / "a.txt").rmdir()
    os.mkfifo(folder / "a.txt")
    with pytest.raises(OutputFolderError, match="not a regular file"):
        write_files(folder, NEW, force)
    assert target.read_bytes() == OLD["a.txt"]


def test_a_link_without_a_successor_stays(folder, tmp_path):
    target = tmp_path / "elsewhere.txt"
    target.write_bytes(OLD["gone.txt"])
    (folder / "gone.txt").unlink()
    (folder / "gone.txt").symlink_to(target)
    write_files(folder, NEW, force=True)
    assert (folder / "gone.txt").is_symlink()
    assert target.read_bytes() == OLD["gone.txt"]


@pytest.mark.parametrize("path", ["file", "file/out", "dangling"])
def test_what_is_no_folder(tmp_path, path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "dangling").symlink_to("nothing")
    refused(tmp_path / path, NEW, f"{path}'", "choose another")
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("name", [MANIFEST, STAGING, LOCK])
@pytest.mark.parametrize("kind", ["link", "folder", "file"])
@pytest.mark.parametrize("force", [False, True])
def test_the_users_files_under_camvizs_names(tmp_path, name, kind, force):
    folder, other = tmp_path / "out", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "mine.txt").write_bytes(b"mine")
    if kind == "link":
        (folder / name).symlink_to(other)
    elif kind == "folder":
        shutil.copytree(other, folder / name)
    else:
        (folder / name).write_bytes(b"mine")
    if force and (name, kind) == (MANIFEST, "file"):  # a name that collides
        write_files(folder, NEW, force)
        assert visible(folder) == NEW
        return
    refused(folder, NEW, name, force=force)
    assert (other / "mine.txt").read_bytes() == b"mine"


HASH = sha256(b"mine")
HOSTILE = {
    "empty": "",
    "half": manifest(files={"mine.txt": HASH})[:-9],
    "binary": b"\xff\xfe\x00",
    "list": "[]",
    "null": "null",
    "deep": "[" * 100_000,
    "huge": manifest(note="x" * 2**23),
    "many": manifest(files={f"{n}.txt": HASH for n in range(10_001)}),
    "other format": manifest(format="camviz bundle"),
    "no version": manifest(version=None),
    "true version": manifest(version=True),
    "digits": manifest()[:-1] + ', "n": ' + "9" * 5000 + "}",
    "key twice": manifest()[:-1] + ', "finished": true}',
    "finished text": manifest(finished="no"),
    "no hash": manifest(files={"mine.txt": "abc"}),
    "hash of another type": manifest(files={"mine.txt": 5}),
    "files a list": manifest(files=["mine.txt"]),
    "files a number": manifest(old=7),
    **{
        f"name {name!r}": manifest(finished=False, old={name: HASH})
        for name in ("../mine.txt", "/mine.txt", "drafts/mine.txt", "..", ".", "", "C:mine.txt", "..\\mine.txt")
    },
    "nul": manifest(files={"mine\0.txt": HASH}),
    "surrogate": manifest(files={"\ud800": HASH}),
    "long": manifest(files={"x" * 256: HASH}),
    "own": manifest(files={MANIFEST: HASH}),
    "own, capitals": manifest(files={LOCK.upper(): HASH}),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_damaged_and_hostile_manifests(tmp_path, text):
    folder = tmp_path / "out"
    (folder / "drafts").mkdir(parents=True)
    places = [tmp_path / "mine.txt", folder / "mine.txt", folder / "drafts" / "mine.txt"]
    for path in places:
        path.write_bytes(b"mine")
    (folder / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    refused(folder, NEW, f"{MANIFEST}' is ", "--force to replace it")
    refused(folder, {"mine.txt": b"1"}, f"{MANIFEST}' is ")
    write_files(folder, NEW, force=True)
    assert [path.read_bytes() for path in places] == [b"mine"] * 3
    assert visible(folder) == {**NEW, "mine.txt": b"mine", "drafts": None, "drafts/mine.txt": b"mine"}


@pytest.mark.parametrize("version", [0, 2, 10**30])
def test_another_versions_manifest(folder, version):
    files = {name: sha256(data) for name, data in OLD.items()}
    (folder / MANIFEST).write_text(manifest(version=version, files=files, finished="in another way"))
    refused(folder, NEW, "was written by another version of camviz", "--force")
    write_files(folder, NEW, force=True)
    assert visible(folder) == {**NEW, "gone.txt": OLD["gone.txt"], **USERS}  # whose it is cannot be known


def test_a_journal_of_a_strangers_overwrites_nothing(folder):
    """What it says to replace is not what is there, and what it says to put there is not staged."""
    for old in (sha256(b"other"), sha256(b"mine")):
        journal = manifest(files={"mine.txt": sha256(b"new")}, finished=False, old={"mine.txt": old})
        (folder / MANIFEST).write_text(journal)
        with reserve(folder):
            pass
        assert visible(folder) == {**OLD, **USERS}


@pytest.mark.parametrize(
    "names", [["../a"], ["a/b"], ["/a"], [""], [".."], ["a\0"], ["\ud800"], ["x" * 256], [MANIFEST], ["A.txt", "a.TXT"]]
)
def test_names_that_are_not_written(folder, names):
    with pytest.raises(ValueError, match=r"choose|rename"):
        write_files(folder, dict.fromkeys(names, b""), force=True)
    with reserve(folder) as reserved, pytest.raises(ValueError, match=r"choose|rename"):
        reserved.check(names)
    assert visible(folder) == {**OLD, **USERS}


def test_too_many_files(folder):
    with pytest.raises(ValueError, match="5001 files are too many"):
        write_files(folder, {str(number): b"" for number in range(5001)})


def test_the_largest_manifest_can_be_read_again():
    """Names as long as can be, all of them old, new and forced at once."""
    names = {f"{number:05d}{'é' * 125}": HASH for number in range(5000)}
    full = output_manifest.Manifest(names, False, names, names)
    assert len(full.encoded()) <= output_manifest.MAX_BYTES
    assert output_manifest.parse(full.encoded()) == full


def test_an_old_name_that_leads_to_a_new_file(folder):
    """As `GONE.txt` may where case does not count; a hard link stands for that."""
    (folder / "gone.txt").unlink()
    (folder / "a.txt").write_bytes(b"gone")
    (folder / "gone.txt").hardlink_to(folder / "a.txt")
    journal = manifest(files={"a.txt": sha256(b"gone")}, finished=False, old={"gone.txt": sha256(b"gone")})
    (folder / MANIFEST).write_text(journal)
    with reserve(folder):
        pass
    assert (folder / "a.txt").read_bytes() == (folder / "gone.txt").read_bytes() == b"gone"
    assert passes_for_whole(folder)


# The command line


def explain(out, *more):
    options = ["--model", MODEL, "--device", "cpu", "--no-scores"]
    return cli.main(["explain", "shapes:test/12", "--out", str(out), *options, *more])


def five_files(out):
    out.mkdir()
    for name in FIVE:
        (out / name).write_bytes(b"my " + name.encode())
    return everything(out)


def test_the_command_refuses_five_files_of_the_users(tmp_path, capsys, monkeypatch):
    """At once: no network is loaded."""
    monkeypatch.setattr(cli, "load_model", None)
    before = five_files(tmp_path / "out")
    assert explain(tmp_path / "out") == 1
    one_sentence(
        capsys.readouterr().err.strip(), "result.png' was not written by camviz, and 3 more files are", "--force"
    )
    assert everything(tmp_path / "out") == before


def test_the_command_refuses_a_folder_in_use(folder, capsys, monkeypatch):
    monkeypatch.setattr(cli, "load_model", None)
    with reserve(folder):
        assert explain(folder) == 1
    one_sentence(capsys.readouterr().err.strip(), "camviz: Another camviz is using")


def test_the_command_from_end_to_end(tmp_path, capsys):
    """Force, a second run with fewer layers, and a file changed since."""
    out = tmp_path / "out"
    before = five_files(out)
    assert explain(out, "--force") == 0
    assert passes_for_whole(out)
    after = visible(out)
    assert after["layer-01-mine.png"] == before["layer-01-mine.png"]
    assert after["report.html"].startswith(b"<!")
    assert f"layer-01-{LAYERS[-1]}.png" in after
    assert len(after) == 1 + len(cli._DOCUMENTS) + 2 + 2 * len(LAYERS)

    assert explain(out, "--layers", LAYERS[0]) == 0
    assert passes_for_whole(out)
    assert {path.name for path in out.glob("*-*.png")} == {
        "layer-01-mine.png",
        f"layer-01-{LAYERS[0]}.png",
        f"merge-01-{LAYERS[0]}.png",
    }

    (out / f"layer-01-{LAYERS[-1]}.png").write_bytes(b"mine")  # which a run with all layers would write
    before = everything(out)
    capsys.readouterr()
    assert explain(out) == 1
    one_sentence(capsys.readouterr().err.strip(), f"layer-01-{LAYERS[-1]}.png' was not written by camviz:")
    (out / "scores.csv").write_bytes(b"edited")
    assert explain(out, "--layers", LAYERS[0]) == 1
    one_sentence(capsys.readouterr().err.strip(), "scores.csv' has changed since camviz wrote it:")
    assert everything(out) == {**before, "scores.csv": b"edited"}


def test_the_names_known_beforehand_are_those_written(tmp_path, monkeypatch):
    """Otherwise a slow method could run for nothing."""
    checked, written = set(), {}
    monkeypatch.setattr(output_folder.OutputFolder, "check", lambda self, names: checked.update(names))
    monkeypatch.setattr(output_folder.OutputFolder, "write", lambda self, files: written.update(files))
    assert explain(tmp_path / "out") == 0
    assert checked == set(written)


@pytest.mark.parametrize("module", [output_folder, output_manifest, output_transaction])
def test_the_modules_need_nothing_but_python(module):
    tree = ast.parse(Path(module.__file__).read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in named if name.split(".")[0] not in sys.stdlib_module_names} <= {
        output_manifest.__name__,
        output_transaction.__name__,
    }
