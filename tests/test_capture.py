"""What a capture holds, checked against autograd by hand, and what it must survive and leave behind."""

import collections
import contextlib
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from small_networks import Functional, Normalising, Plain, Pooled, Residual, Shared, noise_images, seeded
from torch import nn

import camviz
from camviz.methods import cam_with_notes
from camviz.network.capture import capture, captures, layer_hooks

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def by_hand(head, activation, target):
    """The gradient of the target's logit for an activation, from the rest of the network as a function."""
    activation = activation.detach().clone().requires_grad_()
    logits = head(activation)
    return torch.autograd.grad(logits.gather(1, target[:, None]).sum(), activation)[0]


def same(first, second):
    for name in ("logits", "target", "activations", "gradients"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), **EXACT)


def test_against_autograd_by_hand():
    module, x, target = seeded(lambda: Plain(inplace=False)), noise_images(2), torch.tensor([4, 1])
    cap = camviz.capture(module, x, target, ["relu2", "conv3"])
    middle = module.relu2(module.conv2(module.relu1(module.conv1(x))))
    late = module.conv3(middle)
    torch.testing.assert_close(cap.activations, (middle, late), **EXACT)
    early_gradient = by_hand(lambda a: module.head(module.conv3(a).relu()), middle, target)
    late_gradient = by_hand(lambda a: module.head(a.relu()), late, target)
    torch.testing.assert_close(cap.gradients, (early_gradient, late_gradient), **EXACT)
    torch.testing.assert_close(cap.logits, module(x), **EXACT)
    assert cap.layers == ("relu2", "conv3")
    assert bool(early_gradient.any())
    assert not any(t.requires_grad for t in (cap.logits, cap.x, *cap.activations, *cap.gradients))


def test_against_finite_differences():
    module, x = seeded(lambda: Plain(inplace=False)), noise_images(1)
    cap = camviz.capture(module, x, 2, ["conv2"])
    step, flat = 1e-6, cap.activations[0].flatten()
    for place in range(0, len(flat), 37):
        nudged = [flat.clone(), flat.clone()]
        nudged[0][place] += step
        nudged[1][place] -= step
        up, down = (module.head(module.conv3(a.view_as(cap.activations[0]).relu()).relu())[0, 2] for a in nudged)
        assert abs((up - down).item() / (2 * step) - cap.gradients[0].flatten()[place].item()) < 1e-7


def test_predicted_class_is_the_default():
    module, x = seeded(Plain), noise_images(4)
    cap = camviz.capture(module, x, layers=["conv2"])
    assert torch.equal(cap.target, module(x.clone()).argmax(1))
    same(cap, camviz.capture(module, x, cap.target.tolist(), ["conv2"]))


def test_a_batch_equals_its_images():
    module, x, targets = seeded(Plain), noise_images(3), [3, 0, 4]
    cap = camviz.capture(module, x, targets, ["relu1", "conv3"])
    for image in range(3):
        one = camviz.capture(module, x[image : image + 1], targets[image], ["relu1", "conv3"])
        for index in range(2):
            torch.testing.assert_close(one.activations[index][0], cap.activations[index][image], **EXACT)
            torch.testing.assert_close(one.gradients[index][0], cap.gradients[index][image], **EXACT)


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        (Plain, ["conv1", "relu1", "conv2", "relu2", "conv3", "relu3"]),
        (Functional, ["conv", "norm"]),
        (Shared, ["conv1", "conv3", "relu"]),
    ],
)
@pytest.mark.parametrize("frozen", [False, True])
def test_in_place_activations(network, layers, frozen):
    """An in-place ReLU after (or as) a captured layer changes neither activation nor gradient."""
    inplace, twin = (seeded(lambda way=way: network(inplace=way)) for way in (True, False))
    for module in (inplace, twin):
        module.requires_grad_(not frozen)
    x = noise_images(2)
    before = x.clone()
    same(camviz.capture(inplace, x, [1, 2], layers), camviz.capture(twin, x, [1, 2], layers))
    assert torch.equal(x, before)


