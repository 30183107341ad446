"""The Faithfulness Estimate on a grid, against NumPy and captum, and where it is undefined."""

import captum.metrics
import numpy as np
import pytest
import torch
from imputation_by_hand import imputed_by_hand
from small_networks import Plain, noise_images, seeded
from torch import nn

import camviz
from camviz.metrics import Evidence
from camviz.metrics.gaussian_infidelity import gaussian_infidelity
from camviz.metrics.patch_agreement import PASSES, occlusion_map, squares

HEIGHT, WIDTH = 23, 31


class Corner(nn.Module):
    """Class 1 is as likely as the upper left seventh of the first channel is bright."""

    def forward(self, x):
        height, width = (round(side / 7) for side in x.shape[-2:])
        bright = 8 * x[:, 0, :height, :width].mean((1, 2))
        return torch.stack([torch.zeros_like(bright), bright], 1)


class Constant(nn.Module):
    """It gives every picture the same probabilities, but for 1 % of what the picture says."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        seen = self.weight * x.mean((1, 2, 3))
        return torch.stack([seen, -seen], 1)


@pytest.fixture(scope="module")
def module():
    """Sure of what it sees, so that a square can make a difference."""
    network = seeded(Plain)
    network.head[-1].weight.data.mul_(300)
    return network


@pytest.fixture(scope="module")
def x():
    return noise_images(2, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def maps():
    maps = torch.rand(3, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    return maps * (maps > 0.3)


def boxes_by_hand(side, shift=0.0):
    """Half-open ranges of rows and of columns, row by row."""

    def lines(length):
        return [int(np.floor((i + shift) * length / 7 + 0.5)) for i in range(7 if shift else 8)]

    rows, columns = lines(HEIGHT), lines(WIDTH)
    return [
        (rows[i], rows[i + side], columns[j], columns[j + side])
        for i in range(len(rows) - side)
        for j in range(len(columns) - side)
    ]


def by_hand(module, image, map_, target, fill, shift=0.0):
    """Correlation, infidelity and fidelity, and the heat and the effects of all squares."""
    results, heats, effects = [], [], []
    clean = module(image[None]).softmax(1)[0, target].item()
    for side in (1, 2):
        a, d = [], []
        for top, bottom, left, right in boxes_by_hand(side, shift):
            removed = np.zeros((HEIGHT, WIDTH), dtype=bool)
            removed[top:bottom, left:right] = True
            without = torch.from_numpy(fill(image.numpy(), removed))
            d.append(clean - module(without[None]).softmax(1)[0, target].item())
            a.append(map_.double().numpy()[removed].sum() / map_.double().sum().item())
        a, d = np.array(a), np.array(d)
        scale = (a @ d) / (a @ a)
        cosine = (a @ d) / np.sqrt((a @ a) * (d @ d))
        results.append((np.corrcoef(a, d)[0, 1], ((d - scale * a) ** 2).mean(), np.sign(cosine) * cosine**2))
        heats.append(a)
        effects.append(d)
    return np.mean(results, 0), heats, effects


def with_mean(image, removed):
    return np.where(removed, image.mean((1, 2), keepdims=True), image)


def _infidelity_by_captum(module, x, heat, target, boxes):
    """Infidelity of heat (B, 3, H, W), with one draw for each box that is filled with the picture's mean colour."""
    waiting = iter(boxes)

    def perturb(inputs):
        top, bottom, left, right = next(waiting)
        inside = torch.zeros_like(inputs)
        inside[:, 0, top:bottom, left:right] = 1
        removed = inside[:, :1].bool().expand_as(inputs)
        return inside, torch.where(removed, inputs.mean((2, 3), keepdim=True), inputs)

    return captum.metrics.infidelity(
        lambda inputs: module(inputs).softmax(1).gather(1, target[:, None])[:, 0],
        perturb,
        x,
        heat,
        n_perturb_samples=len(boxes),
        max_examples_per_batch=len(x),
        normalize=True,
    )


@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize("fill", ["impute", "mean"])
def test_square_by_square(fill, shift, module, x, maps):
    found = camviz.patch_agreement(module, x, maps, fill=fill, shifted=bool(shift))
    target = module(x).argmax(1).tolist()
    with torch.no_grad():
        for image in range(2):
            function = {"impute": imputed_by_hand, "mean": with_mean}[fill]
            for number in range(3):
                expected, _, effects = by_hand(module, x[image], maps[number, image], target[image], function, shift)
                values = [getattr(found, name)[number, image] for name in ("correlation", "infidelity", "fidelity")]
                assert [value.item() for value in values] == pytest.approx(
                    expected, abs=3e-3 if fill == "impute" else 1e-9
                )
            drops = np.concatenate([part[image].numpy() for part in found.effects.drops])
            assert np.abs(drops - np.concatenate(effects)).max() < (2e-3 if fill == "impute" else 1e-9)
    assert found.notes == [["", ""]] * 3


def test_the_squares_cover_the_picture_in_85_passes(module, x, maps):
    assert PASSES == 49 + 36 == sum(len(squares(HEIGHT, WIDTH, side)) for side in (1, 2))
    assert squares(224, 224, 1)[:2].tolist() == [[0, 32, 0, 32], [0, 32, 32, 64]]
    assert squares(224, 224, 2)[-1].tolist() == [160, 224, 160, 224]
    assert squares(224, 224, 1, shifted=True)[0].tolist() == [16, 48, 16, 48]
    assert [len(squares(HEIGHT, WIDTH, side, shifted=True)) for side in (1, 2)] == [36, 25]
    for side in (1, 2):
        assert [tuple(box) for box in squares(HEIGHT, WIDTH, side).tolist()] == boxes_by_hand(side)
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    camviz.patch_agreement(module, x, maps)
    handle.remove()
    assert sum(seen) == 2 * (1 + PASSES)  # whatever the number of maps


