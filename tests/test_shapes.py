"""Synthetic samples: the same bits always, and shapes, masks and colours against geometry worked out here."""

import hashlib
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.random import RandomState
from scipy import ndimage
from skimage import measure

from camviz import shapes
from camviz.shapes import figures

TESTS = Path(__file__).parent
SIZE = 224
SPLITS = ("train", "val", "test")
NAMES = ("circle", "square", "triangle", "circle frame", "square frame", "triangle frame")
SIZES = {"large": (80, 100), "medium": (40, 50), "small": (20, 25)}
LAST = 2**31 - 1

# Every class in every band, and two from far away.
INDICES = (*range(18), 10**9 + 7, LAST)
# The first 16 hex digits of each sample's SHA-256, in the order of INDICES.
DIGESTS = {
    "train": """
        ef9906ad1a388521 dd4a0ac8177a5ee2 e352ab8a46edc772 27d881a9207a1f18 c685152f99c1e298
        cdc7e9001502e1ac 4693ed42c611cb44 8e0824b9b30422ee d0c42b27b568a4cc a58e571423a299e6
        684462744a208cd9 e7987f4e05a2dc72 f76007dc29d86e8a 14fb01257e62ebab 483d2284aba32e42
        91505312420abfd2 28ea96c23164125d c10e64c1cb2f713e cdb873201e50136c 265820a3ba34206c
    """,
    "val": """
        fc2cf4b93a1f75cd 742438de0583cbc0 b7bee8d3db1be31b f9fb2efe005037d0 1250a2a2fc4c857f
        de18d4b4f8aab2b5 72644af7539b19f8 5822d615e2169ceb 5c2406a745ae6596 86a1b10b10f6104f
        494846032c4e20de 8d92995007ec4cd7 81b6fb92bb3a6be4 ae27550468a3d280 52f4e46128ae05d5
        c4e8fe00a5a4bc43 fe84b2a977bba29c 747a3eb5a4cab5b1 2415a1cf4cb6b688 2c348de86830d867
    """,
    "test": """
        51efb99c6c10dd69 8a6542239740910a 3d2492ca1833cb05 1f8f4e70a5ec244c 416857731e71c92d
        0106ece2acf21d42 7034513bc883e773 06f9a3e4ddf5594b 3c32401186000e00 7338a22170400b28
        95c5361bf0879b98 96d2ad9ed7730f9f b6bcaca8fc70efde 047e45583149172f 49373a0c8f5b8f4c
        4908670d6cfebf5e a156e6b180113d13 242c4805aaad5fdd 22d962c57c80ae73 4a02f05aac49abfa
    """,
}


def digest(drawn):
    mask = drawn.mask.astype(np.uint8)
    return hashlib.sha256(drawn.image.tobytes() + mask.tobytes() + bytes([drawn.label])).hexdigest()[:16]


def digests(indices, split):
    return [digest(shapes.sample(index, split)) for index in indices]


def composed_digests(index):
    return [digest(shapes.composed(kind, index)) for kind in shapes.COMPOSED]


@pytest.fixture(scope="module")
def drawn():
    """Ten samples of every class in every band."""
    return [shapes.sample(index) for index in range(180)]


# Determinism.


@pytest.mark.parametrize("split", SPLITS)
def test_samples_are_the_same_bit_for_bit(split):
    assert digests(INDICES, split) == DIGESTS[split].split()


def test_neither_order_nor_global_state_matters():
    """Nor is the global state touched."""
    kept, expected = np.random.get_state(), composed_digests(5)  # noqa: NPY002
    try:
        np.random.seed(123)  # noqa: NPY002
        random.seed(123)
        before, plain = np.random.get_state(), random.getstate()  # noqa: NPY002
        for place in (19, 7, 7, 0, 12):
            for split in reversed(SPLITS):
                assert digest(shapes.sample(INDICES[place], split)) == DIGESTS[split].split()[place]
        assert composed_digests(5) == expected
        after = np.random.get_state()  # noqa: NPY002
        assert after[0] == before[0]
        assert np.array_equal(after[1], before[1])
        assert after[2:] == before[2:]
        assert random.getstate() == plain
    finally:
        np.random.set_state(kept)  # noqa: NPY002


