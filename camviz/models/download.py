"""Download a torchvision weights file into PyTorch's cache, reporting progress to a callback.

`torch.hub` can only draw a progress bar in a terminal; a web page needs the numbers. The file ends up where
`torchvision.models.get_model(name, weights=...)` looks for it, so nothing is downloaded twice.
"""

import errno
import hashlib
import re
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import requests
import torch
from urllib3.exceptions import HTTPError, ReadTimeoutError

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 30.0  # seconds without a single byte
MAX_BYTES = 3 * 2**30  # a server must not fill the disk
CHUNK_BYTES = 256 * 1024  # between two calls of the callback

Progress = Callable[[int, int], None]
"""Called with (bytes done, total); the total is 0 if the server does not report it."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.")
_AGAIN = "Try again, or choose a bundled model, which needs no download."


class DownloadError(RuntimeError):
    """The weights could not be downloaded; the message is for the user and says what to do next."""


def cached_file(url: str) -> Path:
    """Return the path of this address's file in PyTorch's cache, whether or not it exists.

    Raises:
        ValueError: The address is not http or https, or does not end in a plain file name.
    """
    parts = urlsplit(url)
    name = parts.path.rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not parts.hostname or not _PLAIN_NAME.fullmatch(name):
        raise ValueError(f"weights can only be downloaded from http(s)://host/.../file-name, got {url!r}")
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def is_cached(url: str) -> bool:
    """Whether this address's file is already in the cache (ValueError as for `cached_file`)."""
    file = cached_file(url)
    try:
        return file.is_file()
    except OSError:  # an unreadable folder: `download` reports it
        return False


def download(url: str, what: str, progress: Progress | None = None) -> Path:
    """Download this address's file into PyTorch's cache, unless it is already there.

    The file gets its name only once it is complete and its SHA-256 begins with the digits in the name.
    Several threads or processes may download it at once.

    Args:
        url: An http or https address whose file name contains its SHA-256, as in `resnet18-f37072fd.pth`.
        what: The model and its size, for messages: "resnet18 (45 MB)".
        progress: Called once before the first byte and after each chunk. An exception from it stops the download
            and is passed on unchanged.

    Returns:
        The file's path.

    Raises:
        DownloadError: No connection, a server error, a broken or wrong file, or a full disk. Nothing is left behind.
        ValueError: As for `cached_file`, or the file name contains no hash.
    """
    target = cached_file(url)
    digits = _HASH_IN_NAME.search(target.name)
    if digits is None:
        raise ValueError(f"the file name must contain its SHA-256, as in net-f37072fd.pth, got {target.name!r}")
    if is_cached(url):
        return target
    intro = f"The weights of {what} could not be downloaded from {urlsplit(url).hostname}"
    # The callback runs here, outside the generator, so that its exceptions are not mistaken for a failed download.
    with closing(_fetch(url, target, digits[1], intro)) as steps:
        for done, total in steps:
            if progress is not None:
                progress(done, total)
    return target


def _fetch(url: str, target: Path, digits: str, intro: str) -> Generator[tuple[int, int], None, None]:
    """Put the verified file at `target`, yielding (bytes done, total); closing it early undoes everything."""
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    with _explained(intro):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield from _transfer(url, partial, digits, intro)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def _transfer(url: str, partial: Path, digits: str, intro: str) -> Iterator[tuple[int, int]]:
    """Stream the address into `partial` and verify it; urllib3 raises an error if the body is too short."""
    timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
    headers = {"Accept-Encoding": "identity"}  # so that the length is the file's
    with requests.get(url, stream=True, timeout=timeout, headers=headers) as response:
        if response.status_code != requests.codes.ok:
            raise DownloadError(f"{intro}: the server responded with status {response.status_code}. {_AGAIN}")
        compressed = "Content-Encoding" in response.headers  # despite our request: the length is not the file's
        done, total = 0, 0 if compressed else response.raw.length_remaining or 0
        sha256 = hashlib.sha256()
        with partial.open("xb") as file:
            _check_size(total, intro)
            yield done, total
            for chunk in response.iter_content(CHUNK_BYTES):
                done += len(chunk)
                _check_size(done, intro)
                file.write(chunk)
                sha256.update(chunk)
                yield done, total
    if not sha256.hexdigest().startswith(digits):
        raise DownloadError(f"{intro}: the received file is not the expected one (its hash differs). {_AGAIN}")


def _check_size(size: int, intro: str) -> None:
    if size > MAX_BYTES:
        raise DownloadError(f"{intro}: the file is larger than {MAX_BYTES:,} bytes. Choose another model.")


@contextmanager
def _explained(intro: str) -> Iterator[None]:
    """Turn network and disk errors into a DownloadError that begins with `intro`."""
    try:
        yield
    except (requests.RequestException, HTTPError) as error:  # before OSError, as the former is one
        raise DownloadError(f"{intro}: {_network_advice(error)}") from error
    except OSError as error:
        advice = "the cache folder is not writable. Make it writable, or set TORCH_HOME to another folder."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full. Free some space and try again."
        raise DownloadError(f"{intro}: {advice}") from error


def _network_advice(error: Exception) -> str:
    # A stall within the body is raised as a ConnectionError around urllib3's ReadTimeoutError.
    if isinstance(error, requests.Timeout) or any(isinstance(arg, ReadTimeoutError) for arg in error.args):
        return f"the server did not answer in time. {_AGAIN}"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection. If your network has its own certificate, set REQUESTS_CA_BUNDLE to it."
    if isinstance(error, requests.ConnectionError):
        return "no connection. Check the network and try again, or choose a bundled model, which needs no connection."
    return f"the transfer was interrupted. {_AGAIN}"
