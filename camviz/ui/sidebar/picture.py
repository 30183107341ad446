"""The sidebar's first part: the picture, and how it is fitted into the model's view."""

from __future__ import annotations

import streamlit as st

from camviz.images import Fit, ImageError
from camviz.samples import SAMPLES
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import UploadedFile
from camviz.ui.session import (
    FIT,
    OWN_PICTURE,
    OWN_UPLOAD,
    PASTED_PICTURE,
    SAMPLE,
    SOURCE,
    TIMES_FORGOTTEN,
    camera_key,
    drop_classes,
    upload_key,
)
from camviz.ui.sidebar.shape_gallery import choose_shape
from camviz.workbench.pictures import Picture, forget, read_picture

PICTURE_MEGABYTES = 50  # of an upload
_FITS: dict[Fit, str] = {"crop": "Crop", "squeeze": "Squeeze", "pad": "Pad"}


def choose_picture() -> Picture:
    """Ask for a sample, an upload or a photo from the camera; without a picture of their own, users see the sample."""
    source = st.segmented_control(
        "Picture",
        ["Photos", "Shapes", "Upload", "Camera"],
        default="Photos",
        required=True,
        key=SOURCE.name,
        persist_state="session",
        width="stretch",
    )
    if source == "Shapes":
        chosen = choose_shape()
        _offer_to_forget()
        return chosen
    if source == "Photos":
        st.selectbox("Sample", list(SAMPLES), key=SAMPLE.name, persist_state="session", label_visibility="collapsed")
        _offer_to_forget()
        return _sample()
    upload = _offer_upload() if source == "Upload" else _offer_camera()
    if upload is not None and upload.file_id != OWN_UPLOAD.get():
        _accept(upload.getvalue(), upload.name, upload.file_id)
    elif pasted := PASTED_PICTURE.pop():
        _accept(*pasted, OWN_UPLOAD.get())
    st.caption("Your picture stays in this server's memory. It is not written to disk or shared.")
    _offer_to_forget()
    return OWN_PICTURE.get() or _sample()


def ask_for(source: str, sample: str | None = None) -> None:
    """Choose the picture's source before its control is drawn: a sample by its title, or the upload or camera tab."""
    SOURCE.set(source)
    if sample is not None:
        SAMPLE.set(sample)


def waits_for_own() -> bool:
    """Whether the upload or the camera tab is open."""
    return SOURCE.get() in ("Upload", "Camera")


def is_own(picture: Picture) -> bool:
    """Whether a picture is a user's own: samples have a credit, and synthetic ones say that they are."""
    return not picture.credit and not picture.synthetic


def own_picture() -> Picture | None:
    """The user's own picture, if any."""
    return OWN_PICTURE.get()


def make_own(new: Picture) -> None:
    """Replace the user's own picture with one from elsewhere."""
    _drop_own()
    OWN_PICTURE.set(new)
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
        key=FIT.name,
        persist_state="session",
        width="stretch",
        help="**Crop**: only the centre, as in training. **Squeeze**: the whole picture, distorted to a square. "
        "**Pad**: the whole picture, with grey bars.",
    )


def _sample() -> Picture:
    sample = SAMPLES[SAMPLE.get() or next(iter(SAMPLES))]
    return read_picture(shared_host(), sample.path.read_bytes(), sample.title, sample.credit)


def _offer_upload() -> UploadedFile | None:
    return st.file_uploader(
        "Upload a picture (PNG, JPEG, WebP, AVIF, BMP, GIF or TIFF)",
        key=upload_key(TIMES_FORGOTTEN.get(0)).name,
        max_upload_size=PICTURE_MEGABYTES,
        label_visibility="collapsed",
    )


def _offer_camera() -> UploadedFile | None:
    return st.camera_input(
        "Take a photo",
        key=camera_key(TIMES_FORGOTTEN.get(0)).name,
        label_visibility="collapsed",
    )


def paste(name: str, data: bytes) -> None:
    """Use a picture from the clipboard, from the next run on."""
    ask_for("Upload")
    PASTED_PICTURE.set((data, name))


def _accept(data: bytes, name: str, upload: str | None) -> None:
    """Replace the user's own picture; if the file is not a picture, say why and keep the old one."""
    try:
        new = read_picture(shared_host(), data, name)
    except ImageError as error:
        st.error(f"{error}", icon=":material/broken_image:")
        return
    _drop_own()
    OWN_PICTURE.set(new)
    OWN_UPLOAD.set(upload)


def _offer_to_forget() -> None:
    if OWN_PICTURE.is_set():
        st.button("Forget my picture", icon=":material/delete:", on_click=_forget_own, width="stretch")


def _forget_own() -> None:
    _drop_own()
    _empty_uploads()
    st.toast("Your picture and everything computed from it are deleted.", icon=":material/delete:")


def _empty_uploads() -> None:
    TIMES_FORGOTTEN.set(TIMES_FORGOTTEN.get(0) + 1)


def _drop_own() -> None:
    """Delete the user's picture, everything computed from it, and the choices made for it."""
    own = OWN_PICTURE.pop()
    OWN_UPLOAD.pop()
    if own is not None:
        forget(shared_host(), own.id)
        drop_classes(own.id)
