"""View, prediction, capture, layer maps and merges of a picture, each computed once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camviz import noise
from camviz.merging import RULES, heights, refine, running
from camviz.methods import METHODS, Progress, cam_with_notes, twins
from camviz.methods.registry import get_method, shifted
from camviz.models import Net
from camviz.network.batching import run_network
from camviz.network.capture import Capture, capture, mirror_of
from camviz.recipe import Recipe
from camviz.render import data_uri
from camviz.workbench.cache_keys import Key, Kind
from camviz.workbench.host import telling
from camviz.workbench.pictures import Explained, SeenPicture, fitted, network_key


def extra_layers(net: Net, recipes: Iterable[Recipe]) -> tuple[str, ...]:
    """The layers that recipes merge in addition to the network's own.

    Raises:
        ValueError: an unknown method, or a recipe with no layers or a duplicate layer.
    """
    more: dict[str, None] = {}
    for recipe in recipes:
        get_method(recipe.method)
        if not recipe.layers or len(set(recipe.layers)) < len(recipe.layers):
            raise ValueError(f"layers must name at least one layer, each once, got {list(recipe.layers)}")
        more |= dict.fromkeys(layer for layer in recipe.layers if layer not in net.layers)
    return tuple(more)


def get_view(of: SeenPicture) -> NDArray[np.uint8]:
    """The picture as the network sees it, uint8 (h, w, 3); an attack targets the class predicted for the clean view."""

    def compute() -> NDArray[np.uint8]:
        perturbation = of.noise
        if perturbation is None:
            return fitted(of)
        clean = get_view(of.clean)
        attacked = likeliest(of.clean) if _needs_net(perturbation.kind) else None
        with of.host.working():
            return noise.apply(clean, perturbation.kind, perturbation.level, perturbation.seed, of.net, attacked)

    return of.host.kept(of.seen_cache_key(Kind.VIEW), compute)


def _needs_net(kind: str) -> bool:
    return kind in noise.KINDS and noise.KINDS[kind].needs_net


def view_uri(of: SeenPicture) -> str:
    """The picture as the network sees it, as a data URI."""
    return of.host.kept(of.seen_cache_key(Kind.VIEW_URI), lambda: data_uri(get_view(of)))


def predict(of: SeenPicture) -> NDArray[np.float32]:
    """The probability of each class (classes,); zeros where the network returns NaN.

    For a clean picture this also caches the capture of the likeliest class; under noise the prediction is needed
    first, and a capture takes three times as long.
    """

    def compute() -> NDArray[np.float32]:
        if of.noise is None:
            cap = _new_capture(of, None)
            of.host.results.put(of.explaining(int(cap.target)).cache_key(Kind.CAPTURE), cap)
            return _probabilities(cap.logits)
        x = _input(of)
        with of.host.working(), torch.inference_mode():
            return _probabilities(run_network(of.net.module, x))

    return of.host.kept(of.seen_cache_key(Kind.PROBABILITIES), compute)


def floor(of: Explained) -> float:
    """The class's probability with nothing left of the picture: for the mean colour, 0 in normalised units."""

    def compute() -> NDArray[np.float32]:
        nothing = torch.zeros_like(_input(of))
        with of.host.working(), torch.inference_mode():
            return _probabilities(run_network(of.net.module, nothing))

    key = Key(Kind.FLOOR, network=network_key(of.net))
    return float(of.host.kept(key, compute)[of.target])


def is_predicted(of: SeenPicture) -> bool:
    """Whether the prediction is already known."""
    return of.host.results.has(of.seen_cache_key(Kind.PROBABILITIES))


def likeliest(of: SeenPicture) -> int:
    """The class that the network predicts."""
    return int(predict(of).argmax())


def _probabilities(logits: Tensor) -> NDArray[np.float32]:
    return logits[0].float().softmax(0).nan_to_num(0).cpu().numpy()


def _input(of: SeenPicture) -> Tensor:
    """The normalised view (1, 3, h, w), on the network's device."""
    return of.net.inputs(get_view(of)[None])


def get_capture(of: Explained) -> Capture:
    """The capture of all the network's layers; for a clean picture this also caches the probabilities.

    Raises:
        ValueError: a layer that cannot be captured, or a class that the network does not have.
    """

    def compute() -> Capture:
        cap = _new_capture(of, of.target)
        if of.noise is None:
            of.host.results.put(of.seen_cache_key(Kind.PROBABILITIES), _probabilities(cap.logits))
        return cap

    return replace(of.kept(Kind.CAPTURE, compute=compute), module=of.net.module)


def _new_capture(of: SeenPicture, target: int | None) -> Capture:
    """Capture all layers; without the network, as the cache must not keep a dropped one alive."""
    x = _input(of)
    with of.host.working():
        return replace(capture(of.net.module, x, target, of.layers), module=nn.Identity())


