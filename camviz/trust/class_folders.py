"""Pictures sorted into folders by class: which of a network's classes a folder means."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import PurePosixPath

from camviz.workbench.pictures import Picture


def folder_of(name: str) -> str:
    """The folder that a picture is sorted into: "cat" for "photos/train/cat/1.jpg".

    Args:
        name: the picture's path, which starts with the folder that was chosen; without folders if it was dropped.

    Returns:
        the innermost folder; "" for a picture right in the chosen folder, or without folders.
    """
    _chosen, *inner = PurePosixPath(name).parts[:-1] or ("",)
    return inner[-1] if inner else ""


def class_named(folder: str, labels: Sequence[str]) -> int | None:
    """The class that a folder's name means.

    Args:
        folder: a label; or one in other case or with "_" for a space, if none is spelled like that; or a label's index.
        labels: the network's labels.

    Returns:
        an index into the labels; None if the name means no class, or several.
    """
    for spelled in (str, _plain):
        wanted = spelled(folder)
        found = [index for index, label in enumerate(labels) if spelled(label) == wanted]
        if found:
            return found[0] if len(found) == 1 else None
    return {str(index): index for index in range(len(labels))}.get(folder)


@lru_cache(4096)  # a thousand folders ask for the same thousand labels
def _plain(name: str) -> str:
    """A name without case and underscores; macOS stores letters and their accents apart."""
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split()).casefold()


def in_turn(pictures: Iterable[Picture]) -> list[Picture]:
    """One picture of each folder after the other, so that the first ones are of as many classes as there are."""
    folders: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        folders[folder_of(picture.title)].append(picture)
    return [picture for picture in chain.from_iterable(zip_longest(*folders.values())) if picture is not None]
