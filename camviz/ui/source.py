"""The sidebar's first part: which picture, and how it is fitted into the model's view."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from camviz.images import Fit, ImageError
from camviz.samples import SAMPLES
from camviz.ui.compute import Picture, forget, picture
from camviz.ui.gallery import choose_shape

_FITS: dict[Fit, str] = {"crop": "Crop", "squeeze": "Squeeze", "pad": "Pad"}
# Session keys: the person's own picture, the upload that it came from, and how often they forgot one, which
# empties the upload widgets.
_OWN, _UPLOAD, _TIMES_FORGOTTEN = "own_picture", "own_upload", "times_forgotten"


def choose_picture() -> Picture:
    """Ask for a sample, an upload or a photograph; until an own picture is there, the sample stays."""
    source = st.segmented_control(
        "Picture",
        ["Photos", "Shapes", "Upload", "Camera"],
        default="Photos",
        required=True,
        key="source",
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
        _accept(offered)
    st.caption("Your picture stays in this server's memory: it is not written to disk and not passed on.")
    _offer_to_forget()
    return st.session_state.get(_OWN) or _sample()


def choose_fit(picture: Picture) -> Fit:
    """Ask how a picture that is not square is fitted into the model's view; a synthetic one is shown whole."""
    if picture.sample is not None:
        return "squeeze"
    return st.segmented_control(
        "Fit",
        list(_FITS),
        default="crop",
        required=True,
        format_func=lambda fit: _FITS[fit],
        key="fit",
        width="stretch",
        help="**Crop**: the centre, as the model was trained. **Squeeze**: the whole picture, distorted to a square. "
        "**Pad**: the whole picture, with grey bars.",
    )


def _sample() -> Picture:
    sample = SAMPLES[st.session_state.get("sample") or next(iter(SAMPLES))]
    return picture(sample.path.read_bytes(), sample.title, sample.credit)


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


def _accept(upload: UploadedFile) -> None:
    """Make an upload the person's picture, in place of the one before; if it is none, say why and keep that."""
    try:
        new = picture(upload.getvalue(), upload.name)
    except ImageError as error:
        st.error(f"{error}", icon=":material/broken_image:")
        return
    _drop_own()
    st.session_state[_OWN], st.session_state[_UPLOAD] = new, upload.file_id


def _offer_to_forget() -> None:
    if _OWN in st.session_state:
        st.button("Forget my picture", icon=":material/delete:", on_click=_forget_own, width="stretch")


def _forget_own() -> None:
    _drop_own()
    st.session_state[_TIMES_FORGOTTEN] = st.session_state.get(_TIMES_FORGOTTEN, 0) + 1
    st.toast("Your picture and all that was computed from it are gone.", icon=":material/delete:")


def _drop_own() -> None:
    """Let go of the person's picture, of all that was derived from it, and of the choices made for it."""
    own: Picture | None = st.session_state.pop(_OWN, None)
    st.session_state.pop(_UPLOAD, None)
    if own is None:
        return
    forget(own.id)
    for key in [key for key in st.session_state if str(key).startswith(f"class-{own.id[:12]}")]:
        del st.session_state[key]
