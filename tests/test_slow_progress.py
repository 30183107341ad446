"""The progress of slow work in parts: one share of all, from counts that start again."""

from dataclasses import replace

import pytest

from camviz.models.registry import probe_input
from camviz.network.capture import capture
from camviz.ui.panels import slow_progress
from camviz.workbench import networks
from camviz.workbench.host import PlainHost


class Bar:
    """What Streamlit's bar was told."""

    def __init__(self):
        self.shares, self.words = [], []

    def progress(self, share, words):
        self.shares.append(share)
        self.words.append(words)
        return self


@pytest.fixture
def bar(monkeypatch):
    made = Bar()
    monkeypatch.setattr(slow_progress.st, "progress", made.progress)
    monkeypatch.setattr(slow_progress.st, "button", lambda *args, **options: None)
    return made


def progress(**options):
    return slow_progress.SlowProgress("Looking", 30.0, "Stop", lambda: None, "stop", **options)


def test_parts_add_up(bar):
    show = progress(parts=2)
    for count in [(0, 4), (0, 4), (2, 4), (4, 4), (0, 4), (1, 4), (4, 4)]:
        show(*count)
    assert bar.shares == pytest.approx([0, 0, 0, 0.25, 0.5, 0.5, 0.625, 1])


def test_parts_of_a_single_pass(bar):
    show = progress(parts=3)
    for _ in range(4):  # one more than promised
        show(1, 1)
    assert bar.shares == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])


def test_the_time_left_is_the_expected_one_until_the_speed_is_known(bar, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(slow_progress.time, "monotonic", lambda: now[0])
    show = progress()
    now[0] += 1
    show(1, 10)
    now[0] += 9
    show(2, 10)
    assert bar.words == [
        "Looking: 0% done, about 30 s left",
        "Looking: 10% done, about 30 s left",
        "Looking: 20% done, about 40 s left",
    ]


def test_a_busy_moment_does_not_set_the_expected_time_for_ever(monkeypatch, lite0):
    """The fastest of three passes counts, until it is measured again."""
    host, clock, durations = PlainHost(), [0.0], iter([3.0, 2.0, 4.0, 1.0, 1.5, 1.25])
    found = capture(lite0.module, probe_input(224), layers=lite0.layers)
    monkeypatch.setattr(networks, "capture", lambda *_, **__: replace(found, seconds=next(durations)))
    monkeypatch.setattr(networks.time, "monotonic", lambda: clock[0])
    expected = []
    for clock[0] in (0.0, 299.0, 301.0):
        expected.append(networks.pass_seconds(host, lite0))
    assert expected == [2.0, 2.0, 1.0]
