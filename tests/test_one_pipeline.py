"""One pipeline: the app's host, the library and the command line write the same bundle, bit for bit.

All methods run on a small network, the quick ones on a bundled network too. It takes about a minute of one core.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import Plain, at_half_size, seeded

import camviz
from camviz import cli, shapes
from camviz.methods import METHODS
from camviz.metrics import SCORES, available
from camviz.models.registry import SHAPES, ModelInfo, Preprocessing, make_net
from camviz.noise.measure import Perturbation, perturbations
from camviz.recipe import Recipe
from camviz.results import bundle
from camviz.results.finding import Settings, as_png
from camviz.samples import SAMPLES
from camviz.ui.server.sharing import SharedHost
from camviz.workbench.findings import alone, as_finding, baselines
from camviz.workbench.maps import likeliest
from camviz.workbench.noisy_copies import outcomes
from camviz.workbench.pictures import Explained, SeenPicture, draw_picture, known_shapes, picture_bytes, read_picture
from camviz.workbench.scores import compute_scores, score_names, stages

SIDE = 32
SHAPE = "shapes:test/12"
NOISE = Perturbation("gaussian", 0.4, 0)
QUICK = [name for name, method in METHODS.items() if not method.is_slow]
every_picture = pytest.mark.parametrize("source", ["coffee.png", SHAPE])
clean_and_noisy = pytest.mark.parametrize("noise", [None, NOISE], ids=["clean", "noisy"])


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums are the same to the last bit for one number of threads only."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small():
    """Three convolutions that look at 32 pixels a side, with random weights; they know five of the shapes."""
    info = ModelInfo("small.safetensors", "Small", "Small", "checkpoint", SHAPES, 0.0, 0.0, 0.0)
    how = Preprocessing(SIDE, SIDE, (0.5, 0.4, 0.3), (0.25, 0.3, 0.2), Image.Resampling.BILINEAR)
    module = seeded(Plain, seed=3, dtype=torch.float32)
    return make_net(info, module, shapes.CLASSES[:5], ("relu1", "relu2", "relu3"), how, torch.device("cpu"))


@pytest.fixture(scope="module")
def resnet18():
    return at_half_size(camviz.load_model("shapes-resnet18", "cpu"))


@pytest.fixture(scope="module")
def host():
    """The app's host, which keeps what one method computed for the next."""
    return SharedHost()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """The way to a photograph's file."""
    path = tmp_path_factory.mktemp("photo") / "coffee.png"
    path.write_bytes(SAMPLES["Coffee"].path.read_bytes())
    return path


def sample() -> shapes.Sample:
    return shapes.sample(12, "test")


def explained(host, net, source, photo, noise) -> Explained:
    """What the Explore page makes of a picture: the class predicted in what the network sees."""
    if source == SHAPE:
        picture, fit = draw_picture(host, SHAPE, "one shape 12", sample), "squeeze"
    else:
        picture, fit = read_picture(host, photo.read_bytes(), photo.name, "with a credit"), "crop"
    clean = SeenPicture(host, picture, net, fit)
    likeliest(clean)  # the page shows what the network sees in the clean picture first
    seen = replace(clean, noise=noise)
    return seen.explaining(likeliest(seen))


def by_the_app(of: Explained, recipe: Recipe, scores: bool) -> bytes:
    """As the page scores and offers it: first what is free, then stage by stage, each time row by row."""
    names = score_names(of)
    layers = [alone(recipe, layer) for layer in reversed(recipe.layers)]
    rows = [recipe, *(layers if len(layers) > 1 else []), *baselines(recipe).values()]
    free = [name for name in names if not (SCORES[name].cost or SCORES[name].runs_method)]
    for stage in [free, *stages(names)] if scores else []:
        for row in rows:
            compute_scores(of, row, stage)
    return bundle.write(as_finding(of, recipe, names if scores else ()))


def by_the_library(net, source, photo, recipe, noise, scores) -> bytes:
    if source == SHAPE:
        data, name, fit, known = as_png(sample().image), SHAPE, "squeeze", known_shapes(sample())
    else:
        data, name, fit, known = photo.read_bytes(), photo.name, "crop", ()
    settings = Settings(net.info.name, recipe, fit, None, noise)
    return bundle.write(camviz.find(net, data, name, settings, scores=scores, shapes=known))


def by_the_command_line(net, source, photo, recipe, noise, scores, out) -> bytes:
    command = ["explain", SHAPE if source == SHAPE else str(photo), "--out", str(out), "--model", net.info.name]
    command += ["--method", recipe.method, "--layers", ",".join(recipe.layers), "--rule", recipe.rule]
    command += ["--device", "cpu"]
    if noise:
        command += ["--noise", noise.kind, "--level", str(noise.level)]
    if recipe.mirror_averaged:
        command.append("--mirror-averaged")
    if not scores:
        command.append("--no-scores")
    assert cli.main(command) == 0
    return (out / cli.BUNDLE).read_bytes()


def three_bundles(host, net, source, photo, recipe, noise, out, scores=True) -> list[bytes]:
    return [
        by_the_app(explained(host, net, source, photo, noise), recipe, scores),
        by_the_library(net, source, photo, recipe, noise, scores),
        by_the_command_line(net, source, photo, recipe, noise, scores, out),
    ]


@pytest.fixture
def quick_files(monkeypatch):
    """The command line without the files beside the bundle that take longer than the work itself."""
    monkeypatch.setattr(cli, "figure", lambda *args, **options: b"")
    monkeypatch.setattr(cli, "report", lambda *args: b"")


