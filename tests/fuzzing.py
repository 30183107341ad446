"""Damages what strangers can send, and asserts that each piece is read, or refused in one sentence.

As a command it goes on for some minutes, and writes what it finds to a folder; each find belongs into a test:

    python tests/fuzzing.py --minutes 10
"""

import argparse
import datetime
import hashlib
import io
import itertools
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

LEAST = 20  # pieces of a kind: fewer would show nothing
ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from zip_files import members, packed  # noqa: E402

import camviz  # noqa: E402
from camviz import shapes  # noqa: E402
from camviz.decoding import GuardedReader  # noqa: E402
from camviz.images import ImageError  # noqa: E402
from camviz.models import checkpoint  # noqa: E402
from camviz.models.registry import ModelError  # noqa: E402
from camviz.results import bundle  # noqa: E402
from camviz.results.bundle import MANIFEST, BundleError  # noqa: E402
from camviz.ui.links import link_format  # noqa: E402

STORED = Path(__file__).parent / "data" / "version-1.camviz.zip"
CHECKPOINT = ROOT / "assets" / "shapes-efficientnet-lite0.safetensors"
STRANGE = ["", "~", "NaN", "-1", "1e999", "\0", "\u202e", "<b>", "`", "9" * 50, "🐈", "on", "0.5", "../x", "%00"]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four faults: flipped, cut, repeated, inserted or moved."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        # Most faults lie in the first kilobyte, where formats say what follows.
        at = rng.randrange(max(1, min(len(changed), rng.choice([64, 1024, len(changed) + 1]))))
        end = min(len(changed), at + rng.choice([1, 2, 4, 16, 256]))
        fault = rng.randrange(7)
        if fault < 3:
            changed[at:end] = bytes(rng.choice([0, 1, 127, 128, 255, rng.randrange(256)]) for _ in range(end - at))
        elif fault == 3:
            del changed[at:end]
        elif fault == 4:
            changed[at:at] = changed[at:end] * rng.choice([1, 3, 50])
        elif fault == 5:
            del changed[at:]
        else:
            other = rng.randrange(len(changed) + 1)
            changed[at:end] = changed[other : other + end - at]
    return bytes(changed)


