"""Scores that show the network only what the map shows: the normalised picture times the map."""

from __future__ import annotations

import torch
from torch import Tensor

from camviz.metrics.arcc import harmonic_mean
from camviz.metrics.evidence import Evidence
from camviz.metrics.registry import Notes, score
from camviz.network.batching import forward
from camviz.network.logits import class_probabilities

_GRAD_CAM_PLUS_PLUS = "Chattopadhay et al., arXiv 1710.11063"


@score(
    "average_drop",
    "Average drop",
    "what is lost?",
    "How much of its confidence the network loses if it sees only what the map shows: 0 = none, 1 = all.",
    better="lower",
    formula="max(0, P - Pm) / P, Pm = probability of the class for x * map",
    reference=_GRAD_CAM_PLUS_PLUS,
    cost=1,
    on_request=True,
)
def _drop(evidence: Evidence) -> tuple[Tensor, Notes]:
    clean, masked = evidence.once(_probabilities)
    return _defined((clean - masked).clamp(min=0) / clean, "the network gives this class no chance to begin with")


@score(
    "average_gain",
    "Average gain",
    "what is gained?",
    "How much of the missing confidence the network gains if it sees only what the map shows: 0 = none, 1 = all.",
    formula="max(0, Pm - P) / (1 - P), Pm = probability of the class for x * map",
    reference="Zhang et al., arXiv 2301.07002",
    cost=1,
    on_request=True,
)
def _gain(evidence: Evidence) -> tuple[Tensor, Notes]:
    clean, masked = evidence.once(_probabilities)
    return _defined((masked - clean).clamp(min=0) / (1 - clean), "the network is already certain of this class")


@score(
    "increase",
    "Increase in confidence",
    "is it surer?",
    "Is the network surer of the class if it sees only what the map shows? 1 = yes, 0 = no. Read it over many "
    "pictures: the share of them.",
    formula="1 if Pm > P, else 0; Pm = probability of the class for x * map",
    reference=_GRAD_CAM_PLUS_PLUS,
    cost=1,
    on_request=True,
)
def _increase(evidence: Evidence) -> Tensor:
    clean, masked = evidence.once(_probabilities)
    return torch.where(torch.isfinite(clean + masked), (masked > clean).double(), torch.nan)


@score(
    "adcc",
    "ADCC",
    "drop, coherency and complexity?",
    "The harmonic mean of coherency, 1 - complexity and 1 - average drop: ARCC with the drop in place of ROAD.",
    formula="3 / (1/coherency + 1/(1 - complexity) + 1/(1 - average drop)); 0 if one of them is 0",
    reference="Poppi et al., arXiv 2104.10252",
    cost=1,
    needs=("explain",),
    on_request=True,
)
def _adcc(evidence: Evidence) -> Tensor:
    drop = evidence.values("average_drop")
    parts = (evidence.values("coherency").to(drop), 1 - evidence.values("complexity").to(drop), 1 - drop)
    return harmonic_mean(torch.stack(parts)).where(~drop.isnan(), torch.nan)


def _probabilities(evidence: Evidence) -> tuple[Tensor, Tensor]:
    """The probability of the class for the pictures (B,), and for the pictures times each map (M, B): float64."""
    masked = evidence.x * evidence.maps[:, :, None].to(evidence.x)
    with torch.no_grad():
        logits = forward(evidence.module, masked.flatten(0, 1)).unflatten(0, evidence.maps.shape[:2])
    of_class = class_probabilities(torch.cat([evidence.clean_logits[None], logits]), evidence.classes)
    return of_class[0], of_class[1:]


def _defined(values: Tensor, otherwise: str) -> tuple[Tensor, Notes]:
    """Values with a note where they are undefined: 0 / 0, or a network that returned NaN."""
    defined = torch.isfinite(values)
    return values.where(defined, torch.nan), [["" if fine else otherwise for fine in row] for row in defined.tolist()]
