"""The sidebar's first part: which picture, and how it is fitted into the model's view."""

from __future__ import annotations

import streamlit as st

from camviz.images import Fit, ImageError
from camviz.samples import SAMPLES
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import UploadedFile
from camviz.ui.sidebar.shape_gallery import choose_shape
from camviz.workbench.pictures import Picture, forget, read_picture

_FITS: dict[Fit, str] = {"crop": "Crop", "squeeze": "Squeeze", "pad": "Pad"}
# Session keys: the person's own picture, the upload that it came from, and how often they forgot one, which
# empties the upload widgets.
_OWN, _UPLOAD, _TIMES_FORGOTTEN = "own_picture", "own_upload", "times_forgotten"
# One from the clipboard, until it is looked at.
_PASTED = "pasted_picture"


def choose_picture() -> Picture:
    """Ask for a sample, an upload or a photograph; until an own picture is there, the sample stays."""
    source = st.segmented_control(
        "Picture",
        ["Photos", "Shapes", "Upload", "Camera"],
        default="Photos",
        required=True,
        key="source",
        persist_state="session",
        width="stretch",
    )
    if source == "Shapes":
        chosen = choose_shape()
        _offer_to_forget()
        return chosen
    if source == "Photos":
        st.selectbox("Sample", list(SAMPLES), key="sample", persist_state="session", label_visibility="collapsed")
        _offer_to_forget()
        return _sample()
    offered = _offer_upload() if source == "Upload" else _offer_camera()
    if offered is not None and offered.file_id != st.session_state.get(_UPLOAD):
        _accept(offered.getvalue(), offered.name, offered.file_id)
    elif _PASTED in st.session_state:
        data, name = st.session_state.pop(_PASTED)
        _accept(data, name, st.session_state.get(_UPLOAD))
    st.caption("Your picture stays in this server's memory: it is not written to disk and not passed on.")
    _offer_to_forget()
    return st.session_state.get(_OWN) or _sample()


def ask_for(source: str, sample: str | None = None) -> None:
    """Choose where the picture comes from before it is asked for: a sample by its title, or an own picture's tab."""
    st.session_state["source"] = source
    if sample is not None:
        st.session_state["sample"] = sample


def waits_for_own() -> bool:
    """Whether a tab is open by which a person gives a picture of their own."""
    return st.session_state.get("source") in ("Upload", "Camera")


def is_own(picture: Picture) -> bool:
    """Whether a picture is a person's own: samples have a credit, synthetic ones what they hold."""
    return not picture.credit and not picture.synthetic


def own_picture() -> Picture | None:
    """The person's own picture, if one is there."""
    own: Picture | None = st.session_state.get(_OWN)
    return own


def make_own(new: Picture) -> None:
    """Make a picture that came by another way the person's own, in place of the one before."""
    _drop_own()
    st.session_state[_OWN] = new
    _empty_uploads()  # one that is still there would count as new


def choose_fit(picture: Picture | None) -> Fit:
    """Ask how pictures that are not square are fitted into the model's view; a synthetic one is shown whole."""
    if picture is not None and picture.synthetic:
        return "squeeze"
    return st.segmented_control(
        "Fit",
        list(_FITS),
        default="crop",
        required=True,
        format_func=lambda fit: _FITS[fit],
        key="fit",
        persist_state="session",
        width="stretch",
        help="**Crop**: the centre, as the model was trained. **Squeeze**: the whole picture, distorted to a square. "
        "**Pad**: the whole picture, with grey bars.",
    )


def _sample() -> Picture:
    sample = SAMPLES[st.session_state.get("sample") or next(iter(SAMPLES))]
    return read_picture(shared_host(), sample.path.read_bytes(), sample.title, sample.credit)


def _offer_upload() -> UploadedFile | None:
    return st.file_uploader(
        "Upload a picture (PNG, JPEG, WebP, BMP, GIF or TIFF)",
        key=f"upload-{st.session_state.get(_TIMES_FORGOTTEN, 0)}",
        label_visibility="collapsed",
    )


def _offer_camera() -> UploadedFile | None:
    return st.camera_input(
        "Take a photograph",
        key=f"camera-{st.session_state.get(_TIMES_FORGOTTEN, 0)}",
        label_visibility="collapsed",
    )


def paste(name: str, data: bytes) -> None:
    """Take a picture from the clipboard, at the start of the next run."""
    ask_for("Upload")
    st.session_state[_PASTED] = data, name


def _accept(data: bytes, name: str, upload: str | None) -> None:
    """Make a picture the person's own, in place of the one before; if it is none, say why and keep that."""
    try:
        new = read_picture(shared_host(), data, name)
    except ImageError as error:
        st.error(f"{error}", icon=":material/broken_image:")
        return
    _drop_own()
    st.session_state[_OWN], st.session_state[_UPLOAD] = new, upload


def _offer_to_forget() -> None:
    if _OWN in st.session_state:
        st.button("Forget my picture", icon=":material/delete:", on_click=_forget_own, width="stretch")


def _forget_own() -> None:
    _drop_own()
    _empty_uploads()
    st.toast("Your picture and all that was computed from it are gone.", icon=":material/delete:")


def _empty_uploads() -> None:
    st.session_state[_TIMES_FORGOTTEN] = st.session_state.get(_TIMES_FORGOTTEN, 0) + 1


def _drop_own() -> None:
    """Let go of the person's picture, of all that was derived from it, and of the choices made for it."""
    own: Picture | None = st.session_state.pop(_OWN, None)
    st.session_state.pop(_UPLOAD, None)
    if own is None:
        return
    forget(shared_host(), own.id)
    for key in [key for key in st.session_state if str(key).startswith(f"class-{own.id[:12]}")]:
        del st.session_state[key]
