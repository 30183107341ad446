"""How the app is served: what stands on every response, and where uploads are while they come."""

import re
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from server import process_of
from streamlit_messages import Tab, cookie_of, session_of
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from camviz.ui.server.streamlit_internals import XSRF_COOKIE
from camviz.ui.server.web_server import HEADERS

PATIENCE = 60
MEGABYTE = 2**20


@pytest.mark.parametrize(
    "path", ["/", "/compare", "/_stcore/health", "/static/none.js", "/component/none", "/favicon.png"]
)
def test_headers_on_every_response(address, path):
    answer = requests.get(address + path, timeout=PATIENCE)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_scripts_come_from_the_app_alone():
    policy = HEADERS["Content-Security-Policy"]
    (scripts,) = re.findall("script-src ([^;]*)", policy)
    assert re.fullmatch("'self' blob: 'unsafe-eval' 'sha256-[^']*'", scripts)
    assert "*" not in policy
    assert "http" not in policy


def test_headers_on_a_refusal(address):
    port = urlsplit(address).port
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{port}/_stcore/stream", origin="http://example.org", legacy=True)
    assert refused.value.response.status_code == 403


@pytest.fixture
def cookie(address):
    return cookie_of(address)


@pytest.fixture
def session(address, cookie):
    """The id of a visit's session."""
    tab = Tab(address, cookie, PATIENCE)
    tab.rerun()
    yield next(filter(None, map(session_of, tab.messages())))
    tab.close()


def temporary_files(address):
    """The files without a name that the server has open."""
    open_files = [
        link.readlink() for link in Path(f"/proc/{process_of(address).pid}/fd").iterdir() if link.is_symlink()
    ]
    return [str(path) for path in open_files if "(deleted)" in path.name]


def test_an_upload_touches_no_disk_while_it_comes(address, cookie, session):
    """Half of it is there; the rest comes when the server has been looked at."""
    before, there = temporary_files(address), urlsplit(address)
    start = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
    body = start + bytes(6 * MEGABYTE) + b"\r\n--b--\r\n"
    head = (
        f"PUT /_stcore/upload_file/{session}/1 HTTP/1.1\r\nHost: {there.netloc}\r\nOrigin: {address}\r\n"
        f"Cookie: {XSRF_COOKIE}={cookie}\r\nX-Xsrftoken: {cookie}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((there.hostname, there.port), PATIENCE) as connection:
        connection.sendall(head.encode() + body[: 5 * MEGABYTE])
        for _ in range(20):
            assert temporary_files(address) == before
            time.sleep(0.05)
        connection.sendall(body[5 * MEGABYTE :])
        assert connection.makefile("rb").readline().split()[1] == b"204"
