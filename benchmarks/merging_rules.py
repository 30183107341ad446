"""What merging rules reach: best IoU on drawn shapes, without a further pass, with one, and with the picture's edges.

Run from the repository's root: `python -m benchmarks.merging_rules`. In each group, one recipe is chosen by its mean on
exploring samples and shown on sealed ones, which chose nothing. Rows go to benchmarks/merging_rules, one file for each
network and kind of samples, and a later run resumes from there; the report is written whatever the results.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

import camviz
from benchmarks import merging_rules_report
from camviz.maps import normalise
from camviz.merging import RULES, refine
from camviz.merging.rules import mixed_with, to_edges
from camviz.metrics.mask_scores import against_mask
from camviz.models import Net
from camviz.network.capture import capture
from camviz.trust.evaluation import seen_by
from camviz.trust.sealed_samples import draw, judge
from camviz.trust.sealed_study import PARTS, SHIPPED, Part, write

FOLDER = Path(__file__).with_suffix("")
# The first exploring sample, and how many of each half.
EXPLORING, PICTURES = 600, 60
# Rules that read the layers' maps alone; the geometric mean orders pixels as the product does.
_OF_MAPS = tuple(name for name, rule in RULES.items() if rule.needs == "maps" and name != "geometric mean")
_MIXED = "mixed"
_TO_EDGES = ("product", "floor", _MIXED)


@dataclass(frozen=True)
class Made:
    """One way to make a map.

    Attributes:
        base: the layers' maps: Grad-CAM++, LayerCAM, or the mean of both; Grad-CAM++ and LayerCAM for "mixed".
        rule: the merging rule.
        layers: "all" or "3 deepest".
        flip: whether each layer's map is averaged with that of the mirrored picture.
        edges: whether the merge is filtered along the picture's edges.
    """

    base: str
    rule: str
    layers: str
    flip: bool
    edges: bool

    @property
    def name(self) -> str:
        """How it is called in the rows."""
        return ", ".join((self.base, self.rule, self.layers, *["mirrored"] * self.flip, *["edges"] * self.edges))


def recipes() -> Iterator[Made]:
    """Every way that is tried."""
    merges = [*product(("gradcam++", "layercam", "both"), _OF_MAPS), ("both", _MIXED)]
    for flip, layers, (base, rule) in product((False, True), ("all", "3 deepest"), merges):
        yield Made(base, rule, layers, flip, edges=False)
        if rule in _TO_EDGES:
            yield Made(base, rule, layers, flip, edges=True)


def main() -> None:
    """Measure what is missing, and write the report."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--parts", nargs="+", default=[part.name for part in PARTS if part.kind != "tagged"])
    options.add_argument("--pictures", type=int, default=PICTURES, help="at most so many of each half")
    args = options.parse_args()
    FOLDER.mkdir(exist_ok=True)
    torch.set_num_threads(1)  # sums run in a fixed order
    for part in (part for part in PARTS if part.name in args.parts):
        measure(part, args.pictures)
    merging_rules_report.write(FOLDER, Path(__file__).with_suffix(".md"))


def measure(part: Part, pictures: int) -> None:
    """Add what is missing to a part's file."""
    net, file = camviz.load_model(part.network, "cpu"), FOLDER / f"{part.name}.parquet"
    exploring = judge(net, part.kind, pictures, EXPLORING)
    sealed = pd.read_parquet(SHIPPED / f"{part.name}.parquet")
    halves = {
        half: samples.loc[samples["left_out"] == "", "picture"].iloc[:pictures].tolist()
        for half, samples in (("exploring", exploring), ("sealed", sealed))
    }
    tables = [pd.read_parquet(file)] if file.exists() else []
    done = set(tables[0]["picture"]) if tables else set()
    for half, kept in halves.items():
        for count, index in enumerate(kept, 1):
            if index not in done:
                tables.append(rows(part, net, index).assign(half=half, picture=index))
                write(pd.concat(tables, ignore_index=True), file)
            print(f"{part.name}  {half}  {count} of {len(kept)}", file=sys.stderr)


def rows(part: Part, net: Net, index: int) -> pd.DataFrame:
    """The best IoU of every recipe's map of one sample, and of three controls."""
    seen = seen_by(net, draw(part.kind, index))
    if isinstance(seen, str):
        raise ValueError(f"sample {index} should have been left out: {seen}")
    x, mask, logits = seen
    target = logits.argmax(1)
    plain = layer_maps(net, x, target)
    mirrored = {name: maps.flip(-1) for name, maps in layer_maps(net, x.flip(-1), target).items()}
    averaged = {name: normalise((plain[name] + mirrored[name]) / 2) for name in plain}
    made = {each.name: merge(each, averaged if each.flip else plain, x) for each in recipes()}
    made |= {"gradcam++, deepest": plain["gradcam++"][-1]}
    for name in ("centre", "random"):
        blind = camviz.cam(capture(net.module, x, target, net.layers[-1:]), name)[0]
        made |= {name: blind, f"{name}, edges": normalise(to_edges(blind, x))}
    maps = torch.cat(list(made.values()))
    values = against_mask("best_iou", maps, mask.expand(maps.shape)).tolist()
    return pd.DataFrame({"map": list(made), "best_iou": values}).astype({"best_iou": "float32"}).round(5)


def layer_maps(net: Net, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The maps (L, 1, H, W) of all layers, from the finest, by both methods, and the mean of both."""
    cap = capture(net.module, x, target, net.layers)
    found = {name: camviz.cam(cap, name) for name in ("gradcam++", "layercam")}
    return found | {"both": normalise((found["gradcam++"] + found["layercam"]) / 2)}


def merge(made: Made, maps: dict[str, Tensor], x: Tensor) -> Tensor:
    """The map (1, H, W) of a recipe."""
    chosen = {name: each[-3:] if made.layers == "3 deepest" else each for name, each in maps.items()}
    if made.rule == _MIXED:
        merged = normalise(mixed_with(chosen["gradcam++"].flip(0), chosen["layercam"].flip(0))[-1])
    else:
        merged = refine(chosen[made.base], made.rule)
    return normalise(to_edges(merged, x)) if made.edges else merged


if __name__ == "__main__":
    main()
