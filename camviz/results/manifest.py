"""A result without its pixels, to and from JSON. When read, the text is untrusted: every value is checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar, get_args
from unicodedata import category

from camviz.images import Fit
from camviz.merging import RULES
from camviz.methods import METHODS
from camviz.metrics import SCORES
from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.results.finding import RESULT, TOP, Finding, LayerFacts, MapScores, Settings

# Version 1 held only ARCC and its parts; up to version 2, no map was averaged with that of the mirrored picture, and no
# tag was known.
FORMAT, VERSION, READABLE = "camviz bundle", 3, (1, 2, 3)
MAX_LAYERS = 1000
MAX_SHAPES = 20
_MAX_TEXT = 1000
_MAX_SCORES = 100
# How far rounding may push a score out of its range.
_ROUNDING = 1e-6
_MAX_SEED = 2**63 - 1
# Unicode categories: control and format characters (which can reverse text), surrogates, line ends.
_NOT_SHOWN = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
Value = TypeVar("Value")


class BundleError(ValueError):
    """A bundle that cannot be read; its message is one sentence for the user."""


@dataclass(frozen=True)
class Manifest:
    """Everything in a `Finding` except bytes and arrays; the SHA-256 of each of the bundle's members; its version."""

    settings: Settings
    name: str
    label: str
    probability: float
    floor: float | None
    top: tuple[tuple[str, float], ...]
    scores: dict[str, MapScores]
    baselines: dict[str, MapScores]
    layers: tuple[LayerFacts, ...]
    shapes: tuple[tuple[str, bool], ...]  # of each its label, and whether it is a tag
    versions: dict[str, str]
    device: str
    sha256: dict[str, str]
    version: int = VERSION


def as_json(finding: Finding, sha256: Mapping[str, str]) -> str:
    """Encode a result without its pixels; the same result gives the same text."""
    raw = {"format": FORMAT, "version": VERSION, **described(finding), "sha256": dict(sha256)}
    return json.dumps(raw, indent=2, ensure_ascii=False, allow_nan=False)


def described(finding: Finding) -> dict[str, Any]:
    """Everything in a result except bytes and arrays, ready for JSON."""
    return {
        "settings": asdict(finding.settings),
        "name": plain(finding.name),
        "label": plain(finding.label),
        "probability": finding.probability,
        "floor": finding.floor,
        "top": [(plain(label), share) for label, share in finding.top],
        "scores": _described(finding.scores),
        "baselines": _described(finding.baselines),
        "layers": [asdict(facts) for facts in finding.layers],
        "shapes": [plain(shape.label) for shape in finding.shapes],
        "tags": [shape.is_tag for shape in finding.shapes],
        "versions": finding.versions,
        "device": finding.device,
    }


def _described(scores: Mapping[str, MapScores]) -> dict[str, dict[str, float | str | None]]:
    return {key: {**score.values, "note": score.note} for key, score in scores.items()}