def check(bundles: list[bytes], source: str, scores: bool) -> None:
    """All are the same, and hold what they should: the same nothing would be no proof."""
    found = bundle.read(bundles[0])
    assert bundles[0] == bundles[1] == bundles[2]
    assert len(found.shapes) == (source == SHAPE)
    if scores:
        expected = set(available(mask=source == SHAPE))
        rows = [*found.scores.values(), *found.baselines.values()]
        assert len(rows) == len(found.maps) + 1 + 2
        assert all({name for name, value in row.values.items() if value is not None} == expected for row in rows)
    else:
        assert found.scores == {}


@pytest.mark.usefixtures("quick_files")
@every_picture
@clean_and_noisy
@pytest.mark.parametrize("method", METHODS)
def test_every_method_with_its_scores(host, small, photo, tmp_path, monkeypatch, method, noise, source):
    monkeypatch.setattr(cli, "load_model", lambda *args: small)
    recipe = Recipe(method, small.layers[1:])
    check(three_bundles(host, small, source, photo, recipe, noise, tmp_path), source, scores=True)


@pytest.mark.usefixtures("quick_files")
@pytest.mark.parametrize("method", [*QUICK, "ablationcam-fast"])
def test_the_maps_of_a_bundled_network(host, resnet18, photo, tmp_path, monkeypatch, method):
    monkeypatch.setattr(cli, "load_model", lambda *args: resnet18)
    recipe = Recipe(method, resnet18.layers if method in QUICK else resnet18.layers[-1:])
    check(three_bundles(host, resnet18, SHAPE, photo, recipe, NOISE, tmp_path, scores=False), SHAPE, scores=False)


@pytest.mark.usefixtures("quick_files")
def test_a_photograph_and_a_bundled_network_with_scores(host, resnet18, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "load_model", lambda *args: resnet18)
    recipe = Recipe("gradcam", resnet18.layers[-1:])
    check(three_bundles(host, resnet18, "coffee.png", photo, recipe, None, tmp_path), "coffee.png", scores=True)


@pytest.mark.usefixtures("quick_files")
@pytest.mark.parametrize("method", ["gradcam++", "scorecam"])
def test_averaged_with_the_mirrored_picture(host, small, photo, tmp_path, monkeypatch, method):
    monkeypatch.setattr(cli, "load_model", lambda *args: small)
    recipe = Recipe(method, small.layers, "mixed", mirror_averaged=True)
    bundles = three_bundles(host, small, SHAPE, photo, recipe, NOISE, tmp_path)
    check(bundles, SHAPE, scores=True)
    assert bundle.read(bundles[0]).settings.recipe.mirror_averaged
    assert cli.main(["open", str(tmp_path / cli.BUNDLE), "--model", small.info.name]) == 0


def test_every_merging_rule_and_every_file(host, small, photo, tmp_path, monkeypatch):
    """With the files beside the bundle, and with rules that need more than the maps."""
    monkeypatch.setattr(cli, "load_model", lambda *args: small)
    for rule in camviz.RULES:
        recipe = Recipe("gradcam", small.layers, rule)
        shown = by_the_app(explained(host, small, SHAPE, photo, None), recipe, scores=True)
        assert shown == by_the_library(small, SHAPE, photo, recipe, None, scores=True)
        command = ["explain", SHAPE, "--out", str(tmp_path), "--model", small.info.name, "--method", "gradcam"]
        assert cli.main([*command, "--rule", rule, "--device", "cpu"]) == 0
        assert (tmp_path / cli.BUNDLE).read_bytes() == shown
        assert cli.main(["open", str(tmp_path / cli.BUNDLE), "--model", small.info.name]) == 0


@every_picture
@pytest.mark.parametrize("method", ["gradcam++", "scorecam"])
def test_robustness(host, small, photo, method, source):
    """The library measures all copies in one batch, the app two at a time."""
    of = explained(host, small, source, photo, None)
    points = perturbations(["gaussian", "blur"], [0.3, 1.0], [0, 1])
    mine = outcomes(of, {"a": Recipe(method, small.layers)}, points)["a"]
    core = camviz.robustness(
        small, camviz.load_image(picture_bytes(of)), ["gaussian", "blur"], [0.3, 1.0], method, seeds=[0, 1], fit=of.fit
    ).table
    for name in ("kind", "level", "seed", "predicted", "flipped"):
        assert [getattr(each, name) for each in mine] == core[name].tolist()
    for name in ("probability", "kept", "overlap", "overlap_same", "ssim", "pearson", "spearman"):
        np.testing.assert_allclose([getattr(each, name) for each in mine], core[name], atol=1e-5)


def test_shapes_that_one_person_claims_do_not_change_what_others_see(small, photo):
    """A bundle may claim that a photograph holds a shape; without that claim the photograph keeps its own results."""
    data, mask = photo.read_bytes(), np.zeros((SIDE, SIDE), bool)
    mask[:9, :7] = True
    claim = replace(known_shapes(sample())[0], label="circle", mask=mask)
    settings = Settings("small", Recipe("gradcam", small.layers))
    for order in (((claim,), ()), ((), (claim,))):
        find = partial(camviz.find, small, data, "a", settings, host=SharedHost())
        found = [find(shapes=known) for known in order]
        assert [len(each.shapes) for each in found] == [len(known) for known in order]
        assert ["mass" in each.scores["merged"].values for each in found] == [bool(known) for known in order]
