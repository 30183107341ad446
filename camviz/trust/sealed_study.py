"""The study of metrics on sealed samples, by the protocol in docs/protocol.md: rows in files, which a run resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd
from torch import Tensor

from camviz.methods.registry import Progress
from camviz.metrics import Evidence
from camviz.metrics.evidence import ExplainOn
from camviz.metrics.patch_agreement import Fill, patch_agreement
from camviz.models import Net
from camviz.network.capture import capture
from camviz.trust.deliberate import from_the_effects, from_the_mask, into_noise, wrong_maps
from camviz.trust.evaluation import DEFAULT_SCORES, evidence_of, seen_by
from camviz.trust.ranked_maps import MERGED, at_equal_area, default_recipes, makers_of
from camviz.trust.sealed_samples import FIRST, Kind, draw, judge


@dataclass(frozen=True)
class Protocol:
    """The rules that a study's rows follow.

    Attributes:
        name: their name.
        version: another number for every change of a rule.
        sha256: the SHA-256 of their text.
    """

    name: str
    version: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}, SHA-256 {self.sha256}"


# docs/protocol.md
PROTOCOL = Protocol("camviz-trust", 2, "6ae5f72e2190e04657faa51a39f9fc397077ac28e78ff3c0809c5d62965b8443")
REFINED = f"gradcam++, {MERGED}"  # the map that is made wrong, and that fades into noise
PICTURES = 300
# Where the study's files are.
SHIPPED = Path(__file__).parents[2] / "assets" / "metric_trust"
SEED = 0
_STEPS = 20
_DECIMALS = 5  # of the values in a file
# What is a formula of other columns is not in the files.
DERIVED = ("adcc", "arcc", "road")
_ORDINARY = (
    *(name for name in DEFAULT_SCORES if name not in DERIVED),
    *("increase", "mass", "best_iou", "auc", "cosine"),
)
_ORDER_ALONE = ("insertion", "deletion")
_CONTROLS: dict[str, tuple[Fill, bool]] = {
    "faithfulness_shifted": ("impute", True),
    "faithfulness_blur": ("blur", False),
    "faithfulness_mean": ("mean", False),
}

Values = dict[str, list[float]]


@dataclass(frozen=True)
class Part:
    """One network on one kind of samples."""

    network: str
    kind: Kind

    @property
    def name(self) -> str:
        """How its files are named."""
        return f"{self.network}-{self.kind}"


PARTS = (
    Part("shapes-resnet18", "plain"),
    Part("shapes-efficientnet-lite0", "plain"),
    Part("shapes-vgg11", "plain"),
    Part("shapes-textured", "plain"),
    Part("shapes-textured", "textured"),
    Part("shapes-shortcut", "tagged"),
)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with a known truth, as the network sees it.

    Attributes:
        net: the network.
        x: the picture (1, 3, h, w).
        mask: what its maps should show, bool (1, h, w).
        logits: the network's logits (1, classes).
        target: the class that is explained (1,).
        name: what messages call it.
        progress: see `Evidence`.
    """

    net: Net
    x: Tensor
    mask: Tensor
    logits: Tensor
    target: Tensor
    name: str
    progress: Progress | None = None

    def evidence(self, makers: Sequence[ExplainOn]) -> Evidence:
        """What the scores of these makers' maps are computed from."""
        module = self.net.module
        return evidence_of(module, self.x, self.mask, self.logits, self.target, makers, SEED, self.progress)


@dataclass(frozen=True)
class Stage:
    """One measurement of the first pictures that are kept.

    Attributes:
        name: the name of its file.
        pictures: how many.
        makers: the maps that are scored, by name.
        scores: their scores.
        at_equal_area: whether each map is also scored at equal area, after all those that are as they are.
    """

    name: str
    pictures: int
    makers: Callable[[Picture], dict[str, ExplainOn]] = field(repr=False)
    scores: Callable[[Evidence], Values] = field(repr=False)
    at_equal_area: bool = True


def run(part: Part, stage: Stage, net: Net, folder: Path, progress: Progress | None = None, first: int = FIRST) -> None:
    """Add what is missing to a stage's file: `complete` it for the first samples that are kept.

    Args:
        part: which network and samples.
        stage: what is measured.
        net: the part's network.
        folder: where the files are: a part's `judged` samples and the rows of each stage.
        progress: called with (pictures done, all pictures); an exception from it stops the work.
        first: the first sample's index.
    """
    samples = judged(part, net, folder, first)
    kept = samples.loc[samples["left_out"] == "", "picture"].iloc[: stage.pictures].tolist()
    complete(part, stage, net, kept, folder, progress)


def complete(
    part: Part, stage: Stage, net: Net, pictures: Sequence[int], folder: Path, progress: Progress | None = None
) -> None:
    """Add the rows of these pictures that are missing to a stage's file, picture by picture.

    A picture's rows are the same, whichever were measured before it; they hold values of 5 decimals.

    Args:
        part: which network and samples.
        stage: what is measured.
        net: the part's network.
        pictures: the indices of kept samples.
        folder: where the file is.
        progress: called with (pictures done, all pictures); an exception from it stops the work.
    """
    file = rows_file(folder, part, stage)
    rows = [pd.read_parquet(file)] if file.exists() else []
    done = set(rows[0]["picture"]) if rows else set()
    for count, index in enumerate(pictures, 1):
        if index not in done:
            rows.append(measured(part, stage, net, index))
            write(pd.concat(rows, ignore_index=True), file)
        if progress is not None:
            progress(count, len(pictures))


