"""A bundle that a person opens: how it is kept, how it is computed again, and how Explore goes on with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import streamlit as st

from camviz.methods import METHODS, Progress
from camviz.models import Net, list_models
from camviz.results import bundle
from camviz.results.bundle import BundleError
from camviz.results.finding import Finding
from camviz.ui.explore import link as explorelink
from camviz.ui.links.link_format import Explored, code
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot, UploadedFile
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.noise import STEP
from camviz.ui.sidebar.picture import make_own
from camviz.workbench.findings import find
from camviz.workbench.pictures import forget, network_key, picture_id, read_picture

# More would keep the queue busy for minutes, without a moment at which others could come in between.
MOST_LAYERS = 50
_MEGABYTES = 100  # of an upload
# Seconds after which a slow method's own speed tells how much is left.
_SETTLED = 1
# Session keys: what is open, the upload that it came from, how often one was let go, which empties the upload widget,
# and the bundle whose computation was stopped.
_OPEN, _UPLOAD, _TIMES_CLOSED, _STOPPED = "bundle_open", "bundle_upload", "bundle_times_closed", "bundle_stopped"


@dataclass(frozen=True, eq=False)
class Opened:
    """A bundle's finding, named by the SHA-256 of the bundle's bytes."""

    id: str
    stored: Finding = field(repr=False)


def choose_bundle() -> Opened | None:
    """Ask for a bundle; the one opened last stays until another can be read, or the person lets it go."""
    offered = st.file_uploader(
        "Bundle (.camviz.zip)",
        key=f"bundle-{st.session_state.get(_TIMES_CLOSED, 0)}",
        max_upload_size=_MEGABYTES,
    )
    if offered is not None and offered.file_id != st.session_state.get(_UPLOAD):
        _accept(offered)
    st.caption("It is read in this server's memory: it is not unpacked to disk, and nothing in it is run.")
    found: Opened | None = st.session_state.get(_OPEN)
    return found


def _accept(upload: UploadedFile) -> None:
    """Open a bundle in place of the one before; if it is none, say why and keep that."""
    data = upload.getvalue()
    try:
        new = Opened(hashlib.sha256(data).hexdigest(), bundle.read(data))
    except BundleError as error:
        st.error(as_text(str(error)), icon=":material/folder_zip:")
        return
    _close()
    st.session_state[_OPEN], st.session_state[_UPLOAD] = new, upload.file_id


def offer_to_close() -> None:
    """Offer to let go of the bundle and of all that was computed from it."""
    st.button("Forget this bundle", icon=":material/delete:", on_click=_forget, width="stretch")


def _forget() -> None:
    _close()
    st.session_state[_TIMES_CLOSED] = st.session_state.get(_TIMES_CLOSED, 0) + 1
    st.toast("The bundle and all that was computed from it are gone.", icon=":material/delete:")


def _close() -> None:
    before: Opened | None = st.session_state.pop(_OPEN, None)
    for key in (_UPLOAD, _STOPPED):
        st.session_state.pop(key, None)
    if before is not None:
        forget(shared_host(), before.id)
        forget(shared_host(), picture_id(before.stored.picture, before.stored.shapes))


def is_known(opened: Opened) -> bool:
    """Whether the bundle's network is one of camviz's: a name from a stranger's file must not become a path."""
    return opened.stored.settings.model in {info.name for info in list_models()}


def ready_net(opened: Opened) -> Net | None:
    """Load the bundle's network; if that cannot be, say what to do and return None."""
    name = opened.stored.settings.model
    if not is_known(opened):
        st.warning(
            f"The network {code(name)} is not one of camviz's, so only the stored result is shown. If you have its "
            "checkpoint, `python -m camviz open BUNDLE --model PATH` computes it again.",
            icon=":material/help:",
        )
        return None
    return model_and_method.ready_net(next(info for info in list_models() if info.name == name))


def compute_again(opened: Opened, net: Net, wait: Callable[[], Progress | None], verdict: Slot) -> Finding | None:
    """The finding computed again; if it cannot be, say so and return None.

    `wait` is called unless the result is at hand already; what it returns is told the progress.
    """
    layers = opened.stored.settings.recipe.layers
    if len(layers) > MOST_LAYERS:
        verdict.say(
            "warning",
            f"It merges {len(layers)} layers, and more than {MOST_LAYERS} are not computed here: use "
            "`python -m camviz open BUNDLE`.",
            ":material/layers:",
        )
        return None
    key: tuple[Hashable, ...] = (opened.id, network_key(net), "finding")
    progress = None if shared_host().results.has(key) else wait()
    try:
        return shared_host().kept(key, lambda: _find(opened.stored, net, progress))
    except ValueError as error:  # a layer that gives no map, a class of another network
        verdict.say(
            "warning",
            f"This cannot be computed again here ({as_text(str(error))}): ask for the file again, or open it with the "
            "camviz that wrote it.",
            ":material/error:",
        )
        return None


