"""Scores of maps; importing this package registers them all."""

from camviz.metrics import arcc as _arcc  # noqa: F401  (importing a file registers its scores)
from camviz.metrics import insertion_deletion as _insertion_deletion  # noqa: F401
from camviz.metrics import map_shape as _map_shape  # noqa: F401
from camviz.metrics import mask_scores as _mask_scores  # noqa: F401
from camviz.metrics import masked_input as _masked_input  # noqa: F401
from camviz.metrics import max_sensitivity as _max_sensitivity  # noqa: F401
from camviz.metrics import patch_agreement as _patch_agreement  # noqa: F401
from camviz.metrics import randomisation as _randomisation  # noqa: F401
from camviz.metrics.evidence import Evidence, Explain, Scored
from camviz.metrics.registry import SCORES, Score, available, score

__all__ = ["SCORES", "Evidence", "Explain", "Score", "Scored", "available", "score"]
