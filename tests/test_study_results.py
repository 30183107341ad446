"""What the rows of the sealed study say, on rows whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from camviz.trust.evaluation import accuracies
from camviz.trust.resampling import sign_flip
from camviz.trust.sealed_study import PARTS, REFINED
from camviz.trust.study_results import (
    CONTRASTS,
    DECIDING,
    MAP_CONTRASTS,
    METRICS,
    StudyResults,
    blind_wins,
    contrasts,
    fall_into_noise,
    holds,
    load,
    order_of_maps,
    trust_of_metrics,
    wins_against_refined,
)

MAPS = ("gradcam++, layer4", REFINED, "layercam, merged", "centre", "random")
PICTURES = 40


def rows_of(maps, pictures, values, networks=DECIDING):
    """Rows of every network, picture and map, as they are and at equal area; values by name of (rng, shape)."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [networks, range(pictures), maps, [False, True]], names=["network", "picture", "map", "equal_area"]
    )
    table = pd.DataFrame(index=index).reset_index().assign(kind="plain")
    truth = rng.random(len(table))
    columns = {name: value(truth, rng) for name, value in values.items()}
    return table.assign(**columns)


def noise(_, rng):
    return rng.random(len(_))


ORDINARY = {
    **dict.fromkeys(METRICS["ordinary"], noise),
    "best_iou": lambda truth, _: truth,
    "faithfulness": lambda truth, _: truth,  # always right
    "arcc": lambda truth, _: -truth,  # always wrong
    "complexity": lambda truth, _: 1 - truth,  # always right: lower is better
    "auc": lambda truth, _: 1 - truth,
}


@pytest.fixture(scope="module")
def results():
    ordinary = rows_of(MAPS, PICTURES, ORDINARY)
    slow = rows_of(MAPS, 15, dict.fromkeys(METRICS["slow"], noise))
    fading = rows_of(
        [f"noise {step}" for step in range(20)], 13, dict.fromkeys((*METRICS["ordinary"], "best_iou"), noise)
    )
    steps = fading["map"].str.removeprefix("noise ").astype(int)
    fading = fading.assign(arcc=-steps, complexity=-steps)
    deliberate = rows_of([REFINED, "inverted", "the mask"], 15, {"arcc": noise, "best_iou": noise})
    refined = deliberate["map"] == REFINED
    deliberate = deliberate.assign(
        arcc=np.where(refined, 0.5, np.where(deliberate["map"] == "inverted", 0.5, 0.4)), complexity=0.2
    )
    samples = pd.DataFrame({"network": [], "kind": [], "left_out": []})
    return StudyResults(samples, {"ordinary": ordinary, "slow": slow, "fading": fading, "deliberate": deliberate})


def test_the_metrics_best_first(results):
    table = trust_of_metrics(results, equal_area=True)
    assert set(table.index[:2]) == {"faithfulness", "complexity"}
    assert table.index[-1] == "arcc"
    assert table.loc["faithfulness", ["pair_accuracy", "low", "high", *DECIDING]].tolist() == [1] * 6
    assert table.loc["arcc", "pair_accuracy"] == 0
    assert table.loc["faithfulness", "pictures"] == PICTURES
    assert table.loc["insertion", "pictures"] == 15
    assert (table.loc["faithfulness", "rank_low"], table.loc["arcc", "rank_high"]) == (1.5, len(METRICS["ordinary"]))
    assert 0.4 < table.loc["gini", "pair_accuracy"] < 0.6


def test_another_truth_and_fewer_maps(results):
    assert trust_of_metrics(results, equal_area=True, truth="auc").loc["arcc", "pair_accuracy"] == 1

    def without_blind(rows):
        return rows[~rows["map"].isin(["centre", "random"])]

    rows = without_blind(results.of("ordinary", equal_area=False))
    expected = accuracies(rows, "gini").mean(axis=1).mean()
    found = trust_of_metrics(results, equal_area=False, chosen=without_blind)
    assert found.loc["gini", "pair_accuracy"] == pytest.approx(expected)