def test_infidelity_at_the_best_scale_as_captum_has_it(module, x, maps):
    """For each side length, captum draws every square once; the map counts in one of three channels."""
    target = module(x).argmax(1)
    heat = torch.zeros_like(x)
    heat[:, 0] = maps[0] / maps[0].sum((1, 2), keepdim=True)
    expected = [_infidelity_by_captum(module, x, heat, target, boxes_by_hand(side)) for side in (1, 2)]
    found = camviz.patch_agreement(module, x, maps[:1], target, fill="mean").infidelity[0]
    assert torch.allclose(found, torch.stack(expected).mean(0), rtol=1e-6)


def test_infidelity_under_noise_as_captum_has_it(module, x, maps):
    target = module(x).argmax(1)
    generator = torch.Generator().manual_seed(4)
    noise = iter([0.003 * torch.randn(x.shape[1:], generator=generator) for _ in range(10)])

    def perturb(inputs):
        one = next(noise).expand_as(inputs).to(inputs)
        return one, inputs - one

    expected = captum.metrics.infidelity(
        lambda inputs: module(inputs).softmax(1).gather(1, target[:, None])[:, 0],
        perturb,
        x,
        maps[0][:, None].expand_as(x).to(x),
        n_perturb_samples=10,
        max_examples_per_batch=len(x),
        normalize=True,
    )
    found = gaussian_infidelity(module, x, torch.cat([maps[:1], 0 * maps[:1]]), target, seed=4)
    assert torch.allclose(found[0], expected, rtol=1e-6)
    assert found[1].isnan().all()


def test_the_scale_of_a_map_does_not_matter(module, x, maps):
    whole, half = (camviz.patch_agreement(module, x, factor * maps) for factor in (1, 0.5))
    for name in ("correlation", "infidelity", "fidelity"):
        assert torch.allclose(getattr(whole, name), getattr(half, name), atol=1e-6)


def test_a_map_in_the_right_corner_agrees_and_its_opposite_disagrees():
    x = torch.zeros(1, 3, 28, 28) + torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(0)) / 10
    x[:, 0, :4, :4] += 1
    right = torch.zeros(1, 1, 28, 28)
    right[..., :4, :4] = 1
    found = camviz.patch_agreement(Corner().eval(), x, torch.cat([right, 1 - right]), 1)
    assert found.correlation[0, 0] > 0.99
    assert found.correlation[1, 0] < -0.99
    assert found.fidelity[0, 0] > 0.99
    assert found.infidelity[0, 0] < 1e-3 < found.infidelity[1, 0]
    # The map made of the effects themselves is right, too: it has seen the answers.
    cheating = occlusion_map(found.effects, x.shape[-2:])
    assert cheating.shape == (1, 28, 28)
    assert cheating[0, 0, 0] == 1 == cheating.max()
    again = camviz.patch_agreement(Corner().eval(), x, cheating[None], 1)
    assert again.correlation[0, 0] > 0.8


@pytest.mark.parametrize(
    ("map_", "reason"),
    [
        (torch.zeros(HEIGHT, WIDTH), "the map is blank"),
        (torch.full((HEIGHT, WIDTH), 0.7), "the map is equally hot in every square"),
        (torch.full((HEIGHT, WIDTH), torch.nan), "the map is blank"),
    ],
)
def test_a_map_without_a_place_is_undefined(map_, reason, module, x, maps):
    given = torch.stack([maps[0], map_.expand(2, -1, -1)])
    found = camviz.patch_agreement(module, x, given)
    assert found.notes == [["", ""], [reason, reason]]
    for values in (found.correlation, found.infidelity, found.fidelity):
        assert values[0].isfinite().all()
        assert values[1].isnan().all()


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Constant(0.0), "removing any square changes the probability by less than 5% (at most 0.0%)"),
        (Constant(0.05), "removing any square changes the probability by less than 5%"),
        (Constant(torch.nan), "the network returned NaN or infinite values"),
    ],
)
def test_a_network_that_no_square_matters_to_leaves_it_undefined(network, reason, x, maps):
    found = camviz.patch_agreement(network.eval(), x, maps, 0)
    assert found.correlation.isnan().all()
    assert all(note.startswith(reason) for row in found.notes for note in row)


def test_what_cannot_be_judged_is_refused(module, x, maps):
    with pytest.raises(ValueError, match="squares need at least 14 pixels a side, got 13 x 20"):
        camviz.patch_agreement(module, x[..., :13, :20], maps[..., :13, :20])
    with pytest.raises(ValueError, match="fill must be 'impute', 'blur' or 'mean', got 'black'"):
        camviz.patch_agreement(module, x, maps, fill="black")
    with pytest.raises(ValueError, match="training mode"):
        camviz.patch_agreement(seeded(Plain).train(), x, maps)


def test_the_scores_are_these_values(module, x, maps):
    given, found = Evidence(module, x, maps), camviz.patch_agreement(module, x, maps)
    assert torch.equal(given.values("faithfulness"), found.correlation)
    assert torch.equal(given.values("infidelity"), found.infidelity)
    assert torch.equal(given.values("fidelity"), found.fidelity)


def test_progress_counts_and_can_stop(module, x, maps):
    seen = []
    camviz.patch_agreement(module, x, maps, progress=lambda *now: seen.append(now))
    assert seen == sorted(seen)
    assert seen[-1] == (2 * PASSES, 2 * PASSES)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        camviz.patch_agreement(module, x, maps, progress=stop)
