"""Max-sensitivity: how much a map can change when the picture hardly does."""

from __future__ import annotations

import torch
from torch import Tensor

from camviz.metrics.evidence import Evidence
from camviz.metrics.registry import Notes, score

# The largest change of a pixel, in normalised units, and the number of changed pictures.
RADIUS, DRAWS = 0.02, 10
_BLANK = "the map is blank, so its change has no scale"
_BROKEN = "the map of a changed picture has NaN or infinite values"


@score(
    "max_sensitivity",
    "Max-sensitivity",
    "does it stay put?",
    "How much the map changes, at most, if the picture changes imperceptibly: 0 = not at all.",
    better="lower",
    range=(0.0, float("inf")),
    formula="max over 10 draws of |map(x + u) - map(x)| / |map(x)|, u uniform in [-0.02, 0.02] per pixel and channel, "
    "Frobenius norms",
    reference="Yeh et al., arXiv 1901.09392",
    needs=("explain",),
    on_request=True,
)
def _max_sensitivity(evidence: Evidence) -> tuple[Tensor, Notes]:
    maps, generator = evidence.maps.float(), torch.Generator().manual_seed(evidence.seed)
    length = _length(maps)
    largest = torch.zeros_like(length)
    for draw in range(DRAWS):
        # The same for every image of a batch. All methods see one picture in turn, and can share its capture.
        noise = (2 * torch.rand(evidence.x.shape[1:], generator=generator) - 1) * RADIUS
        changed = evidence.x + noise.to(evidence.x)
        for number, explain in enumerate(evidence.explains or ()):
            distance = _length(explain(changed, evidence.classes).float() - maps[number])
            largest[number] = torch.maximum(largest[number], distance)
        if evidence.progress is not None:
            evidence.progress(draw + 1, DRAWS)
    values = (largest / length).cpu()
    notes = [
        [_BLANK if blank else "" if finite else _BROKEN for blank, finite in zip(*rows, strict=True)]
        for rows in zip((length == 0).tolist(), torch.isfinite(values).tolist(), strict=True)
    ]
    return values.where(torch.isfinite(values), torch.nan), notes


def _length(maps: Tensor) -> Tensor:
    """The Frobenius norm of each map (..., H, W)."""
    return maps.flatten(-2).norm(dim=-1)
