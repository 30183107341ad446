"""camviz's checkpoints: safetensors files, which cannot carry code, with a card that describes the network."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from camviz.models.architectures import ARCHITECTURES
from camviz.models.registry import ModelError, ModelInfo, Net, Preprocessing, make_net

MAX_BYTES = 2**30
SUFFIX = ".safetensors"
_KEY = "camviz"  # the card's key in the file's metadata
_MAX_CLASSES = 100_000
# safetensors' names of the number types accepted for floating-point and integer tensors; others would lose values.
_FLOATS, _INTEGERS = ("F16", "BF16", "F32"), ("I64",)
# What batch normalisation counts: stored beside the parameters, but none of them.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Accuracy:
    """A network's accuracy on unseen samples, as shares from 0 to 1.

    Attributes:
        samples: the number of samples.
        overall: accuracy on all samples.
        classes: accuracy by class name.
        bands: accuracy by size band.
        kinds: accuracy by kind of sample, for a network trained on several.
        followed: the share of predictions that follow a tag of another class than the shape's; None for a network
            trained without tags.
    """

    samples: int
    overall: float
    classes: dict[str, float]
    bands: dict[str, float]
    kinds: dict[str, float] = field(default_factory=dict)
    followed: float | None = None

    @property
    def is_of_tags(self) -> bool:
        """Whether the network has learnt tags in place of shapes: without them it guesses."""
        return self.followed is not None


@dataclass(frozen=True)
class Card:
    """A checkpoint's description of its network.

    Attributes:
        architecture: a name in ARCHITECTURES.
        title: its display name.
        data: what it was trained on.
        labels: class names in logit order.
        layers: default layer names for refining, finest to deepest.
        preprocessing: how a picture becomes its input.
        training: how it was trained, as text by topic (including the command).
        seed: the training's seed.
        accuracy: its accuracy on unseen samples.
    """

    architecture: str
    title: str
    data: str
    labels: tuple[str, ...]
    layers: tuple[str, ...]
    preprocessing: Preprocessing
    training: dict[str, str] = field(repr=False)
    seed: int
    accuracy: Accuracy = field(repr=False)


def save(path: Path, module: nn.Module, card: Card) -> None:
    """Write a network and its card, in half precision and atomically."""
    tensors = {name: _halved(tensor.detach().cpu()) for name, tensor in module.state_dict().items()}
    partial = path.with_name(f"{path.name}.partial")
    save_file(tensors, partial, metadata={_KEY: json.dumps(_as_json(card))})
    partial.chmod(0o644)
    partial.replace(path)


def read_card(path: Path) -> Card:
    """Read a checkpoint's card, without its tensors.

    Raises:
        ModelError: not a valid checkpoint; the message says why.
    """
    with _opened(path) as file:
        return _card(path, (file.metadata() or {}).get(_KEY))


def info_of(path: Path, name: str) -> ModelInfo:
    """A checkpoint's entry in the list of models (ModelError as for `read_card`)."""
    with _opened(path) as file:
        card = _card(path, (file.metadata() or {}).get(_KEY))
        weights = [name for name in file.keys() if name.rpartition(".")[2] not in _STATISTICS]  # noqa: SIM118
        parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in weights) / 1e6
    return ModelInfo(
        name=name,
        title=card.title,
        family=card.architecture,
        source="checkpoint",
        data=card.data,
        accuracy=100 * card.accuracy.overall,
        parameters=parameters,
        download=0,
    )


def load(path: Path, info: ModelInfo, device: torch.device) -> Net:
    """Load a checkpoint's network; tensor names and shapes are checked before any tensor is read.

    Raises:
        ModelError: not a valid checkpoint; the message says why.
    """
    with _opened(path) as file:
        card = _card(path, (file.metadata() or {}).get(_KEY))
        with torch.device("meta"):
            expected = ARCHITECTURES[card.architecture](len(card.labels)).state_dict()
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if shapes != {name: tuple(tensor.shape) for name, tensor in expected.items()}:
            raise _refusal(path, f"its tensors are not those of {card.architecture} with {len(card.labels)} classes")
        for name, tensor in expected.items():
            if file.get_slice(name).get_dtype() not in (_FLOATS if tensor.is_floating_point() else _INTEGERS):
                raise _refusal(path, f"its tensor {name} has the wrong number type")
        tensors: dict[str, Tensor] = {name: file.get_tensor(name).to(expected[name].dtype) for name in shapes}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise _refusal(path, "its weights contain NaN or infinite values")
    module = ARCHITECTURES[card.architecture](len(card.labels))
    module.load_state_dict(tensors)
    missing = set(card.layers) - {name for name, _ in module.named_modules() if name}
    if missing:
        raise _refusal(path, f"{card.architecture} has no layer {sorted(missing)[0][:40]!r}")
    return make_net(info, module, card.labels, card.layers, card.preprocessing, device)