def test_numpy_integers_draw_the_same():
    for index in (np.uint8(250), np.int32(250), np.int64(250)):
        assert digest(shapes.sample(index)) == digest(shapes.sample(250))
        for kind in shapes.COMPOSED:
            assert digest(shapes.composed(kind, index)) == digest(shapes.composed(kind, 250))


# Geometry: polygons from their corners, pixel by pixel; circles by integration.


def corners(figure, inset=0.0):
    """The corners (x, y) of a square or triangle, or of the one whose sides lie `inset` further in.

    Only the turn is taken from the figure's normals; how far away the corners lie follows from its side.
    """
    count = len(figure.normals)
    around, within = (2**-0.5, 0.5) if count == 4 else (3**-0.5, 12**-0.5)  # of the side: the circles' radii
    radius = around * figure.size * (1 - inset / (within * figure.size))
    turn = np.arctan2(figure.normals[0][1], figure.normals[0][0])
    angles = turn + np.pi / count * (2 * np.arange(count) + 1)
    return [(figure.x + radius * np.cos(angle), figure.y + radius * np.sin(angle)) for angle in angles]


def cut(polygon, axis, at, side):
    """What of a convex polygon lies beyond (side 1) or before (-1) a place on one axis: Sutherland and Hodgman."""
    kept = []
    for start, end in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        a, b = side * (start[axis] - at), side * (end[axis] - at)
        if a >= 0:
            kept.append(start)
        if a * b < 0:
            crossing = [s + a / (a - b) * (e - s) for s, e in zip(start, end, strict=True)]
            crossing[axis] = at
            kept.append(tuple(crossing))
    return kept


def area(polygon):
    """By cross products of the corners."""
    following = [*polygon[1:], *polygon[:1]]
    return abs(sum(a * d - b * c for (a, b), (c, d) in zip(polygon, following, strict=True))) / 2


def polygon_coverage(polygon):
    shares = np.zeros((SIZE, SIZE))
    for row in range(SIZE):
        strip = cut(cut(polygon, 1, row, 1), 1, row + 1, -1)
        places = [x for x, _ in strip]
        for column in range(int(min(places)), int(max(places)) + 1) if strip else ():
            shares[row, column] = area(cut(cut(strip, 0, column, 1), 0, column + 1, -1))
    return shares


def disc_coverage(x, y, radius, fine=256):
    """Integrate, over 256 vertical chords per pixel, how much of each chord lies in a row."""
    places = (np.arange(SIZE * fine) + 0.5) / fine - x
    half = np.sqrt(np.maximum(radius * radius - places * places, 0))
    rows = np.arange(SIZE)
    shares = np.zeros((SIZE, SIZE))
    for row in rows[(rows + 1 > y - radius) & (rows < y + radius)]:
        common = np.minimum(y + half, row + 1) - np.maximum(y - half, row)
        shares[row] = np.maximum(common, 0).reshape(SIZE, fine).mean(1)
    return shares


def exact_coverage(figure):
    def whole(inset):
        if not figure.normals:
            return disc_coverage(figure.x, figure.y, figure.size / 2 - inset)
        return polygon_coverage(corners(figure, inset))

    return whole(0.0) - whole(figure.size / 5) if figure.label >= 3 else whole(0.0)


def assert_covers(shape, figure):
    """Counting on 16 x 16 places errs by 1/32 of a pixel at most for each side that crosses it: 1/16 at corners."""
    exact = exact_coverage(figure)
    tolerance = np.full_like(exact, 1 / 32)
    if figure.normals:
        for x, y in [*corners(figure), *corners(figure, figure.size / 5)]:
            tolerance[int(y), int(x)] = 1 / 16
    error = abs(shape.coverage - exact)
    assert (error <= tolerance).all(), (error / tolerance).max()
    clear = abs(exact - 0.5) > tolerance
    assert np.array_equal(shape.mask[clear], exact[clear] >= 0.5)


def recorded(monkeypatch):
    """The figures that are drawn from here on, as they are drawn."""
    seen = []

    def record(figure):
        seen.append(figure)
        return figures.coverage(figure)

    monkeypatch.setattr(shapes, "coverage", record)
    return seen


