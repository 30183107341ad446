"""What an address says: whole, the same there and back, and nothing that a stranger puts into it does harm."""

from dataclasses import fields

import numpy as np
import pytest

from camviz import METHODS, list_models, shapes
from camviz.html.words import MEASURES
from camviz.merging import RULES
from camviz.noise import KINDS
from camviz.samples import SAMPLES
from camviz.trust.run import STEPS
from camviz.trust.study_results import METRICS, TRUTHS
from camviz.ui.links.link_format import (
    AREAS,
    OWN_PICTURES,
    SOURCES,
    Compared,
    Evaluated,
    Explored,
    Played,
    Swept,
    code,
    left_out,
    plain,
    read,
    write,
)

MODELS = [info.name for info in list_models()]
LAYERS = ("layer1", "features.denseblock4", "_blocks.10._swish")


def some(rng, options, least=0):
    """A random choice of several."""
    options = list(options)
    return tuple(options[i] for i in rng.permutation(len(options))[: rng.integers(least, len(options) + 1)])


def explored(rng) -> Explored:
    pick = lambda options: options[rng.integers(len(options))]  # noqa: E731
    picture = [
        {"photo": pick(list(SAMPLES))},
        {
            "kind": pick(list(shapes.KINDS)),
            "shape": pick(shapes.CLASSES),
            "size": pick(list(shapes.BANDS)),
            "number": int(rng.integers(1000)),
        },
        {"upload": rng.bytes(8).hex(), "name": pick(["a.png", "<b>ü & =?.png", "", " "])},
    ][rng.integers(3)]
    return Explored(
        **picture,
        fit=pick(["crop", "squeeze", "pad"]),
        model=pick(MODELS),
        target=int(rng.integers(1000)),
        method=pick(list(METHODS)),
        layers=some(rng, LAYERS, 1),
        rule=pick(list(RULES)),
        noise=pick(list(KINDS)),
        level=round(0.05 * int(rng.integers(21)), 2),
        draw=int(rng.integers(10_000)),
        follow=bool(rng.integers(2)),
    )


def swept(rng) -> Swept:
    uploads = tuple(rng.bytes(8).hex() for _ in range(rng.integers(3)))
    return Swept(
        photos=some(rng, SAMPLES),
        shapes=int(rng.integers(61)),
        uploads=uploads,
        names=tuple(f"{digest[:3]} & co.png" for digest in uploads),
        fit="pad",
        model=MODELS[rng.integers(len(MODELS))],
        methods=some(rng, METHODS),
        merged=some(rng, METHODS),
        noises=some(rng, KINDS),
        levels=some(rng, [round(0.1 * step, 1) for step in range(1, 11)]),
        draws=int(rng.integers(1, 11)),
        shown=["all", *KINDS][rng.integers(1 + len(KINDS))],
        compared=list(MEASURES)[rng.integers(len(MEASURES))],
        picture=["Cat", "<b>ü & =?.png"][rng.integers(2)],
        explanation="RefineCAM of Grad-CAM++",
        noise=list(KINDS)[rng.integers(len(KINDS))],
        level=round(0.1 * int(rng.integers(1, 11)), 1),
        draw=int(rng.integers(10)),
        region=int(rng.integers(80)),
    )


def played(rng) -> Played:
    return Played(
        **{name: value for name, value in vars(explored(rng)).items() if value is not None},
        blur=int(rng.integers(33)),
        shrink=round(1 + 0.1 * int(rng.integers(31)), 1),
        sharpen=round(0.5 + 0.1 * int(rng.integers(56)), 1),
        right=int(rng.integers(-60, 61)),
        down=int(rng.integers(-60, 61)),
    )


