"""Which metric can be trusted? The study of docs/protocol.md on the sealed samples: rows in assets/metric_trust.

Run from the repository's root: `python -m benchmarks.metric_trust`. Each picture's rows are written as they are
computed, and a later run resumes from there; at the end the report is written, whatever the results. All of it takes
about ten hours of a processor core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

import camviz
from benchmarks import metric_trust_report
from camviz.given_back import keep_giving_back
from camviz.trust.sealed_samples import share_recognised
from camviz.trust.sealed_study import PARTS, PICTURES, SHIPPED, STAGES, Part, Stage, run
from camviz.trust.study_results import load


def main() -> None:
    """Measure what is missing, and write the report."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--parts", nargs="+", default=[part.name for part in PARTS])
    options.add_argument("--stages", nargs="+", default=[stage.name for stage in STAGES])
    options.add_argument("--pictures", type=int, default=PICTURES, help="at most so many of each part")
    options.add_argument("--folder", type=Path, default=SHIPPED)
    args = options.parse_args()
    args.folder.mkdir(exist_ok=True)
    # With one thread, sums run in a fixed order, and the numbers are the same on every run.
    torch.set_num_threads(1)
    keep_giving_back()
    for part in (part for part in PARTS if part.name in args.parts):
        for stage in (stage for stage in STAGES if stage.name in args.stages):
            measure(part, replace(stage, pictures=min(stage.pictures, args.pictures)), args.folder)
    recognised = args.folder / metric_trust_report.RECOGNISED
    if not recognised.exists():
        found = {"pictures": PICTURES, "shares": recognise_textured(PICTURES)}
        recognised.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    metric_trust_report.write(load(args.folder), Path(__file__).with_suffix(".md"), args.folder)


def recognise_textured(pictures: int) -> dict[str, float]:
    """The share of the first textured samples that each network recognises, but for the one that follows tags."""
    networks = dict.fromkeys(part.network for part in PARTS if part.kind != "tagged")
    shares = {name: share_recognised(camviz.load_model(name, "cpu"), "textured", pictures) for name in networks}
    return {name: round(share, 4) for name, share in shares.items()}


def measure(part: Part, stage: Stage, folder: Path) -> None:
    """Add what is missing to a stage's file, and say how far it is."""
    start = time.perf_counter()

    def tell(done: int, total: int) -> None:
        print(f"{time.perf_counter() - start:6.0f} s  {part.name}  {stage.name}  {done} of {total}", file=sys.stderr)

    run(part, stage, camviz.load_model(part.network, "cpu"), folder, tell)


if __name__ == "__main__":
    main()