def pictures() -> list[bytes]:
    """Small pictures of every format and mode."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (23, 31, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (23, 31), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [
        *((rgb.convert(mode), "PNG", {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
        (deep, "PNG", {}),
        (rgb, "JPEG", {"exif": exif}),
        (rgb, "JPEG", {"progressive": True}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb, "WEBP", {}),
        (rgb, "WEBP", {"lossless": True, "save_all": True, "append_images": [rgb.rotate(90)]}),
        (rgb, "AVIF", {}),
        (rgb, "BMP", {}),
        (rgb.convert("P"), "GIF", {"save_all": True, "append_images": [rgb.rotate(90).convert("P")]}),
        *((rgb, "TIFF", {"compression": how}) for how in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        (deep, "TIFF", {}),
        (Image.fromarray(rng.random((23, 31), np.float32)), "TIFF", {}),
    ]
    found = []
    for picture, kind, options in kinds:
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        found.append(stream.getvalue())
    return found


def fuzzed_pictures(rng: random.Random) -> Iterator[tuple[bytes, Callable[[], object]]]:
    corpus, reader = pictures(), GuardedReader()
    while True:
        data = damaged(rng.choice(corpus), rng)
        yield data, lambda data=data: refused_or(ImageError, lambda: reader.size(data))


def fuzzed_bundles(rng: random.Random) -> Iterator[tuple[bytes, Callable[[], object]]]:
    """Bundles damaged as files; in their parts, with hashes that are right all the same; and in their manifest."""
    stored, reader = STORED.read_bytes(), GuardedReader()
    while True:
        parts = members(stored)
        name = rng.choice([*parts, MANIFEST, MANIFEST])
        if rng.random() < 0.3:
            data = damaged(stored, rng)
        else:
            parts[name] = otherwise(parts[name], rng) if name == MANIFEST else damaged(parts[name], rng)
            data = packed({**parts, MANIFEST: signed(parts)})
        yield data, lambda data=data: refused_or(BundleError, lambda: bundle.read(data, reader))


def signed(parts: dict[str, bytes]) -> bytes:
    """The manifest with the hashes of the parts, if it is still a manifest."""
    try:
        raw = json.loads(parts[MANIFEST])
        raw["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items() if name != MANIFEST}
        return json.dumps(raw).encode()
    except (ValueError, TypeError, RecursionError):
        return parts[MANIFEST]


def otherwise(text: bytes, rng: random.Random) -> bytes:
    """JSON with a value exchanged for a strange one, or damaged as text."""
    if rng.random() < 0.2:
        return damaged(text, rng)
    raw = json.loads(text)
    places = list(walked(raw))
    parent, key = rng.choice(places)
    strange = [None, True, -1, 0, 2**70, 1e308, float("nan"), "", [], {}, [[]], "x" * 2000, rng.choice(STRANGE)]
    parent[key] = rng.choice([*strange, *(one[at] for one, at in rng.sample(places, min(3, len(places))))])
    try:
        return json.dumps(raw).encode()
    except ValueError:  # it now contains itself
        return text


def walked(raw: object) -> Iterator[tuple[object, object]]:
    """Every value within JSON, as the container and the key."""
    for key in list(raw) if isinstance(raw, dict) else range(len(raw)) if isinstance(raw, list) else []:
        yield raw, key
        yield from walked(raw[key])


def fuzzed_checkpoints(rng: random.Random) -> Iterator[tuple[bytes, Callable[[], object]]]:
    """Checkpoints whose header or card is changed, or whose bytes are damaged."""
    good = CHECKPOINT.read_bytes()
    length = int.from_bytes(good[:8], "little")
    header, weights = json.loads(good[8 : 8 + length]), good[8 + length :]
    folder = tempfile.TemporaryDirectory()  # goes with this generator
    path = Path(folder.name) / "net.safetensors"
    info = camviz.list_models()[0]
    while True:
        if rng.random() < 0.4:
            data = damaged(good, rng)
        else:
            changed = json.loads(json.dumps(header))
            if rng.random() < 0.7:
                changed["__metadata__"]["camviz"] = otherwise(changed["__metadata__"]["camviz"].encode(), rng).decode(
                    errors="replace"
                )
                text = json.dumps(changed).encode()
            else:
                text = otherwise(json.dumps(changed).encode(), rng)
            data = len(text).to_bytes(8, "little") + text + weights

        def attempt(data: bytes = data) -> None:
            path.write_bytes(data)
            refused_or(ModelError, lambda: checkpoint.load(path, info, torch.device("cpu")))

        yield data, attempt


def fuzzed_links(rng: random.Random) -> Iterator[tuple[bytes, Callable[[], object]]]:
    """Addresses with strange values: what is read is written and read again alike."""
    kinds = (link_format.Explored, link_format.Compared, link_format.Swept)
    words = [*STRANGE, *camviz.METHODS, *camviz.RULES, *shapes.CLASSES, "Cat", "resnet18", "crop", "gaussian", "0.35"]
    names = ["v", *{part.metadata["name"] for kind in kinds for part in kind.__dataclass_fields__.values()}]
    while True:
        said = {
            rng.choice(names): rng.choice(["", "~"]).join(rng.choices(words, k=rng.randint(1, 3)))
            for _ in range(rng.randint(1, 9))
        }

        def attempt(said: dict[str, str] = said) -> None:
            for kind in kinds:
                state, ignored = link_format.read(kind, said)
                again, more = link_format.read(kind, link_format.write(state))
                assert (again, more) == (state, []), (again, state, more)
                if ignored:
                    assert "\n" not in link_format.left_out(ignored)

        yield json.dumps(said).encode(), attempt


def refused_or(refusal: type[Exception], read: Callable[[], object]) -> None:
    """Read, or assert that the refusal is a sentence."""
    begun = time.monotonic()
    try:
        read()
    except refusal as error:
        words = str(error)
        assert words.endswith(".")
        assert "\n" not in words
        assert len(words) < 500
    assert time.monotonic() - begun < 60


KINDS = {
    "pictures": fuzzed_pictures,
    "bundles": fuzzed_bundles,
    "checkpoints": fuzzed_checkpoints,
    "links": fuzzed_links,
}


def fuzz(kind: str, seed: int, seconds: float) -> tuple[int, list[tuple[bytes, str]]]:
    """Try damaged pieces of a kind for some seconds; return how many, and those that fail with their tracebacks."""
    end, finds = time.monotonic() + seconds, []
    for count, (data, attempt) in enumerate(KINDS[kind](random.Random(f"{kind} {seed}")), 1):
        try:
            attempt()
        except Exception:  # noqa: BLE001  (whatever it is, it is a find)
            finds.append((data, traceback.format_exc()))
        if time.monotonic() > end:
            return count, finds
    raise AssertionError("the pieces never end")


def _number(text: str) -> int:
    return int(text, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=_number, default=int(f"{datetime.date.today():%Y%m%d}"), help="default: the day")
    parser.add_argument("--finds", type=Path, default=Path("fuzz-finds"), help="the folder for what fails")
    args = parser.parse_args()
    print(f"seed {args.seed}")
    failed = False
    for kind in KINDS:
        count, finds = fuzz(kind, args.seed, 60 * args.minutes / len(KINDS))
        print(f"{kind}: {count:,} tried, {len(finds)} failed")
        failed |= count <= LEAST
        for data, told in itertools.islice({told: (data, told) for data, told in finds}.values(), 20):
            args.finds.mkdir(exist_ok=True)
            path = args.finds / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"{path}\n{told}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
