"""Every key of the session state that the app uses, with the type of its value.

The session state lasts as long as a tab is open. A widget's value is in it too, under the widget's key: controls that a
link sets, or that other modules read, take their key from here (`key=FIT.name`). Keys that only Streamlit or a style
sheet uses stay where the widget is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import streamlit as st

if TYPE_CHECKING:  # the modules with these types import this one
    from collections.abc import Hashable, Sequence

    from camviz.html.comparison import Sort
    from camviz.images import Fit
    from camviz.recipe import Recipe
    from camviz.trust.study_results import StudyResults
    from camviz.ui.compare.pins import Pin
    from camviz.ui.explore.link import LinkUpload
    from camviz.ui.reproduce.opened import Opened
    from camviz.ui.server.streamlit_internals import Slot, UploadedFile
    from camviz.ui.sidebar.shape_gallery import Pick
    from camviz.workbench.pictures import Picture

Value = TypeVar("Value")


@dataclass(frozen=True)
class SessionKey(Generic[Value]):
    """A key of the session state.

    Attributes:
        name: its name there.
    """

    name: str

    @overload
    def get(self) -> Value | None: ...

    @overload
    def get(self, default: Value) -> Value: ...

    def get(self, default: Value | None = None) -> Value | None:
        """The value, or the default if it is not set."""
        value: Value | None = st.session_state.get(self.name, default)
        return value

    def require(self) -> Value:
        """The value of a key that is known to be set.

        Raises:
            KeyError: if it is not set.
        """
        value: Value = st.session_state[self.name]
        return value

    def set(self, value: Value) -> None:
        """Set the value; that of a widget, only from a callback or before it is drawn."""
        st.session_state[self.name] = value

    def pop(self) -> Value | None:
        """Remove the value and return it; None if it is not set."""
        value: Value | None = st.session_state.pop(self.name, None)
        return value

    def forget(self) -> None:
        """Remove the value, if there is one: for callbacks."""
        self.pop()

    def is_set(self) -> bool:
        """Whether there is a value."""
        return self.name in st.session_state


def settle(key: SessionKey[Value], options: Sequence[Value], first: Value | None = None) -> None:
    """Set a control that is about to be drawn to its first option, or another, unless its value is one of them."""
    if key.get() not in options:
        key.set(options[0] if first is None else first)


# The frame.

# Whether app.py has run.
FRAMED: SessionKey[bool] = SessionKey("framed")
# The path of the page shown last.
PAGE_SHOWN: SessionKey[str] = SessionKey("page_shown")
# The page that was requested before app.py had run.
WANTED_PAGE: SessionKey[str] = SessionKey("wanted_page")

# The server.

# Where the page shows the user's position in the queue.
QUEUE_NOTICE: SessionKey[Slot] = SessionKey("queue_notice")

# Links.

# The page and the address read or written last.
LINK_LAST: SessionKey[tuple[str, dict[str, str]]] = SessionKey("link_last")
# The invalid parts of the link.
LINK_LEFT_OUT: SessionKey[list[str]] = SessionKey("link_left_out")
# The page's state when these were shown: once it differs, the user has changed something.
LINK_TOLD_AT: SessionKey[object] = SessionKey("link_told_at")
# The upload that a link of Explore or Compare needs and that is missing.
LINK_UPLOAD: SessionKey[LinkUpload] = SessionKey("link_upload")
# The link's layers, until they have been compared with the network's.
LINK_LAYERS: SessionKey[tuple[str, ...]] = SessionKey("link_layers")

# The shared sidebar: the picture.

# The control of the picture's source: "Photos", "Shapes", "Upload" or "Camera".
SOURCE: SessionKey[str] = SessionKey("source")
# The control of the sample photo, by title.
SAMPLE: SessionKey[str] = SessionKey("sample")
# The control of how the picture is fitted into the model's view.
FIT: SessionKey[Fit] = SessionKey("fit")
# The user's own picture.
OWN_PICTURE: SessionKey[Picture] = SessionKey("own_picture")
# The id of the upload it came from; None if it was pasted before anything was uploaded.
OWN_UPLOAD: SessionKey[str | None] = SessionKey("own_upload")
# How many of the user's pictures were deleted: a new number makes new, empty upload widgets.
TIMES_FORGOTTEN: SessionKey[int] = SessionKey("times_forgotten")
# A picture from the clipboard, its bytes and its name, until it is read.
PASTED_PICTURE: SessionKey[tuple[bytes, str]] = SessionKey("pasted_picture")
# The synthetic sample shown.
SHAPE_PICK: SessionKey[Pick] = SessionKey("shape_pick")
# The control of the synthetic sample's kind.
SHAPE_KIND: SessionKey[str] = SessionKey("shape_kind")
# The control of its size.
SHAPE_BAND: SessionKey[str] = SessionKey("shape_band")
# The control of its class.
SHAPE_LABEL: SessionKey[int] = SessionKey("shape_label")
# The page of the gallery of synthetic samples.
GALLERY_PAGE: SessionKey[int] = SessionKey("gallery_page")


def upload_key(times_forgotten: int) -> SessionKey[UploadedFile | None]:
    """The upload of a picture."""
    return SessionKey(f"upload-{times_forgotten}")


def camera_key(times_forgotten: int) -> SessionKey[UploadedFile | None]:
    """The photo from the camera."""
    return SessionKey(f"camera-{times_forgotten}")


# The shared sidebar: noise.

# The control of the kind of noise.
NOISE_KIND: SessionKey[str] = SessionKey("noise_kind")
# The control of its level.
NOISE_LEVEL: SessionKey[float] = SessionKey("noise_level")
# Which draw of the noise is shown; a button increases it.
NOISE_DRAW: SessionKey[int] = SessionKey("noise_draw")
# The control of whether the map follows the changed prediction.
NOISE_FOLLOW: SessionKey[bool] = SessionKey("noise_follow")

# The shared sidebar: model and method.

# The control of the network, by name.
MODEL: SessionKey[str] = SessionKey("model")
# The training data that suits the pictures.
DATA: SessionKey[str] = SessionKey("data")
# The control of the method.
METHOD: SessionKey[str] = SessionKey("method")
# The control of the rule that merges layers.
RULE: SessionKey[str] = SessionKey("rule")
# Whether maps are averaged with those of the mirrored picture.
MIRROR_AVERAGED: SessionKey[bool] = SessionKey("mirror_averaged")

# Whether scores are shown that take many passes.
MORE_SCORES_SHOWN: SessionKey[bool] = SessionKey("more_scores")


def last_model_key(data: str) -> SessionKey[str]:
    """The network last used for pictures that suit some training data."""
    return SessionKey(f"model for {data}")


def shown_model_key(data: str) -> SessionKey[str]:
    """The network whose results were shown last for such pictures: one that was chosen may have to be downloaded."""
    return SessionKey(f"shown model for {data}")


# Controls that several pages have.
_SHARED: tuple[SessionKey[Any], ...] = (
    *(SOURCE, SAMPLE, FIT, NOISE_KIND, NOISE_LEVEL, NOISE_FOLLOW),
    *(MODEL, METHOD, RULE, MIRROR_AVERAGED),
)


def carry_over_controls() -> None:
    """Keep what the sidebar's shared controls hold; call this on a new page before they are drawn.

    Streamlit carries over what a user has set, but not what only a link has: on another page a control is another one.
    """
    shared = {key.name for key in _SHARED}
    for name in [str(name) for name in st.session_state]:
        if name in shared or name.startswith(("class-", "layers-")):
            st.session_state[name] = st.session_state[name]


def class_key(picture_id: str, model: str, fit: Fit) -> SessionKey[int]:
    """The control of the class to explain: one for each picture, network and fit."""
    return SessionKey(f"{_class_prefix(picture_id)}-{model}-{fit}")


def drop_classes(picture_id: str) -> None:
    """Remove the classes chosen for a picture."""
    for name in [name for name in st.session_state if str(name).startswith(_class_prefix(picture_id))]:
        del st.session_state[name]


def _class_prefix(picture_id: str) -> str:
    return f"class-{picture_id[:12]}"


def layers_key(model: str) -> SessionKey[list[str]]:
    """The control of a network's layers."""
    return SessionKey(f"layers-{model}")


