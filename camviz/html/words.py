"""What the numbers mean, in plain English."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from camviz.html.score_chart import ROUNDING, ScoreRow
from camviz.metrics import SCORES
from camviz.noise.measure import Outcome, as_table, summary
from camviz.results.finding import Finding, MapScores, shape_to_show

# Two scores closer than this are called alike.
ALIKE = 0.05
# Below this probability a class leaves ROAD little to take away.
UNSURE = 0.3

GUIDE = (
    (
        "1 Each layer alone",
        "Each small picture is a class activation map (CAM): where one layer of the network finds evidence for the "
        "class. Deep layers know <i>what</i> is there, but see few places; shallow ones see fine detail.",
    ),
    (
        "2 Merged, and 3 the result",
        "The lower row merges the maps from the deepest on. The product keeps a place bright only if <i>every</i> "
        "layer so far agrees. The last one, shown large, is RefineCAM.",
    ),
    (
        "Can it be trusted?",
        "Shown only the bright places, does the network give the same map? Are they few? Does the class need them "
        "most? ARCC, 0 to 1, is good if all three hold, and it beats the blind guesses.",
    ),
)

# Under the model, where it was trained on other data than the pictures chosen: by what it was trained on.
MIXED = {
    "ImageNet": "This network knows photographs, not drawn shapes: whatever class it names is a guess, and its map need "
    "not lie on the shape.",
    "synthetic shapes": "This network knows six drawn shapes and nothing else: it names one of them whatever the "
    "picture shows.",
}

# Under the model, where it had to leave the GPU.
MOVED = "The GPU's memory did not suffice, so this network now runs on the CPU: slower, with the same result."

ABOUT_ARCC = r"""
| part | formula | good is | source |
|---|---|---|---|
| Coherency | (Pearson(map of x, map of x · map) + 1) / 2 | high | [2104.10252](https://arxiv.org/abs/2104.10252) |
| Complexity | mean of the map; shown as 1 − complexity | low | [2104.10252](https://arxiv.org/abs/2104.10252) |
| ROAD | clip(2 r, 0, 1); r = mean over 20, 40, 60, 80 % of (change of probability when the least relevant pixels are removed − when the most relevant are) / 2 | high | [2202.00449](https://arxiv.org/abs/2202.00449) |
| ARCC | harmonic mean of coherency, 1 − complexity and ROAD; 0 if one is 0 | high | [2605.14641](https://arxiv.org/abs/2605.14641) |

Removed pixels are filled from their neighbours (noisy linear imputation, noise 0.01, seed 0).

**What it cannot tell.** Compare maps of *one* picture, *one* model and *one* class only. The score mixes the map's
quality with the model's confidence: of a class at 3 % there is little probability to take away, so every map of it
scores near 0. It asks the network about filled-in pictures that it never saw in training. And a map that scores
well need not be right: a blob in the middle often does well, because photographers centre their subjects. That is
why the two blind **baselines** stand in the chart: a score means something only above them.
"""


ABOUT_ROBUSTNESS = r"""
**Under noise.** The clean view is cut into about 60 regions (Quickshift), ranked by their mean map value; so they are
on the noisy view, with the map of the class that is predicted there. *Overlap* is the rank-biased overlap of the two
rankings (p = 0.9, so that the first ten or so count most; ties averaged): 1 is the same order, and a random one gets
what is marked as chance, which is not 0.

| measure | formula | good is | source |
|---|---|---|---|
| Consistency C | mean overlap where the prediction stays | high | [2508.18154](https://arxiv.org/abs/2508.18154) |
| Responsiveness R | 1 − mean overlap where the prediction changes | high | as above |
| RM | C · R; undefined where no change was seen | high | as above |

Of that paper the abstract, the introduction and summaries were at hand: the definitions are our reading. R alone
rewards instability, as predictions change under the strongest noise: so the overlap for the class predicted at first
stands beside it. One picture and one draw are an anecdote.
"""

LIMITS_OF_ROBUSTNESS = """
**What it cannot tell.** A map that never moves is perfectly consistent and explains nothing, and one that jumps at
random is responsive: that is why both are asked, and why C and R should be compared at the same kind and level of noise.
Copies of one picture are no independent samples: levels and draws are averaged, and each picture counts once, for one
network. The regions are Quickshift's choice, and small shifts within a region are not seen. A changed prediction need
not mean that other evidence was used, so a map that stays is not always wrong there. And a robust map need not be a
true one: hold it against the synthetic samples' masks too.
"""

ROBUSTNESS_GUIDE = (
    '<p class="cv-title" hidden>Does the explanation follow the prediction?<small>Noise is laid over each picture, from '
    "faint to strong. While the network still sees the same, a good map stays (<b>consistency</b>); when it sees "
    "something else, a good map changes (<b>responsiveness</b>).</small></p>"
)

ROBUSTNESS_STEPS = """<div class="cv-step-by-step" hidden>
<p><b>1 Perturb</b> Each picture gets noise of several kinds, from faint to strong. The network looks at every copy: does
it still see the same?</p>
<p><b>2 Rank</b> The picture is cut into about 60 regions. Each map puts them into an order, from most evidence to least,
on the clean picture and on every copy.</p>
<p><b>3 Compare</b> Where the prediction stays, the two orders should overlap (consistency C); where it changes, they
should not (responsiveness R). RM = C · R asks for both.</p>
</div>"""


def guide_html() -> str:
    """How to read the page, in three short columns."""
    return '<div class="cv-guide" hidden>' + "".join(f"<p><b>{lead}</b> {text}</p>" for lead, text in GUIDE) + "</div>"


def title_html(model: str, label: str, picture: str, probability: float, method: str) -> str:
    """What is asked, of which picture, and by which method."""
    return (
        f'<p class="cv-title" hidden>Where does {escape(model)} see <b>{escape(label)}</b>?'
        f"<small>{escape(picture)} · {percent(probability)} sure · {escape(method)}</small></p>"
    )


def percent(probability: float) -> str:
    """A probability, short."""
    return f"{probability:.1%}" if probability >= 0.001 or probability == 0 else "<0.1%"


def scores_table(scores: MapScores, title: str) -> str:
    """Every score of a map, with what it asks, as a Markdown table."""
    rows = [
        f"| {SCORES[name].title} | **{value:.2f}** | {SCORES[name].better} is better | {SCORES[name].sentence} |"
        for name, value in scores.values.items()
        if name in SCORES and value is not None
    ]
    return "\n".join([f"| score | {title} | | what it asks |", "|---|---|---|---|", *rows])


def conclusion(finding: Finding, rows: Sequence[ScoreRow]) -> list[str]:
    """What the finished rows of a finding's chart mean, in paragraphs (Markdown)."""
    layers, baselines = ([row for row in rows if row.kind == kind] for kind in ("layer", "baseline"))
    said = verdict(rows[0], layers, baselines, finding.probability)
    shape = shape_to_show(finding.shapes, finding.label)
    if shape is not None and rows[0].value("mass") is not None:
        explained = shape.label == finding.label
        said.insert(0, on_truth(rows[0], layers, shape.label, explained, float(shape.mask.mean())))
    if rows[0].before.values:
        said.append(":gray[Marks on the bars: the clean picture.]")
    return said


def on_truth(result: ScoreRow, layers: list[ScoreRow], shape: str, explained: bool, share: float) -> str:
    """Say how well a map meets the known mask.

    Args:
        result: the merged map's row, scored against the mask.
        layers: the rows of the layers that it was merged from.
        shape: the name of the shape.
        explained: whether that is the class explained.
        share: how much of the picture the mask fills.
    """
    if not explained:
        return f"The class explained is not the {shape} that is there, so the map has no reason to lie on it."
    mass = result.value("mass")
    if not mass:
        return f"**None of its heat lies on the {shape}.**"
    said = (
        f"**{percent(mass)} of its heat lies on the {shape}**, which fills {percent(share)} of the picture: "
        f"{mass / share:.1f} times what a map spread evenly would put there."
    )
    if len(layers) > 1 and _all_known(layers, "mass"):
        best = max(layers, key=_mass)
        said += f" The best single layer, {best.label}: {percent(_mass(best))}."
    return said


def verdict(result: ScoreRow, layers: list[ScoreRow], baselines: list[ScoreRow], probability: float) -> list[str]:
    """Say in a few sentences what the finished scores of one picture mean.

    Args:
        result: the merged map's row.
        layers: the rows of the layers that it was merged from.
        baselines: the rows of the maps that know nothing.
        probability: of the explained class.
    """
    said = []
    if result.value("arcc") is None:
        said.append(f"No ARCC yet: {result.skipped or 'it is undefined here'}.")
    else:
        if baselines and _all_known(baselines, "arcc"):
            said.append(_against_baselines(result, max(baselines, key=_arcc)))
        if len(layers) > 1 and _all_known(layers, "arcc"):
            said.append(_against_layers(_arcc(result), max(layers, key=_arcc)))
    if (result.value("road_raw") or 0.0) < -ROUNDING:
        said.append(
            "Its raw ROAD is negative: removing what the map calls unimportant hurt the class more than removing "
            "what it calls important."
        )
    said.append(_on_confidence(probability))
    if result.scores.note:
        said.append(f":gray[Note: {result.scores.note}.]")
    said.append(":gray[Compare only maps of one picture, model and class.]")
    return said


def on_noise(here: Outcome, points: Sequence[Outcome], before: str, now: str, by_chance: float) -> str:
    """Say what noise did to the prediction and to the explanation, and whether the one follows the other.

    Args:
        here: the outcome at the slider's place.
        points: the outcomes known so far, of all levels.
        before: the class predicted on the clean picture.
        now: the class predicted under the noise.
        by_chance: the overlap of a random order of the regions.
    """
    if math.isnan(here.overlap):
        return "A map is blank here, so there are no regions to rank."
    overlap = f"overlap **{here.overlap:.2f}** (chance {by_chance:.2f})"
    if here.flipped:
        told = (
            f"**The prediction changed** from {before} to {now}: the map should change too. Its ranking of regions: "
            f"{overlap}. Asked for {before} still: {here.overlap_same:.2f}."
        )
    else:
        told = f"**The prediction stays** {before}: the map should stay too. Its ranking of regions: {overlap}."
    consistency, responsiveness, _ = summary(as_table(points))
    flips = sum(point.flipped for point in points)
    kept = f"consistency {_number(consistency)} ({len(points) - flips} kept the prediction)"
    changed = (
        f"responsiveness {_number(responsiveness)} ({flips} changed it)" if flips else "no change of prediction seen"
    )
    return f"{told}\n\n:gray[All {len(points)} levels: {kept}, {changed}.]"


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.2f}"


def _all_known(rows: Sequence[ScoreRow], name: str) -> bool:
    return all(row.value(name) is not None for row in rows)


def _arcc(row: ScoreRow) -> float:
    return row.value("arcc") or 0.0


def _mass(row: ScoreRow) -> float:
    return row.value("mass") or 0.0


def _against_baselines(result: ScoreRow, best: ScoreRow) -> str:
    score, blind = _arcc(result), _arcc(best)
    stands = f"**{result.label} scores {score:.2f}**"
    guess = f"the blind guess “{best.label}” ({blind:.2f})"
    if score > blind + ALIKE:
        return f"{stands}, {score - blind:.2f} above {guess}."
    if score < blind - ALIKE:
        return f"{stands}, less than {guess}: do not trust it here."
    return f"{stands}, no better than {guess}."


def _on_confidence(probability: float) -> str:
    if probability < UNSURE:
        return (
            f"The model is only {percent(probability)} sure, which leaves little to test: a low score here says more about "
            "the model's doubt than about the map."
        )
    return f"The model is {percent(probability)} sure, so there is enough to test."


def _against_layers(score: float, row: ScoreRow) -> str:
    best = _arcc(row)
    if score > best + ALIKE:
        return f"Merging helped: the best single layer, {row.label}, scores {best:.2f}."
    if score < best - ALIKE:
        return f"Merging cost score here: a single layer, {row.label}, scores {best:.2f}."
    return f"One layer alone does as well: {row.label}, {best:.2f}."