def test_in_place_addition():
    module, x, target = seeded(Residual), noise_images(2), torch.tensor([1, 2])
    cap = camviz.capture(module, x, target, ["conv2"])
    first = module.relu(module.stem(x))
    second = (module.conv1(first.clone()) + first).relu()
    gradient = by_hand(lambda a: module.fc((a + second.detach()).relu().mean((2, 3))), module.conv2(second), target)
    torch.testing.assert_close(cap.activations[0], module.conv2(second), **EXACT)
    torch.testing.assert_close(cap.gradients[0], gradient, **EXACT)


@pytest.mark.parametrize("name", ["scorecam", "gradcam"])
def test_an_input_changed_in_place(name):
    """The capture keeps the input that it was given, for the methods that run the network again."""
    module, x = seeded(Normalising), noise_images(2)
    before = x.clone()
    cap = camviz.capture(module, x, [0, 1], ["relu2"])
    assert torch.equal(x, before)
    assert torch.equal(cap.x, before)
    cam_with_notes(cap, name)
    assert torch.equal(cap.x, before)


def test_frozen_parameters():
    module, x = seeded(Plain), noise_images(2)
    free = camviz.capture(module, x, [1, 2], ["conv2", "relu3"])
    for some in (module.conv1, module.conv2, module):  # partly frozen, then wholly
        some.requires_grad_(False)
        same(camviz.capture(module, x, [1, 2], ["conv2", "relu3"]), free)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad_and_inference_mode(mode, frozen):
    module = seeded(Plain).requires_grad_(not frozen)
    plain = camviz.capture(module, noise_images(2), torch.tensor([1, 2]), ["conv1", "relu2"])
    with mode():
        inside = camviz.capture(module, noise_images(2), [1, 2], ["conv1", "relu2"])
        fused = camviz.refine(cam_with_notes(inside, "gradcam++")[0])
    same(inside, plain)
    assert torch.equal(fused, camviz.refine(cam_with_notes(plain, "gradcam++")[0]))
    assert bool(fused.any())


def test_target_made_in_inference_mode():
    module = seeded(Plain)
    with torch.inference_mode():
        x, target = noise_images(2), torch.tensor([1, 2])
        inside = camviz.capture(module, x, target, ["relu2"])
    outside = camviz.capture(module, x, target, ["relu2"])
    for cap in (inside, outside):
        same(cap, camviz.capture(module, noise_images(2), [1, 2], ["relu2"]))


def state(module):
    """Everything that a capture must leave as it was."""
    return {
        "hooks": [(len(p._forward_hooks), len(p._forward_pre_hooks), len(p._backward_hooks)) for p in module.modules()],
        "kwargs": [len(p._forward_pre_hooks_with_kwargs) for p in module.modules()],
        "training": [p.training for p in module.modules()],
        "flags": [p.requires_grad for p in module.parameters()],
        "grad": [p.grad for p in module.parameters()],
        "values": {name: tensor.clone() for name, tensor in module.state_dict().items()},
    }


def unchanged(before, after):
    values, kept = before.pop("values"), after.pop("values")
    assert before == after
    assert all(torch.equal(values[name], kept[name]) for name in values)


class Failing(Functional):
    """Fails on its last layer."""

    def forward(self, x):
        super().forward(x)
        raise OSError("lost")


