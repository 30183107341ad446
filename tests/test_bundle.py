"""Bundles: what is written comes back, and whatever else is in a file is refused in one sentence."""

import csv
import hashlib
import io
import json
import random
import re
import stat
import struct
import zipfile
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shape_result import LAYERS, MODEL, PNG, RECIPE, SAMPLE, photo
from small_networks import at_half_size
from zip_files import members, packed

import camviz
from camviz import shapes
from camviz.html.report import report
from camviz.html.words import percent
from camviz.merging import RULES, rule
from camviz.metrics.arcc import PARTS
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.results import bundle, exports
from camviz.results.agreement import check_agreement
from camviz.results.bundle import (
    LIMITS,
    MANIFEST,
    MAPS,
    MERGED,
    MERGES,
    OPTIONAL,
    PICTURE,
    SCORES,
    SHAPES,
    VIEW,
    BundleError,
)
from camviz.results.finding import RESULT, Settings, as_png
from camviz.workbench.findings import find
from camviz.workbench.pictures import known_shapes


@pytest.fixture(scope="module")
def net():
    return at_half_size(camviz.load_model(MODEL, "cpu"))


@pytest.fixture(scope="module")
def found(net):
    return find(net, PNG, "shapes:test/12", Settings(MODEL, RECIPE))


@pytest.fixture(scope="module")
def good(found):
    return bundle.write(found)


ALWAYS = [name for name in LIMITS if name not in OPTIONAL]
# Written by camviz before bundles held blind guesses and shapes, and named their scores.
VERSION_1 = Path(__file__).parent / "data" / "version-1.camviz.zip"


def signed(data, changes=None, edit=None):
    """A bundle with some members exchanged and its manifest edited, whose hashes are right all the same."""
    parts = {**members(data), **(changes or {})}
    raw = json.loads(parts[MANIFEST])
    raw["sha256"] = {name: hashlib.sha256(parts[name]).hexdigest() for name in parts if name != MANIFEST}
    if edit:
        edit(raw)
    return packed({**parts, MANIFEST: json.dumps(raw).encode()})


def refused(data, words="."):
    """Assert that these bytes are refused with one sentence that says so."""
    with pytest.raises(BundleError, match=words) as caught:
        bundle.read(data)
    text = str(caught.value)
    assert text.endswith(".")
    assert len(text) < 400
    assert "\n" not in text


def same(one, other):
    assert one.settings == other.settings
    names = ("name", "picture", "label", "probability", "floor", "top", "scores", "baselines", "layers", "versions")
    for name in (*names, "device"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("view", "maps", "merged"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    assert [shape.label for shape in one.shapes] == [shape.label for shape in other.shapes]
    for first, second in zip(one.shapes, other.shapes, strict=True):
        np.testing.assert_array_equal(first.mask, second.mask)


@pytest.mark.parametrize(
    ("data", "name", "asked"),
    [
        *((PNG, "shapes:test/12", Settings(MODEL, replace(RECIPE, rule=rule))) for rule in RULES),
        (photo(), "a photo.jpg", Settings(MODEL, RECIPE, "pad", 2)),
        (PNG, "Ünïcode 猫.png", Settings(MODEL, RECIPE, noise=Perturbation("shot", 0.4, 3))),
        (PNG, "attacked", Settings(MODEL, RECIPE, noise=Perturbation("fgsm", 1))),
        (PNG, "random", Settings(MODEL, replace(RECIPE, method="random", seed=2**31))),
        (PNG, "uniform", Settings(MODEL, replace(RECIPE, method="uniform", layers=("layer4",)))),
    ],
)
def test_round_trip(net, data, name, asked):
    found = find(net, data, name, asked, scores=name == "uniform")
    stored = bundle.read(bundle.write(found))
    same(stored, found)
    assert stored.maps.flags.writeable
    assert check_agreement(stored, find(net, stored.picture, stored.name, stored.settings, scores=False)).agrees


def test_round_trip_with_scores(found, good):
    same(bundle.read(good), found)
    rows = list(csv.DictReader(io.StringIO(members(good)[SCORES].decode())))
    assert float(rows[0]["arcc"]) == found.scores[RESULT]["arcc"]


def test_what_a_bundle_is_made_of(found, good):
    """Read by zipfile and numpy alone."""
    parts = members(good)
    assert list(parts) == [name for name in LIMITS if name not in OPTIONAL]
    assert parts[PICTURE] == PNG
    np.testing.assert_array_equal(np.load(io.BytesIO(parts[MAPS])), found.maps)
    np.testing.assert_array_equal(np.load(io.BytesIO(parts[MERGED])), found.merged)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(parts[VIEW]))), found.view)
    raw = json.loads(parts[MANIFEST])
    recipe = {"method": "gradcam++", "layers": list(LAYERS), "rule": "product", "seed": 0, "mirror_averaged": False}
    assert raw["settings"]["recipe"] == recipe
    assert raw["sha256"] == {name: hashlib.sha256(parts[name]).hexdigest() for name in list(parts)[1:]}


