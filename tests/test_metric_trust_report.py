"""The report of the metric study says what its rows say."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from server import ROOT

from benchmarks import metric_trust_report
from benchmarks.metric_trust_report import BAR, RECOGNISED
from camviz.html.measured_trust import SUMMARY, measured_trust
from camviz.statistics import Interval
from camviz.trust.evaluation import accuracies
from camviz.trust.ordering import MARGIN
from camviz.trust.sealed_study import PARTS, PICTURES, REFINED, SHIPPED
from camviz.trust.study_results import DECIDING, centre_beats_mask, contrasts, load, trust_of_metrics

REPORT = ROOT / "benchmarks" / "metric_trust.md"


def cells(text, first):
    """The cells of the first table row that begins with a name."""
    (line, *_) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def shown(found):
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def write(results, folder):
    """The report on these rows, written to a folder."""
    (folder / RECOGNISED).write_bytes((SHIPPED / RECOGNISED).read_bytes())
    metric_trust_report.write(results, folder / "report.md", folder)
    return (folder / "report.md").read_text(encoding="utf-8")


def test_the_report_is_that_of_the_rows(tmp_path):
    results = load(SHIPPED)
    text = write(results, tmp_path)
    assert text == REPORT.read_text(encoding="utf-8"), "run python -m benchmarks.metric_trust"
    assert (tmp_path / SUMMARY.name).read_text(encoding="utf-8") == SUMMARY.read_text(encoding="utf-8")
    row = trust_of_metrics(results, equal_area=True).loc["arcc"]
    found = Interval(row["pair_accuracy"], row["low"], row["high"], int(row["pictures"]))
    assert cells(text, "ARCC")[1] == shown(found)
    (first, *_) = contrasts(results)
    assert cells(text, "Faithfulness Estimate | ARCC")[2] == shown(first.difference)


def test_what_stands_beside_arcc_is_in_the_rows():
    results, words = load(SHIPPED), measured_trust()
    rows = results.of("ordinary", equal_area=False).set_index(["network", "picture", "map"])["arcc"].unstack("map")
    centre = (rows["centre"] > rows[REFINED]).groupby("network").mean().mean()
    assert f"A blind spot in the centre beats RefineCAM on {100 * centre:.0f} % of" in words
    counts = rows.groupby("network").size()
    assert f"On {counts.min()} to {counts.max()} drawn shapes for each of {len(counts)} networks" in words


def test_without_enough_pictures_there_is_no_verdict(tmp_path):
    results = load(SHIPPED)
    few = {stage: rows[~rows["network"].eq(DECIDING[0])] for stage, rows in results.rows.items()}
    text = write(type(results)(results.samples, few), tmp_path)
    assert "**No verdict yet**: a network that decides has 0 pictures" in text
    assert "too few pictures yet to say whether that holds" in text
    assert "- ARCC finds" not in text


def test_strata_are_of_pairs():
    """By hand for one picture: which pairs of maps share a layer, and in how many ARCC is right."""
    rows = load(SHIPPED).of("ordinary", equal_area=True)
    picture = rows[(rows["network"] == DECIDING[0]) & (rows["picture"] == rows["picture"].min())]
    maps = picture.set_index("map")[["best_iou", "arcc"]].to_dict("index")
    for name, part in (("same layer, another method", 1), ("same method, another layer", 0)):
        right = []
        for first, second in combinations([each for each in maps if ", " in each], 2):
            apart = maps[first]["best_iou"] - maps[second]["best_iou"]
            if first.split(", ")[part] == second.split(", ")[part] and abs(apart) > MARGIN:
                lead = maps[first]["arcc"] - maps[second]["arcc"]
                right.append(0.5 if lead == 0 else float(lead * apart > 0))
        found = accuracies(picture, "arcc", pairs=metric_trust_report._PAIRS[name]).to_numpy().item()
        assert found == pytest.approx(sum(right) / len(right))


def test_a_centre_that_beats_the_mask():
    results = load(SHIPPED)
    both = [
        rows[rows["map"] == name].set_index(["network", "picture"])["arcc"]
        for rows, name in (
            (results.of("ordinary", equal_area=False), "centre"),
            (results.of("deliberate", equal_area=False), "the mask"),
        )
    ]
    wins = [
        np.mean([both[0][key] > both[1][key] for key in both[1].index if key[0] == name])
        for name in results.of("deliberate", equal_area=False)["network"].unique()
    ]
    assert centre_beats_mask(results, "arcc") == pytest.approx(np.mean(wins))
    assert f"the centre beats that mask on {100 * np.mean(wins):.0f} %" in measured_trust()


def test_networks_that_do_not_recognise_textured_samples_are_left_out():
    found = json.loads((SHIPPED / RECOGNISED).read_text(encoding="utf-8"))
    shares = found["shares"]
    assert found["pictures"] == PICTURES
    measured = {part.network for part in PARTS if part.kind == "textured"}
    assert {name for name, share in shares.items() if share >= BAR} == measured
    assert set(shares) == {part.network for part in PARTS if part.kind == "plain"}
    assert "shapes-vgg11 18 %, shapes-textured 100 %" in REPORT.read_text(encoding="utf-8")


def test_rows_and_samples_agree():
    """Every measured picture was kept, and rows are whole: every map, as it is and at equal area."""
    results = load(SHIPPED)
    kept = results.samples[results.samples["left_out"] == ""].set_index(["network", "kind", "picture"]).index
    for rows in results.rows.values():
        index = pd.MultiIndex.from_frame(rows[["network", "kind", "picture"]])
        assert index.isin(kept).all()
        counts = rows.groupby(["network", "kind", "picture"]).size()
        assert counts.groupby(["network", "kind"]).nunique().eq(1).all()
