"""Reading strangers' pictures in a process of its own, which is ended when a file takes too much time or memory.

A file of a few hundred kilobytes can keep a decoder busy for minutes, and no count of its parts foresees every way of
doing so. The process imports no torch, keeps at most one picture, and ends with the one that started it. As a script,
this module is that process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from camviz.images import MAX_PIXELS, TOO_MUCH_WORK, Fit, ImageError, fit_view, load_image

# What a file may take: of a processor core, and of memory: 700 million bytes.
SECONDS, MEGABYTES = 4.0, 668
_TICK = 0.02  # seconds between two looks at what it has taken
_CRASHED = "This picture is damaged, and made the decoder fail: save or download it again."

Pixels = NDArray[np.uint8]


class Reader(Protocol):
    """What reads pictures from their bytes; each raises ImageError if they are not one."""

    def size(self, data: bytes) -> tuple[int, int]:
        """Decode a picture; return its height and width."""
        ...

    def pixels(self, data: bytes, most: int = MAX_PIXELS) -> Pixels:
        """The pixels of a picture of at most so many, uint8 (H, W, 3)."""
        ...

    def view(self, data: bytes, size: int, resize: int, fit: Fit, resample: Image.Resampling) -> Pixels:
        """A picture as `fit_view` fits it, uint8 (size, size, 3)."""
        ...

    def forget(self) -> None:
        """Keep nothing of any picture."""
        ...


class DirectReader:
    """Reads pictures in this process, and keeps the last one: several networks often look at the same."""

    def __init__(self) -> None:
        self._last: tuple[bytes, int, Pixels] | None = None

    def size(self, data: bytes) -> tuple[int, int]:
        """Decode a picture; return its height and width."""
        height, width, _ = self.pixels(data).shape
        return height, width

    def pixels(self, data: bytes, most: int = MAX_PIXELS) -> Pixels:
        """The pixels of a picture of at most so many, uint8 (H, W, 3)."""
        last = self._last
        if last is None or last[:2] != (data, most):
            last = self._last = None  # before the next needs its memory
            last = self._last = data, most, load_image(data, most)
        return last[2]

    def view(self, data: bytes, size: int, resize: int, fit: Fit, resample: Image.Resampling) -> Pixels:
        """A picture as `fit_view` fits it, uint8 (size, size, 3)."""
        return fit_view(self.pixels(data), size, resize, fit, resample)

    def forget(self) -> None:
        """Keep nothing of any picture."""
        self._last = None


class GuardedReader:
    """Reads pictures in another process, one at a time; threads that share it wait for each other.

    The process starts with the first question, and anew if it has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def size(self, data: bytes) -> tuple[int, int]:
        """Decode a picture; return its height and width."""
        return tuple(self._ask(data, "size")[0])

    def pixels(self, data: bytes, most: int = MAX_PIXELS) -> Pixels:
        """The pixels of a picture of at most so many, uint8 (H, W, 3)."""
        return _as_array(self._ask(data, "pixels", most))

    def view(self, data: bytes, size: int, resize: int, fit: Fit, resample: Image.Resampling) -> Pixels:
        """A picture as `fit_view` fits it, uint8 (size, size, 3)."""
        return _as_array(self._ask(data, "view", size, resize, fit, int(resample)))

    def forget(self) -> None:
        """Keep nothing of any picture."""
        self._ask(b"", "forget")

    def _ask(self, data: bytes, question: str, *details: object) -> tuple[Any, bytes]:
        """Ask the process; return its answer and the bytes that came with it."""
        with self._lock:
            process = self._running()
            with _limited(process) as taken_too_much:
                try:
                    _send(process.stdin, [question, *details], data)
                    answer, body = _receive(process.stdout)
                except BaseException as error:
                    process.kill()  # whatever it was asked, it must not answer the next question with that
                    process.wait()
                    if isinstance(error, OSError | EOFError):
                        raise ImageError(TOO_MUCH_WORK if taken_too_much() else _CRASHED) from error
                    raise
        if isinstance(answer, str):
            raise ImageError(answer)
        return answer, body

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "camviz.decoding"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            _receive(self._process.stdout)  # it says when it is ready
        return self._process


@contextmanager
def _limited(process: subprocess.Popen[bytes]) -> Iterator[Callable[[], bool]]:
    """Kill a process that takes too much within this block; yield a function that says whether that happened."""
    done, killed = threading.Event(), threading.Event()
    facts = psutil.Process(process.pid)

    def taken() -> float:
        times = facts.cpu_times()
        return times.user + times.system

    def watch(before: float) -> None:
        while not done.wait(_TICK):
            try:
                if taken() - before > SECONDS or facts.memory_info().rss > MEGABYTES * 2**20:
                    killed.set()
                    process.kill()
            except psutil.Error:
                return  # it has ended by itself

    watcher = threading.Thread(target=watch, args=(taken(),), daemon=True)
    watcher.start()
    try:
        yield killed.is_set
    finally:
        done.set()
        watcher.join()


def _as_array(answer: tuple[Any, bytes]) -> Pixels:
    shape, body = answer
    return np.frombuffer(body, np.uint8).reshape(shape).copy()  # or it could not be written to


def _send(stream: Any, words: object, body: bytes | memoryview = b"") -> None:  # noqa: ANN401
    text = json.dumps(words).encode()
    stream.write(len(text).to_bytes(8, "little") + len(body).to_bytes(8, "little") + text)
    stream.write(body)
    stream.flush()


def _receive(stream: Any) -> tuple[Any, bytes]:  # noqa: ANN401
    lengths = _exactly(stream, 16)
    text = _exactly(stream, int.from_bytes(lengths[:8], "little"))
    return json.loads(text), _exactly(stream, int.from_bytes(lengths[8:], "little"))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("the other process has ended")
    return data


def _serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer questions until the other process closes the pipe: with what it asked for, or a sentence of refusal."""
    reader = DirectReader()
    _send(answers, "ready")
    while True:
        try:
            (question, *details), data = _receive(asked)
        except EOFError:
            return
        try:
            _answer(reader, answers, question, details, data)
        except ImageError as error:
            _send(answers, str(error))


def _answer(reader: DirectReader, answers: BinaryIO, question: str, details: list[Any], data: bytes) -> None:
    if question == "forget":
        reader.forget()
        _send(answers, None)
    elif question == "size":
        _send(answers, reader.size(data))
    elif question == "pixels":
        pixels = reader.pixels(data, *details)
        _send(answers, pixels.shape, pixels.data.cast("B"))
    else:
        size, resize, fit, resample = details
        view = np.ascontiguousarray(reader.view(data, size, resize, fit, Image.Resampling(resample)))
        _send(answers, view.shape, view.data.cast("B"))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C ends the other process, and that ends this one
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders complain of hostile bytes, without end
    _serve(sys.stdin.buffer, sys.stdout.buffer)
