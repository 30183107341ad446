"""Who can reach a server that was started as the README says: this machine alone, under its own names."""

import socket
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


def opened(address, host, origin=None):
    """A websocket to the server, asked for by a host name."""
    there = urlsplit(address)
    return connect(
        f"ws://{host}:{there.port}/_stcore/stream",
        sock=socket.create_connection(("127.0.0.1", there.port)),
        subprotocols=["streamlit"],
        origin=origin,
        legacy=True,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_its_own_names(address, host):
    port = urlsplit(address).port
    opened(address, host, f"http://{host}:{port}").close()


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("example.org", None),
        ("example.org", "http://example.org"),
        ("127.0.0.1", "http://example.org"),
        ("localhost.example.org", None),
    ],
)
def test_foreign_hosts_and_origins_are_refused(address, host, origin):
    with pytest.raises(InvalidStatus) as refused:
        opened(address, host, origin)
    assert refused.value.response.status_code == 403


def test_no_other_address_of_this_machine_answers(address):
    others = {
        each.address
        for all_of_one in psutil.net_if_addrs().values()
        for each in all_of_one
        if each.family == socket.AF_INET and not each.address.startswith("127.")
    }
    port = urlsplit(address).port
    assert requests.get(f"{address}/_stcore/health", timeout=20).ok
    for other in others:
        with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
            socket.create_connection((other, port), timeout=3)
