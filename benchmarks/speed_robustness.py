"""Timings of noise robustness: a section of `benchmarks.speed`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from pytorch_grad_cam import GradCAMPlusPlus
from pytorch_grad_cam.refine_cam import RefineCAM
from torch import Tensor, nn

import camviz
from benchmarks.photos import PHOTOS
from benchmarks.timing import Case, Row, in_turn, ms, trained_lite
from camviz import noise
from camviz.network.batching import in_fast_order
from camviz.network.capture import captures
from camviz.noise.measure import Subject, capture_size
from camviz.noise.rank_overlap import overlaps
from camviz.recipe import explain_capture
from camviz.workbench.host import PlainHost
from camviz.workbench.maps import extra_layers, likeliest
from camviz.workbench.noisy_copies import get_subject
from camviz.workbench.pictures import SeenPicture, pixels_as_picture

METHOD, KIND = "gradcam++", "gaussian"
LEVELS, SEEDS = (0.2, 0.4, 0.6, 0.8, 1.0), (0, 1, 2, 3)
RANKINGS, ITEMS = 1000, 60


def robustness_rows(case: Case, repeat: int) -> Iterator[Row]:
    """A sweep over 20 noisy copies of one photograph, for one layer and for four; and the overlaps of many rankings."""
    if case.name != trained_lite():
        return  # noise makes sense only for a trained network, whose predictions flip
    yield from sweep_rows(case, "Grad-CAM++", GradCAMPlusPlus, case.layers[-1:], repeat)
    yield from sweep_rows(case, "RefineCAM", RefineCAM, case.layers, repeat)
    yield overlaps_row(case.x.device, repeat)


def sweep_rows(case: Case, title: str, method: Any, layers: tuple[str, ...], repeat: int) -> Iterator[Row]:
    """Our whole sweep, compared with only grad-cam's maps of the same noisy copies, and with only our passes."""
    net, image = camviz.load_model(case.name, str(case.x.device)), PHOTOS[0].load()
    recipe = camviz.Recipe(METHOD, layers)
    extra = extra_layers(net, [recipe])
    seen = SeenPicture(PlainHost(), pixels_as_picture(image, title), net, more_layers=extra)
    of = get_subject(seen.explaining(likeliest(seen)), {title: recipe})
    copies = net.inputs(np.concatenate([noise.apply_levels(of.view, KIND, LEVELS, seed) for seed in SEEDS]))
    ours = partial(camviz.robustness, net, image, KIND, LEVELS, METHOD, layers, SEEDS, comparisons=False)
    compared = partial(camviz.robustness, net, image, KIND, LEVELS, METHOD, layers, SEEDS)
    peers = [partial(_their_maps, _peer(method, case.trainable, layers), copies),
             partial(_their_maps, _peer(method, case.module, layers, frozen=True), copies)]  # fmt: skip
    difference = abs(_our_maps(of, copies, recipe) - peers[0]()).max()
    fast, slow, lean = in_turn([ours, *peers], max(1, repeat // 4), warm_up=1)
    found = f"{slow / fast:.1f} x as fast ({ms(fast)} vs {ms(slow)}; maps differ by at most {difference:.0e})"
    sweep = f"robustness, {len(copies)} copies, {title}"
    yield Row(f"{sweep}, against grad-cam's maps", case.name, found, ">= 3 x", slow / fast >= 3)
    found = f"{lean / fast:.1f} x as fast ({ms(fast)} vs {ms(lean)})"
    yield Row(f"{sweep}, against grad-cam's maps with frozen parameters", case.name, found)
    fast, bare, full = in_turn([ours, partial(_passes, of, copies, layers), compared], repeat, warm_up=1)
    found = f"{fast / bare:.2f} x the time ({ms(fast)} vs {ms(bare)})"
    yield Row(f"{sweep}, against its network passes alone", case.name, found, "<= 1.5 x", fast / bare <= 1.5)
    found = f"{full / bare:.2f} x the time ({ms(full)})"
    yield Row(f"{sweep}, with SSIM, Pearson and Spearman, against its network passes alone", case.name, found)


def _peer(method: Any, module: nn.Module, layers: tuple[str, ...], frozen: bool = False) -> Any:
    """One of grad-cam's methods on a copy of the network, because its hooks stay there."""
    module = copy.deepcopy(module)
    peer = method(module, [module.get_submodule(name) for name in layers])
    for base in getattr(peer, "base_cam_per_layer", [peer]):
        base.compute_input_gradient = frozen
    return peer


def _their_maps(peer: Any, copies: Tensor) -> Any:
    """Maps (B, H, W) of the predicted classes, with one call per copy, as users of grad-cam do."""
    return np.concatenate([peer(x[None], None) for x in copies])


def _our_maps(of: Subject, copies: Tensor, recipe: camviz.Recipe) -> Any:
    """Our version of these maps, in the batches of a sweep, because Grad-CAM++ depends on how a batch is rounded."""
    module, batches = of.net.module, copies.split(capture_size(of))
    captures = [camviz.capture(module, x, layers=recipe.layers) for x in batches]
    return torch.cat([explain_capture(cap, recipe) for cap in captures]).cpu().numpy()


def _passes(of: Subject, copies: Tensor, layers: tuple[str, ...]) -> None:
    """The captures that a sweep needs: of the clean view, and of each batch for both classes."""
    module = of.net.module
    in_fast_order(module, of.net.inputs(of.view[None]), lambda x: camviz.capture(module, x, layers=layers))
    for batch in copies.split(capture_size(of)):
        in_fast_order(module, batch, lambda x: captures(module, x, [None, of.target], layers))


def overlaps_row(device: torch.device, repeat: int) -> Row:
    """The overlaps of many rankings with one ranking, from their scores."""
    scores = torch.rand(RANKINGS + 1, ITEMS, generator=torch.Generator().manual_seed(0)).to(device)
    (seconds,) = in_turn([partial(overlaps, scores[0], scores[1:])], repeat)
    what = f"overlaps of {RANKINGS} rankings of {ITEMS} items"
    return Row(what, "–", ms(seconds), "<= 50 ms", seconds <= 0.05)