# Explore.

# The slow recipe that the user asked to score, with the key of what it explains.
SLOW_SCORES: SessionKey[tuple[Hashable, Recipe]] = SessionKey("slow_scores")
# The slow curve that the user asked for.
SLOW_CURVE: SessionKey[tuple[Hashable, ...]] = SessionKey("slow_curve")
# How many of the curve's points were clicked: a new number makes a new chart, in which nothing is selected.
CURVE_CLICKS: SessionKey[int] = SessionKey("curve_clicks")
# Whether the curve's controls have changed something outside the curve, so that the whole page must run.
CURVE_CHANGED_THE_PAGE: SessionKey[bool] = SessionKey("curve_changed_the_page")


def curve_key(clicks: int) -> SessionKey[Any]:
    """The curve's chart; the value holds the selected points."""
    return SessionKey(f"curve-{clicks}")


# Compare.

# The control of what is compared.
COMPARE_MODE: SessionKey[str] = SessionKey("compare_mode")
# The control of the methods.
COMPARE_METHODS: SessionKey[list[str]] = SessionKey("compare_methods")
# The control of the noise levels.
COMPARE_LEVELS: SessionKey[list[float]] = SessionKey("compare_levels")
# The control of the order.
COMPARE_SORT: SessionKey[Sort] = SessionKey("compare_sort")
# The grid that was sorted last, so that one whose scores do not fit into the cache is sorted only once.
COMPARE_SORTED: SessionKey[tuple[object, Sort]] = SessionKey("compare_sorted")
# The grid whose slow methods are to be scored too.
COMPARE_SLOW_SCORES: SessionKey[object] = SessionKey("compare_slow_scores")
# The pinned maps, oldest first.
PINS: SessionKey[list[Pin]] = SessionKey("pins")


