"""An opened bundle: how it is kept, how it is computed again, and how Explore continues with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import streamlit as st

from camviz.methods import METHODS, Progress
from camviz.models import Net, list_models
from camviz.results import bundle
from camviz.results.bundle import BundleError
from camviz.results.finding import Finding
from camviz.ui.escaping import as_text, code
from camviz.ui.explore import link as explorelink
from camviz.ui.links.link_format import Explored
from camviz.ui.panels.slow_progress import MapsPlace
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import Slot, UploadedFile
from camviz.ui.session import BUNDLE_OPEN, BUNDLE_STOPPED, BUNDLE_TIMES_CLOSED, BUNDLE_UPLOAD, bundle_key
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.noise import STEP
from camviz.ui.sidebar.picture import make_own
from camviz.workbench.cache_keys import Key, Kind
from camviz.workbench.findings import find_again
from camviz.workbench.pictures import forget, network_key, picture_id, read_picture

# More would keep the queue busy for minutes, without letting others take a turn.
MOST_LAYERS = 50
_MEGABYTES = 100  # of an upload


@dataclass(frozen=True, eq=False)
class Opened:
    """A bundle's stored result; the id is the SHA-256 of the bundle's bytes."""

    id: str
    stored: Finding = field(repr=False)


def choose_bundle() -> tuple[Opened | None, bool]:
    """Ask for a bundle; the one opened last stays until another one can be read or the user removes it.

    Returns:
        the open bundle, and whether the file that is chosen now is none.
    """
    upload = st.file_uploader(
        "Bundle (.camviz.zip)",
        key=bundle_key(BUNDLE_TIMES_CLOSED.get(0)).name,
        max_upload_size=_MEGABYTES,
    )
    is_new = upload is not None and upload.file_id != BUNDLE_UPLOAD.get()
    refused = upload is not None and is_new and not _accept(upload)
    st.caption("The bundle is read in this server's memory. It is not unpacked to disk, and nothing in it is run.")
    return BUNDLE_OPEN.get(), refused


def _accept(upload: UploadedFile) -> bool:
    """Open a bundle instead of the current one; if the file is not a bundle, say why and keep the current one."""
    data = upload.getvalue()
    try:
        new = Opened(hashlib.sha256(data).hexdigest(), bundle.read(data, shared_host().reader))
    except BundleError as error:
        st.error(f"{as_text(upload.name)}: {as_text(str(error))}", icon=":material/folder_zip:")
        return False
    _close()
    BUNDLE_OPEN.set(new)
    BUNDLE_UPLOAD.set(upload.file_id)
    return True


def offer_to_close() -> None:
    """Offer to delete the bundle and everything computed from it."""
    st.button("Forget this bundle", icon=":material/delete:", on_click=_forget, width="stretch")


def _forget() -> None:
    _close()
    BUNDLE_TIMES_CLOSED.set(BUNDLE_TIMES_CLOSED.get(0) + 1)
    st.toast("The bundle and everything computed from it are deleted.", icon=":material/delete:")


def _close() -> None:
    before = BUNDLE_OPEN.pop()
    BUNDLE_UPLOAD.pop()
    BUNDLE_STOPPED.pop()
    if before is not None:
        forget(shared_host(), before.id)
        forget(shared_host(), picture_id(before.stored.picture, before.stored.shapes))


def is_known(opened: Opened) -> bool:
    """Whether camviz includes the bundle's network: a name from a stranger's file must not become a path."""
    return opened.stored.settings.model in {info.name for info in list_models()}


def ready_net(opened: Opened) -> Net | None:
    """Load the bundle's network; if that is impossible, say what to do and return None."""
    name = opened.stored.settings.model
    if not is_known(opened):
        st.warning(
            f"The network {code(name)} is not part of camviz, so only the stored result is shown. If you have its "
            "checkpoint, `python -m camviz open BUNDLE --model PATH` computes the result again.",
            icon=":material/help:",
        )
        return None
    return model_and_method.ready_net(next(info for info in list_models() if info.name == name))