class Vector(Functional):
    """Its `fc` gives no feature map, its `spare` is never called."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Conv2d(3, 3, 1)


@pytest.mark.parametrize(
    ("network", "layers", "error"),
    [
        (Functional, ["conv", "norm"], None),
        (Failing, ["conv"], OSError),
        (Vector, ["conv", "fc"], ValueError),
        (Vector, ["conv", "spare"], ValueError),
        (Vector, ["conv", "nowhere"], ValueError),
    ],
)
def test_nothing_is_left_behind(network, layers, error):
    module, x = seeded(network), noise_images(2)
    module.conv.requires_grad_(False)
    before = state(module)
    with pytest.raises(error) if error else contextlib.nullcontext():
        cap = camviz.capture(module, x, None, layers)
        for name in camviz.METHODS:
            cam_with_notes(cap, name)
    unchanged(before, state(module))
    assert not x.requires_grad
    assert all(part._forward_hooks == {} == part._forward_pre_hooks for part in module.modules())


def test_a_module_called_three_times_stands_for_its_last_call():
    module, x, target = seeded(Shared), noise_images(2), torch.tensor([1, 3])
    cap = camviz.capture(module, x, target, ["relu", "conv3"])
    second = module.conv2(module.conv1(x).relu()).relu()
    last = module.conv3(second).relu()

    def head(activation):
        return module.fc(nn.functional.adaptive_avg_pool2d(activation, (2, 3)).flatten(1))

    torch.testing.assert_close(cap.activations[0], last, **EXACT)
    torch.testing.assert_close(cap.gradients[0], by_hand(head, last, target), **EXACT)
    deep = by_hand(lambda a: head(a.relu()), module.conv3(second), target)
    torch.testing.assert_close(cap.gradients[1], deep, **EXACT)
    assert cap.calls == (3, 1)


def test_a_shared_module_listed_after_others_gives_each_its_own_gradient():
    module, x = seeded(Shared), noise_images(2)
    together = camviz.capture(module, x, [1, 3], ["relu", "conv1", "conv2"])
    for index, layer in enumerate(together.layers):
        alone = camviz.capture(module, x, [1, 3], [layer])
        torch.testing.assert_close(alone.activations[0], together.activations[index], **EXACT)
        torch.testing.assert_close(alone.gradients[0], together.gradients[index], **EXACT)


def test_select_is_a_capture_of_fewer_layers():
    module, x = seeded(Plain), noise_images(2)
    cap = camviz.capture(module, x, [1, 3], ["conv1", "relu2", "relu3"])
    chosen = cap.select(["relu3", "conv1"])
    same(chosen, camviz.capture(module, x, [1, 3], ["relu3", "conv1"]))
    assert chosen.layers == ("relu3", "conv1")
    for names in (["conv2"], []):
        with pytest.raises(ValueError, match="not captured"):
            cap.select(names)


class Detached(Functional):
    """Its side branch is cut off: the logits do not depend on it."""

    def __init__(self):
        super().__init__()
        self.side, self.deaf = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)

    def forward(self, x):
        self.deaf(x)
        return super().forward(x) + 0 * self.side(x).detach().mean()


@pytest.mark.parametrize("frozen", [False, True])
def test_a_layer_without_influence_has_zero_gradients(frozen):
    module, x = seeded(Detached).requires_grad_(not frozen), noise_images(2)
    for layers in (["side"], ["deaf"], ["conv", "side", "deaf"]):
        cap = camviz.capture(module, x, [1, 2], layers)
        for layer, activation, gradient in zip(layers, cap.activations, cap.gradients, strict=True):
            assert torch.equal(gradient, torch.zeros_like(activation)) == (layer != "conv")
            torch.testing.assert_close(activation, module.get_submodule(layer)(x), **EXACT)


class Tuple(Functional):
    """Returns logits and something else."""

    def forward(self, x):
        return super().forward(x), 0


class Grid(Functional):
    """Returns logits for each of two halves."""

    def forward(self, x):
        return super().forward(x).view(1, -1)


def halfway_training():
    module = seeded(Plain)
    module.head[3].train()
    return module


X = noise_images(2)


@pytest.mark.parametrize(
    ("module", "x", "target", "layers", "message"),
    [
        (seeded(Plain), X, None, ["conv22"], r"Plain has no layer 'conv22'; did you mean .*conv2"),
        (seeded(Plain), X, None, ["zzz"], r"no layer 'zzz'.*named_modules"),
        (seeded(Vector), X, None, ["spare"], r"'spare' was not called"),
        (seeded(Vector), X, None, ["fc"], r"'fc' must return .*\(B, K, h, w\), got torch.float64 \(2, 5\)"),
        (seeded(Plain), X, None, [], "at least one layer"),
        (seeded(Plain), X, None, ["conv1", "conv1"], r"none twice, got \['conv1', 'conv1'\]"),
        (seeded(Plain).train(), X, None, ["conv1"], r"Plain is in training mode.*eval\(\)"),
        (halfway_training(), X, None, ["conv1"], r"'head.3' is in training mode"),
        (seeded(Plain), X[0], None, ["conv1"], r"x must be .*got torch.float64 \(3, 12, 16\)"),
        (seeded(Plain), X.long(), None, ["conv1"], r"x must be a float.*torch.int64 \(2, 3, 12, 16\)"),
        (seeded(Plain), X.numpy(), None, ["conv1"], "x must be .*got ndarray"),
        (seeded(Plain), X, [1, 5], ["conv1"], r"0\.\.4, got \[1, 5\]"),
        (seeded(Plain), X, -1, ["conv1"], r"0\.\.4, got \[-1, -1\]"),
        (seeded(Plain), X, [1], ["conv1"], r"2 whole numbers.*\(1,\)"),
        (seeded(Plain), X, [[1, 2]], ["conv1"], r"2 whole numbers.*\(1, 2\)"),
        (seeded(Plain), X, [1.0, 2.0], ["conv1"], "2 whole numbers.*float32"),
        (seeded(Plain), X, torch.tensor([True, False]), ["conv1"], "2 whole numbers.*bool"),
        (seeded(Tuple), X, None, ["conv"], r"logits \(2, classes\), got tuple"),
        (seeded(Grid), X, None, ["conv"], r"logits \(2, classes\), got torch.float64 \(1, 10\)"),
    ],
)
def test_refused_with_a_reason(module, x, target, layers, message):
    before = state(module)
    with pytest.raises(ValueError, match=message):
        camviz.capture(module, x, target, layers)
    unchanged(before, state(module))


def in_threads(works):
    """Run each function in a thread of its own, all released at once; return their results."""
    gate = threading.Barrier(len(works))

    def run(work):
        gate.wait(timeout=60)
        return work()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(len(works)) as pool:
            return [job.result() for job in [pool.submit(run, work) for work in works]]
    finally:
        sys.setswitchinterval(interval)


def test_eight_threads_share_one_model(lite0, inputs):
    """Each of eight threads gets, bit for bit, what it would get alone; so do plain passes beside them."""
    names = ["chelsea", "coffee", "astronaut", "rocket"]
    images = [inputs(name, side=128 + 16 * (number // 4)) for number, name in enumerate(names * 2)]
    targets = [285, 967, 0, 657, None, 504, 1, None]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # else several threads share out sums in another order
    before = state(lite0.module)

    def job(x, target):
        def work():
            results = []
            for _ in range(3):
                cap = camviz.capture(lite0.module, x, target, lite0.layers)
                fused = camviz.refine(cam_with_notes(cap, "gradcam++")[0])
                results.append((cap.logits, *cap.activations, *cap.gradients, fused))
            return results

        return work

    def passes():
        with torch.no_grad():
            return [(lite0.module(images[0]),) for _ in range(12)]

    try:
        works = [*(job(x, target) for x, target in zip(images, targets, strict=True)), passes]
        alone = [work()[0] for work in works]
        for results, expected in zip(in_threads(works), alone, strict=True):
            for result in results:
                assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))
    finally:
        torch.set_num_threads(threads)
    unchanged(before, state(lite0.module))
    assert len({float(one[-1].sum()) for one in alone}) == 9


def test_ablation_in_threads():
    """Many hooks come and go in six threads; nobody sees another's."""
    module = seeded(Plain, dtype=torch.float32)
    images = [noise_images(1, seed=seed, dtype=torch.float32) for seed in range(6)]
    before = state(module)

    def job(number):
        def work():
            results = []
            for _ in range(25):
                cap = camviz.capture(module, images[number], number % 5, ["conv2", "relu3"])
                results.append(torch.cat([cam_with_notes(cap, "ablationcam")[0].flatten(), cap.logits[0]]))
            return results

        return work

    def passes():
        with torch.no_grad():
            return [module(images[0].clone())[0] for _ in range(400)]

    works = [*(job(number) for number in range(6)), passes]
    alone = [work()[0] for work in works]
    for results, expected in zip(in_threads(works), alone, strict=True):
        assert all(torch.equal(result, expected) for result in results)
    unchanged(before, state(module))