def several_classes_key(single: SessionKey[int]) -> SessionKey[list[int]]:
    """The control of the classes to compare, given the key of the one to explain."""
    return SessionKey(f"{single.name}-several")


def models_key(data: str) -> SessionKey[list[str]]:
    """The control of the models to compare, which were all trained on the same data."""
    return SessionKey(f"compare_models_{data}")


# Robustness.

# The control of the photographs, by title.
SWEEP_PHOTOS: SessionKey[list[str]] = SessionKey("sweep_photos")
# The control of how many synthetic samples there are.
SWEEP_SHAPES: SessionKey[int] = SessionKey("sweep_shapes")
# The control of the methods on the deepest layer.
SWEEP_METHODS: SessionKey[list[str]] = SessionKey("sweep_methods")
# The control of the methods whose layers are merged.
SWEEP_BASES: SessionKey[list[str]] = SessionKey("sweep_bases")
# The control of the kinds of noise.
SWEEP_KINDS: SessionKey[list[str]] = SessionKey("sweep_kinds")
# The control of the noise levels.
SWEEP_LEVELS: SessionKey[list[float]] = SessionKey("sweep_levels")
# The control of how often each noise is drawn.
SWEEP_DRAWS: SessionKey[int] = SessionKey("sweep_draws")
# How often the user deleted the uploads: a new number makes a new, empty upload widget.
SWEEP_TIMES_FORGOTTEN: SessionKey[int] = SessionKey("sweep_times_forgotten")
# The uploads that the link needs: their names, by the first digits of their SHA-256.
SWEEP_LINK_UPLOADS: SessionKey[dict[str, str]] = SessionKey("sweep_link_uploads")
# The running sweep's plan, by its key.
SWEEP_RUNNING: SessionKey[Hashable] = SessionKey("sweep_running")
# When the sweep started, by the monotonic clock, and the number of copies done by then.
SWEEP_BEGUN: SessionKey[tuple[float, int]] = SessionKey("sweep_begun")
# The control of the noise whose results are shown; "all" of it.
SWEEP_SHOWN: SessionKey[str] = SessionKey("sweep_shown")
# The control of the measure by which explanations are compared.
SWEEP_COMPARED: SessionKey[str] = SessionKey("sweep_compared")
# The controls of the noisy copy shown in detail: picture by title, explanation, kind of noise, level, draw.
POINT_PICTURE: SessionKey[str] = SessionKey("point_picture")
POINT_EXPLANATION: SessionKey[str] = SessionKey("point_explanation")
POINT_KIND: SessionKey[str] = SessionKey("point_kind")
POINT_LEVEL: SessionKey[float] = SessionKey("point_level")
POINT_SEED: SessionKey[int] = SessionKey("point_seed")
# The key of a seen picture, and its region picked last; a link's region comes without that key.
POINT_REGION: SessionKey[tuple[Hashable, int]] = SessionKey("point_region")


def sweep_uploads_key(times_forgotten: int) -> SessionKey[list[UploadedFile]]:
    """The user's own pictures."""
    return SessionKey(f"sweep_uploads-{times_forgotten}")


# Evaluate.