def compute_again(opened: Opened, net: Net, wait: Callable[[], Progress | None], verdict: Slot) -> Finding | None:
    """The result computed again; if that is impossible, say why and return None.

    `wait` is called unless the result is already available; it returns a callback for the progress.
    """
    layers = opened.stored.settings.recipe.layers
    if len(layers) > MOST_LAYERS:
        verdict.say(
            "warning",
            f"This bundle merges {len(layers)} layers, but the app recomputes at most {MOST_LAYERS}. Use "
            "`python -m camviz open BUNDLE` instead.",
            ":material/layers:",
        )
        return None
    key = Key(Kind.RESULT, opened.id, network_key(net))
    progress = None if shared_host().results.has(key) else wait()
    try:
        return shared_host().kept(key, lambda: _find(opened.stored, net, progress))
    except ValueError as error:  # a layer that gives no map, a class of another network
        verdict.say(
            "warning",
            f"This result cannot be computed again here ({as_text(str(error))}). Ask for the file again, or open it "
            "with the version of camviz that wrote it.",
            ":material/error:",
        )
        return None


def was_stopped(opened: Opened) -> bool:
    """Whether the user has stopped the computation; if so, offer to start it again."""
    if BUNDLE_STOPPED.get() != opened.id:
        return False
    st.info("Stopped: only the stored result is shown.", icon=":material/stop_circle:")
    st.button("Compute it again", icon=":material/play_arrow:", on_click=_restart)
    return True


def _find(stored: Finding, net: Net, progress: Progress | None) -> Finding:
    fresh = find_again(net, stored, progress, shared_host())
    if fresh.settings != stored.settings:
        raise ValueError("its layers are not in the network's order")
    return fresh


def show_waiting(opened: Opened, place: MapsPlace, skeleton: str) -> Progress | None:
    """Show the empty panels; for a slow method, with the progress and a stop button above them."""
    method = METHODS[opened.stored.settings.recipe.method]
    if not method.is_slow:
        place.html(skeleton)
        return None
    title = f"{method.title} runs the network many times"
    return place.wait(skeleton, title, None, partial(_stop, opened.id))


def _stop(bundle_id: str) -> None:
    BUNDLE_STOPPED.set(bundle_id)


def _restart() -> None:
    BUNDLE_STOPPED.pop()


def offer_explore(opened: Opened, net: Net | None) -> None:
    """Offer to continue in Explore with the bundle's picture and settings, and list what will differ there."""
    clicked = st.button("Continue in Explore", icon=":material/image_search:", type="primary", width="stretch")
    for sentence in departures(opened.stored, net):
        st.caption(sentence)
    if clicked:
        stored = opened.stored
        own = read_picture(shared_host(), stored.picture, stored.name)
        make_own(own)
        explorelink.apply(as_explored(stored, net, own.id))
        st.switch_page("pages/explore.py")


def as_explored(stored: Finding, net: Net | None, digest: str) -> Explored:
    """A result's settings as Explore's, as close as its controls allow; `digest` is the picture's SHA-256."""
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
        mirror_averaged=recipe.mirror_averaged,
        noise=noise.kind if noise else None,
        level=_on_slider(noise.level) if noise else 0.0,
        draw=noise.seed if noise else None,
        follow=False if noise else None,  # explain the bundle's class, whatever is predicted now
    )


def departures(stored: Finding, net: Net | None) -> list[str]:
    """What Explore will show differently from the bundle, one sentence of Markdown each."""
    recipe, noise = stored.settings.recipe, stored.settings.noise
    sentences = []
    if noise and abs(_on_slider(noise.level) - noise.level) > 1e-9:
        sentences.append(
            f"Explore's noise level has steps of {STEP:g}: it will be {_on_slider(noise.level):.2f}, "
            f"not {noise.level:.4g}."
        )
    others = [layer for layer in recipe.layers if net is not None and layer not in net.layers]
    if others:
        left_out = f" and {len(others) - 1} more are left out" if len(others) > 1 else " is left out"
        sentences.append(f"Explore offers one layer per stage: {code(others[0])}{left_out} there.")
    if recipe.seed:
        sentences.append(f"Explore uses seed 0, not {recipe.seed}.")
    return sentences


def _on_slider(level: float) -> float:
    return round(round(level / STEP) * STEP, 2)