def evaluated(rng) -> Evaluated:
    pick = lambda options: options[rng.integers(len(options))]  # noqa: E731
    return Evaluated(
        source=pick(SOURCES),
        pictures=pick(OWN_PICTURES),
        count=int(rng.integers(1, 301)),
        fit=pick(["crop", "squeeze", "pad"]),
        model=pick(MODELS),
        methods=some(rng, METHODS),
        steps=some(rng, STEPS),
        metric=pick([name for names in METRICS.values() for name in names]),
        samples=pick(["plain", "textured", "tagged"]),
        area=pick(list(AREAS)),
        truth=pick(list(TRUTHS)),
        size=pick(["all", *shapes.BANDS]),
        blind=bool(rng.integers(2)),
        network=pick(MODELS),
    )


@pytest.mark.parametrize("make", [explored, played, swept, evaluated])
def test_there_and_back_it_is_the_same(make):
    rng = np.random.default_rng(0)
    for _ in range(300):
        state = make(rng)
        said = write(state)
        assert said["v"] == "1"
        assert read(type(state), said) == (state, [])


@pytest.mark.parametrize("kind", [Explored, Compared, Played, Swept, Evaluated])
def test_what_is_not_said_stays_open(kind):
    assert read(kind, {}) == (kind(), [])
    assert write(kind()) == {"v": "1"}
    assert read(kind, {"utm_source": "a letter", "embed": "true"}) == (kind(), [])


HOSTILE = [
    "",
    " ",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "\0",
    "None",
    "nan",
    "-1000",
    "1e9",
    "٣",
    "1_0",
    "x" * 9000,
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", [Explored, Compared, Played, Swept, Evaluated])
def test_no_value_does_harm(kind, text):
    """Each field by itself: what cannot be is left out and named, what can be is read, and nothing raises."""
    for part in fields(kind):
        name = part.metadata["name"]
        found, ignored = read(kind, {"v": "1", name: text})
        value = getattr(found, part.name)
        if ignored:
            assert value is None
            assert ignored[0].startswith(name)
            assert len(ignored[0]) < 80
            assert "\0" not in ignored[0]
        else:
            assert value in ((), ("",), plain(text), (plain(text),))
        assert read(kind, write(found)) == (found, [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class", "10000"),
        ("class", "1.5"),
        ("level", "1.05"),
        ("level", "0.33"),
        ("level", "inf"),
        ("draw", "-1"),
        ("upload", "abc"),
        ("upload", "Z" * 16),
        ("layers", "a~b c"),
        ("layers", "~".join("abcdefghij"[i % 10] * (i // 10 + 1) for i in range(65))),
        ("follow", "true"),
        ("shape", "pentagon"),
        ("number", "100000"),
        ("model", "Efficientnet-lite0"),
    ],
)
def test_what_cannot_be_is_named_and_the_rest_is_read(name, text):
    found, ignored = read(Explored, {"v": "1", "rule": "mean", name: text})
    assert found == Explored(rule="mean")
    assert len(ignored) == 1
    assert ignored[0].startswith(f"{name} `")


@pytest.mark.parametrize(
    ("name", "text"), [("levels", "0.0"), ("levels", "0.2~0.25"), ("shapes", "61"), ("draws", "0")]
)
def test_likewise_of_a_sweep(name, text):
    assert read(Swept, {"draws": "3"} | {name: text})[1] == [f"{name} `{text}`"]


def test_another_version_is_told():
    assert read(Explored, {"v": "2", "rule": "mean"}) == (Explored(rule="mean"), ["version `2`"])


def test_a_strangers_words_are_only_words():
    assert code("![](http://a.b/c.png)") == "`![](http://a.b/c.png)`"
    assert code("`[a](b)`") == "`[a](b)`"
    assert code("a`<b>`c\nd") == "`a <b> c d`"
    assert code("") == "(nothing)"
    assert len(code("x" * 5000)) < 50


def test_a_files_name_is_one_short_line():
    assert plain("a~b\nc.png") == "a_b_c.png"
    assert len(plain("x" * 5000)) == 80


def test_the_sentence_does_not_go_on_for_ever():
    assert left_out(["a", "b"]).endswith("left at their defaults: a, b.")
    assert left_out(["a"] * 9).endswith("a, 3 more.")
