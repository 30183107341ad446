"""Links by the pages' scripts: opened, they set every control; whatever is chosen, the address says all of it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from apphost import forget
from pictures import png
from streamlit.testing.v1 import AppTest
from streamlit_messages import html, progress
from viewing import messages

from camviz.ui.links.link_format import Explored, Swept, read, write

pytestmark = pytest.mark.usefixtures("half_size", "unscored")
APP = str(Path(__file__).parent.parent / "app.py")
LITE0 = ("_blocks.2._swish", "_blocks.4._swish", "_blocks.10._swish", "_swish")
OUTDATED = '<span class="cv-outdated"></span>'  # what dims the page
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def visit(said: dict[str, str], page: str = ""):
    """A fresh visit to a link."""
    app = AppTest.from_file(APP, default_timeout=120)
    if page:
        app.run()
        del app.session_state["link_last"]  # a visit that has not read an address yet
        app.switch_page(page)
    app.query_params.update(said)
    app.run()
    assert not app.exception
    return app


def address(app) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


def explored(app) -> Explored:
    state, ignored = read(Explored, address(app))
    assert ignored == []
    return state


def swept(app) -> Swept:
    state, ignored = read(Swept, address(app))
    assert ignored == []
    return state


def title(app) -> str:
    return next(body for body in html(app) if body.startswith('<h1 class="cv-title"') and "<b>" in body)


def warnings(app) -> list[str]:
    return [block.value for block in app.warning]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def class_box(app):
    return next(box for box in app.selectbox if str(box.key).startswith("class-"))


def test_the_first_address_says_all_defaults():
    state = explored(visit({}))
    assert state == Explored(
        photo="Coffee",
        fit="crop",
        model="efficientnet-lite0",
        target=967,
        method="gradcam++",
        layers=LITE0,
        rule="product",
        mirror_averaged=False,
        noise="gaussian",
        level=0.0,
        draw=0,
        follow=True,
    )


CAT = Explored(
    photo="Cat",
    fit="pad",
    model="efficientnet-lite1",
    target=999,
    method="layercam",
    layers=LITE0[::3],
    rule="mean",
    mirror_averaged=True,
    noise="impulse",
    level=0.15,
    draw=2,
    follow=False,
)


def test_a_link_sets_every_control_and_stays_as_it_is():
    link = write(CAT) | {"layers": ""}
    first = visit(link)
    layers = explored(first).layers
    chosen = (layers[0], layers[-1])
    app = visit(link | {"layers": "~".join(chosen)})
    assert address(app) == link | {"layers": "~".join(chosen)}
    assert warnings(app) == []
    assert app.segmented_control(key="source").value == "Photos"
    assert app.selectbox(key="sample").value == "Cat"
    assert app.segmented_control(key="fit").value == "pad"
    assert app.selectbox(key="model").value == "efficientnet-lite1"
    assert class_box(app).value == 999
    assert app.selectbox(key="method").value == "layercam"
    assert set(app.pills(key="layers-efficientnet-lite1").value) == set(chosen)
    assert app.selectbox(key="rule").value == "mean"
    assert app.checkbox(key="mirror_averaged").value is True
    assert app.selectbox(key="noise_kind").value == "impulse"
    assert app.slider(key="noise_level").value == pytest.approx(0.15)
    assert "repeat 3" in " ".join(caption.value for caption in app.sidebar.caption)
    assert "LayerCAM" in title(app)


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("page", ["compare", "play"])
def test_what_only_a_link_says_holds_on_the_next_page(page):
    """Every shared control that a link sets, not only those that are touched."""
    linked = Explored(photo="Cat", method="layercam", rule="mean", mirror_averaged=True)
    app = visit(write(linked))
    app.switch_page(f"pages/{page}.py").run()
    app.run()
    assert not app.exception
    now, _ = read(Explored, address(app))
    assert (now.photo, now.rule, now.mirror_averaged) == ("Cat", "mean", True)
    assert app.checkbox(key="mirror_averaged").value is True


@pytest.mark.usefixtures("unscored")
def test_a_change_is_in_the_address_and_another_visit_has_it_too():
    app = visit({})
    app.selectbox(key="sample").set_value("Rocket")
    app.selectbox(key="method").set_value("hirescam").run()
    app.slider(key="noise_level").set_value(1.0).run()
    app.button(key="noise_again").click().run()
    if any(toggle.key == "noise_follow" for toggle in app.toggle):
        app.toggle(key="noise_follow").set_value(False).run()
    state = explored(app)
    assert (state.photo, state.method, state.level, state.draw) == ("Rocket", "hirescam", 1.0, 1)
    again = visit(address(app))
    assert address(again) == address(app)
    assert title(again) == title(app)


@pytest.mark.usefixtures("unscored")
def test_a_shape_by_its_number_and_the_network_for_it():
    said = Explored(
        kind="one shape",
        shape="triangle",
        size="small",
        number=3,
        model="shapes-vgg11",
        target=1,
        layers=("features.28",),
    )
    app = visit(write(said))
    assert warnings(app) == []
    assert app.segmented_control(key="source").value == "Shapes"
    assert app.selectbox(key="model").value == "shapes-vgg11"
    assert "Small triangle" in title(app)
    assert "<b>square</b>" in title(app)
    state = explored(app)
    assert (state.number, state.layers, state.fit) == (3, ("features.28",), None)


def test_what_a_link_says_wrongly_is_named_once_and_all_else_applies():
    hostile = {
        "v": "7",
        "model": "<img src=x onerror=alert(1)>",
        "method": "![x](http://example.org/x.png)",
        "class": "1000",
        "layers": "_swish~layer4",
        "level": "99999999999999999999",
        "rule": "minimum",
        "noise": "x" * 9000,
    }
    app = visit(hostile)
    (told,) = warnings(app)
    for name in ("version `7`", "model `<img", "method `![x]", "class `1000`", "level `9999", "noise `xxx"):
        assert name in told or "more" in told
    assert app.selectbox(key="rule").value == "minimum"
    assert app.pills(key="layers-efficientnet-lite0").value == ["_swish"]
    state = explored(app)
    assert (state.model, state.target, state.rule, state.layers) == ("efficientnet-lite0", 967, "minimum", ("_swish",))
    assert warnings(app.run()) == [told], "it stays until something is changed"
    app.selectbox(key="rule").set_value("mean").run()
    assert warnings(app) == []


def test_layers_of_another_model_are_left_out_and_all_of_its_own_used():
    app = visit({"v": "1", "layers": "layer1~layer2"})
    (notice,) = warnings(app)
    assert "layers `layer1, layer2`" in notice
    assert explored(app).layers == LITE0
    assert app.pills(key="layers-efficientnet-lite0").value == list(LITE0)
    app.button(key="dismiss-link-notice").click().run()
    assert warnings(app) == []


def test_a_class_of_a_network_for_shapes_is_one_of_six():
    app = visit({"v": "1", "shape": "circle", "class": "6"})
    assert "class `6`" in warnings(app)[0]
    assert explored(app).target in range(6)


def test_an_upload_is_asked_for_by_its_name_and_known_by_its_content():
    mine, other = png(PIXELS), png(255 - PIXELS)
    link = write(Explored(upload=digest(mine), name="<b>cat</b>.png", fit="pad", target=285, method="layercam"))
    app = visit(link)
    assert app.segmented_control(key="source").value == "Upload"
    assert "upload `<b>cat</b>.png` on the left" in app.info[0].value
    asked = explored(app)
    assert (asked.upload, asked.name, asked.target) == (digest(mine), "<b>cat</b>.png", 285)

    app.file_uploader[0].upload("other.png", other, "image/png").run()
    assert "`other.png` isn't the picture the link was made from" in warnings(app)[0]
    assert explored(app).upload == digest(other)

    app.file_uploader[0].upload("renamed.png", mine, "image/png").run()
    assert not app.exception
    assert (warnings(app), list(app.info)) == ([], [])
    state = explored(app)
    assert (state.upload, state.name, state.target, state.method) == (digest(mine), "renamed.png", 285, "layercam")
    assert class_box(app).value == 285
    for data in (mine, other):
        forget(hashlib.sha256(data).hexdigest())


def test_the_question_for_a_picture_goes_when_another_is_chosen():
    app = visit(write(Explored(upload="0" * 16, name="gone.png")))
    assert app.info
    app.segmented_control(key="source").set_value("Photos").run()
    assert not app.info
    assert explored(app).photo == "Coffee"


def test_a_network_that_must_be_downloaded_is_offered_and_the_link_keeps(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    said = write(Explored(photo="Cat", model="resnet18", target=281, layers=("layer4.1.relu",), method="layercam"))
    app = visit(said)
    assert "is not on this server yet" in app.info[0].value
    assert any(button.label.startswith("Download") for button in app.button)
    state = explored(app)
    assert (state.model, state.target, state.layers) == ("resnet18", 281, ("layer4.1.relu",))


@pytest.mark.parametrize("page", ["explore", "compare", "robustness"])
def test_the_result_from_before_stays_while_a_network_must_be_downloaded(page, monkeypatch, tmp_path):
    app = visit({}, f"pages/{page}.py")
    shown = sorted(message.markup for message in messages(app))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    app.selectbox(key="model").set_value("resnet18").run()
    assert "is not on this server yet" in app.info[0].value
    assert not app.exception
    assert sorted(message.markup for message in messages(app)) == shown
    assert OUTDATED in html(app)
    assert address(app)["model"] == "resnet18"
    app.selectbox(key="model").set_value("efficientnet-lite0").run()
    assert OUTDATED not in html(app)


ROBUST = Swept(
    photos=("Cat", "Coffee"),
    shapes=2,
    uploads=(),
    names=(),
    fit="squeeze",
    model="efficientnet-lite1",
    methods=("layercam",),
    merged=(),
    noises=("blur", "shot"),
    levels=(0.3, 1.0),
    draws=4,
)


def test_a_link_to_the_robustness_page_sets_every_control():
    app = visit(write(ROBUST), "pages/robustness.py")
    assert swept(app) == ROBUST
    assert warnings(app) == []
    assert app.multiselect(key="sweep_photos").value == ["Cat", "Coffee"]
    assert app.number_input(key="sweep_shapes").value == 2
    assert app.selectbox(key="model").value == "efficientnet-lite1"
    assert app.multiselect(key="sweep_bases").value == []
    assert app.pills(key="sweep_levels").value == [0.3, 1.0]
    assert "4 pictures × 16 noisy copies" in progress(app)[0]
    app.number_input(key="sweep_draws").set_value(1).run()
    assert swept(app).draws == 1


def test_each_page_writes_its_own_address_and_goes_on_as_it_was():
    app = visit({"v": "1", "method": "layercam", "photo": "Cat"})
    before = address(app)
    app.switch_page("pages/robustness.py").run()
    assert swept(app).photos == ("Coffee", "Cat", "Rocket", "Astronaut")
    assert "photo" not in address(app)
    app.switch_page("pages/explore.py").run()
    assert address(app) == before


def test_what_is_wrong_with_a_sweep_is_named():
    app = visit(
        {"v": "1", "photos": "Cat~Nobody", "levels": "0.2~7", "draws": "2", "methods": ""}, "pages/robustness.py"
    )
    assert "photos `Cat~Nobody`, levels `0.2~7`" in warnings(app)[0]
    state = swept(app)
    assert (state.photos, state.methods, state.draws) == (("Coffee", "Cat", "Rocket", "Astronaut"), (), 2)


def test_uploads_of_a_sweep_are_asked_for_and_a_network_for_shapes_stays():
    mine, other = png(PIXELS), png(255 - PIXELS)
    said = Swept(photos=(), shapes=1, uploads=(digest(mine), "f" * 16), names=("a.png", "b.png"), model="shapes-vgg11")
    app = visit(write(said), "pages/robustness.py")
    assert "`a.png` and `b.png`" in app.info[0].value
    assert swept(app).uploads == said.uploads
    app.file_uploader[0].upload("a.png", mine, "image/png")
    app.file_uploader[0].upload("other.png", other, "image/png").run()
    assert (
        "uses `b.png`. Uploads are not kept here: upload it again on the left. `other.png` is not" in app.info[0].value
    )
    assert app.selectbox(key="model").value == "shapes-vgg11"
    app.button(key="sweep_link_without").click().run()
    assert not app.exception
    assert not app.info
    assert swept(app).uploads == (digest(mine), digest(other))
    for data in (mine, other):
        forget(hashlib.sha256(data).hexdigest())
