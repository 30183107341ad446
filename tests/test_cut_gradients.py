"""Networks that cut the gradient: told where, and not confused with layers that the class does not depend on."""

import pytest
import torch
from small_networks import noise_images, seeded
from torch import nn
from torch.utils.checkpoint import checkpoint

import camviz
from camviz.methods import cam_with_notes


class Cut(nn.Module):
    """Two convolutional blocks, something between them, and a head."""

    def __init__(self, between):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.between = between
        self.block2 = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.block2(self.between(self.block1(x))).mean((2, 3)))


class Detached(nn.Module):
    """Hands on what it is given, without its graph."""

    def forward(self, x):
        return x.detach()


class WithoutGrad(nn.Module):
    """Frozen features, as many networks run them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 1)

    @torch.no_grad()
    def forward(self, x):
        return self.conv(x)


class Whole(nn.Module):
    """Rounded to whole numbers, as in a quantised layer."""

    def forward(self, x):
        return (10 * x).int().to(x.dtype)


def notes(module, layers, method="gradcam"):
    maps, told = cam_with_notes(camviz.capture(module, noise_images(2), layers=layers), method)
    assert not maps[0].any()
    return told[0]


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (Detached, "in 'between' (it detaches what it is given, or changes it without a derivative)"),
        (Whole, "in 'between' (it detaches what it is given, or changes it without a derivative)"),
        (WithoutGrad, "in 'between.conv' (it runs under torch.no_grad)"),
    ],
)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_module_that_cuts(between, words, frozen):
    module = seeded(lambda: Cut(between())).requires_grad_(not frozen)
    expected = f"the network cuts the gradient between this layer and the class score, {words}"
    assert notes(module, ["block1"]) == [expected] * 2
    cap = camviz.capture(module, noise_images(2), layers=["block1", "block2"])
    assert cap.cuts == (words, "")
    assert cap.gradients[1].any()


def test_methods_without_gradient_do_not_mind():
    module = seeded(lambda: Cut(Detached()))
    cap = camviz.capture(module, noise_images(2), layers=["block1"])
    whole = camviz.capture(seeded(lambda: Cut(nn.Identity())), noise_images(2), layers=["block1"])
    for method in ("eigencam", "scorecam", "ablationcam"):
        assert torch.equal(camviz.cam(cap, method), camviz.cam(whole, method))


def test_between_two_modules():
    module = seeded(lambda: Cut(nn.Identity()))
    inside = module.block2.forward
    module.block2.forward = lambda x: inside(x.detach())
    (first, _) = notes(module, ["block1"])
    assert first.endswith("in 'block2' (it detaches what it is given, or changes it without a derivative)")

    class Itself(Cut):
        def forward(self, x):
            return self.head(self.block2(self.block1(x).detach()).mean((2, 3)))

    (first, _) = notes(seeded(lambda: Itself(None)), ["block1"])
    assert first.endswith("after 'block1' (it is detached there, or changed without a derivative)")


class Checkpointed(Cut):
    """The second block is computed again for the backward pass."""

    reentrant = True

    def forward(self, x):
        x = checkpoint(self.block2, self.block1(x), use_reentrant=self.reentrant)
        return self.head(x.mean((2, 3)))


class NotReentrant(Checkpointed):
    """The same in the way that PyTorch recommends."""

    reentrant = False


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing():
    module = seeded(lambda: Checkpointed(None))
    with pytest.raises(ValueError, match=r"reentrant checkpointing.*use_reentrant=False"):
        camviz.capture(module, noise_images(2), layers=["block1"])
    inside = notes(module, ["block2"])
    assert inside[0].endswith("at 'block2' (reentrant checkpointing: build the network with use_reentrant=False)")


def test_other_checkpointing_gives_the_right_map():
    plain = seeded(lambda: Cut(nn.Identity()))
    other = seeded(lambda: NotReentrant(None))
    for layer in ("block1", "block2"):
        maps = [camviz.cam(camviz.capture(module, noise_images(2), layers=[layer])) for module in (plain, other)]
        assert torch.equal(*maps)
        assert maps[0].any()


@pytest.mark.filterwarnings("ignore:torch.ao.quantization", "ignore:torch.quantize_per", "ignore:quantized")
def test_a_head_with_quantised_weights():
    """Methods that need no gradient go on with it, and differ little from those of the whole network."""
    whole = seeded(lambda: Cut(nn.Identity())).float()
    module = torch.ao.quantization.quantize_dynamic(whole, {nn.Linear}, torch.qint8).eval()
    cap, exact = (camviz.capture(net, noise_images(2).float(), 1, ["block1", "block2"]) for net in (module, whole))
    words = "in 'head' (it detaches what it is given, or changes it without a derivative)"
    assert cap.cuts == (words, words)
    maps, told = cam_with_notes(cap, "gradcam++")
    assert not maps.any()
    assert told == [[f"the network cuts the gradient between this layer and the class score, {words}"] * 2] * 2
    for method in ("scorecam", "ablationcam"):
        torch.testing.assert_close(camviz.cam(cap, method), camviz.cam(exact, method), rtol=0, atol=0.1)


class Aside(Cut):
    """A branch whose result is thrown away."""

    def forward(self, x):
        self.between(x)
        return self.head(self.block2(self.block1(x)).mean((2, 3)))


def test_a_layer_that_the_class_does_not_depend_on():
    module = seeded(lambda: Aside(nn.Conv2d(3, 6, 1)))
    assert notes(module, ["between"]) == ["the class score does not depend on this layer: every gradient is 0"] * 2
    assert camviz.capture(module, noise_images(2), layers=["between"]).cuts == ("",)


class Broken(Cut):
    """NaN or infinite for images that are brighter than most."""

    def __init__(self, value):
        super().__init__(nn.Identity())
        self.value = value

    def forward(self, x):
        logits = super().forward(x)
        return torch.where(x.mean((1, 2, 3), keepdim=False)[:, None] > 1, self.value, logits)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("method", ["ablationcam", "ablationcam-fast", "scorecam"])
def test_logits_that_are_not_finite_leave_the_other_images_alone(method, value):
    module, x = seeded(lambda: Broken(value)), noise_images(3)
    x[1] += 3
    progress = []
    cap = camviz.capture(module, x, 2, ["block1", "block2"])
    maps, told = cam_with_notes(cap, method, progress=lambda done, total: progress.append((done, total)))
    healthy = camviz.cam(camviz.capture(module, x[[0, 2]], 2, ["block1", "block2"]), method)
    torch.testing.assert_close(maps[:, [0, 2]], healthy, rtol=0, atol=1e-6)
    if method != "scorecam":  # which asks for the masked image only, where the network is sound
        assert not maps[:, 1].any()
        assert [[bool(note) for note in layer] for layer in told] == [[False, True, False]] * 2
        assert told[0][1] == "the activations, their gradients or the class score have NaN or infinite values"
    assert progress[-1][0] == progress[-1][1]


def test_a_class_that_is_ruled_out_by_an_infinite_logit():
    """The others are explained as without it, also where only the rest of the network runs again."""

    class RuledOut(Cut):
        def forward(self, x):
            logits = super().forward(x)
            return torch.cat([logits, torch.full_like(logits[:, :1], -torch.inf)], 1)

    with_, without = seeded(lambda: RuledOut(nn.Identity())), seeded(lambda: Cut(nn.Identity()))
    caps = [camviz.capture(module, noise_images(2), 2, ["block1"]) for module in (with_, without)]
    assert torch.equal(*(camviz.cam(cap, "ablationcam") for cap in caps))
