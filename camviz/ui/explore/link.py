"""The Explore page's link: reading it sets the controls before they are drawn; their state is written back to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from camviz import shapes
from camviz.images import Fit
from camviz.models import IMAGENET, ModelInfo, Net
from camviz.samples import SAMPLES
from camviz.ui.escaping import code
from camviz.ui.links.address_bar import arrived, keep, leave_out, place_of_notices, set_controls, tell
from camviz.ui.links.link_format import DIGITS, Explored, plain, shown
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import (
    FIT,
    LINK_LAYERS,
    LINK_UPLOAD,
    METHOD,
    MIRROR_AVERAGED,
    MORE_SCORES_SHOWN,
    NOISE_DRAW,
    NOISE_FOLLOW,
    NOISE_KIND,
    NOISE_LEVEL,
    RULE,
    SAMPLE,
    SessionKey,
    class_key,
    layers_key,
)
from camviz.ui.sidebar import model_and_method, noise
from camviz.ui.sidebar.picture import ask_for, is_own, own_picture, waits_for_own
from camviz.ui.sidebar.shape_gallery import Pick, chosen_pick, use_pick
from camviz.workbench.pictures import Picture, read_picture

_PAGE = ""
_CLASSES = 1000  # of ImageNet
# The link's fields that a session key holds unchanged, and that key.
_CONTROLS: dict[str, SessionKey[Any]] = {
    "fit": FIT,
    "method": METHOD,
    "rule": RULE,
    "mirror_averaged": MIRROR_AVERAGED,
    "more_scores": MORE_SCORES_SHOWN,
    "noise": NOISE_KIND,
    "draw": NOISE_DRAW,
    "follow": NOISE_FOLLOW,
}


@dataclass(frozen=True)
class LinkUpload:
    """An uploaded picture that a link shows: the first digits of its SHA-256, and its name."""

    digest: str
    name: str


@dataclass(frozen=True)
class Link:
    """The link of this run, with the place for messages about it.

    Attributes:
        place: that place.
        page: the page's path.
        also: adds the page's other fields, given the model and the session key of the class.
    """

    place: DeltaGenerator
    page: str = _PAGE
    also: Callable[[Explored, ModelInfo, SessionKey[int]], Explored] = lambda found, *_: found

    def keep(
        self, of: Picture, fit: Fit, info: ModelInfo, net: Net | None = None, where: DeltaGenerator | None = None
    ) -> None:
        """Write the choices into the address, offer it to copy, and list the link's invalid parts.

        Args:
            of: the picture shown.
            fit: how it is fitted into the view.
            info: the chosen network.
            net: the network whose results are shown, once it is loaded; another one while the chosen one is missing.
            where: where to offer the link.
        """
        if net is not None and net.info.name != info.name:
            net = None
        if net is not None:
            unknown = [layer for layer in LINK_LAYERS.pop() or () if layer not in net.layers]
            if unknown:
                leave_out(shown("layers", ", ".join(unknown)))
        self._ask(of)
        now = self.also(_now(of, fit, info, net), info, _class_key(of, info, fit))
        tell(self.place, now)
        keep(now, self.page, where)

    def _ask(self, of: Picture) -> None:
        """Ask for the picture that the link shows, until it is uploaded or the user chooses another source."""
        upload = LINK_UPLOAD.get()
        if upload is None:
            return
        if not waits_for_own() or of.id.startswith(upload.digest):
            LINK_UPLOAD.pop()
        elif is_own(of):
            self.place.warning(
                f"{code(of.title)} isn't the picture the link was made from: upload {code(upload.name)} to see what "
                "the link shows.",
                icon=":material/image_not_supported:",
            )
        else:
            self.place.info(
                f"This link shows an uploaded picture. Uploads are not kept here: upload {code(upload.name)} on the "
                "left to see it.",
                icon=":material/upload_file:",
            )


def open_link() -> Link:
    """Set the controls from the address, if the user has just opened it."""
    linked = arrived(Explored, _PAGE)
    if linked is not None:
        apply(linked)
    return Link(place_of_notices())


def apply(found: Explored) -> SessionKey[int]:
    """Set the controls from a link; return the session key of the class."""
    set_controls(found, _CONTROLS)
    if found.level is not None:
        noise.set_level(found.level)
    digest = _apply_picture(found)
    info = model_and_method.settle_model(found.shape is not None, found.model)
    target = class_key(digest, info.name, "squeeze" if found.shape is not None else FIT.get("crop"))
    if found.target is not None:
        if found.target < count_classes(info):
            target.set(found.target)
        else:
            leave_out(shown("class", str(found.target)))
    if found.layers:
        layers_key(info.name).set(list(found.layers))
        LINK_LAYERS.set(found.layers)
    return target


def count_classes(info: ModelInfo) -> int:
    """How many classes a network knows, before it is loaded."""
    return _CLASSES if info.data == IMAGENET else len(shapes.CLASSES)


def _apply_picture(linked: Explored) -> str:
    """Choose the picture; return its SHA-256, or the first digits of it."""
    LINK_UPLOAD.pop()
    if linked.upload is not None:
        ask_for("Upload")
        own = own_picture()
        if own is None or not own.id.startswith(linked.upload):
            LINK_UPLOAD.set(LinkUpload(linked.upload, linked.name or "the same file"))
        return linked.upload
    if linked.shape is not None:
        pick = Pick(
            linked.kind or Pick.kind,
            shapes.CLASSES.index(linked.shape),
            linked.size or Pick.band,
            linked.number or 0,
        )
        ask_for("Shapes")
        use_pick(pick)
        return pick.picture().id
    ask_for("Photos", linked.photo)
    title = SAMPLE.get() or next(iter(SAMPLES))
    return read_picture(shared_host(), SAMPLES[title].path.read_bytes(), title).id


def _now(of: Picture, fit: Fit, info: ModelInfo, net: Net | None) -> Explored:
    """Everything chosen on the page; settings that need the network are as far as known until it is loaded."""
    layers = tuple(layers_key(info.name).get() or ())
    if net is not None:
        layers = tuple(layer for layer in net.layers if not layers or layer in layers)
    return replace(
        _picture_now(of, fit),
        model=info.name,
        target=_class_key(of, info, fit).get(),
        method=METHOD.get(),
        layers=layers or None,
        rule=RULE.get(),
        mirror_averaged=MIRROR_AVERAGED.get(False),
        more_scores=MORE_SCORES_SHOWN.get(),
        noise=NOISE_KIND.get(),
        level=NOISE_LEVEL.get(),
        draw=NOISE_DRAW.get(0),
        follow=NOISE_FOLLOW.get(True),
    )


def _class_key(of: Picture, info: ModelInfo, fit: Fit) -> SessionKey[int]:
    """The session key of the class: for the picture shown, or for the link's upload while it is missing."""
    upload = _missing_upload(of)
    return class_key(upload.digest if upload else of.id, info.name, fit)


def _missing_upload(of: Picture) -> LinkUpload | None:
    """The link's upload, while a sample is shown instead."""
    return None if is_own(of) else LINK_UPLOAD.get()


def _picture_now(of: Picture, fit: Fit) -> Explored:
    """The picture's part of the link: the picture shown, or the link's upload while it is missing."""
    upload = _missing_upload(of)
    if of.synthetic:
        pick = chosen_pick()
        return Explored(kind=pick.kind, shape=shapes.CLASSES[pick.label], size=pick.band, number=pick.draw)
    if is_own(of):
        return Explored(upload=of.id[:DIGITS], name=plain(of.title), fit=fit)
    if upload is not None:
        return Explored(upload=upload.digest, name=plain(upload.name), fit=fit)
    return Explored(photo=of.title, fit=fit)