@pytest.mark.parametrize("ending", [True, False], ids=["removed", "registered"])
def test_a_hook_caught_half_registered(ending):
    """Another thread's pass meets a pre-hook whose with_kwargs flag is gone already, or not yet there.

    PyTorch looks the flag up after it has listed the hooks, so the two can disagree for a moment: here they
    are made to, at each look-up by a thread that has no part in the hook.
    """
    module, x = seeded(Pooled), noise_images(1)
    expected = module(x)
    owner = threading.get_ident()

    class Flags(collections.OrderedDict):
        def __contains__(self, key):
            if threading.get_ident() == owner:
                return super().__contains__(key)
            if ending:
                stack.close()
            return super().__contains__(key) and ending

    module.conv2._forward_pre_hooks_with_kwargs = Flags()
    stack = contextlib.ExitStack()
    with stack:
        stack.enter_context(layer_hooks(module, {}, {"conv2": lambda inputs: inputs}))
        with ThreadPoolExecutor(1) as pool:
            assert torch.equal(pool.submit(module, x).result(), expected)


def test_hooks_change_the_pass_of_their_own_thread_only():
    module, x = seeded(Pooled), noise_images(1)
    expected = module(x)
    with layer_hooks(module, {"conv1": lambda output: output * 2}, {"conv2": lambda inputs: inputs}):
        with ThreadPoolExecutor(1) as pool:
            assert torch.equal(pool.submit(module, x).result(), expected)
        assert not torch.allclose(module(x), expected)
    assert torch.equal(module(x), expected)


