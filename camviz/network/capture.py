"""Capture the activations and gradients of requested layers in one forward and one backward pass."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from camviz.network.cut_gradients import where_cut
from camviz.network.hooks import layer_hooks, require_eval
from camviz.network.layouts import as_channels_first, as_the_network_has_it, channels_last
from camviz.network.logits import described, network_logits

Target = Tensor | Sequence[int] | int | None


@dataclass(frozen=True)
class Capture:
    """The record of one pass through a network.

    Attributes:
        module: the network, for methods that run it again.
        x: its input (B, 3, H, W).
        logits: its output (B, classes).
        target: the class explained for each image, long (B,).
        layers: the names of the captured layers, in the requested order.
        activations: per layer, the output of its last call, always as (B, K, h, w).
        gradients: per layer, d logit[target] / d activation, of the same shape.
        channels_last: per layer, whether the network has that output as (B, h, w, K).
        cuts: per layer, where the network cuts the gradient between it and the class score; "" if it does not.
        calls: per layer, how often it was called in one forward pass.
        reached: per layer, seconds from the start of the forward pass to the layer's output.
        seconds: duration of the forward pass; only a guide on a GPU, which runs asynchronously.
        mirror: the capture of the mirrored images, if each map is to be averaged with theirs; see `with_mirror`.
    """

    module: nn.Module
    x: Tensor
    logits: Tensor
    target: Tensor
    layers: tuple[str, ...]
    activations: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    channels_last: tuple[bool, ...]
    cuts: tuple[str, ...]
    calls: tuple[int, ...]
    reached: tuple[float, ...]
    seconds: float
    mirror: Capture | None = None

    @cached_property
    def checksums(self) -> list[int]:
        """For each image, a checksum of its content."""
        return [zlib.crc32(image.view(torch.uint8).numpy().data) for image in self.x.detach().cpu().contiguous()]

    def with_mirror(self) -> Capture:
        """Return this capture with its mirror: the network runs once more, on the images with left and right swapped.

        Every map made of it is then averaged with that of the mirrored image, mirrored back.
        """
        return self if self.mirror else replace(self, mirror=mirror_of(self))

    def images(self, which: Tensor) -> Capture:
        """Return this capture restricted to some images, `which` bool or long; the network does not run."""
        return replace(
            self,
            x=self.x[which],
            logits=self.logits[which],
            target=self.target[which],
            activations=tuple(a[which] for a in self.activations),
            gradients=tuple(g[which] for g in self.gradients),
            mirror=self.mirror and self.mirror.images(which),
        )

    def select(self, layers: Sequence[str] | str) -> Capture:
        """Return this capture restricted to some layers, in the given order; the network does not run.

        Raises:
            ValueError: a layer was not captured.
        """
        layers = layer_names(layers)
        missing = [name for name in layers if name not in self.layers]
        if missing or not layers:
            raise ValueError(f"layers {missing} were not captured; captured are {list(self.layers)}")
        picks = [self.layers.index(name) for name in layers]
        return replace(
            self,
            layers=layers,
            activations=tuple(self.activations[i] for i in picks),
            gradients=tuple(self.gradients[i] for i in picks),
            channels_last=tuple(self.channels_last[i] for i in picks),
            cuts=tuple(self.cuts[i] for i in picks),
            calls=tuple(self.calls[i] for i in picks),
            reached=tuple(self.reached[i] for i in picks),
            mirror=self.mirror and self.mirror.select(layers),
        )


def capture(
    module: nn.Module,
    x: Tensor,
    target: Target = None,
    layers: Sequence[str] | str = (),
) -> Capture:
    """Run the network once forward and once backward, and keep what every CAM method needs.

    Works with frozen parameters, with in-place activations and inside `torch.no_grad` or `inference_mode`, and
    leaves no hook, flag or `.grad` on the module. Several threads may capture from one module at once. If a layer is
    called more than once in a forward pass, its last call is captured.

    Args:
        module: a network in eval mode that returns logits (B, classes), or one logit (B,) or (B, 1) for yes or no.
        x: float (B, 3, H, W), on the module's device.
        target: the class to explain for each image, (B,) or one for all; None for the predicted class.
        layers: names as in `module.named_modules()`, or one of them, each with an output (B, K, h, w) or (B, h, w, K).

    Raises:
        ValueError: a layer that is unknown, is never called or returns something else than feature maps of the images,
            a network in training mode, an input or a target of the wrong shape, or an output that is no logits.
    """
    return captures(module, x, [target], layers)[0]


def captures(
    module: nn.Module, x: Tensor, targets: Sequence[Target], layers: Sequence[str] | str = ()
) -> tuple[Capture, ...]:
    """Capture for several targets with one forward pass, and one backward pass per distinct target.

    Args:
        module: as for `capture`.
        x: as for `capture`.
        targets: for each result, a target as for `capture`.
        layers: as for `capture`.

    Raises:
        ValueError: as for `capture`.
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"x must be a float tensor (B, 3, H, W), got {described(x)}")
    require_eval(module)
    names = layer_names(layers)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"layers must name at least one layer and none twice, got {list(names)}")
    with torch.inference_mode(False), torch.enable_grad():
        # A copy is an ordinary tensor even if x was made in inference mode.
        x = x.detach().clone()
        recorder = _Recorder(len(x), channels_last(module, x, names))
        start = time.perf_counter()
        with layer_hooks(module, {name: partial(recorder, name) for name in names}):
            logits = network_logits(module, x)
        seconds = time.perf_counter() - start
        activations = recorder.outputs(names)
        classes = [as_target(target, logits) for target in targets]
        gradients, missing = _gradients(logits, classes, activations)
    first = Capture(
        module=module,
        x=x,
        logits=logits.detach(),
        target=classes[0],
        layers=names,
        activations=tuple(a.detach() for a in activations),
        gradients=gradients[0],
        channels_last=tuple(recorder.is_last[name] for name in names),
        cuts=tuple(
            where_cut(module, x, name) if no_gradient else "" for name, no_gradient in zip(names, missing, strict=True)
        ),
        calls=tuple(recorder.calls[name] for name in names),
        reached=tuple(recorder.times[name] - start for name in names),
        seconds=seconds,
    )
    others = zip(classes[1:], gradients[1:], strict=True)
    return first, *(replace(first, target=target, gradients=slopes) for target, slopes in others)


