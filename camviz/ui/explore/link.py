"""The Explore page's link: a state read from it sets the controls before they are drawn, and theirs is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import streamlit as st

from camviz import shapes
from camviz.images import Fit
from camviz.models import IMAGENET, ModelInfo, Net
from camviz.samples import SAMPLES
from camviz.ui.links.address_bar import arrived, keep, leave_out, tell
from camviz.ui.links.link_format import DIGITS, Explored, code, plain, shown
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.sidebar import model_and_method, noise
from camviz.ui.sidebar.picture import ask_for, is_own, own_picture, waits_for_own
from camviz.ui.sidebar.shape_gallery import Pick, chosen_pick, use_pick
from camviz.workbench.pictures import Picture, read_picture

_PAGE = ""
_CLASSES = 1000  # of ImageNet
# Session keys: the picture that a link asks for and that is not here, and the layers that it names, until they have
# been compared with the network's.
_ASKED, _LAYERS = "link_asked", "link_layers"


@dataclass(frozen=True)
class _Asked:
    """An uploaded picture that a link shows: how its SHA-256 begins, and its name."""

    digest: str
    name: str


@dataclass(frozen=True)
class Link:
    """The link of this run, with the place for what there is to say of it.

    Attributes:
        place: that place.
        page: the page's path.
        also: adds what else the page says, of the model and with the session key of the class.
    """

    place: DeltaGenerator
    page: str = _PAGE
    also: Callable[[Explored, ModelInfo, str], Explored] = lambda found, *_: found

    def keep(
        self, of: Picture, fit: Fit, info: ModelInfo, net: Net | None = None, where: DeltaGenerator | None = None
    ) -> None:
        """Write what is chosen into the address, offer it to copy, and tell what of the link is not as it says.

        Args:
            of: the picture shown.
            fit: how it is fitted into the view.
            info: the network chosen.
            net: the same, once it is loaded.
            where: the place of the offer.
        """
        if net is not None:
            unknown = [layer for layer in st.session_state.pop(_LAYERS, ()) if layer not in net.layers]
            if unknown:
                leave_out(shown("layers", ", ".join(unknown)))
        self._ask(of)
        now = self.also(_now(of, fit, info, net), info, _class_key(of, info, fit))
        tell(self.place, now)
        keep(now, self.page, where)

    def _ask(self, of: Picture) -> None:
        """Ask for the picture that the link shows, until it is there or the person turns to another."""
        asked: _Asked | None = st.session_state.get(_ASKED)
        if asked is None:
            return
        if not waits_for_own() or of.id.startswith(asked.digest):
            del st.session_state[_ASKED]
        elif is_own(of):
            self.place.warning(
                f"{code(of.title)} isn't the picture the link was made from: upload {code(asked.name)} to see what the "
                "link shows.",
                icon=":material/image_not_supported:",
            )
        else:
            self.place.info(
                f"This link shows an uploaded picture, which is not kept here: upload {code(asked.name)} on the "
                "left to see it.",
                icon=":material/upload_file:",
            )


def open_link() -> Link:
    """Set the controls to what the address says, if a person came to it."""
    found = arrived(Explored, _PAGE)
    if found is not None:
        apply(found)
    return Link(st.container())


def apply(found: Explored) -> str:
    """Set the controls; return the session key of the class."""
    state = st.session_state
    values = {
        "fit": found.fit,
        "method": found.method,
        "rule": found.rule,
        "noise_kind": found.noise,
        "noise_draw": found.draw,
        "noise_follow": found.follow,
    }
    state.update({key: value for key, value in values.items() if value is not None})
    if found.level is not None:
        noise.set_level(found.level)
    digest = _apply_picture(found)
    info = model_and_method.settle_model(found.shape is not None, found.model)
    fit = "squeeze" if found.shape is not None else state.get("fit", "crop")
    class_key = model_and_method.class_key(digest, info.name, fit)
    if found.target is not None:
        if found.target < count_classes(info):
            state[class_key] = found.target
        else:
            leave_out(shown("class", str(found.target)))
    if found.layers:
        state[model_and_method.layers_key(info.name)] = list(found.layers)
        state[_LAYERS] = found.layers
    return class_key


def count_classes(info: ModelInfo) -> int:
    """How many classes a network knows, before it is loaded."""
    return _CLASSES if info.data == IMAGENET else len(shapes.CLASSES)


def _apply_picture(found: Explored) -> str:
    """Choose the picture; return its SHA-256, or how that begins."""
    state = st.session_state
    state.pop(_ASKED, None)
    if found.upload is not None:
        ask_for("Upload")
        own = own_picture()
        if own is None or not own.id.startswith(found.upload):
            state[_ASKED] = _Asked(found.upload, found.name or "the same file")
        return found.upload
    if found.shape is not None:
        pick = Pick(
            found.kind or Pick.kind,
            shapes.CLASSES.index(found.shape),
            found.size or Pick.band,
            found.number or 0,
        )
        ask_for("Shapes")
        use_pick(pick)
        return pick.picture().id
    ask_for("Photos", found.photo)
    title = state.get("sample") or next(iter(SAMPLES))
    return read_picture(shared_host(), SAMPLES[title].path.read_bytes(), title).id


def _now(of: Picture, fit: Fit, info: ModelInfo, net: Net | None) -> Explored:
    """All that is chosen on the page; what depends on a network that is not loaded yet, as far as it is known."""
    state = st.session_state
    layers = tuple(state.get(model_and_method.layers_key(info.name)) or ())
    if net is not None:
        layers = tuple(layer for layer in net.layers if not layers or layer in layers)
    return replace(
        _picture_now(of, fit),
        model=info.name,
        target=state.get(_class_key(of, info, fit)),
        method=state.get("method"),
        layers=layers or None,
        rule=state.get("rule"),
        noise=state.get("noise_kind"),
        level=state.get("noise_level"),
        draw=state.get("noise_draw", 0),
        follow=state.get("noise_follow", True),
    )


def _class_key(of: Picture, info: ModelInfo, fit: Fit) -> str:
    """The session key of the class: of the picture shown, or of the one that is still asked for."""
    asked = _asked_for(of)
    return model_and_method.class_key(asked.digest if asked else of.id, info.name, fit)


def _asked_for(of: Picture) -> _Asked | None:
    """The picture that the link shows, while a sample stands in for it."""
    asked: _Asked | None = None if is_own(of) else st.session_state.get(_ASKED)
    return asked


def _picture_now(of: Picture, fit: Fit) -> Explored:
    """The picture: the one shown, or the one that is still asked for."""
    asked = _asked_for(of)
    if of.synthetic:
        pick = chosen_pick()
        return Explored(kind=pick.kind, shape=shapes.CLASSES[pick.label], size=pick.band, number=pick.draw)
    if is_own(of):
        return Explored(upload=of.id[:DIGITS], name=plain(of.title), fit=fit)
    if asked is not None:
        return Explored(upload=asked.digest, name=plain(asked.name), fit=fit)
    return Explored(photo=of.title, fit=fit)