def capture_for(of: Explained, recipe: Recipe) -> Capture:
    """`get_capture`, with its mirror if the recipe averages maps with those of the mirrored picture."""
    cap = get_capture(of)
    if not recipe.mirror_averaged:
        return cap

    def compute() -> Capture:
        with of.host.working():
            return replace(mirror_of(cap), module=nn.Identity())

    return replace(cap, mirror=replace(of.kept(Kind.MIRROR, compute=compute), module=of.net.module))


def sizes(of: Explained) -> dict[str, tuple[int, int]]:
    """The resolution (h, w) of each layer."""
    return {layer: (a.shape[-2], a.shape[-1]) for layer, a in zip(of.layers, get_capture(of).activations, strict=True)}


def layer_map(of: Explained, recipe: Recipe, layer: str, progress: Progress | None = None) -> tuple[Tensor, str]:
    """A recipe's map of one layer (1, H, W), and the reason if it is blank."""
    if not METHODS[recipe.method].is_slow:
        maps, notes = _all_at_once(of, recipe)
        index = of.layers.index(layer)
        return maps[index], notes[index]

    def compute() -> tuple[Tensor, str]:
        cap = capture_for(of, recipe).select([layer])
        with of.host.working() as give_way:
            maps, notes = cam_with_notes(cap, recipe.method, recipe.seed, telling(progress, give_way))
        return maps[0], notes[0][0]

    return of.kept(*_map_key(recipe), layer, compute=compute)


def _map_key(recipe: Recipe) -> tuple[Kind, str, int, bool]:
    """What a layer's map depends on, besides the layer."""
    return Kind.MAP, recipe.method, recipe.seed, recipe.mirror_averaged


def _all_at_once(of: Explained, recipe: Recipe) -> tuple[Tensor, list[str]]:
    """The maps (L, 1, H, W) of all captured layers by a method without extra passes, and reasons for blank ones.

    Always all layers together: some methods process them jointly, and a subset would round differently.
    """

    def compute() -> tuple[Tensor, list[str]]:
        maps, notes = cam_with_notes(capture_for(of, recipe), recipe.method, recipe.seed)
        return maps, [note for (note,) in notes]

    return of.kept(*_map_key(recipe), compute=compute)


def is_ready(of: Explained, recipe: Recipe) -> bool:
    """Whether all layer maps of a recipe are known."""
    if METHODS[recipe.method].is_slow:
        return all(of.has(*_map_key(recipe), layer) for layer in recipe.layers)
    return of.has(*_map_key(recipe))


def layer_maps(of: Explained, recipe: Recipe, progress: Progress | None = None) -> Tensor:
    """The maps of a recipe's layers (L, 1, H, W); `progress` covers all of them."""
    runs = method_runs(of, recipe)
    return torch.stack(
        [
            layer_map(of, recipe, layer, shifted(progress, sum(runs[:index]), sum(runs)))[0]
            for index, layer in enumerate(recipe.layers)
        ]
    )


def method_runs(of: Explained, recipe: Recipe) -> list[int]:
    """How many passes a slow method needs for each of a recipe's layers, in the units of its progress."""
    method, times = METHODS[recipe.method], 2 if recipe.mirror_averaged else 1
    return [times * method.runs(activation) for activation in get_capture(of).select(recipe.layers).activations]


def merged(of: Explained, recipe: Recipe) -> Tensor:
    """A recipe's map (1, H, W)."""
    return refine(layer_maps(of, recipe), recipe.rule, _chosen(of, recipe))


def merge_range(of: Explained, recipe: Recipe) -> tuple[float, float]:
    """The values that became 0 and 1 when the merged map was stretched."""
    low, high = heights(layer_maps(of, recipe), recipe.rule, _chosen(of, recipe))
    return float(low[0, 0]), float(high[0, 0])


def _chosen(of: Explained, recipe: Recipe) -> Capture | None:
    """The capture of only a recipe's layers; None for a rule that needs only their maps."""
    if recipe.rule not in RULES or RULES[recipe.rule].needs == "maps":
        return None
    return capture_for(of, recipe).select(recipe.layers)


def running_merges(of: Explained, recipe: Recipe) -> NDArray[np.float32]:
    """The merge down to each layer, float32 (L, h, w), in the order of the layers: the first merges all of them."""
    return running(layer_maps(of, recipe), recipe.rule, _chosen(of, recipe))[:, 0].cpu().numpy()


def get_twins(of: Explained, method: str) -> dict[str, list[str]]:
    """For each layer, the names of other methods that give the same map."""

    def compute() -> dict[str, list[str]]:
        cap = get_capture(of)
        return dict(zip(cap.layers, twins(cap, method), strict=True))

    return of.kept(Kind.TWINS, method, compute=compute)


def negative_layers(of: Explained) -> dict[str, bool]:
    """For each layer, whether some of its activations are below 0."""

    def compute() -> dict[str, bool]:
        cap = get_capture(of)
        lowest = torch.stack([activation.amin() for activation in cap.activations]).tolist()
        return {layer: low < 0 for layer, low in zip(cap.layers, lowest, strict=True)}

    return of.kept(Kind.NEGATIVE, compute=compute)
