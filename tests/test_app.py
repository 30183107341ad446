"""The Explore page by its script: every control, every message."""

import gc
import hashlib
import io
import os
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from apphost import forget, get_network, read, seen
from pictures import png
from streamlit.testing.v1 import AppTest
from streamlit_messages import html
from viewing import messages, viewer

import camviz
from camviz import METHODS, list_models, shapes
from camviz.decoding import GuardedReader
from camviz.merging import RULES
from camviz.models import SHAPES
from camviz.models import torchvision as torchvision_models
from camviz.samples import SAMPLES
from camviz.ui.panels import score_chart
from camviz.ui.server import full_memory, sharing
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.workbench import maps, networks, scores

pytestmark = pytest.mark.usefixtures("half_size")
KNOWS_SHAPES = next(info.name for info in list_models() if info.data == SHAPES)  # the first is chosen
APP = str(Path(__file__).parent.parent / "app.py")


@pytest.fixture
def app():
    """The page after its first run."""
    test = AppTest.from_file(APP, default_timeout=120).run()
    assert not test.exception
    return test


def strip(app) -> str:
    return viewer(app, "cv-strip")


def strip_maps(app) -> np.ndarray:
    return next(m.maps for m in messages(app) if 'class="cv-strip"' in m.markup)


def chart(app) -> str:
    return next(body for body in html(app) if 'class="cv-scores' in body)


def words(app) -> str:
    return " ".join(block.value for block in app.markdown)


def test_first_run_shows_strip_scores_and_words(app):
    assert strip(app).count("<canvas") == 10
    assert "cv-wait" not in chart(app)
    assert chart(app).count('role="row"') == 1 + 1 + 4 + 2
    assert "RefineCAM scores" in words(app)
    assert "What it cannot tell" in words(app)


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.is_slow])
def test_every_method_that_answers_at_once(app, name):
    app.selectbox(key="method").set_value(name).run()
    assert not app.exception
    assert f"{METHODS[name].title} over 4 layers" in strip(app)
    assert METHODS[name].sentence in " ".join(caption.value for caption in app.sidebar.caption)


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("rule", RULES)
def test_every_merging_rule(app, rule):
    app.selectbox(key="rule").set_value(rule).run()
    assert not app.exception
    assert ("RefineCAM" if rule == "product" else f"Merged: {rule}") in strip(app)


@pytest.mark.usefixtures("unscored")
def test_maps_are_averaged_with_those_of_the_mirrored_picture(app):
    before = strip_maps(app)
    app.checkbox(key="mirror_averaged").set_value(True).run()
    assert not app.exception
    assert "RefineCAM (mirror-averaged)" in strip(app)
    net = get_network("efficientnet-lite0")
    x = net.preprocess(camviz.load_image(SAMPLES["Coffee"].path))
    expected = camviz.explain(net.module, x, [967], camviz.Recipe("gradcam++", net.layers, mirror_averaged=True))
    np.testing.assert_allclose(strip_maps(app)[-1], expected[0].numpy(), atol=1e-5)
    assert np.abs(strip_maps(app) - before).max() > 0.05


def test_switching_method_layer_or_rule_runs_no_network_for_the_strip(app, monkeypatch):
    """The capture is re-used: with captures and scores out of reach, the strip still appears."""
    runs = []
    monkeypatch.setattr(maps, "capture", lambda *args, **kwargs: runs.append(args))
    monkeypatch.setattr("camviz.ui.panels.score_chart.show_scores", lambda *args: None)
    net = get_network("efficientnet-lite0")
    monkeypatch.setattr(net.module, "forward", lambda x: runs.append(x))
    app.selectbox(key="method").set_value("hirescam").run()
    app.selectbox(key="rule").set_value("minimum").run()
    assert "HiResCAM over 4 layers" in strip(app)
    assert runs == []


def test_one_layer_and_none(app):
    pills = app.pills(key="layers-efficientnet-lite0")
    pills.set_value(["_swish"]).run()
    assert "One layer" in strip(app)
    assert strip(app).count("<canvas") == 4
    app.pills(key="layers-efficientnet-lite0").set_value([]).run()
    assert "Choose at least one layer" in app.warning[0].value
    assert strip(app).count("<canvas") == 10


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("fit", ["squeeze", "pad"])
def test_every_fit(app, fit):
    before = strip(app)
    app.segmented_control(key="fit").set_value(fit).run()
    assert not app.exception
    assert strip(app) != before


