"""A map changed by hand, scored beside the map that it was: what does each score notice?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camviz.methods.registry import Progress
from camviz.metrics import Evidence, available
from camviz.metrics.patch_agreement import imputed_effects
from camviz.recipe import Recipe, explain
from camviz.trust.deliberate import blurred, to_one
from camviz.workbench.cache_keys import Kind
from camviz.workbench.host import telling
from camviz.workbench.maps import get_capture, merged
from camviz.workbench.pictures import Explained
from camviz.workbench.scores import get_effects
from camviz.workbench.true_shapes import TrueShape, get_true_shape

TRUTHS = ("best_iou", "mass", "auc")
# The scores that a change is watched with, those of ARCC first; the others say much the same.
WATCHED = (
    *("arcc", "coherency", "complexity", "road_raw", "faithfulness", "infidelity"),
    *("average_drop", "average_gain", "adcc", "entropy", "gini"),
)
# What takes too long to follow a slider: dozens of passes, or runs of the method, for every change.
SLOW = ("insertion", "deletion", "max_sensitivity", "randomisation", "randomisation_ssim")


@dataclass(frozen=True)
class Change:
    """How a map is changed, in this order.

    Attributes:
        blur: the standard deviation of a Gaussian, in pixels.
        shrink: how many times smaller it becomes, around the centre of its heat.
        sharpen: the power to which its values are raised: above 1 makes the hot places stand out.
        right, down: how far it moves, as a share of the sides; what leaves the picture is lost.
    """

    blur: float = 0.0
    shrink: float = 1.0
    sharpen: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def of(self, maps: Tensor) -> Tensor:
        """Change maps (B, H, W) in [0, 1]; the highest value becomes 1 again, unless nothing is left."""
        if self == Change():
            return maps
        maps = blurred(maps, self.blur) if self.blur else maps
        if (self.shrink, self.right, self.down) != (1.0, 0.0, 0.0):
            maps = self._placed(maps)
        return to_one(maps.clamp(0, 1)) ** self.sharpen

    def _placed(self, maps: Tensor) -> Tensor:
        """Shrink around the centre of heat and move; coordinates run from -1 to 1."""
        rows, columns = (torch.arange(side).to(maps) * 2 / side + 1 / side - 1 for side in maps.shape[-2:])
        heat = maps.sum((1, 2)).clamp(min=torch.finfo(maps.dtype).tiny)
        centre_x, centre_y = (maps.sum(1) @ columns) / heat, (maps.sum(2) @ rows) / heat
        scale = torch.full_like(heat, self.shrink)
        zero = torch.zeros_like(heat)
        # Where each pixel of the new map comes from.
        across = torch.stack([scale, zero, centre_x - scale * (centre_x + 2 * self.right)], 1)
        along = torch.stack([zero, scale, centre_y - scale * (centre_y + 2 * self.down)], 1)
        grid = F.affine_grid(torch.stack([across, along], 1), [len(maps), 1, *maps.shape[1:]], align_corners=False)
        return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0]


def changed_map(of: Explained, recipe: Recipe, change: Change) -> Tensor:
    """The map (1, H, W) of a recipe, changed."""
    return change.of(merged(of, recipe))


def scores_of_both(of: Explained, recipe: Recipe, change: Change) -> Mapping[str, tuple[float, float]]:
    """The scores of a recipe's map, and of the changed one: all but those in `SLOW`.

    Those against a mask are `TRUTHS`, which come first, and a few more: only if the mask of the explained class is
    known, as the map of another one need not lie on it. `WATCHED` follow. A score that runs the method again runs it
    with the change. NaN is undefined.
    """

    def compute() -> dict[str, tuple[float, float]]:
        known = [name for name in available(mask=_truth(of) is not None, on_request=True) if name not in SLOW]
        first = [name for name in (*TRUTHS, *WATCHED) if name in known]
        return _compute(of, recipe, change, [*first, *(name for name in known if name not in first)], None)

    return of.kept(Kind.PLAYED, recipe, change, compute=compute)


def slow_scores_of_both(
    of: Explained, recipe: Recipe, change: Change, progress: Progress | None = None
) -> Mapping[str, tuple[float, float]]:
    """The same for the scores in `SLOW`; an exception from `progress` stops the work."""
    return of.kept(Kind.PLAYED, recipe, change, "slow", compute=lambda: _compute(of, recipe, change, SLOW, progress))


def are_slow_scores_known(of: Explained, recipe: Recipe, change: Change) -> bool:
    """Whether `slow_scores_of_both` has nothing left to do."""
    return of.has(Kind.PLAYED, recipe, change, "slow")


def _truth(of: Explained) -> TrueShape | None:
    """The known shape of the explained class."""
    shape = get_true_shape(of)
    return shape if shape is not None and shape.explained else None


def _compute(
    of: Explained, recipe: Recipe, change: Change, names: Sequence[str], progress: Progress | None
) -> dict[str, tuple[float, float]]:
    cap, truth = get_capture(of), _truth(of)
    effects, own = get_effects(of), merged(of, recipe)
    makers = [partial(_make, recipe, each) for each in (Change(), change)]
    with of.host.working() as give_way:
        evidence = Evidence(
            of.net.module,
            cap.x,
            torch.stack([own, change.of(own)]),
            cap.target,
            [partial(maker, of.net.module) for maker in makers],
            makers,
            mask=None if truth is None else torch.from_numpy(truth.mask)[None].to(cap.x.device),
            seed=recipe.seed,
            logits=cap.logits,
            progress=telling(progress, give_way),
            shared={imputed_effects: effects},
        )
        values = {name: evidence.values(name)[:, 0].tolist() for name in names}
    return {name: (before, after) for name, (before, after) in values.items()}


def _make(recipe: Recipe, change: Change, module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    return change.of(explain(module, x, target, recipe))
