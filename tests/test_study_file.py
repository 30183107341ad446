"""A study as a file: there and back it is the same, and what a stranger changed is refused."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from zip_files import members, packed

from camviz.trust.sealed_study import PROTOCOL, SHIPPED, Protocol
from camviz.trust.study_file import StudyFileError, pack, unpack
from camviz.trust.study_results import StudyResults, load, trust_of_metrics, win_intervals
from camviz.ui.evaluate.downloads import every_map


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
    data = pack(shipped)
    again = unpack(data)
    for equal_area in (False, True):
        before, after = (trust_of_metrics(study, equal_area=equal_area) for study in (shipped, again))
        pd.testing.assert_frame_equal(before, after, check_exact=False, rtol=1e-4)
    description = json.loads(members(data)["study.json"])
    assert description["protocol"] == {"name": "camviz-trust", "version": PROTOCOL.version, "sha256": PROTOCOL.sha256}
    assert len(data) < 5_000_000


def test_every_column_survives(shipped):
    again = unpack(pack(shipped))
    assert again.protocol == shipped.protocol == PROTOCOL
    assert set(again.rows) == set(shipped.rows) == {"ordinary", "deliberate", "slow", "fading", "randomisation"}
    assert {"faithfulness_shifted", "faithfulness_blur", "faithfulness_mean"} < set(again.rows["slow"])
    alike = {"check_dtype": False, "rtol": 1e-8}
    for stage, rows in shipped.rows.items():
        pd.testing.assert_frame_equal(again.rows[stage], rows, **alike)
    pd.testing.assert_frame_equal(again.samples, shipped.samples, **alike)
    pd.testing.assert_frame_equal(every_map(again), every_map(shipped), **alike)


def test_a_study_opened_and_saved_again_is_the_same_file(shipped, small):
    for study in (shipped, small):
        data = pack(study)
        assert members(pack(unpack(data))) == members(data)


def naming(small, **changes):
    """A study of one's own as a file that names a protocol."""
    named = {"name": "camviz-trust", "version": 2, "sha256": PROTOCOL.sha256} | changes
    return changed(pack(small), "study.json", described(lambda found: found.update(protocol=named)))


def test_another_protocol_stays_what_it_is(small):
    other = Protocol("camviz-trust", 1, 64 * "a")
    again = unpack(naming(small, version=1, sha256=64 * "a"))
    assert again.protocol == unpack(pack(again)).protocol == other
    assert unpack(changed(pack(small), "study.json", described(lambda found: found.pop("protocol")))).protocol is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "mine"}, "names a protocol that is unknown"),
        ({"version": True}, "names a protocol that is unknown"),
        ({"version": 0}, "names a protocol that is unknown"),
        ({"version": "2"}, "names a protocol that is unknown"),
        ({"version": 10**9}, "names a protocol that is unknown"),
        ({"sha256": 64 * "g"}, "names a protocol that is unknown"),
        ({"sha256": 64}, "description is damaged"),
        ({"author": "me"}, "description is damaged"),
    ],
)
def test_a_protocol_that_is_none_is_refused(small, changes, words):
    with pytest.raises(StudyFileError, match=words):
        unpack(naming(small, **changes))


def test_a_study_of_ones_own_there_and_back(small):
    again = unpack(pack(small))
    assert (again.metrics, again.truths) == ({"ordinary": ["coherency", "infidelity"]}, ("mass",))
    pd.testing.assert_frame_equal(again.rows["ordinary"], small.rows["ordinary"], check_exact=False, check_dtype=False)
    assert again.samples["left_out"].tolist() == ["", "=cmd"]
    assert again.protocol is None


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
        ("rows-deliberate.csv", lambda _: DELIBERATE, r"lacks the map 'gradcam\+\+, merged'"),
        ("rows-fading.csv", lambda _: DELIBERATE, "stage fading lacks the map 'noise 0'"),
        ("samples.csv", lambda text: text.replace(b"\n1,", b"\none,"), "samples hold values that are no numbers"),
    ],
)
def test_what_a_stranger_changed_is_refused(small, name, edit, words):
    with pytest.raises(StudyFileError, match=words):
        unpack(changed(pack(small), name, edit))


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\3\4" + bytes(40)])
def test_other_files_are_refused(data):
    with pytest.raises(StudyFileError, match="isn't a camviz study"):
        unpack(data)


def test_a_file_that_inflates_too_much_is_refused(small):
    bomb = changed(pack(small), "samples.csv", lambda _: bytes(90_000_000))
    assert len(bomb) < 1_000_000
    with pytest.raises(StudyFileError, match="inflates to more than"):
        unpack(bomb)


def test_other_ways_of_packing_are_refused(small):
    """Zipfile inflates bzip2 and LZMA without a limit."""
    parts = members(pack(small))
    with pytest.raises(StudyFileError, match="packed again"):
        unpack(packed(parts, zipfile.ZIP_BZIP2))


def test_maps_wrong_on_purpose_there_and_back(shipped):
    again = unpack(pack(shipped))
    before, after = (win_intervals(study, "arcc", equal_area=True) for study in (shipped, again))
    assert {name: found.value for name, found in after.items()} == pytest.approx(
        {name: found.value for name, found in before.items()}, abs=1e-6
    )


def test_too_large_a_file_is_not_looked_into():
    with pytest.raises(StudyFileError, match="30,000,001 bytes"):
        unpack(bytes(30_000_001))


@pytest.mark.parametrize("stage", ["deliberate", "fading"])
def test_other_maps_have_limits_too(shipped, stage):
    rows = shipped.rows[stage]
    of_one = rows[rows["map"] == rows["map"].iloc[0]]
    many = pd.concat([rows, *(of_one.assign(map=f"more {number}") for number in range(60))])
    with pytest.raises(StudyFileError, match="at most 64 maps"):
        unpack(pack(replace(shipped, rows=shipped.rows | {stage: many})))
    with pytest.raises(StudyFileError, match=f"stage {stage} has networks"):
        unpack(pack(replace(shipped, rows=shipped.rows | {stage: rows.assign(network="another " + rows["network"])})))
    with pytest.raises(StudyFileError, match="or a truth"):
        unpack(pack(replace(shipped, rows=shipped.rows | {stage: rows.drop(columns="mass")})))
