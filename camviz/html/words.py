"""What the numbers mean, in plain English."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from camviz.html.measured_trust import measured_estimate, measured_trust
from camviz.html.score_chart import ROUNDING, ScoreRow
from camviz.methods import METHODS
from camviz.metrics import SCORES
from camviz.noise.measure import Outcome, as_table, summary
from camviz.results.finding import Finding, MapScores, shape_to_show

# Two scores closer than this count as equal.
ALIKE = 0.05
# What to call the blind guesses in a sentence, by their titles.
BLIND = {METHODS["centre"].title: "a blind blob in the middle", METHODS["random"].title: "a random map"}
# Below this probability there is little for ROAD to take away.
UNSURE = 0.3
# The share of a side that counts as border.
_BORDER = 0.05
# The measures of a sweep, with their titles.
MEASURES = {"consistency": "Consistency C", "responsiveness": "Responsiveness R", "rm": "RM = C · R"}

GUIDE = (
    (
        "1 Each layer alone",
        "Each small picture is a class activation map (CAM): it shows where one layer of the network finds evidence for "
        "the class. Deep layers know <i>what</i> they see but only roughly where; finer layers see detail.",
    ),
    (
        "2 Merged, and 3 the result",
        'The <span class="cv-no-phone">lower row</span><span class="cv-phone">right column</span> merges the maps, starting '
        "with the deepest. With the product, a place stays bright only if "
        "<i>every</i> layer so far agrees. The last merge, shown large, is RefineCAM.",
    ),
    (
        "Can it be trusted?",
        "Shown only the bright parts, does the network give the same map? Are they small? Does the class depend on "
        "them most? ARCC, from 0 to 1, is high only if all three hold. A good map also beats the blind guesses.",
    ),
)

# Shown under a model that was trained on other data than the chosen pictures: by its training data.
MIXED = {
    "ImageNet": "This network was trained on photographs, not drawn shapes: whatever class it predicts is a guess, and "
    "its map need not lie on the shape.",
    "synthetic shapes": "This network knows six drawn shapes and nothing else: it predicts one of them whatever the "
    "picture shows.",
}

# Shown under a model that had to leave the GPU.
MOVED = "The GPU ran out of memory, so this network now runs on the CPU: slower, with the same result."

_ABOUT_ARCC = r"""
| part | formula | better | source |
|---|---|---|---|
| Coherency | (Pearson(map of x, map of x · map) + 1) / 2 | high | [2104.10252](https://arxiv.org/abs/2104.10252) |
| Complexity | mean of the map; shown as 1 − complexity | low | [2104.10252](https://arxiv.org/abs/2104.10252) |
| ROAD | clip(2 r, 0, 1); r = mean over 20, 40, 60 and 80 % of (change in probability when the least relevant pixels are removed − when the most relevant are removed) / 2 | high | [2202.00449](https://arxiv.org/abs/2202.00449) |
| ARCC | harmonic mean of coherency, 1 − complexity and ROAD; 0 if any of them is 0 | high | [2605.14641](https://arxiv.org/abs/2605.14641) |

Removed pixels are filled in from their neighbours (noisy linear imputation, noise 0.01, seed 0).

**What it cannot tell.** Compare only maps of *one* picture, *one* model and *one* class. The score mixes the map's
quality with the model's confidence: a class at 3 % has little probability to lose, so every map of it
scores near 0. The network is asked about filled-in pictures unlike anything it saw in training. And a map that scores
well need not be right: a blob in the middle often does well, because photographers centre their subjects. That is
why the chart includes two blind **baselines**: a score means something only above them.
"""

_ABOUT_ESTIMATE = (
    "**More scores** adds the Faithfulness Estimate, which is no part of ARCC: 85 squares of the picture are removed, one "
    "at a time, and the share of heat in each is correlated with how much less probable the class becomes "
    "without it ([1806.07538](https://arxiv.org/abs/1806.07538)). It is undefined where no square matters."
)


def about_arcc() -> str:
    """What ARCC is, what it cannot tell, and how often it was right where the truth is known."""
    return f"{_ABOUT_ARCC}\n{measured_trust()}\n\n{_ABOUT_ESTIMATE} {measured_estimate()}\n"


ABOUT_ROBUSTNESS = r"""
**Under noise.** The clean picture is cut into about 60 regions (Quickshift), ranked by their mean map value. The same
regions are ranked again on the noisy picture, by the map of the class predicted there. *Overlap* is the rank-biased
overlap of the two rankings (p = 0.9, so the first ten or so count most; ties averaged): 1 means the same order. A random
order scores what is marked as chance, which is not 0.

| measure | formula | better | source |
|---|---|---|---|
| Consistency C | mean overlap where the prediction stays | high | [2508.18154](https://arxiv.org/abs/2508.18154) |
| Responsiveness R | 1 − mean overlap where the prediction changes | high | as above |
| RM | C · R; undefined if the prediction never changed | high | as above |

Only that paper's abstract, introduction and summaries were available: the definitions are our reading of them. R alone
rewards instability, because predictions change under the strongest noise: so the overlap for the originally predicted class
is shown next to it. One picture and one repeat are an anecdote.
"""

LIMITS_OF_ROBUSTNESS = """
**What it cannot tell.** A map that never moves is perfectly consistent and explains nothing, and one that jumps at
random is responsive: a good map needs both, and C and R should be compared at the same kind and level of noise.
Copies of one picture are not independent samples: noise levels and repeats are averaged, and each picture counts once per
network. The regions are Quickshift's choice, and small shifts within a region go unnoticed. A changed prediction need
not mean that other evidence was used, so a map that stays the same is not always wrong there. And a robust map need not be
a correct one: check it against the synthetic samples' masks too.
"""

ABOUT_EVALUATION = r"""
**What is measured.** For each picture of the study, the true mask is known, and up to 17 maps are compared: three methods on
every layer and merged over all layers (RefineCAM), and two blind guesses. Of two maps, the *better* one fits the mask better by
more than 0.1. *Pair accuracy* is how often a metric scores the better one higher, over all such pairs of a picture, averaged over
pictures and then over networks. Equal or undefined scores count half, so a coin gets 0.5.

**The marks.** A dot is the mean over all networks, a ring one network, and a line the 95 % interval when pictures are drawn
again. Some metrics take minutes a picture and were measured on fewer pictures: hover over a row to see how many.

**Is the mask the truth?** Only where the network agrees: it must recognise the shape, no longer see the class once the shape is
removed, and still see it on another background. A network that follows a tag in the corner has the tag as its truth.

**What it cannot say.** The pictures are simple shapes, and the networks small: the order of metrics may differ on photographs.
The protocol, `docs/protocol.md`, was fixed before the first of these pictures was drawn.
"""

ABOUT_PLAY = r"""
**What changes.** The map is blurred (a Gaussian), shrunk around the centre of its heat, moved, and each value raised to a power, in this
order; its highest value stays 1. The picture, the network and the class stay the same. Scores that run the method again run it with the
same change, as if the changed method were a method of its own.

**Who is right?** On a drawn shape the true mask is known: of the two maps, the one with the higher best IoU fits it better. A score that
prefers the other one is fooled. Scores that differ by less than 0.005 count as equal. One picture proves nothing about a score:
*Evaluate* counts how often each is right.

**Things to try.** Move a map off the shape. Shrink one until only a spot is left: what do complexity and ARCC say? Sharpen a map of the
finest layer. Choose the blind method *Centre*, and a shape that is not in the middle.
"""

ROBUSTNESS_GUIDE = (
    '<h1 class="cv-title" hidden>Does the explanation follow the prediction?<small>Each picture gets noise, from '
    "faint to strong. While the prediction stays the same, a good map stays too (<b>consistency</b>); when the "
    "prediction changes, a good map changes with it (<b>responsiveness</b>).</small></h1>"
)

ROBUSTNESS_STEPS = """<div class="cv-step-by-step" hidden>
<p><b>1 Perturb</b> Each picture gets several kinds of noise, from faint to strong. Does the network still predict the
same class on every noisy copy?</p>
<p><b>2 Rank</b> The picture is cut into about 60 regions. Each map ranks them from most evidence to least,
on the clean picture and on every noisy copy.</p>
<p><b>3 Compare</b> Where the prediction stays, the two rankings should overlap (consistency C); where it changes, they
should not (responsiveness R). RM = C · R requires both.</p>
</div>"""


def guide_html() -> str:
    """How to read the page, in three short columns."""
    return '<div class="cv-guide" hidden>' + "".join(f"<p><b>{lead}</b> {text}</p>" for lead, text in GUIDE) + "</div>"


def title_html(model: str, label: str, picture: str, probability: float, method: str, most: float) -> str:
    """The page's heading: the question, the picture and the method; or that the network does not know.

    Args:
        model: the network's title.
        label: the explained class, in words.
        picture: the picture's name.
        probability: of the explained class.
        method: the method's title.
        most: the probability of the likeliest class.
    """
    asked = f"Where does {escape(model)} see <b>{escape(label)}</b>?"
    if most < UNSURE:
        asked = f"{escape(model)} is not sure what this is. Where would it see <b>{escape(label)}</b>?"
    return (
        f'<h1 class="cv-title" hidden>{asked}'
        f"<small>{escape(picture)} · {percent(probability)} sure · {escape(method)}</small></h1>"
    )


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: "1 picture", "2 pictures"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def percent(probability: float) -> str:
    """A probability in a few characters."""
    return f"{probability:.1%}" if probability >= 0.001 or probability == 0 else "<0.1%"


def scores_table(scores: MapScores, title: str) -> str:
    """Every score of a map and the question it answers, as a Markdown table."""
    rows = [
        f"| {SCORES[name].title} | **{value:.2f}** | {SCORES[name].better} is better | {SCORES[name].sentence} |"
        for name, value in scores.values.items()
        if name in SCORES and value is not None
    ]
    return "\n".join([f"| score | {title} | | question |", "|---|---|---|---|", *rows])


def conclusion(finding: Finding, rows: Sequence[ScoreRow]) -> list[str]:
    """What a result's finished chart means, in paragraphs (Markdown).

    Args:
        finding: the result.
        rows: the chart's.
    """
    layers, baselines = ([row for row in rows if row.kind == kind] for kind in ("layer", "baseline"))
    paragraphs = verdict(rows[0], layers, baselines, finding.probability, finding.floor)
    shape = shape_to_show(finding.shapes, finding.label)
    if shape is not None and rows[0].value("mass") is not None:
        explained = shape.label == finding.label
        paragraphs.insert(0, on_truth(rows[0], layers, shape.noun, explained, float(shape.mask.mean())))
    paragraphs += on_border(finding.merged)
    if rows[0].before.values:
        paragraphs.append(":gray[Ticks on the bars: the clean picture.]")
    return paragraphs


def on_truth(result: ScoreRow, layers: list[ScoreRow], shape: str, explained: bool, share: float) -> str:
    """Say how well a map matches the known mask.

    Args:
        result: the merged map's row, scored against the mask.
        layers: the rows of the merged layers, from the deepest to the finest.
        shape: the name of the shape.
        explained: whether the shape is of the target class.
        share: of the picture that the mask covers.
    """
    if not explained:
        return (
            f"The picture shows a {shape}, and another class is being explained, so the map has no reason to lie on it."
        )
    mass = result.value("mass")
    if not mass:
        return f"**None of its heat lies on the {shape}.**"
    sentence = (
        f"**{percent(mass)} of its heat lies on the {shape}**, which covers {percent(share)} of the picture: "
        f"{mass / share:.1f} times as much as in an even map."
    )
    overlap = result.value("best_iou")
    if overlap is not None:
        sentence += f" It overlaps the {shape} by up to {overlap:.2f} (best IoU)"
        deepest = layers[0].value("best_iou") if len(layers) > 1 else None
        sentence += "." if deepest is None else f", the deepest layer alone by {deepest:.2f}."
    return sentence


def on_border(merged: NDArray[np.float32]) -> list[str]:
    """Say that most of a map's heat lies at the border, if it does.

    Args:
        merged: the map (h, w).
    """
    rows, columns = (round(_BORDER * side) for side in merged.shape)
    heat, inside = float(merged.sum()), float(merged[rows : -rows or None, columns : -columns or None].sum())
    if heat <= 0 or 1 - inside / heat <= 0.5:
        return []
    return [
        f"**{percent(1 - inside / heat)} of its heat lies at the border**, in the outer {_BORDER:.0%} of the picture. That "
        "is often an effect of padding and no evidence."
    ]


def verdict(
    result: ScoreRow,
    layers: list[ScoreRow],
    baselines: list[ScoreRow],
    probability: float,
    floor: float | None = None,
) -> list[str]:
    """Say in a few sentences what the finished scores of one picture mean.

    Args:
        result: the merged map's row.
        layers: the rows of the merged layers, from the deepest to the finest.
        baselines: the rows of the blind guesses.
        probability: of the target class.
        floor: the same with nothing left of the picture; None if unknown.
    """
    everything = [result, *layers, *baselines]
    all_are_0 = _all_known(everything, "arcc") and max(map(_arcc, everything)) < ROUNDING
    if all_are_0 and probability < UNSURE:
        sentences = [f"**No map can be scored here**: the model is only {percent(probability)} sure."]
    elif all_are_0:
        sentences = [
            "**Every map scores 0 here, the blind guesses too**: one part of ARCC is 0 for each of them, so it cannot tell "
            "them apart. Look at the parts."
        ]
    else:
        sentences = [*_on_arcc(result, layers, baselines), _on_confidence(probability, floor)]
    if result.scores.note:
        sentences.append(f":gray[Note: {result.scores.note}.]")
    return [*sentences, ":gray[Compare only maps of one picture, model and class.]"]


def _on_arcc(result: ScoreRow, layers: list[ScoreRow], baselines: list[ScoreRow]) -> list[str]:
    """Compare a result's ARCC with those of the blind guesses and of its layers, as far as they are known."""
    if result.value("arcc") is None:
        return [f"No ARCC yet: {result.skipped or 'it is undefined here'}."]
    sentences = []
    if baselines and _all_known(baselines, "arcc"):
        sentences.append(_against_baselines(result, max(baselines, key=_arcc)))
    if len(layers) > 1 and _all_known(layers, "arcc"):
        sentences.append(_against_layers(_arcc(result), layers))
    if (result.value("road_raw") or 0.0) < -ROUNDING:
        sentences.append(
            f"Its ROAD before clipping is negative ({result.value('road_raw'):.2f}): removing what the map calls "
            "unimportant hurt the class more than removing what it calls important."
        )
    return sentences


def on_noise(here: Outcome, points: Sequence[Outcome], before: str, now: str, by_chance: float) -> str:
    """Say what noise did to the prediction and the explanation, and whether they agree.

    Args:
        here: the outcome at the slider's noise level.
        points: the outcomes known so far, at all levels.
        before: the class predicted on the clean picture.
        now: the class predicted under the noise.
        by_chance: the overlap with a random order of the regions.
    """
    if math.isnan(here.overlap):
        return "A map is blank here, so the regions cannot be ranked."
    overlap = f"overlap **{here.overlap:.2f}** (chance {by_chance:.2f})"
    if here.flipped:
        sentence = (
            f"**The prediction changed** from {before} to {now}: the map should change too. Its ranking of regions: "
            f"{overlap}. For {before}, as before: {here.overlap_same:.2f}."
        )
    else:
        sentence = f"**The prediction stays** {before}: the map should stay too. Its ranking of regions: {overlap}."
    consistency, responsiveness, _ = summary(as_table(points))
    flips = sum(point.flipped for point in points)
    kept = f"consistency {_number(consistency)} ({len(points) - flips} kept the prediction)"
    changed = (
        f"responsiveness {_number(responsiveness)} ({flips} changed it)" if flips else "the prediction never changed"
    )
    return f"{sentence}\n\n:gray[All {len(points)} levels: {kept}, {changed}.]"


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.2f}"


def _all_known(rows: Sequence[ScoreRow], name: str) -> bool:
    return all(row.value(name) is not None for row in rows)


def _arcc(row: ScoreRow) -> float:
    return row.value("arcc") or 0.0


def _against_baselines(result: ScoreRow, best: ScoreRow) -> str:
    score, blind = _arcc(result), _arcc(best)
    start = f"**{result.label} scores {score:.2f}**"
    guess = BLIND.get(best.label, f"the blind guess “{best.label}”")
    if score > blind + ALIKE:
        return f"{start}; {guess} gets {blind:.2f}."
    if score < blind - ALIKE:
        return f"{start}, and {guess} gets {blind:.2f}: do not trust the map here."
    return f"{start}, no better than {guess} ({blind:.2f})."


def _on_confidence(probability: float, floor: float | None) -> str:
    """Whether removing pixels can show anything, which lowers the probability to its floor at most."""
    left = "" if floor is None else f" ({percent(floor)} with nothing left of the picture)"
    if probability < UNSURE:
        return (
            f"The model is only {percent(probability)} sure{left}, which leaves little to test: a low score says more "
            "about the model's doubt than about the map."
        )
    if floor is not None and probability - floor < UNSURE:
        return (
            f"The model is {percent(probability)} sure{left}, which leaves little to test: it prefers this class whatever "
            "it sees."
        )
    return f"The model is {percent(probability)} sure{left}, so there is enough to test."


def _against_layers(score: float, layers: list[ScoreRow]) -> str:
    """Compare with the deepest layer, which everybody would have taken; the best one is known only afterwards."""
    row = max(layers, key=_arcc)
    best, deepest = _arcc(row), _arcc(layers[0])
    if best < ROUNDING:
        return "No single layer scores above 0."
    sentence = f"The deepest layer alone does as well: {deepest:.2f}."
    if score > deepest + ALIKE:
        sentence = f"Merging helped: the deepest layer alone scores {deepest:.2f}."
    elif score < deepest - ALIKE:
        sentence = f"Merging made it worse here: the deepest layer alone scores {deepest:.2f}."
    if row is not layers[0] and best > max(score, deepest) + ALIKE:
        sentence += f" In hindsight, {row.label} alone would have scored {best:.2f}."
    return sentence
