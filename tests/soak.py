"""Twelve people work with a server for ten minutes and leave: how much memory it takes, and how much it gives back.

    python tests/soak.py

Everybody goes on from what they see: other photographs, pictures of their own (some of 40 megapixels), methods, layers
and noise. Measured is the resident memory of the server and its children. It fails above 2.2 GB, and if five minutes
after they left the server has over 300 MB more than before they came.
"""

import argparse
import io
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from server import process_of, running_app  # noqa: E402
from streamlit_messages import cookie_of  # noqa: E402
from visitor import Visitor  # noqa: E402

from camviz import METHODS  # noqa: E402
from camviz.samples import SAMPLES  # noqa: E402

MOST, MORE = 2200, 300  # megabytes
PEOPLE, PAUSE = 12, 3.0  # seconds that a person looks at a result
PATIENCE = 600  # seconds that a person waits for one


def own_pictures() -> dict[str, bytes]:
    """Three pictures of some megapixels, and a small file of 40 megapixels."""
    rng = np.random.default_rng(0)
    found = {}
    for number, size in enumerate([(1200, 900), (3000, 2000), (4000, 3000)]):
        rows = rng.integers(0, 256, (size[1] // 50, size[0] // 50, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(rows).resize(size).save(stream, "JPEG")
        found[f"own-{number}.jpg"] = stream.getvalue()
    stream = io.BytesIO()
    Image.new("RGB", (8000, 5000), "teal").save(stream, "PNG")
    return {**found, "large.png": stream.getvalue()}


class Memory:
    """What the server and its children hold, in megabytes: each, and together."""

    def __init__(self, server: psutil.Process) -> None:
        self.parts = {
            " ".join(each.cmdline()[1:3]): each.memory_info().rss / 2**20
            for each in (server, *server.children(recursive=True))
        }
        self.total = sum(self.parts.values())

    def __str__(self) -> str:
        return f"{self.total:.0f} MB ({', '.join(f'{part:.0f} {name}' for name, part in self.parts.items())})"


def live(address: str, number: int, until: float, pictures: dict[str, bytes]) -> int:
    """Use the app as a person does; return how many results there were."""
    rng, seen = random.Random(number), 0
    person = Visitor(address, cookie_of(address), PATIENCE)
    person.explain()
    fast = [method.title for method in METHODS.values() if not method.is_slow and not method.is_baseline]
    while time.monotonic() < until:
        step = rng.random()
        if step < 0.35:
            person.explain(Picture=["Photos"], Sample=rng.choice(list(SAMPLES)))
        elif step < 0.5:
            person.upload(*rng.choice(list(pictures.items())))
        elif step < 0.85:
            person.explain(Method=rng.choice(fast))
        else:
            person.explain(Level=rng.choice([0.0, 0.2, 0.5]))
        seen += 1
        time.sleep(PAUSE * rng.random() * 2)
    person.tab.close()
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--after", type=float, default=5.0, help="minutes to wait once everybody has left")
    args = parser.parse_args()
    pictures, seen = own_pictures(), []
    with running_app(tempfile.mkdtemp()) as address:
        server = process_of(address)
        first = Visitor(address, "who opens it")
        first.explain()
        first.tab.close()
        time.sleep(10)
        begin = most = Memory(server)
        print(f"before: {begin}", flush=True)
        start = time.monotonic()
        until = start + 60 * args.minutes
        people = [
            threading.Thread(target=lambda n=n: seen.append(live(address, n, until, pictures))) for n in range(PEOPLE)
        ]
        for person in people:
            person.start()
        told = 0
        while any(person.is_alive() for person in people):
            now = Memory(server)
            most = max(most, now, key=lambda memory: memory.total)
            if time.monotonic() - start > 60 * told:
                print(f"{told} min: {now}", flush=True)
                told += 1
            time.sleep(1)
        print(f"{sum(seen)} results for {PEOPLE} people; at most {most}", flush=True)
        time.sleep(60 * args.after)
        end = Memory(server)
        print(f"{args.after:g} min after they left: {end}")
    return int(most.total > MOST or end.total > begin.total + MORE)


if __name__ == "__main__":
    sys.exit(main())
