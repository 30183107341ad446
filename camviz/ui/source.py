"""The sidebar's first part: which picture, and how it is fitted into the model's view."""

from __future__ import annotations

import streamlit as st

from camviz.images import Fit, ImageError
from camviz.samples import SAMPLES
from camviz.ui.compute import Picture, forget, picture

UPLOAD_MB = 50
_FITS: dict[Fit, str] = {"crop": "Crop", "squeeze": "Squeeze", "pad": "Pad"}
# Session keys: the person's own picture, and how often it was forgotten (which empties the upload widgets).
_OWN, _TIMES_FORGOTTEN = "own_picture", "times_forgotten"


def choose_picture() -> Picture:
    """Ask for a sample, an upload or a photograph; until an own picture is there, the sample stays."""
    source = st.segmented_control(
        "Picture",
        ["Samples", "Upload", "Camera"],
        default="Samples",
        required=True,
        key="source",
        width="stretch",
    )
    if source == "Samples":
        st.selectbox("Sample", list(SAMPLES), key="sample", persist_state="session", label_visibility="collapsed")
        return _sample()
    offered = _offer_upload() if source == "Upload" else _offer_camera()
    if offered is not None:
        _accept(offered.getvalue(), offered.name)
    own: Picture | None = st.session_state.get(_OWN)
    st.caption("Your picture stays in this server's memory: it is not written to disk and not passed on.")
    if own is None:
        return _sample()
    st.button("Forget my picture", icon=":material/delete:", on_click=_forget_own, width="stretch")
    return own


def choose_fit() -> Fit:
    """Ask how a picture that is not square is fitted into the model's square view."""
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


def _offer_upload() -> st.runtime.uploaded_file_manager.UploadedFile | None:
    return st.file_uploader(
        "Upload a picture (PNG, JPEG, WebP, BMP, GIF or TIFF)",
        key=f"upload-{st.session_state.get(_TIMES_FORGOTTEN, 0)}",
        max_upload_size=UPLOAD_MB,
        label_visibility="collapsed",
    )


def _offer_camera() -> st.runtime.uploaded_file_manager.UploadedFile | None:
    return st.camera_input(
        "Take a photograph",
        key=f"camera-{st.session_state.get(_TIMES_FORGOTTEN, 0)}",
        label_visibility="collapsed",
    )


def _accept(data: bytes, name: str) -> None:
    """Make an upload the person's picture; if it is none, say why and keep the one before."""
    try:
        st.session_state[_OWN] = picture(data, name)
    except ImageError as error:
        st.error(f"{error}", icon=":material/broken_image:")


def _forget_own() -> None:
    own: Picture | None = st.session_state.pop(_OWN, None)
    if own is not None:
        forget(own.id)
    st.session_state[_TIMES_FORGOTTEN] = st.session_state.get(_TIMES_FORGOTTEN, 0) + 1
    st.toast("Your picture and all that was computed from it are gone.", icon=":material/delete:")
