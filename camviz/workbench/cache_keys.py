"""The keys of everything that a host caches."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What a cached value is."""

    NETWORK = auto()
    SPEED = auto()  # of a network
    SAMPLE = auto()  # a drawn sample, by its number
    REFUSAL = auto()  # of bytes that are no picture
    PNG = auto()
    VIEW = auto()  # of a picture as a network sees it
    VIEW_URI = auto()
    SHAPES = auto()
    SEGMENTS = auto()
    PROBABILITIES = auto()
    FLOOR = auto()  # the probabilities with nothing left of a picture
    CAPTURE = auto()  # of that, and a class
    MIRROR = auto()  # the capture of the mirrored picture
    MAP = auto()
    TWINS = auto()
    NEGATIVE = auto()
    SCORE = auto()
    SCORES = auto()  # several, computed together
    SEED_SPREAD = auto()  # of ARCC
    OUTCOMES = auto()  # of a piece of a sweep, for one explanation
    SWEPT = auto()  # the same, for several
    RESULT = auto()  # of a bundle, computed again
    MASK = auto()  # of a picture, from a file
    EFFECTS = auto()  # of removing squares of a picture
    PLAYED = auto()  # the scores of a changed map
    EVALUATED = auto()  # the scores of a picture's maps, by a stage of an evaluation


@dataclass(frozen=True)
class Key:
    """Identifies a cached value without holding a reference to a picture or a network.

    Attributes:
        kind: what it is.
        picture: the id of the picture it depends on, or "".
        network: the network it depends on, or "".
        settings: everything else it depends on.
    """

    kind: Kind
    picture: str = ""
    network: str = ""
    settings: tuple[Hashable, ...] = ()
