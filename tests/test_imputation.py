"""Imputation against its definition: dense by hand on small pictures, by sparse elimination on large ones."""

import numpy as np
import pytest
import torch
from imputation_by_hand import imputed_by_hand
from scipy import sparse
from scipy.sparse.linalg import splu
from small_networks import noise_images

import camviz
from camviz.metrics import imputation
from camviz.metrics.imputation import TOLERANCE, impute
from camviz.metrics.road import PERCENTILES, removal_masks

NEIGHBOURS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


def imputed_exactly(image, removed):
    """The same by sparse elimination in float64: image (C, H, W), removed (H, W), neither empty nor full."""
    height, width = removed.shape
    number = np.full((height + 2, width + 2), -1)  # -1 where a pixel is known, -2 outside
    number[[0, -1]] = number[:, [0, -1]] = -2
    number[1:-1, 1:-1][removed] = np.arange(removed.sum())
    values = np.pad(np.where(removed, 0, image).astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    i, j = np.nonzero(removed)
    diagonal, right, entries = np.zeros(len(i)), np.zeros((len(i), len(image))), []
    for di, dj in NEIGHBOURS:
        weight = 1 / 6 if di == 0 or dj == 0 else 1 / 12
        neighbour = number[i + 1 + di, j + 1 + dj]
        diagonal += weight * (neighbour != -2)
        right += weight * values[:, i + 1 + di, j + 1 + dj].T
        entries.append((np.flatnonzero(neighbour >= 0), neighbour[neighbour >= 0], -weight))
    rows = np.concatenate([rows for rows, _, _ in entries] + [np.arange(len(i))])
    columns = np.concatenate([columns for _, columns, _ in entries] + [np.arange(len(i))])
    data = np.concatenate([np.full(len(rows), weight) for rows, _, weight in entries] + [diagonal])
    matrix = sparse.csc_array((data, (rows, columns)), shape=(len(i), len(i)))
    solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    filled = image.astype(np.float64)
    filled[:, removed] = solver.solve(right).T
    return filled


def exact(images, removed):
    """Each of several images by elimination."""
    return [imputed_exactly(*each) for each in zip(images.numpy(), removed.numpy(), strict=True)]


def errors(images, removed, tolerance=TOLERANCE, expected=None):
    """Root mean squares over the removed pixels (N,), of what `impute` gives against elimination."""
    found = impute(images, removed, tolerance).double().numpy()
    assert np.array_equal(found.transpose(0, 2, 3, 1)[~removed.numpy()], images.double().permute(0, 2, 3, 1)[~removed])
    return [
        np.sqrt(np.mean((filled - right)[:, mask] ** 2))
        for filled, right, mask in zip(found, expected or exact(images, removed), removed.numpy(), strict=True)
    ]


def masks(height, width):
    """Ugly masks of removed pixels, by name."""
    i, j = np.mgrid[:height, :width]
    border = (i == 0) | (j == 0) | (i == height - 1) | (j == width - 1)
    return {
        "all but one": ~((i == height // 2) & (j == width - 1)),
        "one corner": (i == 0) & (j == 0),
        "checkerboard": (i + j) % 2 == 0,
        "border": border,
        "all but the border": ~border if (~border).any() else i == 0,
        "islands": (i % 3 > 0) & (j % 4 > 0),
        "left half": j < (width + 1) // 2 if width > 1 else i < height // 2,
        "random": np.random.default_rng(1).random((height, width)) < 0.8,
    }


CASES = [
    (size, name)
    for size in [(7, 9), (12, 5), (1, 8), (9, 1), (2, 2)]
    for name, mask in masks(*size).items()
    if mask.any() and not mask.all()
]


@pytest.mark.parametrize(("size", "name"), CASES)
def test_small_pictures_by_hand(size, name):
    """In float64, where the tolerance may be as small as one likes."""
    image, removed = np.random.default_rng(0).normal(size=(3, *size)), masks(*size)[name]
    filled = impute(torch.from_numpy(image)[None], torch.from_numpy(removed)[None], tolerance=1e-11)[0].numpy()
    assert np.abs(filled - imputed_by_hand(image, removed)).max() < 1e-10
    assert np.array_equal(filled[:, ~removed], image[:, ~removed])


@pytest.mark.parametrize(("size", "name"), CASES)
def test_elimination_by_hand(size, name):
    image, removed = np.random.default_rng(0).normal(size=(3, *size)), masks(*size)[name]
    assert np.abs(imputed_exactly(image, removed) - imputed_by_hand(image, removed)).max() < 1e-10


@pytest.mark.parametrize("size", [(128, 128), (97, 150), (3, 500), (1, 1024), (1024, 1), (40, 1024)], ids=str)
def test_ugly_masks_within_the_tolerance(size):
    """On noise, the roughest of pictures, and on a slope, whose error is as smooth as can be."""
    noise = noise_images(2, *size, dtype=torch.float32)
    slope = (torch.linspace(-2, 2, size[0])[:, None] + torch.linspace(-1, 1, size[1])).expand(1, 3, *size)
    for name, mask in masks(*size).items():
        removed = torch.from_numpy(mask).expand(3, *size)
        if mask.any() and not mask.all():
            assert max(errors(torch.cat([noise, slope]), removed)) < TOLERANCE, name


@pytest.mark.parametrize("radius", [20, 60, 100, 111])
def test_large_holes_within_the_tolerance(inputs, radius):
    """Of a photograph: a disc, all but a disc, and discs in a row."""
    i, j = np.mgrid[:224, :224] - 111.5
    disc, discs = i**2 + j**2 < radius**2, (i % 40 - 20) ** 2 + (j % 40 - 20) ** 2 < (radius / 6) ** 2
    removed = torch.from_numpy(np.stack([disc, ~disc, discs, ~discs]))
    images = inputs("coffee").expand(4, -1, -1, -1)
    expected = exact(images, removed)
    for tolerance in (1e-2, 1e-3, 1e-4):
        assert max(errors(images, removed, tolerance, expected)) < tolerance


def test_masks_of_maps_within_the_tolerance(lite0, inputs):
    """Those that ROAD asks for, of every layer and of RefineCAM."""
    x = inputs("chelsea")
    maps = camviz.cam(camviz.capture(lite0.module, x, None, lite0.layers), "gradcam++")[:, 0]
    for each in [maps[0], camviz.refine(maps[:, None])[0]]:
        removed = removal_masks(each, PERCENTILES, "all", 0).flatten(0, 1)
        partly = removed[~removed.flatten(1).all(1)]
        assert max(errors(x.expand(len(partly), -1, -1, -1), partly)) < TOLERANCE


def test_float64_and_a_tiny_tolerance():
    images = noise_images(2, 90, 131)
    removed = torch.rand(2, 90, 131, generator=torch.Generator().manual_seed(0)) < torch.tensor([0.5, 0.95]).view(
        2, 1, 1
    )
    assert max(errors(images, removed, 1e-12)) < 1e-12
    assert impute(images, removed).dtype == torch.float64


def test_half_precision_is_computed_in_float32():
    images = noise_images(1, 40, 40, dtype=torch.float32).half()
    removed = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0)) < 0.8
    filled = impute(images, removed)
    assert filled.dtype == torch.float16
    assert torch.equal(filled, impute(images.float(), removed).half())


def test_nothing_and_everything_removed():
    images = noise_images(3, 6, 5, dtype=torch.float32)
    removed = torch.zeros(3, 6, 5, dtype=torch.bool)
    removed[1] = True
    removed[2, 0, 0] = True
    filled = impute(images, removed)
    assert torch.equal(filled[0], images[0])
    assert torch.equal(filled[1], torch.zeros(3, 6, 5))
    one = torch.ones(1, 3, 1, 1)
    assert torch.equal(impute(one, torch.zeros(1, 1, 1, dtype=torch.bool)), one)
    assert torch.equal(impute(one, torch.ones(1, 1, 1, dtype=torch.bool)), torch.zeros(1, 3, 1, 1))


def test_what_is_removed_does_not_matter():
    """Not even NaN."""
    images = noise_images(1, 30, 30, dtype=torch.float32)
    removed = torch.rand(1, 30, 30, generator=torch.Generator().manual_seed(0)) < 0.5
    spoilt = torch.where(removed[:, None], torch.nan, images)
    assert torch.equal(impute(spoilt, removed), impute(images, removed))


def test_a_picture_alone_and_among_many(monkeypatch):
    """In chunks of any size, hard masks beside easy ones: all within the tolerance, so that no score depends on it."""
    images = noise_images(6, 61, 48, dtype=torch.float32)
    shares = torch.tensor([0, 0.2, 0.5, 0.8, 0.99, 1]).view(6, 1, 1)
    removed = torch.rand(6, 61, 48, generator=torch.Generator().manual_seed(0)) < shares
    together = impute(images, removed)
    alone = [impute(image[None], mask[None])[0] for image, mask in zip(images, removed, strict=True)]
    assert (together - torch.stack(alone)).abs().max() < 5 * TOLERANCE
    for planes in (1, 4, 7, 100):
        monkeypatch.setitem(imputation._PLANES, "cpu", planes)
        assert (impute(images, removed) - together).abs().max() < 5 * TOLERANCE


@pytest.mark.parametrize(
    ("images", "removed", "tolerance", "message"),
    [
        (torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.bool), 1e-3, "images must be"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 5, dtype=torch.bool), 1e-3, r"got \(1, 3, 4, 4\) and \(1, 4, 5\)"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4), 1e-3, "float32"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool), 0, "must be positive"),
    ],
)
def test_bad_arguments(images, removed, tolerance, message):
    with pytest.raises(ValueError, match=message):
        impute(images, removed, tolerance)
