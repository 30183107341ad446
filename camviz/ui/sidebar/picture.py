"""The sidebar's first part: the picture, and how it is fitted into the model's view."""

from __future__ import annotations

import streamlit as st

from camviz.images import Fit, ImageError
from camviz.samples import SAMPLES
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import UploadedFile
from camviz.ui.sidebar.shape_gallery import choose_shape
from camviz.workbench.pictures import Picture, forget, read_picture

_FITS: dict[Fit, str] = {"crop": "Crop", "squeeze": "Squeeze", "pad": "Pad"}
# Session keys: the user's own picture, the upload it came from, and how many were deleted: a new number makes new,
# empty upload widgets.
_OWN, _UPLOAD, _TIMES_FORGOTTEN = "own_picture", "own_upload", "times_forgotten"
# Session key: a picture from the clipboard, until it is read.
_PASTED = "pasted_picture"


def choose_picture() -> Picture:
    """Ask for a sample, an upload or a photo from the camera; without a picture of their own, users see the sample."""
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
    upload = _offer_upload() if source == "Upload" else _offer_camera()
    if upload is not None and upload.file_id != st.session_state.get(_UPLOAD):
        _accept(upload.getvalue(), upload.name, upload.file_id)
    elif _PASTED in st.session_state:
        data, name = st.session_state.pop(_PASTED)
        _accept(data, name, st.session_state.get(_UPLOAD))
    st.caption("Your picture stays in this server's memory. It is not written to disk or shared.")
    _offer_to_forget()
    return st.session_state.get(_OWN) or _sample()


def ask_for(source: str, sample: str | None = None) -> None:
    """Choose the picture's source before its control is drawn: a sample by its title, or the upload or camera tab."""
    st.session_state["source"] = source
    if sample is not None:
        st.session_state["sample"] = sample


def waits_for_own() -> bool:
    """Whether the upload or the camera tab is open."""
    return st.session_state.get("source") in ("Upload", "Camera")


def is_own(picture: Picture) -> bool:
    """Whether a picture is a user's own: samples have a credit, and synthetic ones say that they are."""
    return not picture.credit and not picture.synthetic


def own_picture() -> Picture | None:
    """The user's own picture, if any."""
    own: Picture | None = st.session_state.get(_OWN)
    return own


def make_own(new: Picture) -> None:
    """Replace the user's own picture with one from elsewhere."""
    _drop_own()
    st.session_state[_OWN] = new
    _empty_uploads()  # or an upload still in the widget would count as new


def choose_fit(picture: Picture | None) -> Fit:
    """Ask how non-square pictures are fitted into the model's view; a synthetic one is shown whole."""
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
        help="**Crop**: only the centre, as in training. **Squeeze**: the whole picture, distorted to a square. "
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
        "Take a photo",
        key=f"camera-{st.session_state.get(_TIMES_FORGOTTEN, 0)}",
        label_visibility="collapsed",
    )


def paste(name: str, data: bytes) -> None:
    """Use a picture from the clipboard, from the next run on."""
    ask_for("Upload")
    st.session_state[_PASTED] = data, name


def _accept(data: bytes, name: str, upload: str | None) -> None:
    """Replace the user's own picture; if the file is not a picture, say why and keep the old one."""
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
    st.toast("Your picture and everything computed from it are deleted.", icon=":material/delete:")


def _empty_uploads() -> None:
    st.session_state[_TIMES_FORGOTTEN] = st.session_state.get(_TIMES_FORGOTTEN, 0) + 1


def _drop_own() -> None:
    """Delete the user's picture, everything computed from it, and the choices made for it."""
    own: Picture | None = st.session_state.pop(_OWN, None)
    st.session_state.pop(_UPLOAD, None)
    if own is None:
        return
    forget(shared_host(), own.id)
    for key in [key for key in st.session_state if str(key).startswith(f"class-{own.id[:12]}")]:
        del st.session_state[key]