@pytest.mark.usefixtures("unscored")
def test_identical_methods_are_named(app):
    app.selectbox(key="method").set_value("gradcam").run()
    assert "XGrad-CAM and HiResCAM give exactly the same map" in strip(app)


def only_the_deepest(app, network="efficientnet-lite0"):
    """Choose one layer, to be applied with the next run: three maps are scored quicker than seven."""
    app.pills(key=f"layers-{network}").set_value([get_network(network).layers[-1]])


def test_a_class_the_model_does_not_believe_in_is_explained(app):
    only_the_deepest(app)
    box = next(box for box in app.selectbox if box.key.startswith("class-"))
    box.set_value(285).run()
    assert not app.exception
    assert "No map can be scored here" in words(app)


def test_blank_maps_say_why(app, monkeypatch):
    real = maps.capture

    def without_gradient(*args, **kwargs):
        cap = real(*args, **kwargs)
        object.__setattr__(cap, "gradients", tuple(torch.zeros_like(g) for g in cap.gradients))
        return cap

    monkeypatch.setattr(maps, "capture", without_gradient)
    app.selectbox(key="sample").set_value("Rocket").run()
    assert not app.exception
    assert "the class score does not depend on this layer" in strip(app)
    assert strip(app).count("a layer merged here is blank") == 3 + 1
    assert "so coherency is undefined" in chart(app)
    forget(picture_id("Rocket"))


def picture_id(title: str) -> str:
    return hashlib.sha256(SAMPLES[title].path.read_bytes()).hexdigest()


def test_what_was_computed_once_is_not_computed_again(app, monkeypatch):
    app.selectbox(key="sample").set_value("Cat").run()
    cat = strip(app), chart(app)
    app.selectbox(key="sample").set_value("Coffee").run()
    for where, name in (
        (maps, "capture"),
        (maps, "cam_with_notes"),
        (maps, "data_uri"),
        (scores, "Evidence"),
        (scores, "explain"),
        (GuardedReader, "_ask"),
    ):
        monkeypatch.setattr(where, name, lambda *args, name=name, **options: pytest.fail(f"{name} ran again"))
    app.selectbox(key="sample").set_value("Cat").run()
    assert not app.exception
    assert (strip(app), chart(app)) == cat


def test_pictures_that_share_most_bytes_are_told_apart():
    pixels = np.zeros((64, 64, 3), np.uint8)
    first = read(png(pixels), "a")
    pixels[63, 63, 2] = 1
    second = read(png(pixels), "b")
    assert first.id != second.id
    assert [camviz.load_image(each.content)[63, 63, 2] for each in (first, second)] == [0, 1]


def test_forgetting_leaves_nothing_of_a_picture():
    net = get_network("efficientnet-lite0")
    mine = read(png(np.full((50, 70, 3), 200, np.uint8)), "mine")
    maps.predict(seen(mine, net))
    assert any(key.picture == mine.id for key in sharing.shared_host().results.holdings())
    forget(mine.id)
    assert not any(key.picture == mine.id for key in sharing.shared_host().results.holdings())


def test_a_slow_method_can_be_finished_and_its_scores_asked_for(app, monkeypatch):
    """The whole way of a slow method, on one layer and with every pass replaced by a quick one."""
    net = get_network("efficientnet-lite0")
    app.pills(key="layers-efficientnet-lite0").set_value(["_blocks.2._swish"]).run()
    monkeypatch.setattr(net.module, "forward", lambda x: torch.zeros(len(x), 1000) + x.mean((1, 2, 3))[:, None])
    monkeypatch.setattr(scores, "explain", lambda module, x, target, recipe, progress: (progress(1, 1), x[:, 0])[1])
    app.selectbox(key="method").set_value("scorecam").run()
    assert not app.exception
    assert "Score-CAM" in strip(app)
    assert "No ARCC yet: coherency would have to run this slow method again" in words(app)
    next(button for button in app.button if button.label.startswith("Score it anyway")).click().run()
    assert not app.exception
    assert "No ARCC yet" not in words(app)
    assert not [button for button in app.button if button.label.startswith("Score it anyway")]
    forget(picture_id("Coffee"))


