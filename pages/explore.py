"""Explore: one picture, its layer-wise maps merging into RefineCAM, and how far the result can be trusted."""

from html import escape

import streamlit as st

from camviz.methods import METHODS
from camviz.ui import controls, source
from camviz.ui.compute import Scene, gpu_memory, predict
from camviz.ui.scoring import ScorePlaces, show_scores, show_waiting
from camviz.ui.slot import Slot
from camviz.ui.strip import strip_skeleton
from camviz.ui.stripview import result_title, show_strip
from camviz.ui.style import show_style
from camviz.ui.truth import get_truth, get_truth_scores
from camviz.ui.words import ABOUT_ARCC, guide_html, percent, truth_table

show_style()

main = st.container()
title, strip = Slot(main.container()), Slot(main.container())
scores = ScorePlaces(st.container())
if "model" not in st.session_state:  # the first run of this visit: hold the places until there is more to see
    title.html('<p class="cv-title" hidden>&nbsp;<small>&nbsp;</small></p>')
    strip.html(strip_skeleton(layers=4))
    scores.hold(layers=4)
st.html(guide_html())
all_scores = st.container()
with st.expander("What these numbers mean, and what they cannot tell", icon=":material/menu_book:"):
    st.markdown(ABOUT_ARCC)

with st.sidebar:
    picture = source.choose_picture()
    fit = source.choose_fit(picture)
    info = controls.choose_model(synthetic=picture.sample is not None)
with main:
    net = controls.ready_net(info)
if net is None:
    st.stop()

with gpu_memory(net):
    probabilities = predict(picture, net, fit)
    with st.sidebar:
        target = controls.choose_class(net.labels, probabilities, f"{picture.id[:12]}-{net.info.name}-{fit}")
        scene = Scene(picture, net, fit, target)
        truth = get_truth(scene)
        outline = controls.choose_outline(truth)
        recipe = controls.choose_recipe(scene)

    label, probability = net.labels[target], float(probabilities[target])
    title.html(
        f'<p class="cv-title" hidden>Where does {escape(net.info.title)} see <b>{escape(label)}</b>?'
        f"<small>{escape(picture.title)} · {percent(probability)} sure · "
        f"{METHODS[recipe.method].title}</small></p>"
    )
    show_strip(strip, scene, recipe, probabilities, outline, on_wait=lambda: show_waiting(scores, scene, recipe))
    show_scores(scores, scene, recipe, probability)
    if truth is not None:
        with all_scores.expander("Every score against the true mask, and what each asks", icon=":material/target:"):
            st.markdown(truth_table(get_truth_scores(scene, recipe), result_title(recipe)))
