"""Pictures sorted into folders: which class a folder means, and which pictures come first."""

import numpy as np
import pytest

from camviz.trust.class_folders import class_named, folder_of, in_turn
from camviz.workbench.pictures import pixels_as_picture

LABELS = ("tench", "Cardigan", "great white shark", "cardigan", "1", "crane", "crane", "Tench Fish", "tench_fish")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("photos/cat/1.jpg", "cat"),
        ("photos/train/cat/1.jpg", "cat"),
        ("photos/1.jpg", ""),
        ("1.jpg", ""),
        ("", ""),
        ("photos//cat/1.jpg", "cat"),
    ],
)
def test_the_folder_of_a_picture(name, folder):
    assert folder_of(name) == folder


@pytest.mark.parametrize(
    ("folder", "index"),
    [
        ("tench", 0),
        ("TENCH", 0),
        ("cardigan", 3),
        ("Cardigan", 1),
        ("great_white_shark", 2),
        ("Great_White shark ", 2),
        ("1", 4),  # a label comes before an index
        ("2", 2),
        ("8", 8),
        ("tench_fish", 8),
    ],
)
def test_a_folder_that_means_a_class(folder, index):
    assert class_named(folder, LABELS) == index


@pytest.mark.parametrize(
    "folder",
    ["CARDIGAN", "crane", "tench fish", "shark", "tenc", "tench, fish", "9", "-1", "02", "٢", "2.0", "n01440764", ""],
)
def test_a_folder_that_means_none_or_several(folder):
    assert class_named(folder, LABELS) is None


def test_accents_that_stand_apart():
    assert class_named("Zu\u0308rich", ("Basel", "Z\u00fcrich")) == 1


def test_the_first_pictures_are_of_as_many_folders_as_there_are():
    names = ["all/a/1", "all/a/2", "all/a/3", "all/b/1", "all/c/1", "all/c/2"]
    pictures = [pixels_as_picture(np.full((2, 2, 3), n, np.uint8), name) for n, name in enumerate(names)]
    found = [picture.title.removeprefix("all/") for picture in in_turn(pictures)]
    assert found == ["a/1", "b/1", "c/1", "a/2", "c/2", "a/3"]
    unsorted = [pixels_as_picture(np.zeros((2, 2, 3), np.uint8), name) for name in ("3.jpg", "1.jpg", "2.jpg")]
    assert in_turn(unsorted) == unsorted