def test_an_evicted_network_is_not_kept_alive_by_what_it_computed():
    net = camviz.load_model("efficientnet-lite1")
    picture = read(png(np.full((40, 40, 3), 120, np.uint8)), "small")
    maps.predict(seen(picture, net))
    alive = weakref.ref(net.module)
    del net
    gc.collect()
    assert alive() is None
    forget(picture.id)


@pytest.fixture
def full_gpu(monkeypatch):
    """Tells a function to run out of memory, once; afterwards all networks are where they were."""

    def fill(where, name, error):
        function, left = getattr(where, name), [error]

        def once(*args, **options):
            if left:
                raise left.pop()
            return function(*args, **options)

        monkeypatch.setattr(where, name, once)

    yield fill
    host = sharing.shared_host()
    host.networks.forget(lambda key: key.network in host.moved)
    host.moved.clear()


MOVED = "efficientnet-lite1"  # not the first one, whose results other tests look at again
OUT_OF_MEMORY = [torch.OutOfMemoryError("simulated"), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")]


def on_the_cpu(app) -> bool:
    return "runs on the CPU: slower, with the same result" in " ".join(caption.value for caption in app.caption)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_a_network_leaves_a_gpu_that_is_full_and_nothing_chosen_is_lost(app, full_gpu, monkeypatch, error):
    with monkeypatch.context() as patch:
        patch.setattr(score_chart, "show_scores", lambda *args: None)
        app.segmented_control(key="fit").set_value("pad").run()
        app.selectbox(key="model").set_value(MOVED).run()
        only_the_deepest(app, MOVED)
        app.selectbox(key="method").set_value("layercam").run()
    assert not on_the_cpu(app)
    devices, load = [], networks.load_model
    monkeypatch.setattr(networks, "load_model", lambda *args: devices.append(args[1:]) or load(*args))
    forget(picture_id("Rocket"))
    full_gpu(maps, "capture", error)
    app.selectbox(key="sample").set_value("Rocket").run()
    assert not app.exception
    assert devices == [("cpu",)]
    assert on_the_cpu(app)
    assert strip(app).count("<canvas") == 4
    assert "cv-wait" not in chart(app)
    assert app.segmented_control(key="fit").value == "pad"
    assert app.selectbox(key="method").value == "layercam"


@pytest.mark.usefixtures("unscored")
def test_a_network_too_large_for_the_gpu_is_loaded_on_the_cpu(app, full_gpu):
    sharing.shared_host().networks.forget(lambda key: key.network == MOVED)
    full_gpu(networks, "load_model", torch.OutOfMemoryError("simulated"))
    app.selectbox(key="model").set_value(MOVED).run()
    assert not app.exception
    assert strip(app).count("<canvas") == 10
    assert MOVED in sharing.shared_host().moved
    assert app.run().caption  # told from the next run on, as the place comes before the network
    assert on_the_cpu(app)


@pytest.mark.usefixtures("unscored", "app", "full_gpu")
@pytest.mark.parametrize("error", [*OUT_OF_MEMORY, RuntimeError("another fault")], ids=repr)
def test_what_the_cpu_cannot_do_either_is_an_error(monkeypatch, error):
    on_cpu = replace(get_network(MOVED), device=torch.device("cpu"))
    sharing.shared_host().moved.add(MOVED)
    monkeypatch.setattr(full_memory.st, "rerun", lambda: pytest.fail("it would run for ever"))
    with pytest.raises(RuntimeError) as raised, full_memory.gpu_memory(on_cpu):
        raise error
    assert raised.value is error


@pytest.fixture
def weights_server(tmp_path, monkeypatch):
    """MobileNetV3's address leads to a server on this machine, with fresh weights and an empty cache."""
    buffer = io.BytesIO()
    torch.save(torchvision.models.mobilenet_v3_large().state_dict(), buffer)
    name = f"mobilenet-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.pth"
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / name).write_bytes(buffer.getvalue())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, _format, *args):
            asked.append(args[0])

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "served")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        weights = torchvision.models.MobileNet_V3_Large_Weights.DEFAULT
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        monkeypatch.setattr(weights.value, "url", url)
        monkeypatch.setitem(torchvision_models._facts()["networks"]["mobilenet_v3_large"], "url", url)
        yield asked
        server.shutdown()


