"""Compare: many maps of one picture side by side, by method, layer, class, model, noise level or merging rule."""

from functools import partial
from html import escape

import streamlit as st

from camviz.html.comparison import MODES, question, too_many
from camviz.html.words import about_arcc, percent
from camviz.ui.compare import controls as comparecontrols
from camviz.ui.compare import link as comparelink
from camviz.ui.compare.downloads import offer_grid
from camviz.ui.compare.grid import make_grid, size
from camviz.ui.compare.pinview import PinPlaces
from camviz.ui.compare.view import show_grid
from camviz.ui.page_frame import FootPlaces, HeadingPlaces, begin_page, name_tab, require_net, show_limits
from camviz.ui.panels.layer_strip import show_tools
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import shared_host, show_queue
from camviz.ui.server.status_panel import show_server
from camviz.ui.server.streamlit_internals import Slot
from camviz.ui.session import COMPARE_MODE
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.picture import choose_fit, choose_picture, paste
from camviz.workbench.maps import predict
from camviz.workbench.pictures import SeenPicture

begin_page("pages/compare.py")

first = not COMPARE_MODE.is_set()  # the first run of this page in a visit
link = comparelink.open_link()
main = st.container()
heading = HeadingPlaces(main)
pinned, grid_place = main.container(), main.container()
if first:  # reserve the space until there is something to show
    heading.hold()
show_limits(about_arcc())
show_queue(Slot(st.container()))

with st.sidebar:
    picture = choose_picture()
    fit = choose_fit(picture)
    mode = comparecontrols.choose_mode()
    info = model_and_method.choose_model(synthetic=picture.synthetic)
net = require_net(link.place, info, partial(link.keep, picture, fit, info))

with gpu_memory(net):
    seen = SeenPicture(shared_host(), picture, net, fit)
    with st.sidebar:
        target = comparecontrols.choose_target(mode, seen)
        clean = seen.explaining(target)
        choice = comparecontrols.choose(mode, clean)
        sort = comparecontrols.choose_sort(known=picture.synthetic)
        foot = FootPlaces()
        link.keep(picture, fit, info, net, foot.link)

    labels = [net.labels[index] for index in choice.classes or (target,)]
    name_tab(f"{picture.title}: {' or '.join(labels)}", "Compare")
    sure = percent(float(predict(seen)[choice.classes[0] if choice.classes else target]))
    heading.title.html(
        f'<h1 class="cv-title" hidden>{question(*map(escape, labels))}'
        f"<small>{escape(picture.title)} · {escape(net.info.title)} is {sure} sure</small></h1>"
    )
    show_tools(heading.tools, clean, paste, merges=False)
    pins = PinPlaces(pinned)
    problem = comparecontrols.missing(choice) or too_many(*size(choice), MODES[mode])
    if problem:
        grid_place.info(problem, icon=":material/checklist:")
    else:
        grid = make_grid(choice, clean, comparecontrols.layers_of)
        show_grid(grid_place, grid, clean, sort, first)
        offer_grid(foot.downloads, grid)
    pins.score()
show_server(foot.server, net.device)