@pytest.mark.parametrize("label", range(6), ids=NAMES)
def test_masks_against_exact_areas(label, monkeypatch):
    seen = recorded(monkeypatch)
    for number, split in enumerate(("train", "val", "test") * 3):
        sample = shapes.sample(label + 6 * number, split)
        assert np.array_equal(sample.mask, sample.shapes[0].mask)
        assert_covers(sample.shapes[0], seen.pop())


def test_masks_of_two_shapes_against_exact_areas(monkeypatch):
    seen = recorded(monkeypatch)
    for index in range(6):
        sample = shapes.composed("two shapes", index)
        for shape, figure in zip(sample.shapes, seen[-2:], strict=True):
            assert_covers(shape, figure)


UPRIGHT = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


def test_upright_squares_by_hand():
    whole = figures.coverage(figures.Figure(1, 20.0, 112.0, 60.0, UPRIGHT))
    expected = np.zeros((SIZE, SIZE))
    expected[50:70, 102:122] = 1
    assert np.array_equal(whole, expected)
    frame = figures.coverage(figures.Figure(4, 20.0, 112.0, 60.0, UPRIGHT))
    expected[54:66, 106:118] = 0
    assert np.array_equal(frame, expected)
    shifted = figures.coverage(figures.Figure(1, 20.0, 112.5, 60.25, UPRIGHT))
    assert shifted[60, 101:104].tolist() == [0, 0.5, 1]
    assert shifted[60, 121:124].tolist() == [1, 0.5, 0]
    assert shifted[49:52, 110].tolist() == [0, 0.75, 1]
    assert shifted[50, 102] == 0.375
    assert (
        shapes.Shape(1, "small", 20.0, np.zeros(3, np.uint8), shifted).mask.sum() == 21 * 20 - 2
    )  # a half counts, a corner's 0.375 does not


def sides(label, size):
    """The areas that a figure's outline and a frame's hole enclose, from its diameter or side."""
    line = size / 5
    if label % 3 == 0:
        return np.pi / 4 * size**2, np.pi / 4 * (size - 2 * line) ** 2
    if label % 3 == 1:
        return size**2, (size - 2 * line) ** 2
    return 3**0.5 / 4 * size**2, 3**0.5 / 4 * (size - 2 * 3**0.5 * line) ** 2


def enclosed(shape):
    """The areas that a shape's outline and its hole enclose, from its coverage: sums over what a flood reaches."""
    parts, count = ndimage.label(shape.coverage < 1)
    assert count == (2 if shape.label >= 3 else 1)
    outside = parts == parts[0, 0]
    return (shape.coverage[outside].sum() + (~outside).sum()), (1 - shape.coverage)[(parts > 0) & ~outside].sum()


def test_size_is_the_diameter_or_side_and_a_line_a_fifth_of_it(drawn):
    for sample in drawn:
        shape = sample.shapes[0]
        whole, hole = sides(shape.label, shape.size)
        outer, inner = enclosed(shape)
        assert abs(outer / whole - 1) < 0.002
        tolerance = {"large": 0.01, "medium": 0.04, "small": 0.07}[shape.band]  # whole pixels are coarse
        assert abs(sample.mask.sum() / (whole - hole * (shape.label >= 3)) - 1) < tolerance
        if shape.label >= 3:
            # Of similar figures the roots of the areas are as their sizes; `reach` is a circle's or inscribed radius.
            reach = shape.size / (2 * 3**0.5 if shape.label == 5 else 2)
            line = reach * (1 - (inner / outer) ** 0.5)
            assert abs(line / shape.size - 0.2) < 0.0005
        else:
            assert inner == 0


def test_shapes_stay_two_pixels_from_the_border(drawn):
    for sample in [*drawn, *(shapes.composed(kind, index) for kind in shapes.COMPOSED for index in range(12))]:
        for shape in sample.shapes:
            inner = shape.coverage[2:-2, 2:-2]
            assert inner.sum() == shape.coverage.sum() > 0
            assert np.count_nonzero(inner) == np.count_nonzero(shape.coverage)
            assert inner.max() == 1
            assert shape.coverage.min() == 0


