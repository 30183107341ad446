"""Downloads from a real server on this machine: what arrives, and that nothing is left of what does not."""

import contextlib
import gzip
import hashlib
import io
import random
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision

from camviz.models import download as module
from camviz.models.download import DownloadError, cached_file, download, is_cached

BODY = random.Random(7).randbytes(1_000_003)
WHAT = "tinynet (1 MB)"
PATIENCE = 10.0  # seconds after which a test that hangs fails


class Handler(BaseHTTPRequestHandler):
    """Answer each path with the function registered for it."""

    def do_GET(self):
        self.server.seen.append(self.path)
        with contextlib.suppress(ConnectionError):  # a client may leave
            self.server.routes[self.path](self)

    def log_message(self, *_args):
        """Keep the output of the tests clean."""


class Server(ThreadingHTTPServer):
    """A server whose routes are functions; `seen` holds the paths asked for."""

    daemon_threads = False  # so that server_close waits for them

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, Callable[[Handler], None]] = {}
        self.seen: list[str] = []
        self.ending = threading.Event()

    def add(self, answer: Callable[[Handler], None], body: bytes = BODY) -> str:
        """Serve `answer` under a name with the hash of `body`; return the address."""
        path = f"/models/tinynet-{hashlib.sha256(body).hexdigest()[:8]}.pth"
        self.routes[path] = answer
        return f"http://127.0.0.1:{self.server_port}{path}"


def send(handler: Handler, body: bytes, **headers: object) -> None:
    """Send a 200 with these headers (underscores are hyphens), then the body."""
    handler.send_response(200)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


def whole(handler: Handler) -> None:
    send(handler, BODY, Content_Length=len(BODY))


def chunked(handler: Handler) -> None:
    handler.protocol_version = "HTTP/1.1"
    parts = [BODY[i : i + 300_000] for i in range(0, len(BODY), 300_000)]
    wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
    send(handler, wire, Transfer_Encoding="chunked", Connection="close")


def gzipped(handler: Handler) -> None:
    packed = gzip.compress(BODY)
    send(handler, packed, Content_Length=len(packed), Content_Encoding="gzip")


def absurd_length(handler: Handler) -> None:
    send(handler, BODY, Content_Length="9" * 5000)


def cut_short(handler: Handler) -> None:
    send(handler, BODY[:600_000], Content_Length=len(BODY))


def cut_short_chunked(handler: Handler) -> None:
    handler.protocol_version = "HTTP/1.1"
    send(handler, b"%x\r\n%b\r\n" % (1000, BODY[:1000]), Transfer_Encoding="chunked", Connection="close")


def not_found(handler: Handler) -> None:
    handler.send_error(404)


def broken_server(handler: Handler) -> None:
    handler.send_error(500)


def empty_answer(handler: Handler) -> None:
    handler.send_response(204)
    handler.end_headers()