def test_the_declared_contrasts(results):
    found = {(contrast.first, contrast.second): contrast for contrast in contrasts(results)}
    assert set(found) == {*CONTRASTS, *MAP_CONTRASTS}
    against = found["faithfulness", "arcc"]
    assert against.difference.value == 1
    assert (against.p, against.corrected) == (1e-4, pytest.approx(len(found) * 1e-4))
    assert against.networks == dict.fromkeys(DECIDING, 1)
    assert found["arcc", "insertion"].difference.n == 15  # the pictures that both have
    rows = results.of("ordinary", equal_area=True).set_index(["network", "picture", "map"])["best_iou"].unstack("map")
    difference = (rows[REFINED] - rows["gradcam++, layer4"]).unstack("picture")
    deepest = found[MAP_CONTRASTS[0]]
    assert deepest.difference.value == pytest.approx(difference.mean(axis=1).mean())
    assert deepest.p == sign_flip(difference.to_numpy())


def test_whether_the_faithfulness_estimate_holds(results):
    assert holds(results) is True
    rows = results.rows["ordinary"]
    worse = rows["network"] == DECIDING[0]
    swapped = rows.assign(
        faithfulness=rows["faithfulness"].where(~worse, -rows["best_iou"]).where(~worse, rows["arcc"])
    )
    assert holds(StudyResults(results.samples, {"ordinary": swapped})) is False
    few = rows[rows["picture"] < 29]
    assert holds(StudyResults(results.samples, {"ordinary": few})) is None
    assert holds(StudyResults(results.samples, {"ordinary": rows[~worse]})) is None


def test_the_order_of_maps(results):
    table = order_of_maps(results, equal_area=True)
    assert table.loc["faithfulness", "mean"] == table.loc["complexity", "mean"] == 1
    assert table.loc["arcc", "mean"] == -1
    assert list(table.columns) == [*sorted(DECIDING), "mean"]


def test_into_noise(results):
    table = fall_into_noise(results, equal_area=True)
    assert table.loc["arcc", "tau"] == 1
    assert table.loc["complexity", "tau"] == -1  # it is better with more noise
    assert table.loc["arcc", "pictures"] == 13
    assert -0.2 < table.loc["gini", "tau"] < 0.2


def test_wins_against_refined(results):
    table = wins_against_refined(results, equal_area=True)
    assert table["arcc"].to_dict() == {"inverted": 0.5, "the mask": 0}
    assert table["complexity"].tolist() == [0.5, 0.5]


def test_blind_wins(results):
    rows = results.of("ordinary", equal_area=False).set_index(["network", "picture", "map"])["gini"].unstack("map")
    expected = (rows["centre"] > rows[REFINED]).mean()
    assert blind_wins(results, "gini")["centre"] == pytest.approx(expected)


def test_files_are_put_together(tmp_path):
    part = PARTS[0]
    pd.DataFrame({"picture": [5], "left_out": [""]}).to_parquet(tmp_path / f"{part.name}.parquet")
    rows = pd.DataFrame(
        {
            "picture": [5, 5],
            "map": ["a", "a"],
            "equal_area": [False, True],
            "road_raw": [0.1, 0.3],
            "coherency": [0.9, 0.5],
            "complexity": [0.1, 0.2],
            "average_drop": [0.4, 0.0],
            "best_iou": [0.4, 0.4],
        }
    )
    rows.to_parquet(tmp_path / f"{part.name}-ordinary.parquet")
    pd.DataFrame({"picture": [5], "map": ["a"], "equal_area": [True], "insertion": [0.7]}).to_parquet(
        tmp_path / f"{part.name}-slow.parquet"
    )
    found = load(tmp_path)
    assert found.samples[["network", "kind"]].to_numpy().tolist() == [[part.network, part.kind]]
    (plain,) = found.of("ordinary", equal_area=False).to_dict("records")
    assert (plain["arcc"], plain["adcc"]) == pytest.approx((3 / (1 / 0.9 + 1 / 0.9 + 1 / 0.2), 3 / (2 / 0.9 + 1 / 0.6)))
    assert (plain["arcc_exact"], plain["road_exact"]) == pytest.approx((3 / (1 / 0.9 + 1 / 0.9 + 1 / 0.6), 0.3))
    (slow,) = found.of("slow", equal_area=True).to_dict("records")
    assert (slow["insertion"], slow["best_iou"]) == (0.7, 0.4)
