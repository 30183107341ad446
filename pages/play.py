"""Play: change a map by hand, and see what each score makes of it."""

from functools import partial

import streamlit as st

from camviz.html.words import ABOUT_PLAY
from camviz.ui.page_frame import begin_page, name_tab, require_net, show_limits
from camviz.ui.play import link as playlink
from camviz.ui.play import view
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import shared_host, show_queue
from camviz.ui.server.streamlit_internals import Slot
from camviz.ui.session import SOURCE, class_key
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.picture import ask_for, choose_fit, choose_picture
from camviz.workbench.maps import predict
from camviz.workbench.pictures import SeenPicture

begin_page("pages/play.py")

link = playlink.open_link()
main = st.container()
main.html(view.HEADING)
left, right = main.columns([1.05, 1], gap="large")
with left:
    maps = Slot(st.container())
    change = view.choose_change()
with right:
    scores, more = Slot(st.container()), st.container()
show_limits(ABOUT_PLAY)
show_queue(Slot(st.container()))

with st.sidebar:
    if not SOURCE.is_set():  # a picture with a known truth
        ask_for("Shapes")
    picture = choose_picture()
    fit = choose_fit(picture)
    info = model_and_method.choose_model(synthetic=picture.synthetic)
net = require_net(link.place, info, partial(link.keep, picture, fit, info))

with gpu_memory(net):
    seen = SeenPicture(shared_host(), picture, net, fit)
    with st.sidebar:
        target = model_and_method.choose_class(net.labels, predict(seen), class_key(picture.id, net.info.name, fit))
        of = seen.explaining(target)
        recipe = model_and_method.choose_recipe(of)
        foot = st.container()
    link.keep(picture, fit, info, net, foot)
    name_tab(f"{picture.title}: {net.labels[target]}", "Play")
    maps.html(view.maps_html(of, recipe, change))
    with more:
        view.show_scores(scores, of, recipe, change)