@pytest.mark.usefixtures("unscored")
def test_a_model_is_downloaded_once_with_progress_and_then_explains(app, weights_server, monkeypatch):
    shares = []
    show = DeltaGenerator.progress
    monkeypatch.setattr(DeltaGenerator, "progress", lambda *args: (shares.append(args[1]), show(*args))[1])
    app.selectbox(key="model").set_value("mobilenet_v3_large").run()
    assert "is not on this server yet" in app.info[0].value
    next(button for button in app.button if button.label.startswith("Download")).click().run()
    assert not app.exception
    assert "features" in strip(app)
    assert len(shares) > 20
    assert shares == sorted(shares)
    assert shares[-1] == 1
    app.selectbox(key="model").set_value("efficientnet-lite0").run()
    sharing.shared_host().networks.forget(lambda key: key.network == "mobilenet_v3_large")
    app.selectbox(key="model").set_value("mobilenet_v3_large").run()
    assert "features" in strip(app)
    assert len(weights_server) == 1


@pytest.fixture
def shape(app):
    """The page with a large circle, explained by a network that knows it."""
    app.segmented_control(key="source").set_value("Shapes").run()
    assert not app.exception
    return app


def heads(app) -> list[str]:
    return re.findall(r'role="columnheader"[^>]*><span>([^<]*)', chart(app))


def test_a_shape_is_explained_by_a_network_that_knows_it_and_scored_against_its_mask(shape):
    assert shape.selectbox(key="model").value == KNOWS_SHAPES
    assert strip(shape).count("Outline of the true shape") == 10
    assert heads(shape)[-3:] == ["Mass inside", "Best IoU", "ROC AUC"]
    assert "of its heat lies on the circle" in words(shape)
    assert "| Cross-entropy |" in words(shape)


@pytest.mark.usefixtures("unscored")
def test_the_tools_know_of_the_outline_and_of_the_regions(shape):
    tools = next(m.header for m in messages(shape) if "outline" in m.header)
    side = get_network(KNOWS_SHAPES).preprocessing.size
    assert (tools["outline"], tools["height"], tools["width"]) == (True, side, side)


@pytest.mark.usefixtures("unscored")
def test_the_browser_gets_the_very_maps(app):
    strip = next(m for m in messages(app) if m.markup)
    net, image = get_network("efficientnet-lite0"), camviz.load_image(SAMPLES["Coffee"].path)
    assert np.array_equal(strip.view, net.view(image))
    with ThreadPoolExecutor(1) as like_a_page:  # on as many cores, as Grad-CAM++ depends on rounding
        cap = like_a_page.submit(camviz.capture, net.module, net.preprocess(image), layers=net.layers).result()
    maps = camviz.cam(cap)
    np.testing.assert_allclose(strip.maps[:4], maps[:, 0].flip(0), atol=1e-6)
    for index in range(4):
        np.testing.assert_allclose(strip.maps[4 + index], camviz.refine(maps[3 - index :])[0], atol=1e-6)
        product = maps[3 - index :, 0].prod(0)
        assert strip.header["ranges"][4 + index] == pytest.approx([float(product.min()), float(product.max())])
    assert strip.header["merges"] == [4, 5, 6, 7]
    assert strip.header["result"] == 7


def test_the_network_follows_the_picture_and_can_be_changed(shape, monkeypatch):
    shape.selectbox(key="model").set_value("efficientnet-lite0").run()
    assert "trained on photographs, not drawn shapes" in " ".join(caption.value for caption in shape.sidebar.caption)
    assert "shows a circle, and another class is being explained" in words(shape)
    shape.segmented_control(key="source").set_value("Photos").run()
    assert shape.selectbox(key="model").value == "efficientnet-lite0"
    assert "Outline" not in strip(shape)
    assert len(heads(shape)) == 4
    with monkeypatch.context() as patch:
        patch.setattr(score_chart, "show_scores", lambda *args: None)
        shape.selectbox(key="model").set_value(KNOWS_SHAPES).run()
    assert "six drawn shapes and nothing else" in " ".join(caption.value for caption in shape.sidebar.caption)
    shape.segmented_control(key="source").set_value("Shapes").run()
    assert not shape.exception
    assert shape.selectbox(key="model").value == "efficientnet-lite0"  # the last one used on shapes


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("kind", [kind for kind in shapes.KINDS if kind != "one shape"])
def test_every_other_kind(shape, kind):
    before = strip(shape)
    shape.selectbox(key="shape_kind").set_value(kind).run()
    assert not shape.exception
    assert strip(shape) != before