def test_places_reach_from_border_to_border_and_turns_all_around():
    """The ends of many figures lie in 2 to 222, and come near both."""
    ends, turns = [], []
    for number in range(3000):
        figure = figures.draw_figure(RandomState(number), number % 6, tuple(SIZES)[number // 6 % 3])
        half = figure.size / 2
        ring = [(figure.x - half, figure.y - half), (figure.x + half, figure.y + half)]
        points = np.array(corners(figure) if figure.normals else ring)
        ends.append((points.min(0), points.max(0)))
        turns += [np.arctan2(y, x) for x, y in figure.normals[:1]]
    low, high = np.array(ends).transpose(1, 0, 2)
    assert (low >= 2 - 1e-9).all()
    assert (high <= 222 + 1e-9).all()
    assert (low.min(0) < 3).all()
    assert (high.max(0) > 221).all()
    assert np.histogram(turns, 8, (-np.pi, np.pi))[0].min() > 200  # of 2000, 250 expected


# Colours.


def test_images_are_the_shape_laid_over_the_background(drawn):
    for sample in drawn[::5]:
        cover, under = sample.shapes[0].coverage[..., None], sample.background.astype(float)
        mixed = (1 - cover) * under + cover * sample.shapes[0].colour
        assert abs(sample.image - mixed).max() <= 0.5 + 1e-9
        assert np.array_equal(sample.on(sample.background), sample.image)


def told_apart(shape, under):
    """The share of the pixels around a shape, up to 3 from the last it touches, that differ by 60 or more."""
    distance = ndimage.distance_transform_edt(shape.coverage == 0)
    around = under[(distance > 0) & (distance <= 3)].astype(float)
    return (np.linalg.norm(around - shape.colour, axis=1) >= 60).mean()


def test_shapes_are_told_from_what_is_around(drawn):
    """Distances from whole pixels, not from the outline, move a few pixels in or out: hence 0.88 for some."""
    others = [shapes.composed("two shapes", index) for index in range(24)]
    shares = np.array([told_apart(shape, sample.background) for sample in [*drawn, *others] for shape in sample.shapes])
    assert shares.min() >= 0.88
    assert (shares < 0.9).mean() <= 0.02


@pytest.mark.parametrize(
    ("label", "low", "high", "taken"),
    [(1, 24, 50, 0), (1, 23, 24, 2), (4, 0, 12, 2), (4, 0, 8, 0), (4, 8, 10, 2)],
    ids=["further away", "almost 3 away", "all the hole", "its middle", "almost 3 into it"],
)
def test_where_a_colour_must_be_told_apart(label, low, high, taken):
    """An upright square with a side of 40 and, where it is a frame, a hole of 24.

    The picture is dark at some distances from its centre and white elsewhere; the first colours tried are dark.
    """
    distance = np.maximum(abs(np.arange(SIZE) - 111.5), abs(np.arange(SIZE)[:, None] - 111.5))
    image = np.where((distance > low) & (distance < high), 10, 255).astype(np.uint8)[..., None].repeat(3, 2)
    tried = np.array([[0, 0, 0], [5, 10, 15], [0, 150, 0], *[[0, 0, 99]] * 13])
    rng = SimpleNamespace(randint=lambda low, high, size: tried)
    figure = figures.Figure(label, 40.0, 112.0, 112.0, UPRIGHT)
    assert figures.draw_colour(rng, figure, image).tolist() == tried[taken].tolist()


def test_a_crowd_of_colours_leaves_one_that_can_be_told():
    """Where none of the first 16 will do: here all are black, as half of the picture is.

    The rest holds the colours that are tried then.
    """
    black = SimpleNamespace(randint=lambda low, high, size: np.zeros(size, int))
    grid = np.stack(np.meshgrid(*[[0, 127, 255]] * 3), -1).reshape(-1, 3)
    rng = RandomState(0)
    chosen = grid[rng.randint(0, len(grid), (SIZE, SIZE))] * rng.randint(0, 2, (SIZE, SIZE, 1))
    image = chosen.astype(np.uint8)
    for label in range(6):
        figure = figures.draw_figure(rng, label, "small")
        colour, cover = figures.draw_colour(black, figure, image), figures.coverage(figure)
        assert told_apart(shapes.Shape(label, "small", figure.size, colour, cover), image) >= 0.9


@pytest.mark.parametrize("kind", [None, *shapes.COMPOSED])
def test_another_background_gets_exactly_the_same_shape(kind):
    for index in range(6):
        sample = shapes.composed(kind, index) if kind else shapes.sample(index)
        assert np.array_equal(sample.on(sample.background), sample.image)
        other = shapes.sample(index, "val").background
        kept, moved = other.copy(), sample.on(other)
        assert np.array_equal(other, kept)
        assert moved.dtype == np.uint8
        untouched = np.ones((SIZE, SIZE), bool)
        for shape in sample.shapes:
            assert (moved[shape.coverage == 1] == shape.colour).all()
            untouched &= shape.coverage == 0
            cover = shape.coverage[..., None]
            part = (shape.coverage > 0) & (shape.coverage < 1)
            mixed = (1 - cover) * other + cover * shape.colour
            assert abs(moved - mixed)[part].max() <= 0.5 + 1e-9
        assert np.array_equal(moved[untouched], other[untouched])


# Classes and splits.


@pytest.mark.parametrize("split", SPLITS)
def test_classes_and_bands_take_turns(split, monkeypatch):
    """Of 3000 samples; without their pixels, which take long and have no say in it."""
    black, empty = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE))
    monkeypatch.setattr(shapes, "background", lambda rng: black)
    monkeypatch.setattr(shapes, "coverage", lambda figure: empty)
    monkeypatch.setattr(shapes, "draw_colour", lambda rng, figure, image: np.zeros(3, np.uint8))
    labels, bands, sizes = [], [], {band: [] for band in SIZES}
    for index in range(3000):
        sample = shapes.sample(index, split)
        labels.append(sample.label)
        bands.append(sample.shapes[0].band)
        sizes[bands[-1]].append(sample.shapes[0].size)
    assert labels == [0, 1, 2, 3, 4, 5] * 500
    assert bands == ((["large"] * 6 + ["medium"] * 6 + ["small"] * 6) * 167)[:3000]
    for band, (low, high) in SIZES.items():
        assert low <= min(sizes[band]) < low + 0.02 * (high - low)
        assert high >= max(sizes[band]) > high - 0.02 * (high - low)