def test_same_bytes(net, found, good):
    assert bundle.write(found) == good == bundle.write(bundle.read(good))
    again = find(net, PNG, "shapes:test/12", Settings(MODEL, RECIPE), scores=False)
    assert check_agreement(found, again).agrees


@pytest.mark.parametrize("name", ["a\x00b\n", "\ud800", "right\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe", "x" * 5000, ""])
def test_names_that_cannot_be_shown(found, name):
    stored = bundle.read(bundle.write(replace(found, name=name, label=name)))
    assert len(stored.name) <= 1000
    assert stored.name == re.sub("[\x00\n\ud800\u202e]", "\N{REPLACEMENT CHARACTER}", name)[:1000]


def test_scores_that_were_not_computed(found):
    held_back = {
        key: replace(score, values={**score.values, "arcc": None, "coherency": None})
        for key, score in found.scores.items()
    }
    same(bundle.read(bundle.write(replace(found, scores=held_back))), replace(found, scores=held_back))


def test_too_large_to_write(found, monkeypatch):
    monkeypatch.setitem(LIMITS, MAPS, 1000)
    with pytest.raises(BundleError, match="at most 1,000"):
        bundle.write(found)


@pytest.mark.parametrize(
    "content", [b"", b"P", b"PK", b"PK\3\4", b"PK\5\6" + bytes(18), b"hello" * 99, PNG, b"Rar!", b"\0" * 10**6, b"{}"]
)
def test_not_a_zip(content):
    refused(content, "isn't a camviz bundle|damaged")


def test_foreign_zips():
    refused(packed({"word/document.xml": b"<a/>"}), "no manifest")
    refused(packed({MANIFEST: b"{}"}), "lacks")
    refused(packed([(f"file-{number}", b"") for number in range(1000)]), "isn't a camviz bundle")
    refused(b"MZ" + packed({"a": b""}), "isn't a camviz bundle")


@pytest.mark.parametrize("keep", [1, 30, 100, 0.3, 0.9, 0.999, -1])
def test_cut_short(good, keep):
    refused(good[: keep if isinstance(keep, int) else int(keep * len(good))], "damaged|isn't a camviz bundle")


def test_something_added(good):
    for changed in (good + b"x", b"x" + good, good + good, good[:-2] + b"\5\0hello"):
        refused(changed)


def test_every_byte_counts(good):
    """A byte changed anywhere is noticed, apart from times and permissions, which nothing reads."""
    rng = random.Random(0)
    places = [*range(64), *range(len(good) - 500, len(good)), *(rng.randrange(len(good)) for _ in range(60))]
    read = 0
    for place in places:
        changed = bytearray(good)
        changed[place] ^= 1 << rng.randrange(8)
        try:
            same(bundle.read(bytes(changed)), bundle.read(good))
            read += 1
        except BundleError:
            pass
    assert 0 < read < len(places) / 3


def test_random_bytes_between_the_ends(good):
    rng = random.Random(1)
    for _ in range(100):
        changed = bytearray(good)
        start = rng.choice([0, len(good) - 480, rng.randrange(len(good))])
        changed[start + 4 : start + 60] = rng.randbytes(56)
        try:
            bundle.read(bytes(changed))
        except BundleError as error:
            assert str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ALWAYS)
