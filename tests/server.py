"""A server of the app, or of another Streamlit script, in a process of its own."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).parent.parent


def process_of(address) -> psutil.Process:
    """The process of a server that this one started."""
    port = str(urlsplit(address).port)
    (found,) = [each for each in psutil.Process().children(recursive=True) if port in each.cmdline()]
    return found


@contextmanager
def running_app(home, script="app.py"):
    """Run a script on a free port until the block ends; yield its address. `home` is for PyTorch's downloads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nowhere = "http://127.0.0.1:9"  # the discard port: every connection is refused
    environment = {**os.environ, "TORCH_HOME": str(home), "HTTPS_PROXY": nowhere, "https_proxy": nowhere}
    environment["OMP_NUM_THREADS"] = "1"  # leaves a core to the browser
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.port", str(port)]
    server = subprocess.Popen(
        [*command, "--server.headless", "true"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = []
    for line in server.stdout:  # ends if the server does
        log.append(line)
        if "URL:" in line:
            break
    assert server.poll() is None, "".join(log)
    reader = threading.Thread(target=lambda: log.extend(server.stdout))
    reader.start()
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(timeout=20)
    reader.join()
    assert "Traceback" not in "".join(log), "".join(log)
