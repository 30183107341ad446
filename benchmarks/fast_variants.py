"""How close the fast variants of Score-CAM and Ablation-CAM come to the full methods, on photographs.

Run from the repository's root: `python -m benchmarks.fast_variants`. EfficientNet-Lite0, the class that it predicts for
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
    correlations: dict[tuple[str, str], list[float]] = defaultdict(list)
    faster: dict[tuple[str, str], list[float]] = defaultdict(list)
    for photo in PHOTOS:
        cap = camviz.capture(net.module, net.preprocess(photo.load()), layers=list(LAYERS))
        for layer in LAYERS:
            for name in PAIRS:
                (full, slow), (partial, fast) = (timed(cap.select([layer]), n) for n in (name, f"{name}-fast"))
                if bool(full.any()) and bool(partial.any()):  # a blank map correlates with nothing
                    correlations[name, layer].append(float(np.corrcoef(full.flatten(), partial.flatten())[0, 1]))
                faster[name, layer].append(slow / fast)
    rows = []
    for (name, layer), values in correlations.items():
        mean = bootstrap(values)
        ratio = f"{np.median(faster[name, layer]):.0f} x"
        correlation = f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"
        shown = f"{len(values)} of {len(PHOTOS)}"
        rows.append([camviz.METHODS[name].title, LAYERS[layer], shown, correlation, f"{min(values):.2f}", ratio])
    head = ["method", "layer", "maps not blank", "mean correlation", "lowest", "median speed-up"]
    print(f"The {STRONGEST} strongest channels compared with all\n\n{table(head, rows)}")


def timed(cap: camviz.Capture, name: str) -> tuple[torch.Tensor, float]:
    """A map, and the seconds that it took."""
    start = time.perf_counter()
    return camviz.cam(cap, name), time.perf_counter() - start


if __name__ == "__main__":
    main()