def test_splits_and_kinds_share_no_background():
    backgrounds = [shapes.sample(index, split).background for split in SPLITS for index in range(60)]
    backgrounds += [shapes.composed("two shapes", index, split).background for split in SPLITS for index in range(10)]
    assert len({hashlib.sha256(pixels.tobytes()).digest() for pixels in backgrounds}) == 210
    for index in range(60):
        same = (backgrounds[index] == backgrounds[60 + index]).all(-1).mean()
        assert same < 0.5  # not the same picture but for a stroke, either


# A detector of shapes, and where it finds some.

LIKE = 0.9  # drawn shapes have 0.95 and more, what the backgrounds hold 0.88 at most


def likeness(region):
    """How well a region, its holes filled, and the likeliest figure agree (intersection over union), and its name.

    Each figure has the region's area and centre and the turn that its third or fourth moment says.
    """
    filled = ndimage.binary_fill_holes(np.pad(region, 2))
    y, x = np.nonzero(filled)
    centre, count = x.mean() + 1j * y.mean(), len(x)
    moved = x + 1j * y - centre
    if (abs(moved) ** 2).sum() > 0.22 * count**2:  # 0.19 for a triangle, less for the others
        return 0.0, ""
    grid = np.arange(filled.shape[1]) + 1j * np.arange(filled.shape[0])[:, None] - centre
    best = 0.0, ""
    for name, number in (("circle", 0), ("square", 4), ("triangle", 3)):
        if number:
            turn = np.angle((moved**number).sum()) / number + np.pi / number
            distance = np.max([(grid * np.exp(-1j * (turn + 2 * np.pi * k / number))).real for k in range(number)], 0)
            reach = (count / (number * np.tan(np.pi / number))) ** 0.5
        else:
            distance, reach = abs(grid), (count / np.pi) ** 0.5
        figure = distance <= reach
        agreed = (figure & filled).sum() / (figure | filled).sum()
        best = max(best, (agreed, name if region.sum() == count else f"{name} frame"))
    return best


