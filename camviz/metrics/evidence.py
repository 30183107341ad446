"""The inputs of scores: the maps, the network and picture behind them, and passes that scores share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from camviz.maps import require_unit_range
from camviz.methods.registry import Progress
from camviz.metrics.registry import SCORES, Need, Score
from camviz.metrics.road import PERCENTILES, Road, Ties, check_maps, removals
from camviz.network.capture import Target, as_target
from camviz.network.hooks import require_eval
from camviz.network.logits import logits_of, network_logits

Value = TypeVar("Value")
# (x, target) -> maps (B, H, W): the whole method, run again
Explain = Callable[[Tensor, Tensor], Tensor]
# (module, x, target) -> maps (B, H, W): the same on another network of the same architecture
ExplainOn = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Scored:
    """One score of every map.

    Attributes:
        values: (M, B), NaN where undefined.
        notes: a caveat for each map and image, or "".
    """

    values: Tensor
    notes: tuple[tuple[str, ...], ...]


class ComputedOnce(Generic[Value]):
    """A property that is computed on first read and then cached.

    Until Python 3.12, `functools.cached_property` locks its whole class while it computes: a computation that yields
    its turn to others would deadlock with them.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Value:
        if instance is None:
            return cast(Value, self)
        value = self._compute(instance)
        vars(instance)[self._name] = value  # from now on found before this descriptor
        return value


@dataclass(eq=False)
class Evidence:
    """Everything needed to score some maps; work shared between scores is done once.

    Attributes:
        module: a network in eval mode that returns logits (B, classes).
        x: float (B, 3, H, W), normalised.
        maps: float (M, B, H, W) in [0, 1], M maps per image; maps with NaN or infinite values count as blank.
        target: the classes explained; None for the predicted ones.
        explains: for each of the M maps, the method that made it, (x, target) -> maps (B, H, W); None if no score
            needs it.
        explains_on: the same for any network, (module, x, target) -> maps (B, H, W); None if no score needs it.
        mask: bool (B, H, W), what the maps should show; None if unknown.
        seed: seed of all random draws.
        logits: the logits of x (B, classes) if available; they save a pass.
        percentiles, ties: ROAD's options.
        progress: called with (passes done, total) by scores that run the network often; an exception from it stops the
            work.
        known: scores computed earlier, by name, which are not computed again.
        shared: what `once` made earlier of the same picture, by the function that made it.

    Raises:
        ValueError: shapes that do not match, maps that are not within [0, 1], not one method per map, a network in
            training mode.
    """

    module: nn.Module = field(repr=False)
    x: Tensor = field(repr=False)
    maps: Tensor = field(repr=False)
    target: Target = None
    explains: Sequence[Explain] | None = field(default=None, repr=False)
    explains_on: Sequence[ExplainOn] | None = field(default=None, repr=False)
    mask: Tensor | None = field(default=None, repr=False)
    seed: int = 0
    logits: Tensor | None = field(default=None, repr=False)
    percentiles: Sequence[int] = PERCENTILES
    ties: Ties = "all"
    progress: Progress | None = field(default=None, repr=False)
    known: Mapping[str, Scored] = field(default_factory=dict, repr=False)
    shared: Mapping[Callable[[Evidence], object], object] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        require_eval(self.module)
        for maps in self.maps:
            check_maps(self.x, maps)
        require_unit_range(self.maps)
        for methods in (self.explains, self.explains_on):
            if methods is not None and len(methods) != len(self.maps):
                raise ValueError(f"each of the {len(self.maps)} maps needs the method that made it, got {len(methods)}")
        if self.mask is not None and self.mask.shape != self.maps.shape[1:]:
            raise ValueError(
                f"mask must be (B, H, W) of the maps (M, B, H, W), got {(*self.mask.shape,)} and {(*self.maps.shape,)}"
            )
        finite = torch.isfinite(self.maps).all(-1).all(-1)[..., None, None]
        self.maps = torch.where(finite, self.maps, 0.0)
        self._scored: dict[str, Scored] = dict(self.known)
        self._shared: dict[Callable[[Evidence], object], object] = dict(self.shared)

    def scored(self, name: str) -> Scored:
        """One score of every map, computed once.

        Raises:
            ValueError: an unknown score, or one whose inputs are missing.
        """
        if name not in self._scored:
            if name not in SCORES:
                raise ValueError(f"unknown score {name!r}; choose from {', '.join(SCORES)}")
            self._check_needs(SCORES[name])
            self._scored[name] = self._as_scored(SCORES[name])
        return self._scored[name]

    def values(self, name: str) -> Tensor:
        """One score's values (M, B), for scores that combine others."""
        return self.scored(name).values

    def once(self, compute: Callable[[Evidence], Value]) -> Value:
        """Return what a function makes of this evidence, computed on its first use: work that scores share."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return cast(Value, self._shared[compute])

    @ComputedOnce
    def clean_logits(self) -> Tensor:
        """The network's logits for the clean images (B, classes)."""
        if self.logits is not None:
            return logits_of(self.logits, len(self.x))
        with torch.no_grad():
            return network_logits(self.module, self.x)

    @ComputedOnce
    def classes(self) -> Tensor:
        """The classes explained, long (B,)."""
        return as_target(self.target, self.clean_logits)

    @ComputedOnce
    def removals(self) -> list[Road]:
        """How the class probability changes when pixels are removed: ROAD of each of the M maps."""
        return removals(
            self.module,
            self.x,
            self.maps,
            self.classes,
            self.clean_logits,
            self.seed,
            self.percentiles,
            self.ties,
            self.progress,
        )

    def _check_needs(self, score: Score) -> None:
        has = {
            "explain": self.explains is not None,
            "network": self.explains_on is not None,
            "mask": self.mask is not None,
        }
        words: dict[Need, str] = {
            "explain": "the methods that made the maps (explains)",
            "network": "the methods that made the maps, for any network (explains_on)",
            "mask": "a mask of what the maps should show",
        }
        for need in score.needs:
            if not has[need]:
                raise ValueError(f"the score {score.name!r} needs {words[need]}")

    def _as_scored(self, score: Score) -> Scored:
        shape = self.maps.shape[:2]
        result = score.function(self)
        values, notes = result if isinstance(result, tuple) else (result, [[""] * shape[1]] * shape[0])
        if values.shape != shape:
            raise ValueError(
                f"the score {score.name!r} must return (M, B) = {(*shape,)} values, got {(*values.shape,)}"
            )
        return Scored(values, tuple(map(tuple, notes)))
