"""The format of a page's address: read from a stranger's link, and written in full; without Streamlit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, get_args

from camviz import shapes
from camviz.html.comparison import MODES, SORTS
from camviz.html.words import MEASURES
from camviz.images import Fit
from camviz.merging import RULES
from camviz.methods import METHODS
from camviz.models import list_models
from camviz.noise import KINDS
from camviz.noise.segments import MOST as MOST_REGIONS
from camviz.samples import SAMPLES
from camviz.trust.run import STEPS
from camviz.trust.sealed_samples import KINDS as SAMPLE_KINDS
from camviz.trust.study_results import METRICS, TRUTHS
from camviz.ui.escaping import code

VERSION = "1"
# Separates the items of a list; needs no escaping in an address.
_SEPARATOR = "~"
_LONGEST, _MOST = 4000, 64  # characters of a value, items of a list
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_LAYER = re.compile(r"[A-Za-z0-9_.]{1,100}")
_COUNT = re.compile(r"[0-9]{1,5}")
_LEVEL = re.compile(r"[01](\.[0-9]{1,3})?")
_ONE_DECIMAL = re.compile(r"[0-9]{1,2}(\.[0-9])?")
_SWITCH = {"on": True, "off": False}
MOST_SHAPES, MOST_DRAWS = 60, 10
MOST_NUMBER = 99_999  # of a synthetic sample among those of its class and size
ALL_NOISE = "all"
# What the Evaluate page compares: maps at equal area or as they are, by which truth, on shapes of which size.
AREAS = {"equal": "At equal area", "plain": "As they are"}
SOURCES = ("shipped", "own", "file")
OWN_PICTURES = ("shapes", "mosaics", "masks")
MOST_CASES = 300
ALL_SIZES = "all"
# How far the Play page changes a map: pixels of blur, times smaller, powers, and percent of a side.
MOST_BLUR, MOST_SHRINK, SHARPEN, MOST_SHIFT = 32, 4.0, (0.5, 6.0), 60
DIGITS = 16  # of a picture's SHA-256, in hexadecimal

State = TypeVar("State", bound="PageState")


def _field(name: str, read: Callable[[str], Any], write: Callable[[Any], str] = str) -> Any:  # noqa: ANN401
    """A field with its name in an address; None if the address does not contain it."""
    return field(default=None, metadata={"name": name, "read": read, "write": write})


def _one_of(known: Callable[[], Sequence[str]]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known():
            raise ValueError(text)
        return text

    return read


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return read


def _count(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _COUNT.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return read


def _level(least: float, step: float) -> Callable[[str], float]:
    """A level of noise on the control's own steps."""

    def read(text: str) -> float:
        level = round(float(text) / step) * step if _LEVEL.fullmatch(text) else -1
        if not least <= level <= 1 or abs(level - float(text)) > 1e-9:
            raise ValueError(text)
        return round(level, 2)

    return read


def _number(least: float, most: float) -> Callable[[str], float]:
    """A number with one decimal at most."""

    def read(text: str) -> float:
        if not _ONE_DECIMAL.fullmatch(text) or not least <= float(text) <= most:
            raise ValueError(text)
        return float(text)

    return read


def _signed(most: int) -> Callable[[str], int]:
    """A whole number on either side of 0."""

    def read(text: str) -> int:
        return -_count(0, most)(text[1:]) if text.startswith("-") else _count(0, most)(text)

    return read


