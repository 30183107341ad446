"""A study from a file."""

from __future__ import annotations

import streamlit as st

from camviz.trust.study_file import StudyFileError, unpack
from camviz.trust.study_results import StudyResults
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import TRUST_FILE

_MEGABYTES = 30


def choose_file(place: DeltaGenerator) -> StudyResults | None:
    """Ask for a study file; a file that is none is refused, and the study opened before stays."""
    upload = place.file_uploader(
        "A study file", type="zip", key="trust-file", max_upload_size=_MEGABYTES, help="A file saved on this page."
    )
    opened = TRUST_FILE.get()
    if upload is None or (opened is not None and opened[0] == upload.file_id):
        return None if opened is None else opened[1]
    try:
        results = unpack(upload.getvalue())
    except StudyFileError as error:
        st.error(str(error), icon=":material/broken_image:")
        return None if opened is None else opened[1]
    TRUST_FILE.set((upload.file_id, results))
    return results
