"""A study from a file."""

from __future__ import annotations

import streamlit as st

from camviz.trust.sealed_study import PROTOCOL, Protocol
from camviz.trust.study_file import StudyFileError, unpack
from camviz.trust.study_results import StudyResults
from camviz.ui.server.streamlit_internals import DeltaGenerator, UploadedFile
from camviz.ui.session import TRUST_FILE

_MEGABYTES = 30


def choose_file(place: DeltaGenerator) -> StudyResults | None:
    """Ask for a study file, and say which protocol it names.

    A file that is no study is refused, and the study opened before stays.
    """
    upload = place.file_uploader(
        "A study file", type="zip", key="trust-file", max_upload_size=_MEGABYTES, help="A file saved on this page."
    )
    if upload is not None:
        _open(upload)
    opened = TRUST_FILE.get()
    if opened is None:
        return None
    if opened[1].protocol is not None:
        place.caption(in_words(opened[1].protocol))
    return opened[1]


def _open(upload: UploadedFile) -> None:
    """Open a file, once."""
    opened = TRUST_FILE.get()
    if opened is not None and opened[0] == upload.file_id:
        return
    try:
        TRUST_FILE.set((upload.file_id, unpack(upload.getvalue())))
    except StudyFileError as error:
        st.error(str(error), icon=":material/broken_image:")


def in_words(protocol: Protocol) -> str:
    """Which protocol a file says that it follows."""
    told = f"{protocol.name}, version {protocol.version} (SHA-256 {protocol.sha256[:12]}…)"
    if protocol == PROTOCOL:
        return f"This file says that it follows the included study's protocol: {told}."
    return f"This file says that it follows a different protocol from the included study's: {told}."
