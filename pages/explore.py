"""Explore: one picture, its maps layer by layer, their merge (RefineCAM), and how far to trust the result."""

from functools import partial

import streamlit as st

from camviz.html.layer_strip import strip_skeleton
from camviz.html.score_chart import chart_scores
from camviz.html.words import ABOUT_ROBUSTNESS, about_arcc, guide_html, scores_table
from camviz.results.finding import result_title
from camviz.ui.explore import link as explorelink
from camviz.ui.explore.curve import show_curve
from camviz.ui.explore.pair import PairPlaces
from camviz.ui.page_frame import FootPlaces, HeadingPlaces, begin_page, name_tab, require_net, show_limits
from camviz.ui.panels.downloads import offer
from camviz.ui.panels.layer_strip import heading_html, show_strip, show_tools
from camviz.ui.panels.more_scores import shown_scores
from camviz.ui.panels.score_chart import ScorePlaces, show_scores, show_waiting
from camviz.ui.panels.slow_progress import MapsPlace
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import shared_host, show_queue
from camviz.ui.server.status_panel import show_server
from camviz.ui.server.streamlit_internals import Slot
from camviz.ui.session import MODEL, class_key
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.noise import choose_noise, explained_copy, noise_is_on
from camviz.ui.sidebar.picture import choose_fit, choose_picture, paste
from camviz.workbench.maps import predict
from camviz.workbench.pictures import SeenPicture
from camviz.workbench.scores import known_scores

begin_page("pages/explore.py")

first = not MODEL.is_set()  # the first run of this visit
link = explorelink.open_link()
main = st.container()
heading = HeadingPlaces(main)
pair = PairPlaces(main) if noise_is_on() else None
strip = MapsPlace(main.container(), "strip")
scores = ScorePlaces(st.container())
if first:  # reserve the space until there is something to show
    heading.hold()
    if pair is None:
        strip.html(strip_skeleton(layers=4))
    scores.hold(layers=4)
st.html(guide_html())
all_scores = st.container()
show_limits(about_arcc(), ABOUT_ROBUSTNESS)
show_queue(Slot(st.container()))

with st.sidebar:
    picture = choose_picture()
    fit = choose_fit(picture)
    noise = choose_noise()
    follow = st.container()
    info = model_and_method.choose_model(synthetic=picture.synthetic)
net = require_net(link.place, info, partial(link.keep, picture, fit, info))

with gpu_memory(net):
    seen = SeenPicture(shared_host(), picture, net, fit)
    key = class_key(picture.id, net.info.name, fit)
    if noise and pair:
        pair.show_seen(seen, noise, key)
    with st.sidebar:
        target = model_and_method.choose_class(net.labels, predict(seen), key)
        clean = seen.explaining(target)
        recipe = model_and_method.choose_recipe(clean)
        shown = explained_copy(clean, noise, follow) if noise else clean
        foot = FootPlaces()
        link.keep(picture, fit, info, net, foot.link)

    name_tab(f"{picture.title}: {net.labels[target]}", "Explore")
    heading.title.html(heading_html(clean, recipe))
    if noise and pair:
        pair.show((clean, shown), recipe, on_wait=lambda: show_waiting(scores, shown, recipe))
        with pair.beside:
            show_curve(clean, recipe, noise)
    else:
        show_strip(strip, clean, recipe, lambda: show_waiting(scores, clean, recipe), key.set)
    show_tools(heading.tools, shown, paste)
    show_scores(scores, shown, recipe, clean if noise else None)
    offer(foot.downloads, shown, recipe)
    names = shown_scores(shown)
    if chart_scores(names) != names:
        with all_scores.expander("All scores, and what each measures", icon=":material/target:"):
            st.markdown(scores_table(known_scores(shown, recipe, names), result_title(recipe)))
show_server(foot.server, net.device)
