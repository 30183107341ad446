"""Timings of the scores, Score-CAM and memory layouts: sections of `benchmarks.speed`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.metrics.arcc import ARCC
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from pytorch_grad_cam.refine_cam import RefineCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from torch import Tensor

import camviz
from benchmarks.timing import Case, Row, Run, in_turn, ms
from camviz.metrics.imputation import impute
from camviz.metrics.road import PERCENTILES, removal_masks
from camviz.network.batching import forward

METHOD = "gradcam++"


def _refined(case: Case, x: Tensor, target: Tensor, recipe: camviz.Recipe) -> Tensor:
    return camviz.explain(case.module, x, target, recipe)


def imputation_rows(case: Case, repeat: int) -> Iterator[Row]:
    """Filling the eight holes of one image's ROAD to an RMS error of 1e-3, compared with grad-cam's exact solution."""
    if case.name != "resnet18":
        return  # no network is involved
    maps = case.strip()
    masks = removal_masks(maps[0], PERCENTILES, "all", 0).flatten(0, 1).cpu()
    images, removed = case.x.expand(len(masks), -1, -1, -1), masks.to(case.x.device)
    peer, image, kept = NoisyLinearImputer(noise=0), case.x[0].cpu(), (~masks).float()

    def theirs() -> list[Tensor]:
        return [peer(image, mask) for mask in kept]

    errors = impute(images, removed).cpu() - torch.stack(theirs())
    rms = max(float(error[:, mask].square().mean().sqrt()) for error, mask in zip(errors, masks, strict=True))
    ours, slow = in_turn([partial(impute, images, removed), theirs], max(1, repeat // 4), warm_up=1)
    found = f"{slow / ours:.1f} x as fast ({ms(ours)} vs {ms(slow)}; RMS error at most {rms:.0e})"
    yield Row("imputing 8 masks, against grad-cam", "–", found, ">= 10 x", slow / ours >= 10)


def arcc_rows(case: Case, repeat: int) -> Iterator[Row]:
    """ARCC of RefineCAM compared with grad-cam's and with its network passes alone; then also of its four layers."""
    refined = camviz.Recipe(METHOD, case.layers)
    recipes = [refined, *(camviz.Recipe(METHOD, (layer,)) for layer in case.layers)]
    explains = [partial(_refined, case, recipe=recipe) for recipe in recipes]
    maps = torch.stack([explain(case.x, case.target) for explain in explains])
    peer = RefineCAM(case.trainable, [case.trainable.get_submodule(name) for name in case.layers])
    targets, their_map = [ClassifierOutputTarget(int(case.target))], maps[0].cpu().numpy()

    def score(count: int) -> list[camviz.Arcc]:
        return camviz.arccs(case.module, case.x, maps[:count], case.target, explains=explains[:count])

    def theirs() -> Any:
        probabilities = [ClassifierOutputSoftmaxTarget(int(case.target))]
        return ARCC(_LogitRefineCAM(peer, targets))(case.x, their_map, probabilities, case.trainable)

    def passes() -> None:
        with torch.no_grad():
            case.module(case.x)
            forward(case.module, case.x.repeat(2 * len(PERCENTILES), 1, 1, 1))
        camviz.capture(case.module, case.x, case.target, case.layers)

    sides: list[Run] = [partial(score, 1), theirs, passes, partial(score, len(maps))]
    one, slow, bare, several = in_turn(sides, max(1, repeat // 4), warm_up=1)
    difference = abs(float(score(1)[0].arcc) - float(theirs()[0]))
    found = f"{slow / one:.1f} x as fast ({ms(one)} vs {ms(slow)}; scores differ by {difference:.0e})"
    yield Row("ARCC of RefineCAM, against grad-cam", case.name, found, ">= 6 x", slow / one >= 6)
    found = f"{one / bare:.2f} x the time ({ms(bare)})"
    yield Row("ARCC of RefineCAM, against its network passes alone", case.name, found, "<= 2 x", one / bare <= 2)
    found = f"{several / one:.2f} x the time of one ({ms(several)})"
    yield Row("ARCC of four layers and RefineCAM", case.name, found, "<= 5 x", several / one <= 5)


class _LogitRefineCAM:
    """grad-cam's RefineCAM, which explains logits even if ROAD passes probability targets."""

    def __init__(self, method: RefineCAM, targets: list[ClassifierOutputTarget]) -> None:
        self._method, self._targets = method, targets

    def __call__(self, input_tensor: Tensor, targets: object) -> Any:  # noqa: ARG002
        return self._method(input_tensor, self._targets)


def scorecam_rows(case: Case, _: int) -> Iterator[Row]:
    """Score-CAM on ResNet-18's last stage, 512 channels; grad-cam's side runs once, between two runs of ours."""
    if case.name != "resnet18":
        return
    layer, targets = case.layers[-1], [ClassifierOutputTarget(int(case.target))]
    model = copy.deepcopy(case.module)
    peer = ScoreCAM(model, [model.get_submodule(layer)])

    def ours() -> Tensor:
        return camviz.cam(camviz.capture(case.module, case.x, case.target, [layer]), "scorecam")

    maps: list[Any] = []
    before, slow, after = in_turn([ours, lambda: maps.append(peer(case.x, targets)), ours], 1, warm_up=0)
    fast, difference = min(before, after), abs(ours()[0].cpu().numpy() - maps[0]).max()
    found = f"{slow / fast:.1f} x as fast ({ms(fast)} vs {ms(slow)}; maps differ by at most {difference:.0e})"
    yield Row("Score-CAM, 512 channels", case.name, found, ">= 1.3 x", slow / fast >= 1.3)


def layout_rows(case: Case, repeat: int) -> Iterator[Row]:
    """Four images in torch's usual order, channels last, and channels last in bfloat16, with its effect on ARCC."""
    x = case.x.repeat(4, 1, 1, 1)

    @torch.inference_mode()
    def run(layout: torch.memory_format, half: bool) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            return case.module(x.clone(memory_format=layout))

    usual, last = torch.contiguous_format, torch.channels_last
    base, ordered, halved = in_turn([partial(run, usual, False), partial(run, last, False), partial(run, last, True)],
                                    repeat)  # fmt: skip
    difference = float((run(usual, False) - run(last, False)).abs().max())
    found = f"{base / ordered:.2f} x as fast ({ms(ordered)} vs {ms(base)}; logits differ by {difference:.0e})"
    yield Row("4 images, channels last against contiguous", case.name, found)
    difference = abs(_score(case, True) - _score(case, False))
    found = f"{base / halved:.2f} x as fast ({ms(halved)} vs {ms(base)}; ARCC differs by {difference:.0e})"
    yield Row("4 images, channels last in bfloat16 against contiguous", case.name, found)


def _score(case: Case, half: bool) -> float:
    """ARCC of RefineCAM."""
    explain = partial(_refined, case, recipe=camviz.Recipe(METHOD, case.layers))
    with torch.autocast(case.x.device.type, torch.bfloat16, enabled=half):
        maps = explain(case.x, case.target)
        return float(camviz.arcc(case.module, case.x, maps, case.target, explain=explain).arcc)