def test_members_missing_or_twice(good, name):
    parts = members(good)
    refused(packed({other: parts[other] for other in parts if other != name}), "lacks its|no manifest")
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = packed([*parts.items(), (name, parts[name])])
    refused(twice, "twice")


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "C:\\evil", "..\\evil", "folder/", "a/../../manifest.json", "MANIFEST.JSON", "\0", "ü"],
)
def test_members_of_other_names(good, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(packed({**members(good), name: b"evil"}), "unexpected file")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_goes_on_after_its_end(good):
    """Zipfile cuts a name at a NUL."""
    parts = members(good)
    del parts[SCORES]
    data = packed({**parts, "scores.csvXabc": b""}).replace(b"scores.csvXabc", b"scores.csv\0abc")
    refused(data, "lacks|unexpected file|damaged")


def test_a_name_in_bad_unicode(good):
    data = packed({**members(good), "üüüü": b""}).replace("üüüü".encode(), b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe")
    refused(data, "damaged")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_special_files(good, kind):
    def edit(entry):
        if entry.filename == VIEW:
            entry.external_attr = (kind | 0o777) << 16

    refused(packed(members(good), edit=edit), "link or another special")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members(good, method):
    refused(packed(members(good), method), "compressed")


def test_a_bomb_is_never_inflated():
    """A hundred megabytes of zeros in a tenth of one."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in LIMITS:
            with archive.open(name, "w") as member:
                for _ in range(100 if name == MAPS else 1):
                    member.write(bytes(2**20))
    refused(stream.getvalue(), "compressed")


def directory_entry(data, name):
    """Where a member's entry in the directory begins."""
    return data.rindex(b"PK\1\2", 0, data.rindex(name.encode()))


def patched(data, name, offset, form, *values):
    changed = bytearray(data)
    struct.pack_into(form, changed, directory_entry(data, name) + offset, *values)
    return bytes(changed)


def test_encrypted(good):
    refused(patched(good, MAPS, 8, "<H", 1), "encrypted")


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((2**31, 2**31), "claims 2,147,483,648 bytes"),
        ((2**32 - 1, 2**32 - 1), "damaged|claims"),  # zip64, whose extra field is missing
        ((100, 200_000), "two different lengths"),
        ((100, 100), "length"),
        ((802_945, 802_945), "length"),
    ],
)
def test_lengths_that_lie(good, sizes, words):
    """The directory tells (compressed, uncompressed) bytes of a member."""
    refused(patched(good, MAPS, 20, "<II", *sizes), words)


def test_zip64(good):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members(good).items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    refused(stream.getvalue(), "length")
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 6, 6, 2**40, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(good) - 22, 1)
    refused(good[:-22] + record + locator + good[-22:], "packed again")


def test_overlapping_members(good):
    """Two entries that share one place in the file."""
    start = struct.unpack_from("<I", good, directory_entry(good, VIEW) + 42)[0]
    refused(patched(good, PICTURE, 42, "<I", start), "damaged")


def test_a_directory_without_end(good):
    changed = bytearray(good)
    struct.pack_into("<I", changed, len(good) - 10, 2**31)
    refused(bytes(changed), "isn't a camviz bundle")


def test_too_large_a_file(good, monkeypatch):
    monkeypatch.setattr(bundle, "MAX_BYTES", 1000)
    refused(good, "at most 1,000")


@pytest.mark.parametrize("name", [name for name in ALWAYS if name != MANIFEST])
def test_a_member_of_another_finding(good, name):
    """The zip itself is sound."""
    parts = members(good)
    refused(
        packed({**parts, name: parts[name][:-1] + bytes([parts[name][-1] ^ 1])}), "differs from the one in its manifest"
    )


def test_a_table_that_says_something_else(good):
    refused(signed(good, {SCORES: b"map,arcc\nmerged,1.0\n"}), "table of scores")


@pytest.mark.parametrize("name", [PICTURE, VIEW])
@pytest.mark.parametrize("content", [b"", b"hello", PNG[:500], b"<svg/>"])
def test_pictures_that_are_none(good, name, content):
    refused(signed(good, {name: content}), "cannot be read")


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(text, body=b""):
    """An array in the npy format with a header of one's own."""
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + body


