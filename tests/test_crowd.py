"""A class of thirty on one server: thirty sessions at once, each over its own connection."""

import itertools
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from streamlit_messages import new_element
from visitor import PATIENCE, Visitor

from camviz import METHODS
from camviz.samples import SAMPLES

CLASS = 30
SIZE = "7\u00a0×\u00a07"
DEEPEST = f"{SIZE} · _swish"


def progress_shows(message):
    element = new_element(message)
    return element is not None and element.HasField("progress")


@pytest.fixture
def visitors(address):
    """A function that lets so many people in, each with a browser of its own, who all see the first page."""
    inside = []

    def enter(count):
        with ThreadPoolExecutor(count) as pool:
            new = list(pool.map(lambda number: Visitor(address, f"person {len(inside)} {number}"), range(count)))
            inside.extend(new)
            list(pool.map(Visitor.explain, new))
        return new

    yield enter
    for visitor in inside:
        visitor.tab.close()


def test_a_whole_class_gets_what_it_asks_for(visitors):
    """Thirty at once, with five photographs and three methods between them: two ask for the same."""
    photographs, methods = list(SAMPLES)[1:6], ("layercam", "gradcam", "hirescam")
    crowd = visitors(CLASS)
    assert all(visitor.strip.count("<canvas") == 10 for visitor in crowd)
    begin = threading.Barrier(CLASS)

    def learn(number):
        begin.wait()
        titles = photographs[number % 5], METHODS[methods[number % 3]].title
        crowd[number].explain(Sample=titles[0], Method=titles[1], Layers=[DEEPEST])
        return titles

    with ThreadPoolExecutor(CLASS) as pool:
        asked = list(pool.map(learn, range(CLASS)))
    for visitor, (photograph, method) in zip(crowd, asked, strict=True):
        assert photograph in visitor.title
        assert f"{method}, {SIZE}" in visitor.strip
        assert "One layer scores" in visitor.words
    told = [words for visitor in crowd for words in visitor.told]
    places = [int(found) for words in told for found in re.findall(r"turn: (\d+) ahead of you", words)]
    assert places
    assert all(2 <= place <= CLASS for place in places)


def test_a_newer_request_replaces_the_older_one(visitors):
    (visitor,) = visitors(1)
    visitor.ask(Method="slow · Score-CAM")
    visitor.read(progress_shows)
    visitor.explain(Method="HiResCAM")
    assert "HiResCAM over 4 layers" in visitor.strip


def cache_hits(visitor):
    return int(re.search(r"([\d,]+) cache hits", visitor.engine)[1].replace(",", ""))


def test_nobody_clears_what_all_share(visitors):
    one, other = visitors(2)
    before = cache_hits(one)
    one.tab.clear_caches()
    for visitor in (one, other):
        visitor.explain()
    assert cache_hits(other) > cache_hits(one) > before
    assert other.strip.count("<canvas") == 10


def test_a_curve_that_waits_for_its_turn_says_so(visitors):
    """It grows in a fragment of the page, piece by piece; now and then a piece waits behind who computes at length."""
    busy, waits = visitors(2)
    busy.ask(Method="slow · Score-CAM", Sample="Rocket")
    busy.read(progress_shows)
    for sample in [name for name in SAMPLES if name != "Rocket"]:
        waits.explain(Sample=sample, Level=0.5, Layers=[DEEPEST])
        waits.told.clear()
        for _ in range(9):  # of the curve's ten pieces, one is there
            waits.tab.rerun(fragment=waits.fragment)
            waits.finish()
            if waits.told:
                assert re.search("ahead of you|You are next|Taking turns", waits.told[0])
                return
    raise AssertionError("no piece of any curve said that it waits")


def test_the_work_of_closed_tabs_stops(visitors):
    """Five people begin what takes minutes, and go; who stays has the server for herself."""
    *gone, stays = visitors(6)
    for visitor in gone:
        visitor.ask(Method="slow · Score-CAM", Sample="Rocket")
        visitor.read(progress_shows)
        visitor.tab.close()
    end = time.monotonic() + PATIENCE
    for method in itertools.cycle(("LayerCAM", "HiResCAM", "XGrad-CAM", "Eigen-CAM")):
        stays.told.clear()
        stays.explain(Sample="Rocket", Method=method)
        assert f"{method} over 4 layers" in stays.strip
        if not stays.told and "nobody" in stays.engine:
            break
        assert time.monotonic() < end