def test_no_warning_from_a_capture():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cap = camviz.capture(seeded(Plain), noise_images(1), 0, ["relu2"])
    assert 0 < cap.reached[0] <= cap.seconds


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_several_targets_in_one_forward_pass(dtype):
    network, x = seeded(Plain, dtype=dtype), noise_images(3, dtype=dtype)
    passes = []
    capture(network, x, None, ["relu1", "relu3"])  # the first finds out where the channels are
    network.register_forward_hook(lambda *_: passes.append(1))
    together = captures(network, x, [None, 2, [0, 4, 1]], ["relu1", "relu3"])
    assert len(passes) == 1
    for found, target in zip(together, [None, 2, [0, 4, 1]], strict=True):
        alone = capture(network, x, target, ["relu1", "relu3"])
        assert torch.equal(found.target, alone.target)
        for name in ("activations", "gradients"):
            for one, other in zip(getattr(found, name), getattr(alone, name), strict=True):
                torch.testing.assert_close(one, other)


def test_a_target_that_is_the_same_takes_no_second_backward_pass(monkeypatch):
    network, x = seeded(Plain), noise_images(2)
    runs, real = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **kwargs: (runs.append(1), real(*args, **kwargs))[1])
    first, second = captures(network, x, [None, network(x).argmax(1)], ["relu2"])
    assert len(runs) == 1
    assert torch.equal(first.gradients[0], second.gradients[0])


def test_some_images_of_a_capture():
    network, x = seeded(Plain), noise_images(4)
    cap, which = capture(network, x, 1, ["relu1"]), torch.tensor([True, False, True, False])
    some, alone = cap.images(which), capture(network, x[which], 1, ["relu1"])
    assert torch.equal(some.x, x[which])
    assert some.target.tolist() == [1, 1]
    torch.testing.assert_close(some.logits, alone.logits)
    torch.testing.assert_close(some.gradients[0], alone.gradients[0])
    assert some.layers == cap.layers


def test_one_layer_by_its_name_alone():
    module, x = seeded(Plain), noise_images(1)
    one, listed = (capture(module, x, 2, layers) for layers in ("relu2", ["relu2"]))
    same(one, listed)
    assert one.layers == one.select("relu2").layers == camviz.Recipe("gradcam", "relu2").layers == ("relu2",)


@pytest.mark.parametrize("compiled_as", ["a copy", "itself"])
def test_a_compiled_network_is_captured_as_it_is_written(compiled_as):
    module, x = seeded(Plain), noise_images(2)
    expected = capture(module, x, 2, ["relu2", "relu3"])
    if compiled_as == "itself":
        module.compile(backend="eager")
        compiled, prefix = module, ""
    else:
        compiled, prefix = torch.compile(module, backend="eager"), "_orig_mod."
    compiled(x)  # from here on the compiled code runs
    cap = capture(compiled, x, 2, [f"{prefix}relu2", f"{prefix}relu3"])
    same(cap, expected)
    for method in ("ablationcam", "scorecam"):
        assert torch.equal(camviz.cam(cap, method), camviz.cam(expected, method))
    assert torch.equal(compiled(x), module(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("method", ["random", "centre", "gradcam++", "eigencam"])
def test_half_precision(dtype, method):
    module, x = seeded(Plain, dtype=dtype), noise_images(2, dtype=dtype)
    maps = camviz.cam(capture(module, x, 1, ["relu2"]), method)
    assert maps.dtype == torch.float32
    assert maps.amax((2, 3)).tolist() == [[1, 1]]
