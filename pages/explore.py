"""Explore: one picture, its layer-wise maps merging into RefineCAM, and how far the result can be trusted."""

from html import escape
from pathlib import Path

import streamlit as st

from camviz.methods import METHODS
from camviz.ui import controls, source
from camviz.ui.compute import Scene, predict
from camviz.ui.scoring import show_scores
from camviz.ui.strip import strip_skeleton
from camviz.ui.stripview import show_strip
from camviz.ui.words import ABOUT_ARCC, HOW_TO_READ

st.html(Path(__file__).parent.parent / "assets" / "style.css")

heading, guide = st.columns([5, 1], vertical_alignment="center")
title = heading.empty()
with guide.popover("How to read this", icon=":material/help:", width="stretch"):
    st.markdown(HOW_TO_READ)
strip = st.empty()
strip.html(strip_skeleton(layers=4))
progress = st.empty()
scores = st.container()
with st.expander("What these numbers mean, and what they cannot tell", icon=":material/menu_book:"):
    st.markdown(ABOUT_ARCC)

with st.sidebar:
    picture = source.choose_picture()
    fit = source.choose_fit()
    info = controls.choose_model()
with strip.container():
    net = controls.ready_net(info)
if net is None:
    st.stop()

probabilities = predict(picture, net, fit)
with st.sidebar:
    target = controls.choose_class(net.labels, probabilities, f"{picture.id[:12]}-{net.info.name}-{fit}")
    scene = Scene(picture, net, fit, target)
    recipe = controls.choose_recipe(scene)

label, probability = net.labels[target], float(probabilities[target])
title.html(
    f'<p class="cv-title">Where does {escape(net.info.title)} see <b>{escape(label)}</b>?'
    f"<small>{escape(picture.title)} · {controls.percent(probability)} sure · {METHODS[recipe.method].title} · "
    f"{escape(picture.credit)}</small></p>"
)
show_strip(strip, progress, scene, recipe, probabilities)
with scores:
    show_scores(scene, recipe, probability)
