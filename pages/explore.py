"""Explore: one picture, its maps layer by layer, their merge (RefineCAM), and how far to trust the result."""

import streamlit as st

from camviz.html.layer_strip import strip_skeleton
from camviz.html.score_chart import chart_scores
from camviz.html.words import ABOUT_ARCC, ABOUT_ROBUSTNESS, guide_html, scores_table
from camviz.results.finding import result_title
from camviz.ui.explore import link as explorelink
from camviz.ui.explore.curve import show_curve
from camviz.ui.explore.pair import PairPlaces
from camviz.ui.page_frame import require_frame
from camviz.ui.panels import viewer
from camviz.ui.panels.downloads import offer
from camviz.ui.panels.layer_strip import heading_html, show_strip, show_tools
from camviz.ui.panels.score_chart import ScorePlaces, show_scores, show_waiting
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import prepare_server, shared_host, show_queue
from camviz.ui.server.status_panel import show_engine
from camviz.ui.server.streamlit_internals import Slot
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.noise import choose_noise, noise_is_on, perturbed_scene
from camviz.ui.sidebar.picture import choose_fit, choose_picture, paste
from camviz.ui.style import show_style
from camviz.workbench.maps import predict
from camviz.workbench.pictures import SeenPicture
from camviz.workbench.scores import known_scores, score_names

require_frame("pages/explore.py")
prepare_server()
show_style()
viewer.prepare()

first = "model" not in st.session_state  # the first run of this visit
link = explorelink.open_link()
main = st.container()
title = Slot(main.container())
tools = Slot(main.container())
pair = PairPlaces(main) if noise_is_on() else None
strip = Slot(main.container())
scores = ScorePlaces(st.container())
if first:  # reserve the space until there is something to show
    title.html('<p class="cv-title" hidden>&nbsp;<small>&nbsp;</small></p>')
    tools.html('<div class="cv-tools"></div>')
    if pair is None:
        strip.html(strip_skeleton(layers=4))
    scores.hold(layers=4)
st.html(guide_html())
all_scores = st.container()
with st.expander("What these numbers mean, and their limits", icon=":material/menu_book:"):
    st.markdown(ABOUT_ARCC)
    st.markdown(ABOUT_ROBUSTNESS)
show_queue(Slot(st.container()))

with st.sidebar:
    picture = choose_picture()
    fit = choose_fit(picture)
    noise = choose_noise()
    follow = st.container()
    info = model_and_method.choose_model(synthetic=picture.synthetic)
with main:
    net = model_and_method.ready_net(info)
if net is None:
    link.keep(picture, fit, info)
    st.stop()

with gpu_memory(net):
    sight = SeenPicture(shared_host(), picture, net, fit)
    if noise and pair:
        pair.show_seen(sight, noise)
    with st.sidebar:
        target = model_and_method.choose_class(
            net.labels, predict(sight), model_and_method.class_key(picture.id, net.info.name, fit)
        )
        clean = sight.explaining(target)
        recipe = model_and_method.choose_recipe(clean)
        shown = perturbed_scene(clean, noise, follow) if noise else clean
        downloads = st.popover("Download", icon=":material/download:", width="stretch")
        link_place, server_place = st.columns(2)
        link.keep(picture, fit, info, net, link_place)
        engine = Slot(server_place.popover("Server", icon=":material/memory:", width="stretch"))

    title.html(heading_html(clean, recipe))
    if noise and pair:
        pair.show((clean, shown), recipe, on_wait=lambda: show_waiting(scores, shown, recipe))
        with pair.beside:
            show_curve(clean, recipe, noise)
    else:
        show_strip(strip, clean, recipe, on_wait=lambda: show_waiting(scores, clean, recipe))
    show_tools(tools, shown, paste)
    show_scores(scores, shown, recipe, clean if noise else None)
    offer(downloads, shown, recipe)
    names = score_names(shown)
    if chart_scores(names) != names:
        with all_scores.expander("All scores, and what each measures", icon=":material/target:"):
            st.markdown(scores_table(known_scores(shown, recipe, names), result_title(recipe)))
show_engine(engine, net.device)
