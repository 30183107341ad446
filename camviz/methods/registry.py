"""The registry of CAM methods, read by menus, the README and the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from camviz.network.capture import Capture

Cost = Literal["at once", "many passes"]

# Called with (passes done, total); an exception from it stops the work.
Progress = Callable[[int, int], None]


def shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Convert progress within one layer to progress over several layers."""
    return None if progress is None else lambda done, _: progress(before + done, total)


class RawMaps(Protocol):
    """A method's maps of all captured layers, before ReLU, upsampling and stretching."""

    def __call__(self, cap: Capture, seed: int, progress: Sequence[Progress | None]) -> list[Tensor]:
        """Return float (B, h, w) for each layer, at any resolution; `progress` has one callback per layer."""
        ...


class RawMap(Protocol):
    """A method's map of one layer, for methods that treat layers separately."""

    def __call__(self, cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:
        """Return float (B, h, w) for the layer at `index`, at any resolution."""
        ...


# A layer's activations and gradients, each (B, K, h, w), to its raw map (B, h, w); or all layers' at once.
Formula = Callable[[Tensor, Tensor], Tensor]
JointFormula = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Method:
    """One CAM method.

    Attributes:
        name: its key in `METHODS`.
        title: its display name.
        sentence: what it does, in one plain sentence.
        reference: its paper.
        cost: "at once" from a capture, or "many passes" through the network.
        class_specific: whether the map depends on the target class.
        uses_gradient: whether it reads the gradients.
        finished: whether its map is final, without ReLU and stretching (for a baseline that ignores the network).
        raw: computes its maps.
        channels: the maximum number of a layer's channels that it uses; None for all.
        component: whether its map is a principal component.
    """

    name: str
    title: str
    sentence: str
    reference: str
    cost: Cost
    class_specific: bool
    uses_gradient: bool
    finished: bool
    raw: RawMaps
    channels: int | None = None
    component: bool = False

    @property
    def is_baseline(self) -> bool:
        """Whether it explains nothing and only serves for comparison."""
        return self.reference == "baseline"

    @property
    def is_slow(self) -> bool:
        """Whether it runs the network many times."""
        return self.cost == "many passes"

    def runs(self, activations: Tensor) -> int:
        """How often a many-pass method runs the network for a layer (B, K, h, w): the total of its progress."""
        batch, count = activations.shape[:2]
        return batch * min(count, self.channels or count)


METHODS: dict[str, Method] = {}


def get_method(name: str) -> Method:
    """Return the method with this name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
    return METHODS[name]


def method(
    name: str,
    title: str,
    sentence: str,
    reference: str,
    *,
    cost: Cost = "at once",
    class_specific: bool = True,
    uses_gradient: bool = True,
    finished: bool = False,
    channels: int | None = None,
) -> Callable[[RawMap], RawMap]:
    """Register a function of (capture, layer index, seed, progress) as a CAM method."""

    def register(raw: RawMap) -> RawMap:
        def layer_by_layer(cap: Capture, seed: int, progress: Sequence[Progress | None]) -> list[Tensor]:
            return [raw(cap, index, seed, callback) for index, callback in enumerate(progress)]

        METHODS[name] = Method(
            name, title, sentence, reference, cost, class_specific, uses_gradient, finished, layer_by_layer, channels
        )
        return raw

    return register


def gradient_method(name: str, title: str, sentence: str, reference: str) -> Callable[[Formula], Formula]:
    """Register a function of one layer's activations and gradients."""

    def register(function: Formula) -> Formula:
        joint_method(name, title, sentence, reference)(
            lambda activations, gradients: [function(a, g) for a, g in zip(activations, gradients, strict=True)]
        )
        return function

    return register


def joint_method(
    name: str, title: str, sentence: str, reference: str, *, class_specific: bool = True, component: bool = False
) -> Callable[[JointFormula], JointFormula]:
    """Register a function of all layers' activations and gradients, for methods that run faster that way."""

    def register(function: JointFormula) -> JointFormula:
        def raw(cap: Capture, seed: int, progress: Sequence[Progress | None]) -> list[Tensor]:  # noqa: ARG001
            return function([a.float() for a in cap.activations], [g.float() for g in cap.gradients])

        METHODS[name] = Method(
            name,
            title,
            sentence,
            reference,
            "at once",
            class_specific,
            uses_gradient=class_specific,
            finished=False,
            raw=raw,
            component=component,
        )
        return function

    return register
