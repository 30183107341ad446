"""What a page's address says: read from a stranger's link and written whole, without Streamlit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, get_args

from camviz import shapes
from camviz.html.comparison import MODES, SORTS
from camviz.images import Fit
from camviz.merging import RULES
from camviz.methods import METHODS
from camviz.models import list_models
from camviz.noise import KINDS
from camviz.samples import SAMPLES

VERSION = "1"
# Parts of a list stand side by side with this between them, which an address need not escape.
_BETWEEN = "~"
_LONGEST, _MOST, _SHOWN = 4000, 64, 40
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_LAYER = re.compile(r"[A-Za-z0-9_.]{1,100}")
_COUNT = re.compile(r"[0-9]{1,4}")
_LEVEL = re.compile(r"[01](\.[0-9]{1,3})?")
_SWITCH = {"on": True, "off": False}
SINGLE = "one shape"
MOST_SHAPES, MOST_DRAWS = 60, 10
DIGITS = 16  # of a picture's SHA-256, in hexadecimal

State = TypeVar("State", "Explored", "Compared", "Swept")


def _said(name: str, read: Callable[[str], Any], write: Callable[[Any], str] = str) -> Any:  # noqa: ANN401
    """A field that an address says under a name; None where it does not."""
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


def _each(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """All parts of a list, each once."""

    def read_all(text: str) -> tuple[Any, ...]:
        parts = text.split(_BETWEEN) if text else []
        if len(parts) > _MOST:
            raise ValueError(text)
        return tuple(dict.fromkeys(read(part) for part in parts))

    return read_all


def _joined(parts: Sequence[object]) -> str:
    return _BETWEEN.join(map(str, parts))


def _names(text: str) -> tuple[str, ...]:
    return tuple(plain(part) for part in text.split(_BETWEEN)) if text else ()


def plain(name: str) -> str:
    """A file's name as a link holds it: one short line, without what parts a list."""
    return "".join(sign if sign.isprintable() and sign != _BETWEEN else "_" for sign in name)[:80]


_model = _one_of(lambda: [info.name for info in list_models()])
_method, _noise = _one_of(lambda: list(METHODS)), _one_of(lambda: list(KINDS))
_photo = _one_of(lambda: list(SAMPLES))
_mode, _sort = _one_of(lambda: list(MODES)), _one_of(lambda: list(SORTS))


def _switch(text: str) -> bool:
    return _SWITCH[_one_of(lambda: list(_SWITCH))(text)]


def _switched(on: bool) -> str:
    return "on" if on else "off"


@dataclass(frozen=True)
class Explored:
    """The Explore page: one picture, by one of three ways, and what is asked of it."""

    photo: str | None = _said("photo", _photo)
    kind: str | None = _said("kind", _one_of(lambda: [SINGLE, *shapes.COMPOSED]))
    shape: str | None = _said("shape", _one_of(lambda: shapes.CLASSES))
    size: str | None = _said("size", _one_of(lambda: list(shapes.BANDS)))
    number: int | None = _said("number", _count(0, 999))
    upload: str | None = _said("upload", _matching(_DIGEST))
    name: str | None = _said("name", plain)
    fit: str | None = _said("fit", _one_of(lambda: get_args(Fit)))
    model: str | None = _said("model", _model)
    target: int | None = _said("class", _count(0, 9999))
    method: str | None = _said("method", _method)
    layers: tuple[str, ...] | None = _said("layers", _each(_matching(_LAYER)), _joined)
    rule: str | None = _said("rule", _one_of(lambda: list(RULES)))
    noise: str | None = _said("noise", _noise)
    level: float | None = _said("level", _level(0, 0.05), "{:.2f}".format)
    draw: int | None = _said("draw", _count(0, 9999))
    follow: bool | None = _said("follow", _switch, _switched)


@dataclass(frozen=True)
class Compared(Explored):
    """The Compare page: one picture as above, and what is compared on it."""

    mode: str | None = _said("compare", _mode)
    methods: tuple[str, ...] | None = _said("methods", _each(_method), _joined)
    classes: tuple[int, ...] | None = _said("classes", _each(_count(0, 9999)), _joined)
    models: tuple[str, ...] | None = _said("models", _each(_model), _joined)
    levels: tuple[float, ...] | None = _said("levels", _each(_level(0.1, 0.1)), _joined)
    sort: str | None = _said("sort", _sort)


@dataclass(frozen=True)
class Swept:
    """The Robustness page: pictures, a network, explanations and noise, and how the results are looked at."""

    photos: tuple[str, ...] | None = _said("photos", _each(_photo), _joined)
    shapes: int | None = _said("shapes", _count(0, MOST_SHAPES))
    uploads: tuple[str, ...] | None = _said("uploads", _each(_matching(_DIGEST)), _joined)
    names: tuple[str, ...] | None = _said("names", _names, _joined)
    fit: str | None = _said("fit", _one_of(lambda: get_args(Fit)))
    model: str | None = _said("model", _model)
    methods: tuple[str, ...] | None = _said("methods", _each(_method), _joined)
    merged: tuple[str, ...] | None = _said("merged", _each(_method), _joined)
    noises: tuple[str, ...] | None = _said("noises", _each(_noise), _joined)
    levels: tuple[float, ...] | None = _said("levels", _each(_level(0.1, 0.1)), _joined)
    draws: int | None = _said("draws", _count(1, MOST_DRAWS))


def read(kind: type[State], said: Mapping[str, str]) -> tuple[State, list[str]]:
    """What an address says, and what it says that cannot be: "model `foo`", each fit to be shown as Markdown."""
    values: dict[str, Any] = {}
    ignored = []
    if said.get("v", VERSION) != VERSION:
        ignored.append(shown("version", said["v"]))
    for part in fields(kind):
        name = part.metadata["name"]
        if name not in said:
            continue
        try:
            if len(said[name]) > _LONGEST:
                raise ValueError(name)
            values[part.name] = part.metadata["read"](said[name])
        except ValueError:
            ignored.append(shown(name, said[name]))
    return kind(**values), ignored


def write(state: Explored | Swept) -> dict[str, str]:
    """An address that says all of a state."""
    values = {part: getattr(state, part.name) for part in fields(state)}
    said = {p.metadata["name"]: p.metadata["write"](value) for p, value in values.items() if value is not None}
    return {"v": VERSION, **said}


def shown(name: str, text: str) -> str:
    """A stranger's words as Markdown that says nothing but them, and not at length."""
    return f"{name} {code(text)}"


def code(text: str) -> str:
    """Text as Markdown's code, in which nothing is read as markup, so that a link cannot show a picture or a link."""
    line = "".join(sign if sign.isprintable() and sign != "`" else " " for sign in text[: _SHOWN + 1]).strip()
    return f"`{line if len(line) <= _SHOWN else line[:_SHOWN] + '…'}`" if line else "(nothing)"


def left_out(ignored: Sequence[str]) -> str:
    """One sentence on what of a link is ignored."""
    most = 6
    more = [f"{len(ignored) - most} more"] if len(ignored) > most else []
    return (
        "These parts of the link are unknown and were left at their defaults: "
        + ", ".join([*ignored[:most], *more])
        + "."
    )