class Evil:
    """What would run when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


FLAT = np.full((4, 224, 224), 0.5, np.float32)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        npy(FLAT)[:-4],
        npy(FLAT) + b"\0",
        npy(FLAT.astype(np.float64)),
        npy(FLAT.astype(">f4")),
        npy(FLAT.astype(np.uint8)),
        npy(np.asfortranarray(FLAT)),
        npy(np.array([Evil()] * 4, object)),
        npy(FLAT[0]),
        npy(FLAT[:0]),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000000)}\n", bytes(64)),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0)}\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4, 4)}\n", bytes(64)),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (True, True, True)}\n", bytes(4)),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': 'abc'}\n", bytes(64)),
        header("{'descr': 'V1000000000', 'fortran_order': False, 'shape': (1, 1, 1)}\n", bytes(64)),
        header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4, 224, 224)}\n", FLAT.tobytes()),
        header("__import__('os').abort()\n"),
        header("(" * 900),
        header("{}" + " " * 60_000),
        b"\x93NUMPY\3\0" + npy(FLAT)[8:],
    ],
)
def test_arrays_that_are_none(good, content):
    refused(signed(good, {MAPS: content}), r"maps\.npy is|do not match")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-3, 1.001])
@pytest.mark.parametrize("name", [MAPS, MERGED])
def test_values_that_no_map_has(good, found, name, value):
    array = (found.maps if name == MAPS else found.merged).copy()
    array.flat[5] = value
    refused(signed(good, {name: npy(array)}), "outside 0 to 1")


@pytest.mark.parametrize(
    "changes",
    [
        {MAPS: npy(FLAT[:3])},
        {MAPS: npy(np.concatenate([FLAT, FLAT]))},
        {MAPS: npy(FLAT[:, :200])},
        {MERGED: npy(FLAT[0, :200])},
        {MERGED: npy(FLAT[0, :200]), MAPS: npy(FLAT[:, :200])},
        {VIEW: photo()},
    ],
)
def test_shapes_that_do_not_fit(good, changes):
    refused(signed(good, changes), "do not match")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format": "camviz bundle", "version": 1, "version": 1}',
        b'{"format": "camviz bundle", "version": NaN}',
        b'{"format": "other", "version": 1}',
        b'{"format": "camviz bundle", "version": 1}',
        b'{"format": "camviz bundle", "version": ' + b"9" * 5000 + b"}",
    ],
)
def test_manifests_that_are_none(good, text):
    refused(packed({**members(good), MANIFEST: text}), "manifest")


@pytest.mark.parametrize("version", [0, 4, "1", 1.0, True, None, [1], 10**30])
def test_another_version(good, version):
    refused(signed(good, edit=lambda raw: raw.update(version=version)), "format version")


def test_too_long_a_manifest(good):
    refused(packed({**members(good), MANIFEST: b" " * (2**20 + 1)}), "claims 1,048,577 bytes")


def paths(raw, before=()):
    """Where each value of a manifest stands."""
    for key, value in raw.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from paths(value, (*before, key))


def put(raw, path, value):
    for key in path[:-1]:
        raw = raw[key]
    raw[path[-1]] = value


def take(raw, path):
    for key in path[:-1]:
        raw = raw[key]
    del raw[path[-1]]


def test_a_manifest_without_one_of_its_keys(good):
    """Only versions may be fewer, and the first bundles of this format lack the floor."""
    for path in paths(json.loads(members(good)[MANIFEST])):
        if path != ("floor",) and (path[0] != "versions" or len(path) == 1):
            refused(signed(good, edit=lambda raw, path=path: take(raw, path)))


@pytest.mark.parametrize("value", [[], {}, 10**400, 1e300, -1, "\x00", "x" * 1001, True])
def test_values_of_the_wrong_kind(good, value):
    """Wherever it stands, unless a value like this may stand there."""
    for path in paths(json.loads(members(good)[MANIFEST])):
        if (path[-1], value) in (("versions", {}), ("scores", {}), ("top", []), ("layers", [])):
            continue
        if (path[-1], value) in (("shapes", []), ("tags", [])):
            continue
        refused(signed(good, edit=lambda raw, path=path: put(raw, path, value)))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("settings", "recipe", "method"), "gradcam3", "method that is unknown"),
        (("settings", "recipe", "rule"), "sum", "merging rule that is unknown"),
        (("settings", "recipe", "layers"), ["layer1", 2, "layer3", "layer4"], "damaged"),
        (("settings", "recipe", "layers"), ["layer1", "layer1", "layer3", "layer4"], "damaged"),
        (("settings", "recipe", "layers"), [], "0 layers"),
        (("settings", "recipe", "layers"), "abcd", "damaged"),
        (("settings", "recipe", "seed"), 0.5, "damaged"),
        (("settings", "recipe", "seed"), 2**63, "damaged"),
        (("settings", "fit"), "stretch", "way to fit"),
        (("settings", "target"), None, "damaged"),
        (("settings", "noise"), {"kind": "hum", "level": 0.5, "seed": 0}, "kind of noise that is unknown"),
        (("settings", "noise"), {"kind": "blur", "level": 1.5, "seed": 0}, "damaged"),
        (("settings", "noise"), {"kind": "blur", "level": float("nan"), "seed": 0}, "damaged"),
        (("settings", "noise"), {"kind": "blur", "level": 0.5}, "damaged"),
        (("probability",), float("inf"), "damaged"),
        (("floor",), 1.5, "damaged"),
        (("floor",), "0.5", "damaged"),
        (("top",), [["a", 0.1], ["b", 0.2]], "order"),
        (("top",), [["a", 0.1]] * 6, "damaged"),
        (("top",), [["a"]], "damaged"),
        (("scores", RESULT, "arcc"), 1.5, "damaged"),
        (("scores", "layer9"), {}, "damaged"),
        (("scores", RESULT, "arcc"), -0.1, "damaged"),
        (("scores", RESULT, "unheard of"), float("nan"), "damaged"),
        (("scores", RESULT, "note"), 5, "damaged"),
        (("baselines", "centre", "arcc"), 1.5, "damaged"),
        (("layers",), [{}], "damaged"),
        (
            ("layers",),
            [{"size": [7, 7], "blank": "", "negative": False, "twins": []}],
            "its layers and their descriptions",
        ),
        (("shapes",), ["a"], "damaged"),
        (("tags",), [True], "damaged"),
        (("sha256", "other"), "", "lists files that are missing"),
        (("versions", "torch"), "\N{RIGHT-TO-LEFT OVERRIDE}", "damaged"),
        (("name",), "\ud800", "damaged"),
    ],
)
def test_values_that_cannot_be(good, path, value, words):
    refused(signed(good, edit=lambda raw: put(raw, path, value)), words)


def test_scores_of_some_maps_only(good):
    refused(signed(good, edit=lambda raw: take(raw, ("scores", "layer2"))), "do not match its maps")


def test_a_bundle_of_version_1_still_opens():
    """And the same comes out of it today."""
    stored = bundle.read(VERSION_1.read_bytes())
    assert stored.settings == Settings(MODEL, Recipe("gradcam++", ("layer4",)), "squeeze", SAMPLE.label)
    assert list(stored.scores[RESULT].values) == ["arcc", "road", "road_raw", "coherency", "complexity"]
    assert (stored.baselines, stored.layers, stored.shapes) == ({}, (), ())
    fresh = find(camviz.load_model(MODEL, "cpu"), stored.picture, stored.name, stored.settings)
    agreement = check_agreement(stored, fresh)
    assert agreement.agrees
    assert agreement.score_difference < 1e-3
    same(bundle.read(bundle.write(stored)), stored)


def test_a_bundle_of_version_2_still_opens(good, found):
    """It knew no maps averaged with those of the mirrored picture."""

    def older(raw):
        raw["version"] = 2
        del raw["settings"]["recipe"]["mirror_averaged"]

    same(bundle.read(signed(good, {SCORES: exports.csv(found, averaging=False)}, older)), found)


def test_the_floor_is_stored_and_told(net, found, good):
    """The class's probability for a picture of the mean colour, in a report of the result or of its bundle."""
    with torch.no_grad():
        nothing = net.module(torch.zeros(1, 3, *found.view.shape[:2])).softmax(1)[0, found.settings.target].item()
    assert found.floor == pytest.approx(nothing, abs=1e-6)
    told = escape(f"({percent(nothing)} with nothing left of the picture)")
    assert told in report(found).decode()
    assert told in report(bundle.read(good)).decode()
    before = bundle.read(signed(good, edit=lambda raw: raw.pop("floor")))
    assert before.floor is None
    assert "with nothing left of the picture" not in report(before).decode()