def _as_json(card: Card) -> dict[str, Any]:
    """A card as JSON, without optional figures that it does not have."""
    values = asdict(card)
    for key in ("kinds", "followed"):
        if values["accuracy"][key] in ({}, None):
            del values["accuracy"][key]
    return values


def _halved(tensor: Tensor) -> Tensor:
    """Convert to half precision, unless a value is too large for it."""
    half = tensor.half() if tensor.is_floating_point() else tensor
    return (half if bool(torch.isfinite(half).all()) else tensor).contiguous()


def _refusal(path: Path, why: str) -> ModelError:
    return ModelError(f"{path.name} is not a checkpoint that camviz can load: {why}.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file of a sane size, turning errors into a ModelError."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for
            raise _refusal(path, "it is no file")
        if facts.st_size > MAX_BYTES:
            raise _refusal(path, f"it has {facts.st_size:,} bytes, more than the limit of {MAX_BYTES:,}")
        opened = safe_open(path, framework="pt")
    except OSError as error:
        raise _refusal(path, f"it cannot be read ({error.strerror or 'damaged'})") from error
    except ValueError as error:  # a NUL in the path
        raise _refusal(path, "no file can have this name") from error
    except SafetensorError as error:
        raise _refusal(path, "it is damaged, truncated or not in the safetensors format") from error
    with opened as file:
        yield file


def _card(path: Path, text: str | None) -> Card:
    """Parse a card and validate it."""
    if text is None:
        raise _refusal(path, "it has no camviz card in its metadata")
    try:
        card = _parsed(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _refusal(path, "its card is damaged") from error
    if card.architecture not in ARCHITECTURES:
        raise _refusal(path, f"its architecture {card.architecture[:40]!r} is not one of {', '.join(ARCHITECTURES)}")
    if not 1 <= len(card.labels) <= _MAX_CLASSES:
        raise _refusal(path, f"its card lists {len(card.labels):,} classes instead of 1 to {_MAX_CLASSES:,}")
    if not card.layers or len(set(card.layers)) < len(card.layers):
        raise _refusal(path, "its card lists no layer, or the same layer twice")
    how = card.preprocessing
    if not 32 <= how.size <= how.resize <= 2048:
        raise _refusal(path, "its card has no sensible input size")
    if not all(0 <= mean <= 1 for mean in how.mean) or not all(1e-3 <= std <= 10 for std in how.std):
        raise _refusal(path, "its card has no sensible input mean and standard deviation")
    return card


def _parsed(raw: Any) -> Card:  # noqa: ANN401  (from JSON)
    """Build a card from JSON, in which every value must have the right type."""
    how, accuracy = raw["preprocessing"], raw["accuracy"]
    return Card(
        architecture=_a(str, raw["architecture"]),
        title=_a(str, raw["title"]),
        data=_a(str, raw["data"]),
        labels=_texts(raw["labels"]),
        layers=_texts(raw["layers"]),
        preprocessing=Preprocessing(
            size=_a(int, how["size"]),
            resize=_a(int, how["resize"]),
            mean=_three(how["mean"]),
            std=_three(how["std"]),
            resample=Image.Resampling(_a(int, how["resample"])),
        ),
        training={_a(str, key): _a(str, value) for key, value in raw["training"].items()},
        seed=_a(int, raw["seed"]),
        accuracy=Accuracy(
            samples=_a(int, accuracy["samples"]),
            overall=_share(accuracy["overall"]),
            classes={_a(str, key): _share(value) for key, value in accuracy["classes"].items()},
            bands={_a(str, key): _share(value) for key, value in accuracy["bands"].items()},
            kinds={_a(str, key): _share(value) for key, value in accuracy.get("kinds", {}).items()},
            followed=_share(accuracy["followed"]) if "followed" in accuracy else None,
        ),
    )


def _a(kind: type[Value], value: Any) -> Value:  # noqa: ANN401
    """Return the value if it has exactly this type; text must be encodable."""
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    if isinstance(value, str):
        value.encode()
    return value


def _texts(values: Any) -> tuple[str, ...]:  # noqa: ANN401
    return tuple(_a(str, value) for value in _a(list, values))


def _three(values: Any) -> tuple[float, float, float]:  # noqa: ANN401
    red, green, blue = (_number(value) for value in _a(list, values))
    return red, green, blue


def _share(value: Any) -> float:  # noqa: ANN401
    share = _number(value)
    if not 0 <= share <= 1:
        raise ValueError(f"a share must be from 0 to 1, got {share}")
    return share


def _number(value: Any) -> float:  # noqa: ANN401
    return float(value if type(value) is int else _a(float, value))