# The control of whose study is shown: "shipped", "own" or "file".
TRUST_SOURCE: SessionKey[str] = SessionKey("trust_source")
# The control of what one's own pictures are: "shapes", "mosaics" or "masks".
TRUST_PICTURES: SessionKey[str] = SessionKey("trust_pictures")
# The control of how many shapes or mosaics there are.
TRUST_COUNT: SessionKey[int] = SessionKey("trust_count")
# The control of the methods whose maps are compared.
TRUST_METHODS: SessionKey[list[str]] = SessionKey("trust_methods")
# The control of the rules that merge all layers.
TRUST_RULES: SessionKey[list[str]] = SessionKey("trust_rules")
# The control of whether merges are also averaged with those of the mirrored picture.
TRUST_MIRROR_AVERAGED: SessionKey[bool] = SessionKey("trust_mirror_averaged")
# The control of what is measured after the first scores.
TRUST_STEPS: SessionKey[list[str]] = SessionKey("trust_steps")
# How often the user deleted the uploads: a new number makes new, empty upload widgets.
TRUST_TIMES_FORGOTTEN: SessionKey[int] = SessionKey("trust_times_forgotten")
# The ids of the mosaics that were made of uploads.
TRUST_MOSAICS: SessionKey[set[str]] = SessionKey("trust_mosaics")
# Whether the link's pictures were uploaded, and are not here yet.
TRUST_LINK_UPLOADS: SessionKey[bool] = SessionKey("trust_link_uploads")
# The metric that a link looks at, until it has been measured.
TRUST_LINK_METRIC: SessionKey[str] = SessionKey("trust_link_metric")
# The last results of one's own evaluation, with the run's key and the number of pieces done.
TRUST_RESULTS: SessionKey[tuple[Hashable, int, StudyResults]] = SessionKey("trust_results")
# The running evaluation, by its key, and when it started, with the number of pieces done by then.
TRUST_RUNNING: SessionKey[Hashable] = SessionKey("trust_running")
TRUST_BEGUN: SessionKey[tuple[float, int]] = SessionKey("trust_begun")
# The study that was opened from a file, with the id of its upload.
TRUST_FILE: SessionKey[tuple[str, StudyResults]] = SessionKey("trust_opened")
# The control of the metric looked at.
TRUST_METRIC: SessionKey[str] = SessionKey("trust_metric")
# The control of the kind of samples.
TRUST_SAMPLES: SessionKey[str] = SessionKey("trust_samples")
# The control of whether maps are compared at equal area.
TRUST_AREA: SessionKey[str] = SessionKey("trust_area")
# The control of the truth.
TRUST_TRUTH: SessionKey[str] = SessionKey("trust_truth")
# The control of the shapes' size; "all" of them.
TRUST_SIZE: SessionKey[str] = SessionKey("trust_size")
# The control of whether blind guesses are among the maps.
TRUST_BLIND: SessionKey[bool] = SessionKey("trust_blind")
# The control of the network whose maps are dots.
TRUST_NETWORK: SessionKey[str] = SessionKey("trust_network")


def trust_layers_key(model: str) -> SessionKey[list[str]]:
    """The control of a network's layers whose own maps are compared."""
    return SessionKey(f"trust_layers-{model}")


def trust_uploads_key(times_forgotten: int, what: str) -> SessionKey[list[UploadedFile]]:
    """The user's own pictures, or their masks."""
    return SessionKey(f"trust_{what}-{times_forgotten}")


# Play.

# The controls of how the map is changed: pixels, times smaller, a power, percent of a side.
PLAY_BLUR: SessionKey[int] = SessionKey("play_blur")
PLAY_SHRINK: SessionKey[float] = SessionKey("play_shrink")
PLAY_SHARPEN: SessionKey[float] = SessionKey("play_sharpen")
PLAY_RIGHT: SessionKey[int] = SessionKey("play_right")
PLAY_DOWN: SessionKey[int] = SessionKey("play_down")
# What the user asked to compute the slow scores of: the key of what is explained, the recipe, the change.
PLAY_SLOW: SessionKey[tuple[Hashable, ...]] = SessionKey("play_slow")


# Reproduce.

# The open bundle.
BUNDLE_OPEN: SessionKey[Opened] = SessionKey("bundle_open")
# The id of the upload it came from.
BUNDLE_UPLOAD: SessionKey[str] = SessionKey("bundle_upload")
# How many bundles were closed: a new number makes a new, empty upload widget.
BUNDLE_TIMES_CLOSED: SessionKey[int] = SessionKey("bundle_times_closed")
# The id of the bundle whose computation was stopped.
BUNDLE_STOPPED: SessionKey[str] = SessionKey("bundle_stopped")


def bundle_key(times_closed: int) -> SessionKey[UploadedFile | None]:
    """The upload of a bundle."""
    return SessionKey(f"bundle-{times_closed}")