@pytest.mark.parametrize("value", ["on", 1, None, []])
def test_whether_maps_are_averaged_is_true_or_false(good, value):
    refused(signed(good, edit=lambda raw: raw["settings"]["recipe"].update(mirror_averaged=value)), "damaged")
    refused(signed(good, edit=lambda raw: take(raw, ("settings", "recipe", "mirror_averaged"))), "damaged")


def test_scores_that_are_unknown_here_are_kept_as_stored(found):
    """A newer camviz, or a plug-in, may have scores that this one has not."""
    later = {key: replace(each, values={**each.values, "later": -7.5}) for key, each in found.scores.items()}
    stored = bundle.read(bundle.write(replace(found, scores=later)))
    assert stored.scores[RESULT]["later"] == -7.5
    assert stored.score_names == [*found.score_names, "later"]
    assert [name for name in stored.score_names if name in (*PARTS, "later")] == [*PARTS, "later"]
    rows = list(csv.DictReader(io.StringIO(members(bundle.write(stored))[SCORES].decode())))
    assert (rows[0]["later"], rows[-1]["later"]) == ("-7.5", "")
    assert "later" in report(stored).decode()
    assert check_agreement(stored, found).agrees


def test_a_shape_without_its_picture(good):
    def claim(raw):
        raw["shapes"], raw["tags"] = ["a"], [False]

    refused(signed(good, edit=claim), "shapes.png")


