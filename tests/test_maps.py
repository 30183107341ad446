"""What every map has in common: upsampling, and stretching where it is delicate."""

import math

import pytest
import torch
from torch.nn import functional as F

from camviz.maps import normalise, upsample


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2, 4, 3, 6], [0, 0.5, 0.25, 1]),
        ([-5, -1, -3, -4], [0, 1, 0.5, 0.25]),
        ([-1, 3, 0, 1], [0, 1, 0.25, 0.5]),
        ([7, 7, 7, 7], [0, 0, 0, 0]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([0.1 + 1e-9, 0.1, 0.1, 0.1], [0, 0, 0, 0]),
        ([-2, -2, -2, -2], [0, 0, 0, 0]),
        ([1, math.nan, 3, 4], [0, 0, 0, 0]),
        ([1, math.inf, 3, 4], [0, 0, 0, 0]),
        ([1, -math.inf, 3, 4], [0, 0, 0, 0]),
        ([3e38, -3e38, 0, 0], [0, 0, 0, 0]),  # their difference is no float32
    ],
)
def test_normalise(values, expected):
    maps = torch.tensor([values, [0, 1, 2, 4]], dtype=torch.float32).view(2, 2, 2)
    expected = torch.tensor([expected, [0, 0.25, 0.5, 1]], dtype=torch.float32).view(2, 2, 2)
    torch.testing.assert_close(normalise(maps), expected)


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e30])
def test_scale_does_not_matter(scale):
    maps = torch.tensor([[1.0, 0.5, 0.2, 0.0], [0.5, 1.0, 0.25, 0.0], [0.0, 0.5, 1.0, 0.8]]).view(3, 1, 2, 2)
    torch.testing.assert_close(normalise(maps * scale), normalise(maps))
    assert torch.equal(normalise(maps * scale).amax((2, 3)), torch.ones(3, 1))


def test_upsampling_by_hand():
    """Half-pixel centres: the two values lie at 0.5 and 2.5 of the four pixels that are wanted."""
    row = torch.tensor([[0.0, 1.0]])
    assert upsample(row, (1, 4)).tolist() == [[0, 0.25, 0.75, 1]]
    assert upsample(row.T, (4, 2)).tolist() == [[0, 0], [0.25, 0.25], [0.75, 0.75], [1, 1]]
    assert torch.equal(upsample(row, (1, 2)), row)


@pytest.mark.parametrize("grid", [(1, 1), (7, 7), (14, 9), (56, 56), (224, 3), (300, 260)])
def test_upsampling_as_pytorch_does_it(grid):
    maps = torch.randn(2, 3, *grid, generator=torch.Generator().manual_seed(1))
    expected = F.interpolate(maps.double(), size=(224, 192), mode="bilinear", align_corners=False)
    # In float32 a place near 300 is known to 3e-5 only, and PyTorch rounds otherwise with one thread than with more.
    torch.testing.assert_close(upsample(maps, (224, 192)), expected.float(), rtol=0, atol=3e-4)


def test_what_is_not_finite_spoils_its_own_map_only():
    maps = torch.ones(3, 7, 7)
    maps[0, 3, 3], maps[1, 3, 3] = torch.nan, torch.inf
    spoiled = ~torch.isfinite(upsample(maps, (28, 28))).flatten(1)
    assert spoiled.any(1).tolist() == [True, True, False]


def test_upsampling_in_inference_mode_leaves_nothing_that_gradients_cannot_use():
    with torch.inference_mode():
        upsample(torch.ones(1, 5, 11), (23, 29))
    maps = torch.ones(1, 5, 11, requires_grad=True)
    upsample(maps, (23, 29)).sum().backward()
    assert maps.grad is not None
    assert maps.grad.sum().item() == pytest.approx(23 * 29)
