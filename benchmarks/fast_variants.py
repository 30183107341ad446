"""How near the fast variants of Score-CAM and Ablation-CAM come to the whole methods, on photographs.

Run from the repository's root: `python -m benchmarks.fast_variants`. EfficientNet-Lite0, the class that it predicts on
each photograph, the last stage (1280 channels) and the one before (672).
"""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
import torch

import camviz
from benchmarks.photos import PHOTOS
from benchmarks.tables import table
from camviz.methods.channel_sweeps import STRONGEST
from camviz.statistics import bootstrap

LAYERS = {"_swish": "last stage", "_blocks.10._swish": "the stage before"}
PAIRS = ("scorecam", "ablationcam")


def main() -> None:
    """Compare on every photograph and print a table."""
    net = camviz.load_model("efficientnet-lite0", "cpu")
    alike: dict[tuple[str, str], list[float]] = defaultdict(list)
    faster: dict[tuple[str, str], list[float]] = defaultdict(list)
    for photo in PHOTOS:
        cap = camviz.capture(net.module, net.preprocess(photo.load()), layers=list(LAYERS))
        for layer in LAYERS:
            for name in PAIRS:
                (whole, slow), (some, fast) = (timed(cap.select([layer]), each) for each in (name, f"{name}-fast"))
                if bool(whole.any()) and bool(some.any()):  # a blank map is like none
                    alike[name, layer].append(float(np.corrcoef(whole.flatten(), some.flatten())[0, 1]))
                faster[name, layer].append(slow / fast)
    rows = []
    for (name, layer), found in alike.items():
        mean = bootstrap(found)
        ratio = f"{np.median(faster[name, layer]):.0f} x"
        correlation = f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"
        shown = f"{len(found)} of {len(PHOTOS)}"
        rows.append([camviz.METHODS[name].title, LAYERS[layer], shown, correlation, f"{min(found):.2f}", ratio])
    head = ["method", "layer", "maps not blank", "correlation, mean", "lowest", "as fast, median"]
    print(f"The {STRONGEST} strongest channels against all\n\n{table(head, rows)}")


def timed(cap: camviz.Capture, name: str) -> tuple[torch.Tensor, float]:
    """A map and the seconds that it took."""
    start = time.perf_counter()
    return camviz.cam(cap, name), time.perf_counter() - start


if __name__ == "__main__":
    main()