def found(image):
    """The names of the shapes, 16 pixels wide or more and clear of the border, among the regions of one colour."""
    code = image.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    label = measure.label(code, connectivity=1, background=-1)
    large = np.bincount(label.ravel()) >= 100
    label = np.where(large, np.cumsum(large), 0)[label]
    names = []
    for number, box in enumerate(ndimage.find_objects(label), 1):
        rows, columns = box
        height, width = rows.stop - rows.start, columns.stop - columns.start
        whole = min(rows.start, columns.start) > 0 and max(rows.stop, columns.stop) < SIZE
        if whole and max(height, width) >= 16 and max(height, width) <= 2 * min(height, width):
            alike, name = likeness(label[box] == number)
            if alike >= LIKE:
                names.append(name)
    return names


def test_drawn_shapes_are_found():
    """At least 9 of 10 of every class in every band."""
    seen = {(name, band): 0 for band in SIZES for name in NAMES}
    for index in range(180):
        sample = shapes.sample(index)
        seen[NAMES[sample.label], sample.shapes[0].band] += NAMES[sample.label] in found(sample.image)
    assert min(seen.values()) >= 9, seen


def test_backgrounds_hold_no_shape():
    assert {index: names for index in range(180) if (names := found(shapes.sample(index, "val").background))} == {}


# Composed samples.


def test_two_shapes():
    others = set()
    for index in range(36):
        sample = shapes.composed("two shapes", index)
        first, second = sample.shapes
        assert first.label == sample.label == index % 6
        assert second.label != first.label
        others.add((first.label, second.label))
        assert (first.coverage * second.coverage == 0).all()
        assert {NAMES[first.label], NAMES[second.label]} <= set(found(sample.image))
        assert np.array_equal(sample.mask, first.mask)
        assert {first.band, second.band} == {"medium"}
    assert len(others) >= 15  # of 30


def test_a_distractor_has_the_colour_but_not_the_shape():
    for index in range(36):
        sample = shapes.composed("distractor", index)
        (shape,) = sample.shapes
        assert shape.label == index % 6
        patch = (sample.background == shape.colour).all(-1)
        assert patch.sum() >= 200
        assert not (patch & (shape.coverage > 0)).any()
        assert np.array_equal(sample.image[patch], sample.background[patch])
        assert found(sample.background) == []
        assert NAMES[shape.label] in found(sample.image)


def test_half_hidden():
    for index in range(36):
        sample = shapes.composed("half hidden", index)
        (shape,) = sample.shapes
        assert shape.label == index % 6
        whole, hole = sides(shape.label, shape.size)
        assert 0.45 <= sample.mask.sum() / (whole - hole * (shape.label >= 3)) <= 0.55
        assert (sample.image[shape.coverage == 1] == shape.colour).all()
        hidden = shape.coverage == 0
        assert np.array_equal(sample.image[hidden], sample.background[hidden])
        assert found(sample.background) == []


# Errors.


SINGLE = (shapes.sample, shapes.textured, shapes.tagged, shapes.mistagged)


@pytest.mark.parametrize("draw", [*SINGLE, *(lambda *a, k=k: shapes.composed(k, *a) for k in shapes.COMPOSED)])
def test_wrong_arguments(draw):
    for index in (-1, 2**31, np.int64(2**40)):
        with pytest.raises(ValueError, match=rf"from 0 to 2147483647, got {index}"):
            draw(index)
    for index in (1.0, np.float64(2), "3", None):
        with pytest.raises(TypeError, match="integer"):
            draw(index)
    for split in ("Test", "validation", "", None):
        with pytest.raises(ValueError, match=rf"split {split!r}; choose from 'train', 'val', 'test'"):
            draw(0, split)


@pytest.mark.parametrize("kind", ["single", "two_shapes", None])
def test_unknown_kind(kind):
    with pytest.raises(ValueError, match=rf"kind {kind!r}; choose from 'two shapes', 'distractor', 'half hidden'"):
        shapes.composed(kind, 0)