def rows_file(folder: Path, part: Part, stage: Stage) -> Path:
    """The file of a stage's rows."""
    return folder / f"{part.name}-{stage.name}.parquet"


def judged(part: Part, net: Net, folder: Path, first: int = FIRST) -> pd.DataFrame:
    """The part's samples up to the last one that is kept, from its file, which is written if it is missing."""
    file = folder / f"{part.name}.parquet"
    if not file.exists():
        write(judge(net, part.kind, PICTURES, first), file)
    return pd.read_parquet(file)


def measured(part: Part, stage: Stage, net: Net, index: int) -> pd.DataFrame:
    """The rows of one sample: "picture", "map", "equal_area" and a column for each score."""
    seen = seen_by(net, draw(part.kind, index))
    if isinstance(seen, str):
        raise ValueError(f"sample {index} should have been left out: {seen}")
    x, mask, logits = seen
    rows = scored(Picture(net, x, mask, logits, logits.argmax(1), f"picture {index} of {net.info.name}"), stage)
    rows.insert(0, "picture", index)
    return rows.astype({"picture": "int32"})


def scored(picture: Picture, stage: Stage) -> pd.DataFrame:
    """The rows of one picture: "map", "equal_area" and a column for each score."""
    makers = stage.makers(picture)
    areas = (False, True) if stage.at_equal_area else (False,)
    equal = [partial(at_equal_area, maker, SEED) for maker in makers.values()] if stage.at_equal_area else []
    values = stage.scores(picture.evidence([*makers.values(), *equal]))
    names = pd.DataFrame([(name, area) for area in areas for name in makers], columns=["map", "equal_area"])
    return pd.concat([names, pd.DataFrame(values).round(_DECIMALS).astype("float32")], axis=1)


def write(table: pd.DataFrame, file: Path) -> None:
    """Write a table to a Parquet file, which is never half written."""
    part = file.with_suffix(".part")
    floats = table.select_dtypes("float32").columns
    split = dict.fromkeys(floats, "BYTE_STREAM_SPLIT")  # a third smaller
    others = [name for name in table.columns if name not in split]
    table.to_parquet(
        part, compression="zstd", compression_level=19, index=False, use_dictionary=others, column_encoding=split
    )
    part.replace(file)


def _ranked(picture: Picture) -> dict[str, ExplainOn]:
    return makers_of(default_recipes(picture.net))


def _refined(picture: Picture) -> ExplainOn:
    return makers_of({REFINED: default_recipes(picture.net)[REFINED]})[REFINED]


def deliberate(picture: Picture) -> dict[str, ExplainOn]:
    """RefineCAM itself, made wrong, the masks, and the map that has seen the answers."""
    refined = _refined(picture)
    # The effects do not depend on the map that they are computed with.
    effects = patch_agreement(
        picture.net.module, picture.x, picture.mask[None].float(), picture.target, progress=picture.progress
    ).effects
    return {
        REFINED: refined,
        **wrong_maps(refined, picture.logits),
        **from_the_mask(picture.mask, list(_grids(picture))),
        **from_the_effects(effects, picture.x.shape[-2:]),
    }


def _grids(picture: Picture) -> Iterator[tuple[int, int]]:
    """The height and width of each layer."""
    for activations in capture(picture.net.module, picture.x, None, picture.net.layers).activations:
        height, width = activations.shape[-2:]
        yield height, width


def _fading(picture: Picture) -> dict[str, ExplainOn]:
    return into_noise(_refined(picture), _STEPS, SEED)


def score_columns(names: Sequence[str], evidence: Evidence) -> Values:
    """Scores of every map of a single picture."""
    return {name: evidence.values(name)[:, 0].tolist() for name in names}


def slow_scores(evidence: Evidence) -> Values:
    """Insertion and deletion depend on the order of pixels alone: on the maps at equal area, for both."""
    by_order = replace(evidence, maps=evidence.maps[len(evidence.maps) // 2 :], explains=None, explains_on=None)
    found = {name: 2 * values for name, values in score_columns(_ORDER_ALONE, by_order).items()}
    return found | score_columns(("max_sensitivity",), evidence)


def _slow_and_controls(evidence: Evidence) -> Values:
    found = slow_scores(evidence)
    for name, (fill, shifted) in _CONTROLS.items():
        control = patch_agreement(evidence.module, evidence.x, evidence.maps, evidence.classes, fill, shifted)
        found[name] = control.correlation[:, 0].tolist()
    return found


ordinary_scores = partial(score_columns, _ORDINARY)
ORDINARY = Stage("ordinary", PICTURES, _ranked, ordinary_scores)
STAGES = (
    ORDINARY,
    Stage("deliberate", 60, deliberate, ordinary_scores),
    Stage("slow", 60, _ranked, _slow_and_controls),
    Stage("fading", 20, _fading, ordinary_scores),
    Stage(
        "randomisation",
        20,
        _ranked,
        partial(score_columns, ("randomisation", "randomisation_ssim")),
        at_equal_area=False,
    ),
)
