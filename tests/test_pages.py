"""Each page once, with a small network: what it shows is what the compute core gives."""

import numpy as np
import pytest
from server import ROOT
from shape_result import MODEL, PNG
from streamlit.testing.v1 import AppTest
from streamlit_messages import html, progress
from viewing import messages

import camviz
from camviz.recipe import Recipe
from camviz.results import bundle
from camviz.results.finding import Settings
from camviz.samples import SAMPLES
from camviz.trust.play import SLOW, TRUTHS, WATCHED
from camviz.trust.ranked_maps import BLIND
from camviz.trust.sealed_study import SHIPPED
from camviz.trust.study_results import load, trust_of_metrics
from camviz.workbench.findings import find

pytestmark = pytest.mark.usefixtures("half_size")


@pytest.fixture(scope="module")
def net(half_size):
    return half_size(MODEL, "cpu")


@pytest.fixture(scope="module")
def maps(net):
    """What Grad-CAM++ and RefineCAM give for the cat: one map a layer (L, h, w), and the merged map (h, w)."""
    view = net.view(camviz.load_image(SAMPLES["Cat"].path))
    layers = camviz.cam(camviz.capture(net.module, net.inputs(view[None]), layers=net.layers), "gradcam++")
    return layers[:, 0].numpy(), camviz.refine(layers)[0].numpy()


def visit(page, **link):
    """A page as a link opens it."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    app.switch_page(f"pages/{page}.py")
    app.query_params.update({"v": "1", **link})
    app.run()
    assert not app.exception
    return app


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_explore(maps):
    app = visit("explore", model=MODEL, photo="Cat", method="gradcam++")
    (strip,) = [message for message in messages(app) if 'class="cv-strip"' in message.markup]
    close(strip.maps[strip.header["result"]], maps[1])
    (scores,) = [body for body in html(app) if 'class="cv-scores' in body]
    assert scores.count('role="row"') == 1 + 4 + 1 + 2  # a head, the layers, their merge, two blind guesses


def test_play():
    """The slow scores come when they are asked for, of this change alone."""
    app = visit("play", model=MODEL, shape="circle", layers="layer4")
    tables = [body for body in html(app) if 'class="cv-played"' in body]
    assert [table.count('<th scope="row">') for table in tables] == [
        len((*TRUTHS, *WATCHED)),
        len(camviz.SCORES) - len((*TRUTHS, *WATCHED, *SLOW)),
    ]
    (button,) = [button for button in app.button if "slow scores" in button.label]
    button.click().run()
    assert not app.exception
    everything = "".join(body for body in html(app) if 'class="cv-played"' in body)
    assert all(score.title in everything for score in camviz.SCORES.values())
    assert not [button for button in app.button if "slow scores" in button.label or button.label == "Stop"]
    app.slider[0].set_value(3).run()
    assert [button for button in app.button if "slow scores" in button.label]


def test_compare(maps):
    app = visit("compare", model=MODEL, photo="Cat", compare="layers", methods="gradcam++")
    (row,) = [message for message in messages(app) if str(message.header.get("subject")).startswith("row-")]
    close(row.maps[:4], maps[0][::-1])
    close(row.maps[4], maps[1])


def test_robustness():
    plan = {"photos": "Cat", "shapes": "0", "noises": "blur", "levels": "0.5", "draws": "1"}
    app = visit("robustness", model=MODEL, methods="gradcam++", merged="", **plan)
    next(button for button in app.button if button.label == "Start").click().run()
    for _ in range(20):
        if "Done" in progress(app)[0]:
            break
        app.run()
    assert not app.exception
    assert "Done" in progress(app)[0]


def test_evaluate():
    app = visit("evaluate", metric="coherency", area="plain", blind="off")
    chart, wrong = [body for body in html(app) if 'class="cv-intervals' in body]
    table = trust_of_metrics(load(SHIPPED), equal_area=False, chosen=lambda rows: rows[~rows["map"].isin(BLIND)])
    assert chart.count('<div role="row"') == len(table)
    assert f'aria-label="{table.loc["arcc", "pair_accuracy"]:.2f}, 95 %: {table.loc["arcc", "low"]:.2f} to' in chart
    assert wrong.count('<div role="row"') == 10  # four wrong maps; the mask, on four grids, and blurred
    (pairs,) = [body for body in html(app) if 'class="cv-examples' in body]
    assert pairs.count("Right: it prefers the first map") == pairs.count("Fooled: it prefers the second map") == 2
    assert pairs.count("Coherency 0.") + pairs.count("Coherency 1.") == 8
    assert "(blind)" not in pairs


def test_reproduce(net):
    app = visit("reproduce")
    settings = Settings(MODEL, Recipe("gradcam", ("layer4",)))
    data = bundle.write(find(net, PNG, "a shape", settings, scores=False))
    app.file_uploader[0].set_value(("a.camviz.zip", data, "application/zip")).run()
    assert not app.exception
    assert len([message for message in messages(app) if "cv-panes" in message.markup]) == 2
    assert not app.warning
    assert "agree" in app.success[0].value
