"""Maps averaged with those of the mirrored picture: by hand, for every method and rule, with few passes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_networks import Plain, noise_images, seeded
from torch import nn
from watching_network import HALFWAY, PICTURE, watching

import camviz
from camviz.maps import upsample
from camviz.methods import METHODS, cam_with_notes
from camviz.metrics.coherency_readings import coherency_as
from camviz.network.capture import capture, mirror_of
from camviz.noise.measure import perturbations
from camviz.recipe import Recipe
from camviz.results.finding import result_title
from camviz.workbench.host import PlainHost
from camviz.workbench.maps import is_ready, likeliest, merged
from camviz.workbench.noisy_copies import outcomes
from camviz.workbench.pictures import SeenPicture, pixels_as_picture

LAYERS = ("relu1", "relu2", "relu3")


@pytest.fixture(scope="module")
def module():
    return seeded(Plain, seed=3)


def stretched(maps):
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return ((maps - low) / (high - low)).nan_to_num(0)


def explained(module, x, **how):
    return camviz.explain(module, x, torch.tensor([1, 4]), Recipe(**{"method": "gradcam++", "layers": LAYERS, **how}))


def test_by_hand(module):
    """Each layer's Grad-CAM map averaged with its counterpart in float64, then their product."""
    x, target = noise_images(2), torch.tensor([1, 4])

    def layer_maps(x):
        maps = []
        for activations, gradients in zip(*(getattr(capture(module, x, target, LAYERS), n) for n in WHAT), strict=True):
            raw = (gradients.mean((2, 3), keepdim=True) * activations).sum(1).relu()
            maps.append(stretched(nn.functional.interpolate(raw[None], x.shape[-2:], mode="bilinear")[0]))
        return torch.stack(maps)

    averaged = stretched((layer_maps(x) + layer_maps(x.flip(-1)).flip(-1)) / 2)
    mine = explained(module, x, method="gradcam", mirror_averaged=True)
    assert torch.allclose(mine.double(), stretched(averaged.prod(0)), atol=1e-5)
    assert not torch.allclose(mine, explained(module, x, method="gradcam"), atol=0.05)


WHAT = ("activations", "gradients")