def parse(text: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        BundleError: it is not a manifest, has another version, or holds an invalid value.
    """
    raw = _decoded(text)
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise BundleError(
            "This isn't a camviz bundle: its manifest does not say so. Choose a file ending in .camviz.zip."
        )
    version = raw.get("version")
    if type(version) is not int or version not in READABLE:
        raise BundleError(
            f"This bundle has format version {str(version)[:20]}, but this camviz reads only "
            f"{READABLE[0]} to {READABLE[-1]}: open it with the camviz that wrote it."
        )
    try:
        return replace(_parsed(_up_to_date(raw, version)), version=version)
    except BundleError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged("a value is missing or of the wrong kind") from error


def _up_to_date(raw: dict[str, Any], version: int) -> dict[str, Any]:
    """A manifest of any readable version as one of this version."""
    raw = {"floor": None, **raw}  # many of this version, too, were written without it
    if version == 1:
        known = {
            key: {name: value for name, value in scores.items() if value is not None}  # None: not computed
            for key, scores in raw["scores"].items()
        }
        raw = {**raw, "scores": known, "baselines": {}, "layers": [], "shapes": []}
    if version < 3:
        settings = raw["settings"]
        recipe = {**settings["recipe"], "mirror_averaged": False}
        raw = {**raw, "settings": {**settings, "recipe": recipe}, "tags": [False] * len(raw["shapes"])}
    return raw


def _damaged(why: str) -> BundleError:
    return BundleError(f"The manifest of this bundle is damaged ({why}): ask for the file again.")


def _decoded(text: bytes) -> Any:  # noqa: ANN401
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    try:
        return json.loads(text.decode("utf-8"), parse_constant=refuse, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise _damaged("it is nested too deeply") from error
    except ValueError as error:
        raise _damaged("it is not valid JSON, or a key occurs twice") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _parsed(raw: dict[str, Any]) -> Manifest:
    settings = _settings(raw["settings"])
    scores = {_text(key): _map_scores(value) for key, value in _a(dict, raw["scores"]).items()}
    if scores and set(scores) != {RESULT, *settings.recipe.layers}:
        raise _damaged("its scores do not match its maps")
    layers = tuple(_layer_facts(facts) for facts in _a(list, raw["layers"]))
    if layers and len(layers) != len(settings.recipe.layers):
        raise _damaged("its layers and their descriptions do not match")
    top = tuple((_text(label), _share(share)) for label, share in _at_most(TOP, _a(list, raw["top"])))
    if [share for _, share in top] != sorted((share for _, share in top), reverse=True):
        raise _damaged("its classes are not in order of probability")
    return Manifest(
        settings=settings,
        name=_text(raw["name"]),
        label=_text(raw["label"]),
        probability=_share(raw["probability"]),
        floor=None if raw["floor"] is None else _share(raw["floor"]),
        top=top,
        scores=scores,
        baselines={_text(key): _map_scores(value) for key, value in _few(dict, raw["baselines"]).items()},
        layers=layers,
        shapes=_shapes(_at_most(MAX_SHAPES, _a(list, raw["shapes"])), _a(list, raw["tags"])),
        versions={_text(key): _text(value) for key, value in _few(dict, raw["versions"]).items()},
        device=_text(raw["device"]),
        sha256={_text(key): _text(value) for key, value in _few(dict, raw["sha256"]).items()},
    )


def _shapes(labels: list[Any], tags: list[Any]) -> tuple[tuple[str, bool], ...]:
    return tuple((_text(label), _a(bool, tag)) for label, tag in zip(labels, tags, strict=True))


def _layer_facts(raw: Any) -> LayerFacts:  # noqa: ANN401
    height, width = (_whole(side) for side in _a(list, raw["size"]))
    return LayerFacts(
        size=(height, width),
        blank=_text(raw["blank"]),
        negative=_a(bool, raw["negative"]),
        twins=tuple(_text(name) for name in _few(list, raw["twins"])),
    )


def _settings(raw: Any) -> Settings:  # noqa: ANN401
    return Settings(
        model=_text(raw["model"]),
        recipe=_recipe(raw["recipe"]),
        fit=_one_of("way to fit a picture", get_args(Fit), raw["fit"]),
        target=_whole(raw["target"]),
        noise=None if raw["noise"] is None else _noise(raw["noise"]),
    )


def _recipe(raw: Any) -> Recipe:  # noqa: ANN401
    layers = tuple(_text(name) for name in _a(list, raw["layers"]))
    if not 1 <= len(layers) <= MAX_LAYERS or len(set(layers)) < len(layers):
        raise _damaged(f"it names {len(layers)} layers, not 1 to {MAX_LAYERS} different ones")
    return Recipe(
        method=_one_of("method", METHODS, raw["method"]),
        layers=layers,
        rule=_one_of("merging rule", RULES, raw["rule"]),
        seed=_whole(raw["seed"]),
        mirror_averaged=_a(bool, raw["mirror_averaged"]),
    )


def _noise(raw: Any) -> Perturbation:  # noqa: ANN401
    return Perturbation(_one_of("kind of noise", KINDS, raw["kind"]), _share(raw["level"]), _whole(raw["seed"]))


def _map_scores(raw: Any) -> MapScores:  # noqa: ANN401
    named = dict(_at_most(_MAX_SCORES + 1, _a(dict, raw)))
    note = _text(named.pop("note"))
    return MapScores({_text(name): _score(name, value) for name, value in named.items()}, note)


def _score(name: str, value: Any) -> float | None:  # noqa: ANN401
    """A score, or None if it is undefined. A score unknown to this version may have any value."""
    low, high = SCORES[name].range if name in SCORES else (-math.inf, math.inf)
    return None if value is None else _number(value, low - _ROUNDING, high + _ROUNDING)


def _one_of(what: str, known: Any, value: Any) -> Any:  # noqa: ANN401
    if _text(value) not in known:
        raise BundleError(
            f"This bundle names a {what} that is unknown to this camviz, {value[:40]!r}: open it with a newer one."
        )
    return value


def _a(kind: type[Value], value: Any) -> Value:  # noqa: ANN401
    """The value, if it has exactly this type."""
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _at_most(count: int, values: Value) -> Value:
    if len(values) > count:  # type: ignore[arg-type]
        raise ValueError("too many values")
    return values


def _few(kind: type[Value], value: Any) -> Value:  # noqa: ANN401
    return _at_most(20, _a(kind, value))


def _text(value: Any) -> str:  # noqa: ANN401
    """One line of text of limited length."""
    text = _a(str, value)
    if len(text) > _MAX_TEXT or plain(text) != text:
        raise ValueError("text cannot be shown or is too long")
    return text


def plain(text: str) -> str:
    """One line of text that can be shown and stored; other characters, such as lone surrogates, are replaced."""
    kept = ("\N{REPLACEMENT CHARACTER}" if category(char) in _NOT_SHOWN else char for char in text[:_MAX_TEXT])
    return "".join(kept)


def _share(value: Any) -> float:  # noqa: ANN401
    return _number(value, 0, 1)


def _number(value: Any, low: float, high: float) -> float:  # noqa: ANN401
    number = float(value if type(value) is int else _a(float, value))
    if not math.isfinite(number) or not low <= number <= high:
        raise ValueError(f"expected a number in [{low}, {high}]")
    return number


def _whole(value: Any) -> int:  # noqa: ANN401
    number = _a(int, value)
    if not 0 <= number <= _MAX_SEED:
        raise ValueError("expected a whole number that is not negative")
    return number
