"""The guided filter, derived a second time pixel by pixel in float64."""

import numpy as np
import pytest
import torch
from pictures import png

import camviz
from camviz import shapes
from camviz.html.layer_strip import strip_of
from camviz.merging.guided_filter import guided_filter
from camviz.metrics.mask_scores import against_mask
from camviz.recipe import Recipe
from camviz.results.finding import Settings
from camviz.workbench.findings import find

SHAPE = (9, 13)


def by_hand(map_, guide, radius, epsilon):
    """Equations 14 to 16 and 19 to 21 of the paper, window by window."""
    height, width = map_.shape
    windows = [
        [
            np.s_[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1]
            for column in range(width)
        ]
        for row in range(height)
    ]
    slopes, offsets = np.zeros((height, width, 3)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            window = windows[row][column]
            colours = guide[(slice(None), *window)].reshape(3, -1).astype(np.float64)
            values = map_[window].ravel().astype(np.float64)
            covariance = np.cov(colours, bias=True)
            together = (colours * values).mean(1) - colours.mean(1) * values.mean()
            slopes[row, column] = np.linalg.inv(covariance + epsilon * np.eye(3)) @ together
            offsets[row, column] = values.mean() - slopes[row, column] @ colours.mean(1)
    found = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            window = windows[row][column]
            slope = slopes[window].reshape(-1, 3).mean(0)
            found[row, column] = slope @ guide[:, row, column] + offsets[window].mean()
    return found


@pytest.mark.parametrize("radius", [1, 3, 20])
@pytest.mark.parametrize("epsilon", [1e-3, 0.1])
def test_window_by_window(radius, epsilon):
    generator = torch.Generator().manual_seed(0)
    maps, guides = torch.rand(2, *SHAPE, generator=generator), torch.rand(2, 3, *SHAPE, generator=generator)
    found = guided_filter(maps, guides, radius, epsilon)
    assert found.dtype == maps.dtype
    for image in range(2):
        expected = by_hand(maps[image].numpy(), guides[image].numpy(), radius, epsilon)
        np.testing.assert_allclose(found[image], expected, atol=1e-6)


def test_a_picture_of_one_colour_leaves_the_mean_of_means():
    maps = torch.rand(1, *SHAPE)
    found = guided_filter(maps, torch.full((1, 3, *SHAPE), 0.4), 2, 1e-3)
    np.testing.assert_allclose(found[0], by_hand(maps[0].numpy(), np.full((3, *SHAPE), 0.4), 2, 1e-3), atol=1e-6)


def test_constant_maps_stay():
    guides = torch.rand(1, 3, *SHAPE)
    for value in (0.0, 0.3, 1.0):
        found = guided_filter(torch.full((1, *SHAPE), value), guides, 3, 1e-3)
        np.testing.assert_allclose(found, value, atol=1e-6)


def test_a_map_that_is_a_linear_function_of_the_colours_stays():
    guides = torch.rand(1, 3, *SHAPE, dtype=torch.float64)
    maps = 0.2 + (torch.tensor([0.5, -0.3, 0.1]).view(1, 3, 1, 1) * guides).sum(1)
    np.testing.assert_allclose(guided_filter(maps, guides, 4, 1e-12), maps, atol=1e-8)


@pytest.fixture(scope="module")
def explained():
    net = camviz.load_model("shapes-textured", "cpu")
    sample = shapes.sample(6)
    x = net.preprocess(sample.image)
    return net, camviz.capture(net.module, x, None, net.layers), torch.from_numpy(sample.mask)[None]


def test_the_rule_is_the_product_filtered(explained):
    _, cap, _ = explained
    maps = camviz.cam(cap)
    x = cap.x[0].numpy()
    guide = (x - x.min()) / (x.max() - x.min())
    expected = guided_filter(camviz.refine(maps), torch.from_numpy(guide)[None], 32, 1e-3).clamp(min=0)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(camviz.refine(maps, "sharpened", cap), expected, atol=1e-5)


def test_the_place_comes_from_the_network(explained):
    """Sharpened, a map of the shape fits it better, and a blind guess does not find it."""
    net, cap, mask = explained

    def fits(recipe):
        return against_mask("best_iou", camviz.explain(net.module, cap.x, cap.target, recipe), mask).item()

    assert fits(Recipe("gradcam++", net.layers, "sharpened")) > fits(Recipe("gradcam++", net.layers)) + 0.1
    assert fits(Recipe("random", net.layers[-1:], "sharpened")) < 0.4


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_blank_and_uniform_maps(explained, value):
    _, cap, _ = explained
    maps = torch.full((4, 1, 224, 224), value)
    assert torch.equal(camviz.refine(maps, "sharpened", cap), maps[0])


def test_what_is_sharpened_says_where_its_outline_comes_from(explained):
    """On the page and in the report, beside the map."""
    net = explained[0]
    picture = png(shapes.sample(6).image)
    for rule, said in (("sharpened", True), ("product", False)):
        settings = Settings(net.info.name, Recipe("gradcam++", net.layers, rule))
        found = find(net, picture, "a", settings, scores=False)
        assert ("outline from the picture" in strip_of(found).result_caption) == said
