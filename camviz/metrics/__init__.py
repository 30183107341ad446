"""Scores of maps; importing this package registers them all."""

from camviz.metrics import arcc as _arcc  # noqa: F401  (importing a file registers its scores)
from camviz.metrics import mask_scores as _mask_scores  # noqa: F401
from camviz.metrics.evidence import Evidence, Explain, Scored
from camviz.metrics.registry import SCORES, Score, available, score

__all__ = ["SCORES", "Evidence", "Explain", "Score", "Scored", "available", "score"]