def was_stopped(opened: Opened) -> bool:
    """Whether the person has stopped the computation; offers to begin anew."""
    if st.session_state.get(_STOPPED) != opened.id:
        return False
    st.info("Stopped: only the stored result is shown.", icon=":material/stop_circle:")
    st.button("Compute it again", icon=":material/play_arrow:", on_click=_go_on)
    return True


def _find(stored: Finding, net: Net, progress: Progress | None) -> Finding:
    fresh = find(
        net,
        stored.picture,
        stored.name,
        stored.settings,
        progress,
        scores=bool(stored.scores),
        host=shared_host(),
        shapes=stored.shapes,
    )
    if fresh.settings != stored.settings:
        raise ValueError("its layers are not in the order in which the network reaches them")
    return fresh


def show_waiting(opened: Opened, place: Slot, skeleton: str) -> Progress | None:
    """Show the empty panels; over them, for a slow method, the progress and a way to stop."""
    method = METHODS[opened.stored.settings.recipe.method]
    if not method.is_slow:
        place.html(skeleton)
        return None
    with place.container(key="slow-strip-bundle"):
        st.html(skeleton)
        with st.container(key="slow-progress-bundle"):
            bar = st.progress(0.0, f"{method.title} runs the network many times")
            st.button("Stop", icon=":material/stop:", key="stop-bundle", on_click=_stop, args=(opened.id,))
    return _counting(bar, method.title)


def _counting(bar: DeltaGenerator, title: str) -> Progress:
    """What moves a bar on, and tells how long it will take as soon as that is known."""
    start = time.monotonic()

    def show(done: int, total: int) -> None:
        spent = time.monotonic() - start
        left = f", {model_and_method.duration(spent * (total - done) / done)} left" if spent > _SETTLED else ""
        bar.progress(done / total, f"{title}: {done / total:.0%} done{left}")

    return show


def _stop(bundle_id: str) -> None:
    st.session_state[_STOPPED] = bundle_id


def _go_on() -> None:
    st.session_state.pop(_STOPPED, None)


def offer_explore(opened: Opened, net: Net | None) -> None:
    """Offer to go on in Explore with the bundle's picture and settings, and say where these cannot be the same."""
    asked = st.button("Continue in Explore", icon=":material/image_search:", type="primary", width="stretch")
    for sentence in departures(opened.stored, net):
        st.caption(sentence)
    if asked:
        stored = opened.stored
        own = read_picture(shared_host(), stored.picture, stored.name)
        make_own(own)
        explorelink.apply(as_explored(stored, net, own.id))
        st.switch_page("pages/explore.py")


def as_explored(stored: Finding, net: Net | None, digest: str) -> Explored:
    """A finding's settings as Explore's, as near as its controls come; `digest` is the picture's SHA-256."""
    settings = stored.settings
    recipe, noise = settings.recipe, settings.noise
    return Explored(
        upload=digest,
        fit=settings.fit,
        model=settings.model,
        target=settings.target,
        method=recipe.method,
        layers=tuple(layer for layer in recipe.layers if net is None or layer in net.layers) or None,
        rule=recipe.rule,
        noise=noise.kind if noise else None,
        level=_on_slider(noise.level) if noise else 0.0,
        draw=noise.seed if noise else None,
        follow=False if noise else None,  # the bundle's class, whatever is predicted now
    )


def departures(stored: Finding, net: Net | None) -> list[str]:
    """What Explore will not show as the bundle says, each in a sentence of Markdown."""
    recipe, noise = stored.settings.recipe, stored.settings.noise
    said = []
    if noise and abs(_on_slider(noise.level) - noise.level) > 1e-9:
        said.append(
            f"Explore's noise goes in steps of {STEP:g}: there its level will be {_on_slider(noise.level):.2f}, "
            f"not {noise.level:.4g}."
        )
    others = [layer for layer in recipe.layers if net is not None and layer not in net.layers]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        said.append(f"Explore knows one layer a stage: {code(others[0])}{more} is left out there.")
    if recipe.seed:
        said.append(f"Explore draws with seed 0, not {recipe.seed}.")
    return said


def _on_slider(level: float) -> float:
    return round(round(level / STEP) * STEP, 2)


def as_text(words: str) -> str:
    """A stranger's words for Markdown, in which nothing is read as markup, so that they cannot show a picture."""
    return "".join(f"\\{sign}" if sign in r"\`*_[]<>~$:&!|#" else sign for sign in words)