def mirror_of(cap: Capture) -> Capture:
    """The capture of the mirrored images (left and right swapped), with the same classes and layers: one more pass."""
    return capture(cap.module, cap.x.flip(-1), cap.target, cap.layers)


def layer_names(layers: Sequence[str] | str) -> tuple[str, ...]:
    """The names of layers, also of a single one."""
    return (layers,) if isinstance(layers, str) else tuple(layers)


def as_target(target: Target, logits: Tensor) -> Tensor:
    """Return the explained classes as long (B,) on the device of the logits (B, classes); None for the predicted ones.

    Raises:
        ValueError: a target of the wrong shape, type or range.
    """
    batch, classes = logits.shape
    if target is None:
        return logits.detach().argmax(dim=1)
    target = torch.as_tensor(target)  # checked on its own device: a CPU target needs no GPU synchronisation
    if target.ndim == 0:
        target = target.expand(batch)
    if target.shape != (batch,) or target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(f"target must be {batch} whole numbers, one for each image, got {described(target)}")
    if bool(((target < 0) | (target >= classes)).any()):
        raise ValueError(f"target must lie in 0..{classes - 1}, got {target.tolist()}")
    return target.to(logits.device).long().clone()  # an ordinary tensor, even if made in inference mode


class _Recorder:
    """Keeps the last output of each hooked layer as (B, K, h, w) and passes on a copy of it."""

    def __init__(self, batch: int, is_last: dict[str, bool]) -> None:
        self._batch, self.is_last = batch, is_last
        self._kept: dict[str, Tensor] = {}
        self.calls: Counter[str] = Counter()
        self.times: dict[str, float] = {}

    def __call__(self, name: str, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ValueError(f"layer {name!r} must return a tensor (B, K, h, w), got {described(output)}")
        if len(output) != self._batch:
            raise ValueError(
                f"layer {name!r} returns {len(output)} feature maps {tuple(output.shape[1:])} for {self._batch} "
                "images: there, crops, frames or windows are folded into the batch; choose a layer before or behind"
            )
        kept = as_channels_first(output, self.is_last[name]).clone()
        if not self._kept or not kept.requires_grad:
            # Nothing before the first captured layer is needed: the graph starts here, even in a frozen network.
            kept = kept.detach().requires_grad_()
        self._kept[name] = kept
        self.calls[name] += 1
        self.times[name] = time.perf_counter()
        # A following in-place layer changes this copy, not the kept tensor.
        return as_the_network_has_it(kept, self.is_last[name]).clone()

    def outputs(self, names: Sequence[str]) -> list[Tensor]:
        for name in names:
            if name not in self._kept:
                raise ValueError(f"layer {name!r} was not called in the forward pass")
        return [self._kept[name] for name in names]


def _gradients(
    logits: Tensor, targets: Sequence[Tensor], activations: Sequence[Tensor]
) -> tuple[list[tuple[Tensor, ...]], list[bool]]:
    """For each target (B,) and activation, d logit[target] / d activation; and which activations have none.

    Those get zeros: the logits do not depend on them, or the network cuts the gradient.
    """
    gradients: list[tuple[Tensor, ...]] = []
    missing = [not logits.requires_grad] * len(activations)
    for number, target in enumerate(targets):
        same = next((i for i in range(number) if torch.equal(targets[i], target)), None)
        if same is not None:
            gradients.append(gradients[same])
        elif not logits.requires_grad:
            gradients.append(tuple(torch.zeros_like(a) for a in activations))
        else:
            score = logits.gather(1, target[:, None]).sum()
            last = number == len(targets) - 1
            slopes = _slopes(score, activations, retain_graph=not last)
            missing = [slope is None for slope in slopes]
            pairs = zip(activations, slopes, strict=True)
            gradients.append(tuple(torch.zeros_like(a) if g is None else g.detach() for a, g in pairs))
    return gradients, missing


def _slopes(score: Tensor, activations: Sequence[Tensor], retain_graph: bool) -> Sequence[Tensor | None]:
    """The gradient of a score for each activation, None where there is none."""
    try:
        return torch.autograd.grad(score, list(activations), allow_unused=True, retain_graph=retain_graph)
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise ValueError(
            "the network uses reentrant checkpointing, through which no gradient of a layer can be computed: build it "
            "with use_reentrant=False"
        ) from error