def endless_redirect(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def redirect_to_nonsense(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://a..b/tinynet.pth")
    handler.end_headers()


def other_file(handler: Handler) -> None:
    send(handler, BODY[:-1] + b"?", Content_Length=len(BODY))


def silent(handler: Handler) -> None:
    handler.server.ending.wait(PATIENCE)


def stalls_within(handler: Handler) -> None:
    send(handler, BODY[:600_000], Content_Length=len(BODY))
    handler.wfile.flush()
    handler.server.ending.wait(PATIENCE)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.ending.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return PyTorch's cache folder, within tmp_path; no proxy stands before 127.0.0.1."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    assert Path(torch.hub.get_dir()) == tmp_path / "torch" / "hub"
    return tmp_path / "torch" / "hub" / "checkpoints"


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def failure(url: str, tmp_path: Path) -> str:
    """Return what is said of the host when the download fails; nothing may be left, no path be shown."""
    with pytest.raises(DownloadError) as caught:
        download(url, WHAT)
    message = str(caught.value)
    assert files_in(tmp_path) == []
    assert str(tmp_path) not in message
    assert not is_cached(url)
    intro, _, rest = message.partition(": ")
    assert intro.startswith(f"The weights of {WHAT} could not be downloaded from ")
    return rest


def test_file_arrives_and_progress_counts_up_to_the_total(server, folder):
    url, steps = server.add(whole), []

    def progress(done: int, total: int) -> None:
        steps.append((done, total))
        assert not is_cached(url)  # nobody may load half a file

    path = download(url, WHAT, progress)
    assert path == cached_file(url) == folder / url.rpartition("/")[2]
    assert path.read_bytes() == BODY
    assert is_cached(url)
    assert files_in(folder) == [path]
    chunk, size = module.CHUNK_BYTES, len(BODY)
    assert steps == [(0, size), *((min(i * chunk, size), size) for i in range(1, 5))]
    assert steps[-1] == (size, size)


def test_second_call_asks_the_server_nothing(server):
    url, steps = server.add(whole), []
    first = download(url, WHAT)
    assert len(server.seen) == 1
    assert download(url, WHAT, lambda *step: steps.append(step)) == first
    assert len(server.seen) == 1
    assert steps == []


@pytest.mark.parametrize("answer", [chunked, gzipped, absurd_length])
def test_unknown_length_counts_with_a_total_of_zero(server, answer):
    url, steps = server.add(answer), []
    assert download(url, WHAT, lambda *step: steps.append(step)).read_bytes() == BODY
    done, totals = zip(*steps, strict=True)
    assert done[0] == 0
    assert done[-1] == len(BODY)
    assert len(done) > 2
    assert list(done) == sorted(done)
    assert set(totals) == {0}


def test_length_is_known_from_a_server_that_would_rather_compress(server):
    def negotiated(handler: Handler) -> None:
        (gzipped if "gzip" in handler.headers.get("Accept-Encoding", "") else whole)(handler)

    steps = []
    download(server.add(negotiated), WHAT, lambda *step: steps.append(step))
    assert steps[-1] == (len(BODY), len(BODY))


def test_redirect_is_followed_and_named_after_the_first_address(server):
    url = server.add(whole)
    server.routes["/elsewhere"] = whole

    def moved(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    assert download(server.add(moved), WHAT).name == url.rpartition("/")[2]
    assert server.seen[-1] == "/elsewhere"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (cut_short, "the transfer was interrupted. Try again"),
        (cut_short_chunked, "the transfer was interrupted. Try again"),
        (endless_redirect, "the transfer was interrupted. Try again"),
        (redirect_to_nonsense, "the transfer was interrupted. Try again"),
        (other_file, "the received file is not the expected one (its hash differs). Try again"),
        (not_found, "the server responded with status 404. Try again"),
        (broken_server, "the server responded with status 500. Try again"),
        (empty_answer, "the server responded with status 204. Try again"),
    ],
)
def test_server_that_fails(server, tmp_path, answer, says):
    assert failure(server.add(answer), tmp_path).startswith(says)


@pytest.mark.parametrize("answer", [silent, stalls_within])
def test_server_that_stalls(server, tmp_path, monkeypatch, answer):
    monkeypatch.setattr(module, "READ_TIMEOUT", 0.2)
    assert failure(server.add(answer), tmp_path).startswith("the server did not answer in time. Try again")


def test_nobody_at_that_port(tmp_path):
    with socket.socket() as taken:  # bound, but never listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/tinynet-0123abcd.pth"
        assert failure(url, tmp_path).startswith("no connection. Check the network and try again, or choose")


def test_unknown_host(tmp_path, monkeypatch):
    def unknown(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"from nowhere\.invalid: no connection\. Check the network"):
        download("https://nowhere.invalid/tinynet-0123abcd.pth", WHAT)
    assert files_in(tmp_path) == []


def test_connection_that_is_not_secure(tmp_path):
    class Plain(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(65536)
            self.request.sendall(b"HTTP/1.0 400 not TLS\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Plain) as plain:
        thread = threading.Thread(target=plain.handle_request)
        thread.start()
        url = f"https://127.0.0.1:{plain.server_address[1]}/tinynet-0123abcd.pth"
        assert failure(url, tmp_path).startswith("no secure connection. If your network")
        thread.join()


@pytest.mark.parametrize(("answer", "some_arrives"), [(whole, False), (chunked, True)])
def test_too_large_a_file_is_refused(server, tmp_path, monkeypatch, answer, some_arrives):
    """A declared size is refused before the first byte, an undeclared one once it is too much."""
    monkeypatch.setattr(module, "MAX_BYTES", len(BODY) - 1)
    url, seen = server.add(answer), []
    with pytest.raises(DownloadError, match=r"the file is larger than 1,000,002 bytes\. Choose another model"):
        download(url, WHAT, lambda done, _total: seen.append(done))
    assert any(seen) == some_arrives
    assert all(done < len(BODY) for done in seen)
    assert files_in(tmp_path) == []
    monkeypatch.setattr(module, "MAX_BYTES", len(BODY))
    assert download(url, WHAT).read_bytes() == BODY


@pytest.mark.parametrize("stop", [OSError(28, "mine"), ConnectionError("mine"), KeyboardInterrupt("mine")])
@pytest.mark.parametrize("at", [0, 1, len(BODY)])
def test_callback_stops_the_download_with_its_own_exception(server, folder, stop, at):
    """The exceptions look like failures of the disk or of the network, yet must pass unchanged."""
    url, open_files = server.add(whole), []

    def progress(done: int, _total: int) -> None:
        open_files.append(files_in(folder))
        if done >= at:
            raise stop

    with pytest.raises(type(stop)) as caught:
        download(url, WHAT, progress)
    assert caught.value is stop
    assert len(open_files[-1]) == 1  # there was something to remove
    assert files_in(folder) == []
    assert download(url, WHAT).read_bytes() == BODY


def test_two_threads_download_one_file_at_once(server, folder):
    both = threading.Barrier(2)  # neither is answered before both have asked

    def together(handler: Handler) -> None:
        both.wait(PATIENCE)
        whole(handler)

    url, paths = server.add(together), []
    threads = [threading.Thread(target=lambda: paths.append(download(url, WHAT))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.seen) == 2
    assert paths == [cached_file(url)] * 2
    assert files_in(folder) == paths[:1]
    assert paths[0].read_bytes() == BODY


@pytest.mark.parametrize("level", [0, 1, 2])
def test_file_where_a_folder_should_be(server, folder, tmp_path, level):
    blocked = [folder, *folder.parents][level]
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_bytes(b"in the way")
    with pytest.raises(DownloadError, match=r"the cache folder is not writable\. Make it writable") as caught:
        download(server.add(whole), WHAT)
    assert isinstance(caught.value.__cause__, OSError)
    assert str(tmp_path) not in str(caught.value)
    assert files_in(tmp_path) == [blocked]
    assert blocked.read_bytes() == b"in the way"


def test_folder_where_the_file_should_be(server, folder):
    url = server.add(whole)
    cached_file(url).mkdir(parents=True)
    with pytest.raises(DownloadError, match="the cache folder is not writable"):
        download(url, WHAT)
    assert list(folder.iterdir()) == [cached_file(url)]


def test_name_too_long_for_the_disk(server, tmp_path):
    url = server.add(whole).replace("tinynet", "n" * 300)
    server.routes["/" + url.split("/", 3)[3]] = whole
    assert failure(url, tmp_path).startswith("the cache folder is not writable")


@pytest.mark.parametrize("size", [len(BODY), 100])
def test_full_disk(server, tmp_path, monkeypatch, size):
    """/dev/full refuses writes as a full disk does: a large file at once, a small one when it is closed."""
    real_open = Path.open

    def full(path: Path, mode: str) -> io.BufferedWriter:
        real_open(path, mode).close()
        return real_open(Path("/dev/full"), "wb")

    monkeypatch.setattr(Path, "open", full)
    url = server.add(lambda handler: send(handler, BODY[:size], Content_Length=size), BODY[:size])
    assert failure(url, tmp_path) == "the disk is full. Free some space and try again."


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/tinynet-0123abcd.pth",
        "file:///tmp/tinynet-0123abcd.pth",
        "tinynet-0123abcd.pth",
        "https:///tinynet-0123abcd.pth",
        "https://example.org",
        "https://example.org/models/",
        "https://example.org/..",
        "https://example.org/.hidden-0123abcd.pth",
        "https://example.org/..\\tinynet-0123abcd.pth",
        "https://example.org/%2e%2e%2ftinynet-0123abcd.pth",
        "https://example.org/tiny net-0123abcd.pth",
    ],
)
def test_address_without_plain_file_name_is_refused(url):
    for function in (cached_file, is_cached, lambda address: download(address, WHAT)):
        with pytest.raises(ValueError, match=r"http\(s\)://host/.../file-name, got"):
            function(url)


@pytest.mark.parametrize("name", ["tinynet.pth", "tinynet-.pth", "tinynet-0123abc.pth", "tinynet-0123ABCD.pth"])
def test_name_without_hash_is_refused(server, name):
    url = f"http://127.0.0.1:{server.server_port}/{name}"
    with pytest.raises(ValueError, match="must contain its SHA-256"):
        download(url, WHAT)
    assert server.seen == []


def test_query_is_no_part_of_the_name(folder):
    assert cached_file("https://example.org/a/net-0123abcd.pth?x=/../y#z") == folder / "net-0123abcd.pth"


def test_torchvision_finds_downloaded_weights(server, monkeypatch):
    """A network's weights arrive whole, and torchvision's own loader takes them without asking the server."""
    torch.manual_seed(0)
    original = torchvision.models.squeezenet1_1(weights=None).state_dict()
    buffer = io.BytesIO()
    torch.save(original, buffer)
    body = buffer.getvalue()
    url = server.add(lambda handler: send(handler, body, Content_Length=len(body)), body)

    loaded = torch.load(download(url, "squeezenet1_1 (5 MB)"), weights_only=True)
    assert list(loaded) == list(original)
    assert all(torch.equal(loaded[name], original[name]) for name in original)

    weights = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", url)
    network = torchvision.models.get_model("squeezenet1_1", weights=weights)
    assert all(torch.equal(value, original[name]) for name, value in network.state_dict().items())
    assert len(server.seen) == 1
