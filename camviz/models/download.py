"""Download a torchvision weights file into PyTorch's own cache, telling a callback how far it is.

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
MAX_BYTES = 3 * 2**30  # no server may fill the disk
CHUNK_BYTES = 256 * 1024  # between two calls of the callback

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all, the latter 0 where the server does not say."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.")
_AGAIN = "Try again, or choose a bundled model, which needs no download."


class DownloadError(RuntimeError):
    """The weights could not be downloaded; the message is for the reader and says what to do next."""


def cached_file(url: str) -> Path:
    """Tell where in PyTorch's cache the file of this address lies, or would lie.

    Raises:
        ValueError: The address is not http or https, or does not end in a plain file name.
    """
    parts = urlsplit(url)
    name = parts.path.rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not parts.hostname or not _PLAIN_NAME.fullmatch(name):
        raise ValueError(f"weights are downloaded from http(s)://host/.../file-name only, got {url!r}")
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def is_cached(url: str) -> bool:
    """Tell whether the file of this address lies in the cache already (ValueError as `cached_file`)."""
    file = cached_file(url)
    try:
        return file.is_file()
    except OSError:  # a folder closed to us: `download` says so
        return False


def download(url: str, what: str, progress: Progress | None = None) -> Path:
    """Download the file of this address into PyTorch's cache, unless it is there already.

    The file appears under its name only once it is whole and its SHA-256 begins with the digits in its name.
    Several threads or processes may download it at once.

    Args:
        url: An http or https address whose file name holds its SHA-256, as in `resnet18-f37072fd.pth`.
        what: The model, and how large it is, for the messages: "resnet18 (45 MB)".
        progress: Called once before the first byte and after each chunk. It stops the download by raising:
            its exception passes through as it is.

    Returns:
        Where the file lies.

    Raises:
        DownloadError: No connection, an error of the server, a broken or wrong file, or no room on the disk.
            Nothing is left behind.
        ValueError: As `cached_file`, or the file name holds no hash.
    """
    target = cached_file(url)
    digits = _HASH_IN_NAME.search(target.name)
    if digits is None:
        raise ValueError(f"the file name must hold its SHA-256, as in net-f37072fd.pth, got {target.name!r}")
    if is_cached(url):
        return target
    intro = f"The weights of {what} could not be downloaded from {urlsplit(url).hostname}"
    # The callback runs here, outside the generator, so that no exception of its own is taken for a failure.
    with closing(_fetch(url, target, digits[1], intro)) as steps:
        for done, total in steps:
            if progress is not None:
                progress(done, total)
    return target


def _fetch(url: str, target: Path, digits: str, intro: str) -> Generator[tuple[int, int], None, None]:
    """Put the checked file at `target`, yielding (bytes done, bytes in all); closing it early undoes all."""
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    with _explained(intro):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield from _transfer(url, partial, digits, intro)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def _transfer(url: str, partial: Path, digits: str, intro: str) -> Iterator[tuple[int, int]]:
    """Stream the address into `partial` and check it; urllib3 itself raises where the body is too short."""
    timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
    headers = {"Accept-Encoding": "identity"}  # so that the length is that of the file
    with requests.get(url, stream=True, timeout=timeout, headers=headers) as response:
        if response.status_code != requests.codes.ok:
            raise DownloadError(f"{intro}: the server answered with status {response.status_code}. {_AGAIN}")
        compressed = "Content-Encoding" in response.headers  # all the same: then the length is another's
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
        raise DownloadError(f"{intro}: the file received is not the one expected (its hash differs). {_AGAIN}")


def _check_size(size: int, intro: str) -> None:
    if size > MAX_BYTES:
        raise DownloadError(f"{intro}: the file is larger than {MAX_BYTES:,} bytes. Choose another model.")


@contextmanager
def _explained(intro: str) -> Iterator[None]:
    """Turn errors of the network and of the disk into a DownloadError that begins with `intro`."""
    try:
        yield
    except (requests.RequestException, HTTPError) as error:  # the former an OSError too, hence first
        raise DownloadError(f"{intro}: {_network_advice(error)}") from error
    except OSError as error:
        advice = "the cache folder cannot be written. Make it writable, or name another in TORCH_HOME."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full. Free some space and try again."
        raise DownloadError(f"{intro}: {advice}") from error


def _network_advice(error: Exception) -> str:
    # A stall within the body arrives as a ConnectionError around urllib3's ReadTimeoutError.
    if isinstance(error, requests.Timeout) or any(isinstance(arg, ReadTimeoutError) for arg in error.args):
        return f"the server did not answer in time. {_AGAIN}"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection. If your network has its own certificate, name it in REQUESTS_CA_BUNDLE."
    if isinstance(error, requests.ConnectionError):
        return "no connection. Check the network and try again, or choose a bundled model, which needs none."
    return f"the transfer broke off. {_AGAIN}"
