"""What must be the same in every process. As a script it prints that as JSON, for tests in another process."""

import hashlib
import json
import sys
from pathlib import Path

import camviz

HEAVY = ("cv2", "scipy.stats", "skimage.measure", "torch._dynamo", "torchvision")
STORED = Path(__file__).parent / "data" / "version-1.camviz.zip"


def digests() -> dict[str, str]:
    """The SHA-256 of what is drawn at random, measured or written, by name."""
    from pictures import ramp

    from camviz import bundle, noise, shapes
    from camviz.noise.segments import segment
    from camviz.results.figure import figure

    result = bundle.read(STORED.read_bytes())
    samples = [shapes.sample(index, "val") for index in (17, 4, 2**31 - 1)]
    samples += [shapes.composed(kind, 5) for kind in shapes.COMPOSED]
    contents = {
        **{
            f"noise {name}": noise.apply_levels(ramp(), name, [0.3, 0.9], 11).tobytes()
            for name, kind in noise.KINDS.items()
            if not kind.needs_net
        },
        **{f"shapes {i}": sample.image.tobytes() + sample.mask.tobytes() for i, sample in enumerate(samples)},
        "segments": segment(shapes.sample(5).image).tobytes(),
        "bundle": bundle.write(result),
        "figure": figure(result),
        "hotspots": repr(camviz.hotspots([[0.0, 1]], 0.5)).encode(),
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


if __name__ == "__main__":
    camviz.load_model("efficientnet-lite0")
    loaded = [name for name in HEAVY if name in sys.modules]
    print(json.dumps({"loaded": loaded, **digests()}))