def _each(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Read a list, without duplicates."""

    def read_all(text: str) -> tuple[Any, ...]:
        parts = text.split(_SEPARATOR) if text else []
        if len(parts) > _MOST:
            raise ValueError(text)
        return tuple(dict.fromkeys(read(part) for part in parts))

    return read_all


def _joined(parts: Sequence[object]) -> str:
    return _SEPARATOR.join(map(str, parts))


def _names(text: str) -> tuple[str, ...]:
    return tuple(plain(part) for part in text.split(_SEPARATOR)) if text else ()


def plain(name: str) -> str:
    """A file's name as a link holds it: one short line, without the separator of lists."""
    return "".join(sign if sign.isprintable() and sign != _SEPARATOR else "_" for sign in name)[:80]


_model = _one_of(lambda: [info.name for info in list_models()])
_method, _noise = _one_of(lambda: list(METHODS)), _one_of(lambda: list(KINDS))
_rule = _one_of(lambda: list(RULES))
_photo = _one_of(lambda: list(SAMPLES))
_mode, _sort = _one_of(lambda: list(MODES)), _one_of(lambda: list(SORTS))


def _switch(text: str) -> bool:
    return _SWITCH[_one_of(lambda: list(_SWITCH))(text)]


def _switched(on: bool) -> str:
    return "on" if on else "off"


@dataclass(frozen=True)
class PageState:
    """What an address says about a page; its fields are those of a page, each made by `_field`."""


@dataclass(frozen=True)
class Explored(PageState):
    """The Explore page: one picture (photo, shape or upload), and how it is explained."""

    photo: str | None = _field("photo", _photo)
    kind: str | None = _field("kind", _one_of(lambda: list(shapes.KINDS)))
    shape: str | None = _field("shape", _one_of(lambda: shapes.CLASSES))
    size: str | None = _field("size", _one_of(lambda: list(shapes.BANDS)))
    number: int | None = _field("number", _count(0, MOST_NUMBER))
    upload: str | None = _field("upload", _matching(_DIGEST))
    name: str | None = _field("name", plain)
    fit: str | None = _field("fit", _one_of(lambda: get_args(Fit)))
    model: str | None = _field("model", _model)
    target: int | None = _field("class", _count(0, 9999))
    method: str | None = _field("method", _method)
    layers: tuple[str, ...] | None = _field("layers", _each(_matching(_LAYER)), _joined)
    rule: str | None = _field("rule", _rule)
    mirror_averaged: bool | None = _field("mirror_averaged", _switch, _switched)
    more_scores: bool | None = _field("more_scores", _switch, _switched)
    noise: str | None = _field("noise", _noise)
    level: float | None = _field("level", _level(0, 0.05), "{:.2f}".format)
    draw: int | None = _field("draw", _count(0, 9999))
    follow: bool | None = _field("follow", _switch, _switched)


@dataclass(frozen=True)
class Compared(Explored):
    """The Compare page: one picture as above, and what is compared."""

    mode: str | None = _field("compare", _mode)
    methods: tuple[str, ...] | None = _field("methods", _each(_method), _joined)
    classes: tuple[int, ...] | None = _field("classes", _each(_count(0, 9999)), _joined)
    models: tuple[str, ...] | None = _field("models", _each(_model), _joined)
    levels: tuple[float, ...] | None = _field("levels", _each(_level(0.1, 0.1)), _joined)
    sort: str | None = _field("sort", _sort)


@dataclass(frozen=True)
class Played(Explored):
    """The Play page: one picture as above, and how its map is changed."""

    blur: int | None = _field("blur", _count(0, MOST_BLUR))
    shrink: float | None = _field("shrink", _number(1, MOST_SHRINK), "{:.1f}".format)
    sharpen: float | None = _field("sharpen", _number(*SHARPEN), "{:.1f}".format)
    right: int | None = _field("right", _signed(MOST_SHIFT))
    down: int | None = _field("down", _signed(MOST_SHIFT))


@dataclass(frozen=True)
class Swept(PageState):
    """The Robustness page: pictures, a network, explanations and noise."""

    photos: tuple[str, ...] | None = _field("photos", _each(_photo), _joined)
    shapes: int | None = _field("shapes", _count(0, MOST_SHAPES))
    uploads: tuple[str, ...] | None = _field("uploads", _each(_matching(_DIGEST)), _joined)
    names: tuple[str, ...] | None = _field("names", _names, _joined)
    fit: str | None = _field("fit", _one_of(lambda: get_args(Fit)))
    model: str | None = _field("model", _model)
    methods: tuple[str, ...] | None = _field("methods", _each(_method), _joined)
    merged: tuple[str, ...] | None = _field("merged", _each(_method), _joined)
    noises: tuple[str, ...] | None = _field("noises", _each(_noise), _joined)
    levels: tuple[float, ...] | None = _field("levels", _each(_level(0.1, 0.1)), _joined)
    draws: int | None = _field("draws", _count(1, MOST_DRAWS))
    shown: str | None = _field("shown", _one_of(lambda: [ALL_NOISE, *KINDS]))
    compared: str | None = _field("by", _one_of(lambda: list(MEASURES)))
    picture: str | None = _field("copy_picture", plain)
    explanation: str | None = _field("copy_explanation", plain)
    noise: str | None = _field("copy_noise", _noise)
    level: float | None = _field("copy_level", _level(0.1, 0.1))
    draw: int | None = _field("copy_draw", _count(0, MOST_DRAWS - 1))
    region: int | None = _field("copy_region", _count(0, MOST_REGIONS - 1))


@dataclass(frozen=True)
class Evaluated(PageState):
    """The Evaluate page: whose study, what is measured in one's own, and what of it is shown."""

    source: str | None = _field("study", _one_of(lambda: SOURCES))
    pictures: str | None = _field("pictures", _one_of(lambda: OWN_PICTURES))
    count: int | None = _field("count", _count(1, MOST_CASES))
    uploads: bool | None = _field("uploads", _switch, _switched)
    fit: str | None = _field("fit", _one_of(lambda: get_args(Fit)))
    model: str | None = _field("model", _model)
    methods: tuple[str, ...] | None = _field("methods", _each(_method), _joined)
    layers: tuple[str, ...] | None = _field("layers", _each(_matching(_LAYER)), _joined)
    rules: tuple[str, ...] | None = _field("rules", _each(_rule), _joined)
    mirror_averaged: bool | None = _field("mirror_averaged", _switch, _switched)
    steps: tuple[str, ...] | None = _field("steps", _each(_one_of(lambda: list(STEPS))), _joined)
    metric: str | None = _field("metric", _one_of(lambda: [name for names in METRICS.values() for name in names]))
    samples: str | None = _field("samples", _one_of(lambda: SAMPLE_KINDS))
    area: str | None = _field("area", _one_of(lambda: list(AREAS)))
    truth: str | None = _field("truth", _one_of(lambda: list(TRUTHS)))
    size: str | None = _field("size", _one_of(lambda: [ALL_SIZES, *shapes.BANDS]))
    blind: bool | None = _field("blind", _switch, _switched)
    network: str | None = _field("network", _model)


def read(kind: type[State], query: Mapping[str, str]) -> tuple[State, list[str]]:
    """The state in an address, and its invalid parts, such as "model `foo`", each safe to show as Markdown."""
    values: dict[str, Any] = {}
    ignored = []
    if query.get("v", VERSION) != VERSION:
        ignored.append(shown("version", query["v"]))
    for part in fields(kind):
        name = part.metadata["name"]
        if name not in query:
            continue
        try:
            if len(query[name]) > _LONGEST:
                raise ValueError(name)
            values[part.name] = part.metadata["read"](query[name])
        except ValueError:
            ignored.append(shown(name, query[name]))
    return kind(**values), ignored


def write(state: PageState) -> dict[str, str]:
    """The address of a state, complete."""
    values = {part: getattr(state, part.name) for part in fields(state)}
    texts = {p.metadata["name"]: p.metadata["write"](value) for p, value in values.items() if value is not None}
    return {"v": VERSION, **texts}


def shown(name: str, text: str) -> str:
    """A field's name with a stranger's text, shortened and escaped for Markdown."""
    return f"{name} {code(text)}"


def left_out(ignored: Sequence[str]) -> str:
    """One sentence that lists the ignored parts of a link."""
    most = 6
    more = [f"{len(ignored) - most} more"] if len(ignored) > most else []
    return (
        "These parts of the link are unknown and were left at their defaults: "
        + ", ".join([*ignored[:most], *more])
        + "."
    )