def test_of_two_shapes_the_one_explained_counts(shape):
    only_the_deepest(shape, KNOWS_SHAPES)
    shape.selectbox(key="shape_kind").set_value("two shapes").run()
    sample = shapes.composed("two shapes", 0)
    box = next(box for box in shape.selectbox if box.key.startswith("class-"))
    for one in sample.shapes:
        box.set_value(one.label).run()
        assert f"on the {shapes.CLASSES[one.label]}" in words(shape)
        assert not shape.exception


@pytest.mark.usefixtures("unscored")
def test_surprise_me_changes_the_sample_and_the_controls(shape):
    seen = set()
    for _ in range(4):
        next(button for button in shape.button if button.label == "Surprise me").click().run()
        assert not shape.exception
        seen.add((shape.selectbox(key="shape_label").value, strip(shape)))
    assert len(seen) > 1


@pytest.mark.usefixtures("unscored")
def test_the_card_tells_how_well_a_network_does(shape):
    assert "samples it never saw" in words(shape)
    assert "python -m camviz.train" in words(shape)
    assert "| circle | square | triangle |" in words(shape)


def panel(app) -> str:
    return next(body for body in html(app) if '<dl class="cv-engine"' in body)


def test_the_engine_panel_tells_what_is_kept_and_what_that_saved(app):
    assert "CPU" in panel(app)
    assert re.search(r"of this server</dt><dd>\d+ MB|of this server</dt><dd>\d\.\d GB", panel(app))
    assert "0 tabs open · uploads less than 1 MB" in panel(app)  # a script alone, without a server
    assert "– captures" in panel(app)
    before = sharing.shared_host().results.hits, sharing.shared_host().results.saved
    app.selectbox(key="method").set_value("hirescam").run()
    app.selectbox(key="method").set_value("gradcam++").run()
    hits, saved = sharing.shared_host().results.hits, sharing.shared_host().results.saved
    assert hits > before[0] + 20
    assert saved > before[1]
    assert f"{hits:,} cache hits" in panel(app)
    assert "nobody" in panel(app)


def test_networks_leave_a_core_to_the_page(app):
    every = torch.get_num_threads()  # of this thread, which the page's own threads do not change
    expected = every if "OMP_NUM_THREADS" in os.environ else max(1, every - 1)
    assert f"{expected} of {os.cpu_count()} cores" in panel(app)


@pytest.mark.usefixtures("unscored")
def test_who_waits_is_told_and_then_served(app):
    """While somebody else works, the page waits, says so, and goes on when the turn comes."""
    forget(picture_id("Rocket"))
    others, told = threading.Event(), []
    say = sharing._notice_html

    def notice(words):
        told.append(words)
        if words:
            others.set()
        return say(words)

    def work():
        with sharing.shared_host().queue.turn("somebody else", lambda before: None):
            assert others.wait(60)

    other = threading.Thread(target=work)
    other.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "_notice_html", notice)
        app.selectbox(key="sample").set_value("Rocket").run()
    other.join(60)
    assert not app.exception
    assert "You are next" in told
    assert told[-1] == ""
    assert "Rocket" in " ".join(html(app))


def test_scores_that_somebody_else_computes_meanwhile_are_shown(app, monkeypatch):
    """Two visitors look at one picture: what the other one's page has scored since the chart was drawn is drawn too."""
    forget(picture_id("Cameraman"))
    offer = score_chart._slow_progress  # between the first drawing of the chart and the scores that it lacks

    def meanwhile(of, recipe, entries):
        for entry in entries:
            scores.compute_scores(of, entry.recipe, scores.score_names(of))
        return offer(of, recipe, entries)

    monkeypatch.setattr(score_chart, "_slow_progress", meanwhile)
    only_the_deepest(app)
    app.selectbox(key="sample").set_value("Cameraman").run()
    assert not app.exception
    assert "cv-wait" not in chart(app)
    assert "One layer scores" in words(app)
