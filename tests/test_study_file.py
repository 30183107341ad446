"""A study as a file: there and back it is the same, and what a stranger changed is refused."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from zip_files import members, packed

from camviz.trust.sealed_study import DIGEST, SHIPPED
from camviz.trust.study_file import StudyFileError, pack, unpack
from camviz.trust.study_results import StudyResults, load, trust_of_metrics, win_intervals


@pytest.fixture(scope="module")
def shipped():
    return load(SHIPPED)


@pytest.fixture(scope="module")
def small():
    rows = pd.DataFrame(
        [
            {"network": "n", "kind": "own", "picture": picture, "map": name, "equal_area": area, "mass": 0.1 * number}
            | {"coherency": number / 3, "infidelity": np.nan if number else 0.2}
            for picture in range(3)
            for number, name in enumerate(("gradcam++, layer4", "layercam, merged", "centre"))
            for area in (False, True)
        ]
    )
    samples = pd.DataFrame({"picture": [0, 1], "left_out": ["", "=cmd"], "network": "n", "kind": "own"})
    return StudyResults(samples, {"ordinary": rows}, {"ordinary": ("coherency", "infidelity")}, ("mass",))


def test_the_shipped_study_there_and_back(shipped):
    data = pack(shipped, sealed=True)
    again = unpack(data)
    for equal_area in (False, True):
        before, after = (trust_of_metrics(study, equal_area=equal_area) for study in (shipped, again))
        pd.testing.assert_frame_equal(before, after, check_exact=False, rtol=1e-4)
    description = json.loads(members(data)["study.json"])
    assert description["protocol"]["sha256"] == DIGEST
    assert len(data) < 5_000_000


def test_a_study_of_ones_own_there_and_back(small):
    again = unpack(pack(small, sealed=False))
    assert (again.metrics, again.truths) == ({"ordinary": ["coherency", "infidelity"]}, ("mass",))
    pd.testing.assert_frame_equal(again.rows["ordinary"], small.rows["ordinary"], check_exact=False, check_dtype=False)
    assert again.samples["left_out"].fillna("").tolist() == ["", "=cmd"]
    assert json.loads(members(pack(small, sealed=False))["study.json"])["protocol"] is None


def changed(data, name, edit):
    parts = members(data)
    parts[name] = edit(parts.get(name, b""))
    return packed({key: content for key, content in parts.items() if content is not None}, zipfile.ZIP_DEFLATED)


def described(edit):
    def change(content):
        found = json.loads(content)
        edit(found)
        return json.dumps(found).encode()

    return change


def _without_areas(text):
    return b"\n".join(line for line in text.splitlines() if b",True," not in line)


def _many_maps(text):
    head, *lines = text.splitlines()
    more = [line.replace(b"layer4", str(index).encode()) for index in range(70) for line in lines if b"layer4" in line]
    return b"\n".join([head, *lines, *more])


DELIBERATE = b"network,kind,picture,map,equal_area,coherency\nn,own,0,inverted,True,0.5\nn,own,0,inverted,False,0.5\n"


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("study.json", lambda _: None, "isn't a camviz study"),
        ("study.json", lambda _: b"[1]", "isn't a camviz study"),
        ("study.json", lambda _: b"[" * 100_000, "isn't a camviz study"),
        ("study.json", described(lambda found: found.update(version=9)), "the format 9"),
        ("study.json", described(lambda found: found.update(format="zip")), "which this version"),
        ("study.json", described(lambda found: found.update(truths=["beauty"])), "names \\['beauty'\\]"),
        ("study.json", described(lambda found: found.update(truths=[])), "unknown here"),
        ("study.json", described(lambda found: found.update(truths=["auc"])), "lack the truth 'auc'"),
        ("study.json", described(lambda found: found.pop("metrics")), "description is damaged"),
        ("study.json", described(lambda found: found.update(metrics={"x": []})), "names \\['x'\\]"),
        ("rows-ordinary.csv", lambda _: None, "no rows of the stage ordinary"),
        ("rows-ordinary.csv", lambda _: b"", "rows lack"),
        ("rows-ordinary.csv", lambda text: text.replace(b"picture,", b"image,"), "rows lack \\['picture'\\]"),
        ("rows-ordinary.csv", lambda text: text.replace(b"centre", b"oracle"), "'oracle', a method unknown"),
        ("rows-ordinary.csv", lambda text: text.replace(b"0.2,", b"x,").replace(b",0.2", b",x"), "no numbers"),
        ("rows-ordinary.csv", lambda text: text.replace(b"n,own,0", b"n,own,z"), "tables are damaged"),
        ("rows-ordinary.csv", lambda text: text + text.splitlines()[1] + b"\n", "two rows for the same map"),
        ("rows-ordinary.csv", lambda text: text.replace(b"n,own", b"low,own"), "impossible names"),
        ("rows-ordinary.csv", lambda text: text.replace(b"n,own", b"=cmd(),own"), "impossible names"),
        ("rows-ordinary.csv", lambda text: text.replace(b"n,own", b",own", 1), "rows without a name"),
        ("rows-ordinary.csv", lambda text: text.replace(b"n,own,1", b"n,foo,1"), "kinds of samples that are unknown"),
        (
            "rows-ordinary.csv",
            _without_areas,
            "lacks the maps",
        ),
        ("rows-ordinary.csv", lambda text: text.replace(b",0.2", b",inf"), "no numbers"),
        ("rows-ordinary.csv", lambda text: b"," * 1000 + text, "more than 100 columns"),
        ("rows-ordinary.csv", lambda text: text.replace(b"coherency", b"coherence"), "lack \\['coherency'\\]"),
        ("rows-ordinary.csv", _many_maps, "at most 64 maps"),
        ("study.json", described(lambda found: found["metrics"].update(slow=["coherency"])), "unknown here"),
        ("rows-deliberate.csv", lambda _: DELIBERATE, "lacks RefineCAM"),
    ],
)
def test_what_a_stranger_changed_is_refused(small, name, edit, words):
    with pytest.raises(StudyFileError, match=words):
        unpack(changed(pack(small, sealed=False), name, edit))


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\3\4" + bytes(40)])
def test_other_files_are_refused(data):
    with pytest.raises(StudyFileError, match="isn't a camviz study"):
        unpack(data)


def test_a_file_that_inflates_too_much_is_refused(small):
    bomb = changed(pack(small, sealed=False), "samples.csv", lambda _: bytes(90_000_000))
    assert len(bomb) < 1_000_000
    with pytest.raises(StudyFileError, match="inflates to more than"):
        unpack(bomb)


def test_other_ways_of_packing_are_refused(small):
    """Zipfile inflates bzip2 and LZMA without a limit."""
    parts = members(pack(small, sealed=False))
    with pytest.raises(StudyFileError, match="packed again"):
        unpack(packed(parts, zipfile.ZIP_BZIP2))


def test_maps_wrong_on_purpose_there_and_back(shipped):
    again = unpack(pack(shipped, sealed=True))
    before, after = (win_intervals(study, "arcc", equal_area=True) for study in (shipped, again))
    assert {name: found.value for name, found in after.items()} == pytest.approx(
        {name: found.value for name, found in before.items()}, abs=1e-6
    )


def test_too_large_a_file_is_not_looked_into():
    with pytest.raises(StudyFileError, match="30,000,001 bytes"):
        unpack(bytes(30_000_001))
