"""A write into a user's folder that is killed, fails, or meets another one."""

import errno
import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager
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

from camviz.results.output_folder import LOCK, OutputFolderError, reserve, write_files
from camviz.results.output_transaction import MANIFEST, STAGING

ROOT = Path(__file__).parent.parent

# What the processes below begin with: they have neither torch nor Streamlit.
BEGIN = """
import json, os, signal, sys, types
from pathlib import Path

camviz = types.ModuleType("camviz")
camviz.__path__ = [sys.argv[1] + "/camviz"]
sys.modules["camviz"] = camviz
from camviz.results.output_folder import OutputFolderError, reserve
"""
# For each line that it reads, starts a process that reserves a folder, writes files to it if there are any, and kills
# itself before its n-th change on the disk, or in the middle of it if that is a write.
KILL = """
def counted(call):
    def counting(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            if call.__name__ == "write":
                call(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return counting

for name in ("open", "write", "fsync", "replace", "mkdir", "unlink", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
for line in sys.stdin:
    folder, left, force, files = json.loads(line)
    child = os.fork()
    if child == 0:
        with reserve(Path(folder), force) as reserved:
            if files is not None:
                reserved.write({name: text.encode() for name, text in files.items()})
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
HOLD = """
with reserve(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""
# Writes again and again, and sees to it that nobody else has written meanwhile.
RACE = """
folder, files = Path(sys.argv[2]), json.loads(sys.argv[3])
wrote = 0
while wrote < 15:
    try:
        with reserve(folder) as reserved:
            reserved.write({name: text.encode() for name, text in files.items()})
            names = {path.name for path in folder.iterdir() if not path.name.startswith(".camviz-")}
            assert names == set(files), names
            for name, text in files.items():
                assert (folder / name).read_bytes() == text.encode()
            wrote += 1
    except OutputFolderError as error:
        assert "Another camviz" in str(error), error
"""


@pytest.fixture
def folder(tmp_path):
    return with_old_result(tmp_path / "out")


def process(script, *values):
    """Start a process that runs one of the scripts above."""
    command = [sys.executable, "-I", "-S", "-c", BEGIN + script, str(ROOT), *map(str, values)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def killed():
    """A function that tells whether a process was killed before it was done; recovery takes no files."""
    with process(KILL) as server:

        def run(folder, step=0, force=False, files=None):
            texts = files and {name: data.decode() for name, data in files.items()}
            print(json.dumps([str(folder), step, force, texts]), file=server.stdin, flush=True)
            code = server.stdout.readline().strip()
            assert code in ("0", "-9"), code
            return code == "-9"

        yield run


@pytest.mark.parametrize("start", ["new", "replaced", "forced"])
def test_killed_at_every_step(tmp_path, killed, start):
    """Before recovery, a mixture is marked; after it, the folder holds exactly the old or the new result."""
    folder, outcomes, mixtures = tmp_path / "out", [], 0
    for last in itertools.count(1):
        shutil.rmtree(folder, ignore_errors=True)
        old, new = begin(folder, start)
        if not killed(folder, last, start == "forced", NEW):
            break
        now = visible(folder) if folder.exists() else {}
        if passes_for_whole(folder):
            assert now in (old, new)
        if not (folder / MANIFEST).exists():
            assert now == old
        mixtures += now not in (old, new)
        assert not killed(folder, 0)
        outcomes.append("new" if visible(folder) == new else "old")
        assert visible(folder) == (new if outcomes[-1] == "new" else old)
        assert hidden(folder) <= {MANIFEST}
        assert outcomes[-1] == "old" or passes_for_whole(folder)
    assert visible(folder) == new
    assert "".join(sorted(outcomes, reverse=True)) == "".join(outcomes)  # all old, then all new: there is one commit
    assert set(outcomes) == {"old", "new"}
    assert mixtures >= len(NEW) - 2
    assert len(outcomes) > 5 * len(NEW)


def begin(folder, start):
    """A folder to write NEW into; what it shows before, and after."""
    users = {"mine.txt": b"mine"}
    folder.mkdir()
    if start == "new":
        before, after = users, {**NEW, **users}
    else:
        write_files(folder, OLD)
        users["gone.txt" if start == "forced" else "notes.txt"] = b"edited"
        before, after = {**OLD, **users}, {**NEW, **users}
        if start == "forced":
            before["a.txt"] = before["fresh.txt"] = b"edited"
    for name, data in before.items():
        (folder / name).write_bytes(data)
    return before, after


def test_recovery_killed_at_every_step(folder, tmp_path, killed):
    """Of a write that was killed in the middle of its commit."""
    copy = tmp_path / "copy"
    half_written(folder, copy, killed)
    for last in itertools.count(1):
        shutil.rmtree(folder)
        shutil.copytree(copy, folder, symlinks=True)
        if not killed(folder, last):
            break
        assert passes_for_whole(folder) <= (visible(folder) == {**NEW, **USERS})
        assert not killed(folder, 0)
        assert visible(folder) == {**NEW, **USERS}
        assert hidden(folder) == {MANIFEST}
    assert last > 10


def half_written(folder, copy, killed):
    """Kill a write after the first file that it put in place; keep a copy of the folder before."""
    shutil.copytree(folder, copy, symlinks=True)
    for last in itertools.count(1):
        assert killed(folder, last, files=NEW)
        now = visible(folder)
        if now["a.txt"] == NEW["a.txt"]:
            break
        shutil.rmtree(folder)
        shutil.copytree(copy, folder, symlinks=True)
    assert now["b.txt"] == OLD["b.txt"]
    shutil.rmtree(copy)
    shutil.copytree(folder, copy, symlinks=True)


def test_a_file_edited_after_an_interruption_stays(folder, tmp_path, killed):
    half_written(folder, tmp_path / "copy", killed)
    (folder / "b.txt").write_bytes(b"edited")
    with pytest.raises(OutputFolderError) as caught:
        write_files(folder, NEW)
    one_sentence(str(caught.value), "b.txt' has changed since camviz wrote it:")
    assert visible(folder) == {**OLD, "a.txt": NEW["a.txt"], "b.txt": b"edited", **USERS}
    assert not passes_for_whole(folder)
    write_files(folder, {"other.txt": b"1"})  # which is in nobody's way: camviz's own files go, old and new
    assert visible(folder) == {"other.txt": b"1", "b.txt": b"edited", **USERS}
    assert passes_for_whole(folder)


def test_an_edited_file_moved_away_lets_the_write_be_finished(folder, tmp_path, killed):
    half_written(folder, tmp_path / "copy", killed)
    (folder / "b.txt").write_bytes(b"edited")
    with reserve(folder):
        pass
    assert not passes_for_whole(folder)
    (folder / "b.txt").rename(tmp_path / "b.txt")
    with reserve(folder):
        assert visible(folder) == {**NEW, **USERS}
    assert passes_for_whole(folder)


def test_staged_files_that_were_lost_or_changed(folder, tmp_path, killed):
    """The write cannot be finished, and is not taken for finished; the next one puts all right."""
    half_written(folder, tmp_path / "copy", killed)
    staged = [path for path in (folder / STAGING).iterdir() if path.read_bytes() == NEW["b.txt"]]
    staged[0].write_bytes(b"forged")
    staged[1].unlink()
    with reserve(folder):
        assert visible(folder) == {**OLD, "a.txt": NEW["a.txt"], **USERS}
        assert not passes_for_whole(folder)
    write_files(folder, NEW)
    assert visible(folder) == {**NEW, **USERS}
    assert hidden(folder) == {MANIFEST}


def test_a_users_file_that_force_did_not_reach_is_the_users_again(tmp_path, killed):
    folder = tmp_path / "out"
    begin(folder, "forced")
    for step in itertools.count(1):
        assert killed(folder, step, True, NEW)
        if not json.loads((folder / MANIFEST).read_text())["finished"]:
            break
    shutil.rmtree(folder / STAGING)
    with reserve(folder):
        assert visible(folder)["fresh.txt"] == b"edited"
    refused(folder, NEW, "a.txt' has changed since camviz wrote it, and 1 more file is in the way")


def test_files_of_the_users_among_staged_ones(folder):
    """They are named, and stay, as does all else."""
    (folder / STAGING).mkdir()
    (folder / STAGING / sha256(b"x")).write_bytes(b"of a run that was killed")
    (folder / STAGING / "thesis.txt").write_bytes(b"mine")
    refused(folder, NEW, "thesis.txt' was not written by camviz")
    refused(folder, NEW, "thesis.txt' was not written by camviz", force=True)
    assert (folder / STAGING / "thesis.txt").read_bytes() == b"mine"
    (folder / STAGING / "thesis.txt").unlink()
    write_files(folder, NEW)
    assert hidden(folder) == {MANIFEST}


# Errors of the system


@contextmanager
def failing(step, number, calls, lasting):
    """Let the n-th of these calls fail, and with `lasting` each one after it; yields a list of the failures."""
    done, failed = itertools.count(1), []

    def counted(call):
        def counting(*args, **kwargs):
            # Opening a file or folder to read it, and syncing a folder, takes no room.
            takes_room = args[1] & os.O_CREAT if call is opened else call is not synced or is_file(args[0])
            now = next(done) if takes_room else 0
            if now == step or (lasting and now > step):
                failed.append(call)
                raise OSError(number, os.strerror(number))
            return call(*args, **kwargs)

        return counting

    opened, synced = os.open, os.fsync
    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            patch.setattr(os, name, counted(getattr(os, name)))
        yield failed


def is_file(descriptor):
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


TAKES_ROOM = ("open", "write", "fsync", "mkdir")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_a_full_disk_leaves_the_old_result(folder, number):
    """The disk is full from some step on. Files are removed and renamed even then, and all room is taken first."""
    before = everything(folder)
    for step in itertools.count(1):
        try:
            with failing(step, number, TAKES_ROOM, lasting=True):
                write_files(folder, NEW)
        except OutputFolderError as error:
            one_sentence(str(error), "out'", f"({os.strerror(number)})")
            assert everything(folder) == before
        else:
            break
    assert visible(folder) == {**NEW, **USERS}
    assert step > 3 * len(NEW) + 4


@pytest.mark.parametrize("lasting", [False, True])
def test_any_call_that_fails(folder, tmp_path, lasting):
    """Then the next run makes it the old result or the new one."""
    before, after, copy = visible(folder), {**NEW, **USERS}, tmp_path / "copy"
    shutil.copytree(folder, copy, symlinks=True)
    outcomes = []
    for step in itertools.count(1):
        told = ""
        with failing(step, errno.EIO, (*TAKES_ROOM, "replace", "unlink", "rmdir"), lasting) as failed:
            try:
                write_files(folder, NEW)
            except OutputFolderError as error:
                told = str(error)
        if not failed:
            break
        if told:
            one_sentence(told, "(Input/output error)")
        else:
            assert visible(folder) == after
        assert passes_for_whole(folder) <= (visible(folder) in (before, after))
        with reserve(folder):
            pass
        assert hidden(folder) == {MANIFEST}
        outcomes.append("new" if visible(folder) == after else "old")
        assert visible(folder) == (after if outcomes[-1] == "new" else before)
        shutil.rmtree(folder)
        shutil.copytree(copy, folder, symlinks=True)
    assert set(outcomes) == {"old", "new"}


def test_short_writes(folder, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:7]))
    write_files(folder, NEW)
    monkeypatch.undo()
    assert visible(folder) == {**NEW, **USERS}