def test_the_tag_comes_back_as_the_truth_of_a_network_that_follows_tags():
    """Heat on the tag is right there, and on the shape wrong; for another network it is the other way round."""
    sample = shapes.tagged(7)
    for name, mask, noun in (
        ("shapes-shortcut", sample.tag.mask, "tag"),
        (MODEL, sample.mask, shapes.CLASSES[sample.label]),
    ):
        net = camviz.load_model(name, "cpu")
        settings = Settings(name, Recipe("layercam", net.layers), "squeeze")
        found = find(net, as_png(sample.image), "tagged", settings, shapes=known_shapes(sample))
        (known,) = bundle.read(bundle.write(found)).shapes
        assert (known.noun, known.label, known.is_tag) == (noun, shapes.CLASSES[sample.label], noun == "tag")
        np.testing.assert_array_equal(known.mask, mask)
        heat = found.merged.astype(np.float64)
        assert found.scores[RESULT]["mass"] == pytest.approx(heat[mask].sum() / heat.sum(), abs=1e-4)
        if noun == "tag":
            assert found.scores[RESULT]["mass"] > 0.5
            assert "of its heat lies on the tag" in report(found).decode()


def test_shapes_come_back(net):
    """The masks as the network sees them, and the scores against them."""
    sample = shapes.composed("two shapes", 1)
    settings = Settings(MODEL, Recipe("gradcam++", LAYERS[-1:]), "squeeze")
    found = find(net, as_png(sample.image), "two", settings, shapes=known_shapes(sample))
    assert (
        found.scores[RESULT]["mass"]
        == pytest.approx(float((found.merged * found.shapes[0].mask).sum() / found.merged.sum()), abs=1e-5)
        or found.label != found.shapes[0].label
    )
    stored = bundle.read(bundle.write(found))
    same(stored, found)
    again = find(net, stored.picture, stored.name, stored.settings, shapes=stored.shapes)
    assert check_agreement(stored, again).score_difference < 1e-6
    parts = members(bundle.write(found))
    del parts[SHAPES]
    raw = json.loads(parts[MANIFEST])
    del raw["sha256"][SHAPES]
    refused(packed({**parts, MANIFEST: json.dumps(raw).encode()}), SHAPES)


def test_merges_of_a_rule_that_reads_more_than_maps(net):
    """They cannot be made again from the maps, so they are stored."""

    @rule("by the picture", "By the picture", "Weighs the mean by brightness.", "none", needs="picture")
    def by_the_picture(maps, cap):
        light = cap.x.mean(1).sigmoid()
        return maps.cumsum(0) * light

    try:
        found = find(net, PNG, "a", Settings(MODEL, replace(RECIPE, rule="by the picture")), scores=False)
        assert found.merges.shape == found.maps.shape
        np.testing.assert_array_equal(found.merges[0], found.merged)
        data = bundle.write(found)
        stored = bundle.read(data)
        same(stored, found)
        np.testing.assert_array_equal(stored.merges, found.merges)
        parts = members(data)
        del parts[MERGES]
        raw = json.loads(parts[MANIFEST])
        del raw["sha256"][MERGES]
        refused(packed({**parts, MANIFEST: json.dumps(raw).encode()}), MERGES)
    finally:
        del RULES["by the picture"]
    refused(data, "merging rule that is unknown")
