"""What the numbers mean, in plain English."""

from __future__ import annotations

from camviz.metrics.truth import TRUTH
from camviz.ui.scores import ROUNDING, ScoreRow

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


def guide_html() -> str:
    """How to read the page, in three short columns."""
    return '<div class="cv-guide" hidden>' + "".join(f"<p><b>{lead}</b> {text}</p>" for lead, text in GUIDE) + "</div>"


def percent(probability: float) -> str:
    """A probability, short."""
    return f"{probability:.1%}" if probability >= 0.001 or probability == 0 else "<0.1%"


def truth_table(scores: dict[str, float], title: str) -> str:
    """Every score against the mask, with what it asks, as a Markdown table."""
    rows = [
        f"| {TRUTH[name].title} | **{value:.2f}** | {TRUTH[name].better} is better | {TRUTH[name].sentence} |"
        for name, value in scores.items()
    ]
    return "\n".join([f"| score | {title} | | what it asks |", "|---|---|---|---|", *rows])


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
    if result.truth is None or not result.truth[0]:
        return f"**None of its heat lies on the {shape}.**"
    mass = result.truth[0]
    said = (
        f"**{percent(mass)} of its heat lies on the {shape}**, which fills {percent(share)} of the picture: "
        f"{mass / share:.1f} times what a map spread evenly would put there."
    )
    if len(layers) > 1:
        best = max(layers, key=lambda row: row.truth[0] if row.truth else 0.0)
        said += f" The best single layer, {best.label}: {percent(best.truth[0] if best.truth else 0.0)}."
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
    if result.skipped:
        said.append(f"No ARCC yet: {result.skipped}.")
    else:
        said.append(_against_baselines(result, max(baselines, key=_arcc)))
        if len(layers) > 1:
            said.append(_against_layers(_arcc(result), max(layers, key=_arcc)))
    if result.road_raw is not None and result.road_raw < -ROUNDING:
        said.append(
            "Its raw ROAD is negative: removing what the map calls unimportant hurt the class more than removing "
            "what it calls important."
        )
    said.append(_on_confidence(probability))
    if result.note:
        said.append(f":gray[Note: {result.note}.]")
    said.append(":gray[Compare only maps of one picture, model and class.]")
    return said


def _arcc(row: ScoreRow) -> float:
    return row.values[0] or 0.0


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
            f"The model gives this class only {percent(probability)}, which leaves ROAD, and with it ARCC, little room: "
            "a low score here says more about the model's doubt than about the map."
        )
    return f"The class has probability {percent(probability)}: about the most that ROAD can take away."


def _against_layers(score: float, row: ScoreRow) -> str:
    best = _arcc(row)
    if score > best + ALIKE:
        return f"Merging helped: the best single layer, {row.label}, scores {best:.2f}."
    if score < best - ALIKE:
        return f"Merging cost score here: a single layer, {row.label}, scores {best:.2f}."
    return f"A single layer does about as well by this score: {row.label} ({best:.2f})."