def test_a_file_system_that_cannot_sync_folders(folder, monkeypatch):
    fsync = os.fsync

    def only_files(descriptor):
        if not is_file(descriptor):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    write_files(folder, NEW)
    assert visible(folder) == {**NEW, **USERS}


@pytest.mark.parametrize("step", range(1, 8))
def test_stopped_by_hand_while_staging(folder, monkeypatch, step):
    """Also at the very moment of the commit, when the disk decides."""
    replace, write, done = os.replace, os.write, []

    def stop(*args):
        done.append(args)
        if len(done) == step:
            raise KeyboardInterrupt
        return write(*args)

    monkeypatch.setattr(os, "write", stop)
    if step == 7:
        monkeypatch.setattr(os, "replace", lambda *args: (replace(*args), monkeypatch.undo(), stop_now()))
    with pytest.raises(KeyboardInterrupt):
        write_files(folder, NEW)
    assert visible(folder) == ({**NEW, **USERS} if step == 7 else {**OLD, **USERS})
    assert passes_for_whole(folder)
    assert hidden(folder) == {MANIFEST}


def stop_now():
    raise KeyboardInterrupt


# Several processes


def test_a_second_process_is_refused(folder):
    with process(HOLD, folder) as holder:
        assert holder.stdout.readline() == "held\n"
        refused(folder, NEW, f"Another camviz is using '{folder}'")
        holder.kill()  # with the lock held
    assert holder.returncode == -9
    assert (folder / LOCK).exists()
    write_files(folder, NEW)
    assert visible(folder) == {**NEW, **USERS}
    assert hidden(folder) == {MANIFEST}


def test_a_lock_is_given_back_after_an_error(folder):
    with pytest.raises(RuntimeError), reserve(folder):
        raise RuntimeError
    assert hidden(folder) == {MANIFEST}
    write_files(folder, NEW)


def test_processes_that_race_do_not_mix(tmp_path):
    results = [{f"{n}-{k}.txt": b"%d" % n for k in range(n)} | {"common.txt": b"%d" % n} for n in range(1, 5)]
    racing = [
        process(RACE, tmp_path, json.dumps({name: data.decode() for name, data in files.items()})) for files in results
    ]
    told = [one.communicate(timeout=300)[1] for one in racing]
    assert [one.returncode for one in racing] == [0] * 4, told
    assert visible(tmp_path) in results
    assert passes_for_whole(tmp_path)
    assert hidden(tmp_path) == {MANIFEST}