@pytest.mark.parametrize("rule", camviz.RULES)
@pytest.mark.parametrize("method", ["gradcam++", "scorecam", "eigencam"])
def test_the_mirrored_picture_has_the_mirrored_map(module, method, rule):
    """Whatever the rule reads besides the maps is mirrored too."""
    x = noise_images(2)
    there, back = (explained(module, x, method=method, rule=rule, mirror_averaged=True) for x in (x, x.flip(-1)))
    assert torch.allclose(there, back.flip(-1), atol=1e-5)
    plain, other = (explained(module, x, method=method, rule=rule) for x in (x, x.flip(-1)))
    assert not torch.allclose(plain, other.flip(-1), atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_every_method(module, method):
    """Averaged with the mirrored picture's; the uniform guess stays all ones, as it is by itself."""
    cap = capture(module, noise_images(2), torch.tensor([1, 4]), LAYERS)
    twice = camviz.cam(cap.with_mirror(), method)
    if METHODS[method].component:
        return  # see below
    both = camviz.cam(cap, method) + camviz.cam(mirror_of(cap), method).flip(-1)
    assert torch.allclose(twice, both / 2 if method == "uniform" else stretched(both / 2), atol=1e-5)


@pytest.mark.parametrize("method", ["eigencam", "eigengradcam"])
def test_two_components_agree_about_their_sign(method):
    """Each by itself may have the other's sign. By hand, for each layer and image."""
    module, x, opposed = seeded(Plain, seed=3), noise_images(6), 0
    cap = capture(module, x, torch.zeros(6, dtype=torch.long), LAYERS)
    found = camviz.cam(cap.with_mirror(), method)
    raws, mirrored = (METHODS[method].raw(each, 0, [None] * 3) for each in (cap, cap.with_mirror().mirror))
    for layer, (first, second) in enumerate(zip(raws, mirrored, strict=True)):
        for image in range(6):
            a, b = first[image].double().numpy(), second[image].double().numpy()[:, ::-1]
            against = np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0
            opposed += against
            b = -b if against else b
            both = a / np.abs(a).max() + b / np.abs(b).max()
            sign = -1 if both.max() < -both.min() else 1
            shown = [upsample(torch.tensor(np.maximum(sign * each, 0)).float(), x.shape[-2:]) for each in (a, b)]
            expected = stretched(stretched(shown[0]) + stretched(shown[1]))
            assert torch.allclose(found[layer, image], expected, atol=1e-4)
    assert opposed > 0


def test_parts_of_a_capture_keep_their_mirror(module):
    cap = capture(module, noise_images(3), torch.tensor([1, 4, 0]), LAYERS).with_mirror()
    all_maps = camviz.cam(cap)
    assert torch.allclose(camviz.cam(cap.select(["relu3", "relu1"])), all_maps[[2, 0]], atol=1e-6)
    assert torch.allclose(camviz.cam(cap.images(torch.tensor([2]))), all_maps[:, 2:], atol=1e-6)


class Half(nn.Module):
    """Sees only the left half, where nothing may be: then its map is blank, and the mirrored one is not."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x):
        left = torch.arange(x.shape[-1]) < x.shape[-1] // 2
        return self.fc(self.relu(self.conv(x) * left).mean((2, 3)))


def test_one_blank_half_is_no_blank_map():
    module, x = seeded(Half), noise_images(1)
    x[..., : x.shape[-1] // 2 + 2] = 0
    cap = capture(module, x, torch.tensor([0]), "relu")
    (plain, notes), (twice, fewer) = cam_with_notes(cap, "eigencam"), cam_with_notes(cap.with_mirror(), "eigencam")
    assert (plain.amax(), notes != [[""]]) == (0, True)
    assert (twice.amax(), fewer) == (1, [[""]])
    assert torch.allclose(twice, camviz.cam(mirror_of(cap), "eigencam").flip(-1))


def test_two_blank_halves_say_why(module):
    cap = capture(module, torch.zeros(1, 3, 12, 16, dtype=torch.float64) * torch.nan, torch.tensor([0]), LAYERS)
    with pytest.warns(camviz.BlankMapWarning, match="NaN"):
        assert camviz.cam(cap.with_mirror()).eq(0).all()


def test_progress_covers_both_looks(module):
    steps = []
    cap = capture(module, noise_images(1), torch.tensor([1]), LAYERS).with_mirror()
    camviz.cam(cap, "scorecam", progress=lambda done, total: steps.append((done, total)))
    totals = {total for _, total in steps}
    assert totals == {2 * sum(METHODS["scorecam"].runs(a) for a in cap.activations)}
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]


def test_recipes_of_one_picture_share_both_captures():
    """One more pass for the mirrored picture, however many recipes."""
    net, counts = watching(HALFWAY), []
    case = SimpleNamespace(image=PICTURE, mask=np.tri(*PICTURE.shape[:2]) > 0, label=None)
    for mirrored in (False, True):
        recipes = {
            f"{method} {rule}": Recipe(method, net.layers, rule, mirror_averaged=mirrored)
            for method in ("gradcam", "layercam")
            for rule in ("product", "mean")
        }
        net.module.seen.clear()
        camviz.evaluate(net, [case], recipes, ["complexity"])
        counts.append(len(net.module.seen))
    assert counts[1] == counts[0] + 1


def test_noise_is_measured_on_the_same_two_captures():
    """Also where the class changes: four runs for a batch instead of two, however many recipes."""
    net = watching(HALFWAY)
    points = perturbations(["gaussian"], [0.2, 0.5, 1.0], [0])
    found, counts = {}, []
    for mirrored in (False, True):
        seen = SeenPicture(PlainHost(batch=3), pixels_as_picture(PICTURE, ""), net, "squeeze")
        of = seen.explaining(likeliest(seen))
        recipes = {rule: Recipe("gradcam", net.layers, rule, mirror_averaged=mirrored) for rule in ("product", "mean")}
        merged(of, recipes["mean"])
        net.module.seen.clear()
        found[mirrored] = outcomes(of, recipes, points)
        counts.append(len(net.module.seen))
    flips = [outcome.flipped for outcome in found[True]["mean"]]
    assert set(flips) == {True, False}
    assert counts[1] == counts[0] + 2
    alone = PlainHost(batch=1)
    of = SeenPicture(alone, pixels_as_picture(PICTURE, ""), net, "squeeze").explaining(of.target)
    one_by_one = outcomes(of, {"mean": recipes["mean"]}, points)["mean"]
    overlaps = [(each.overlap, each.overlap_same) for each in one_by_one]
    assert np.allclose(overlaps, [(each.overlap, each.overlap_same) for each in found[True]["mean"]])


def test_the_workbench_keeps_both_kinds_apart():
    net = watching(HALFWAY)
    seen = SeenPicture(PlainHost(), pixels_as_picture(PICTURE, ""), net, "squeeze")
    of = seen.explaining(likeliest(seen))
    plain, twice = (Recipe("gradcam++", net.layers, mirror_averaged=mirrored) for mirrored in (False, True))
    before = merged(of, plain)
    assert (is_ready(of, plain), is_ready(of, twice)) == (True, False)
    x, target = net.preprocess(PICTURE, "squeeze"), torch.tensor([of.target])
    assert torch.allclose(merged(of, twice), camviz.explain(net.module, x, target, twice), atol=1e-6)
    assert not torch.allclose(before, merged(of, twice), atol=0.02)
    assert torch.equal(before, merged(of, plain))


def test_its_name():
    titles = [
        result_title(Recipe("gradcam", layers, rule, mirror_averaged=True))
        for layers, rule in ((LAYERS, "product"), (LAYERS, "mean"), (LAYERS[:1], "product"))
    ]
    assert titles == ["RefineCAM (mirror-averaged)", "Merged: mean (mirror-averaged)", "One layer (mirror-averaged)"]


def test_the_research_codes_coherency_refuses(module):
    with pytest.raises(ValueError, match="mirror_averaged"):
        coherency_as("research", module, noise_images(1), [0], Recipe("gradcam", LAYERS, mirror_averaged=True))
