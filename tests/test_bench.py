"""The bench of somebody's own method: rows, numbers, files, and what it says of methods that cannot be used."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

import camviz
from camviz import cli
from camviz.statistics import holm
from camviz.trust import bench, bench_files
from camviz.trust.bench import COLUMNS, METHOD, NETWORKS, SECONDS, TITLES, pictures_of, summarised
from camviz.trust.bench_files import FILES, as_csv, as_figure, as_latex, as_text, latex
from camviz.trust.ranked_maps import MERGED
from camviz.trust.resampling import sign_flip
from camviz.trust.sealed_samples import draw
from camviz.trust.sealed_study import PROTOCOL, REFINED, SHIPPED, Picture
from camviz.trust.study_results import DECIDING, DEEPEST
from camviz.trust.user_method import MethodError, UserMethod, load_method
from camviz.versions import __version__

NETWORK = "shapes-textured"  # the quickest
QUICK = ("--networks", NETWORK)
OWN_REFINECAM = """
import camviz

def explain(module, x, target, layers):
    return camviz.explain(module, x, target, camviz.Recipe("gradcam++", layers))
"""
RETURNS = "def explain(module, x, target, layers):\n    return "
CONSTANT = f"{RETURNS}x[:, 0] * 0 + 3"


@pytest.fixture(scope="module")
def net():
    return camviz.load_model(NETWORK, "cpu")


@pytest.fixture(scope="module")
def picture(net):
    sample = draw("plain", 6)
    x = net.preprocess(sample.image)
    logits = net.module(x).detach()
    return Picture(net, x, torch.from_numpy(sample.mask)[None], logits, logits.argmax(1), "a picture")


def method(text, name="mine.py"):
    return load_method(Path(name), text.encode())


def run(file, out, *more):
    try:
        return cli.main(["bench", str(file), "--out", str(out), *QUICK, *map(str, more)])
    except SystemExit as stopped:
        return stopped.code


def written(folder, text, name="mine.py"):
    file = folder / name
    file.write_text(text)
    return file


def rows_of(folder):
    return pd.read_parquet(folder / f"{NETWORK}-plain-bench.parquet")


@pytest.fixture(scope="module")
def own_refinecam(tmp_path_factory):
    """The output folder of camviz's own RefineCAM on two pictures."""
    folder = tmp_path_factory.mktemp("refinecam")
    assert run(written(folder, OWN_REFINECAM), folder / "out", "--pictures", 2, "--name", "ours") == 0
    return folder / "out"


def test_camviz_own_refinecam_has_the_rows_of_the_study(own_refinecam):
    found = rows_of(own_refinecam / "rows")
    shipped = pd.read_parquet(SHIPPED / f"{NETWORK}-plain-ordinary.parquet")
    first = shipped["picture"].unique()[:2]
    expected = shipped[(shipped["map"] == REFINED) & shipped["picture"].isin(first)].reset_index(drop=True)
    assert list(found.columns) == list(expected.columns)
    assert (found.dtypes == expected.dtypes).all()
    keys = ["picture", "equal_area"]
    assert found[keys].equals(expected[keys])
    values = found.columns[3:]
    np.testing.assert_allclose(found[values], expected[values], rtol=0, atol=1.5e-5)


def test_its_table(own_refinecam):
    own, refined, *others = csv.DictReader(io.StringIO((own_refinecam / "bench.csv").read_text()))
    assert [row["map"] for row in (refined, *others)] == list(TITLES.values())
    assert own["map"] == own["method"] == "ours"
    for column in COLUMNS:
        assert float(own[column.key]) == pytest.approx(float(refined[column.key]), abs=2e-5)
        assert own[f"{column.key}_low"] == ""  # two pictures give no interval
    assert float(own["difference"]) == pytest.approx(0, abs=1e-5)
    assert refined["difference"] == refined["p"] == ""
    assert own["protocol_sha256"] == PROTOCOL.sha256
    assert (own["pictures_a_network"], own["networks"], own["camviz"]) == ("2", NETWORK, __version__)


def test_stopped_and_resumed_is_the_same_as_unbroken(own_refinecam, tmp_path):
    own = method(OWN_REFINECAM)

    def stop(name):
        def after(done, total):
            assert (name, done, total) == (NETWORK, 1, 2)
            raise KeyboardInterrupt

        return after

    with pytest.raises(KeyboardInterrupt):
        bench.bench(own, (NETWORK,), 2, tmp_path, stop)
    assert rows_of(tmp_path)["picture"].nunique() == 1
    bench.bench(own, (NETWORK,), 2, tmp_path)
    pd.testing.assert_frame_equal(rows_of(tmp_path), rows_of(own_refinecam / "rows"))


def test_a_constant_map_is_noted(tmp_path, capsys):
    assert run(written(tmp_path, CONSTANT), tmp_path / "out", "--pictures", 1) == 0
    told = capsys.readouterr()
    assert "1 of 1 maps are constant and count as blank." in told.out
    assert f"1 of 1 pictures of {NETWORK}" in told.err
    assert set(FILES) < {path.name for path in (tmp_path / "out").iterdir()}


def test_maps_are_upsampled_and_stretched(picture):
    own = method("def explain(module, x, target, layers):\n    return -5e3 * x[:, 0, ::32, ::56].double()")
    (found,) = own.maker(picture)(picture.net.module, picture.x, torch.tensor([0]))
    raw = -picture.x[:, :1, ::32, ::56].double()
    expected = F.interpolate(raw, picture.x.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert found.dtype == torch.float32
    assert (found.double() - expected).abs().max() < 1e-5


def test_whatever_a_function_does_ends_with_the_call(picture):
    own = method(
        "import torch\n"
        "def explain(module, x, target, layers):\n"
        "    maps = x[:, 0] + module(x).sum()\n"
        "    module.train().requires_grad_(True)\n"
        "    module.register_forward_hook(lambda *_: torch.zeros(1, 6))\n"
        "    torch.manual_seed(1)\n"
        "    torch.set_grad_enabled(False)\n"
        "    x.requires_grad, target[0] = True, 5\n"
        "    for weight in module.parameters(): weight.data.zero_()\n"
        "    x.data.zero_()\n"
        "    return maps\n"
    )
    net, x, target, make = picture.net, picture.x.clone(), torch.tensor([0]), own.maker(picture)
    before, state = net.module(x), torch.get_rng_state()
    first = make(net.module, x, target)
    assert torch.equal(net.module(x), before)
    assert torch.equal(make(net.module, x, target), first)
    assert torch.equal(x, picture.x)
    assert (int(target), x.requires_grad, torch.is_grad_enabled()) == (0, False, True)
    assert not any(part.training for part in net.module.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_random_numbers_start_from_the_same_seed(picture):
    make = method(f"import torch\n{RETURNS}torch.rand(len(x), 5, 7)").maker(picture)
    first, again = (make(picture.net.module, picture.x, torch.tensor([0])) for _ in range(2))
    assert first.std() > 0.1
    assert torch.equal(first, again)


def test_the_documented_example(picture):
    text = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?def explain.*?)```", text, re.S)
    maker = method(example).maker(picture)
    (found,) = maker(picture.net.module, picture.x, picture.logits.argmax(1))
    *_, finer, deepest = camviz.cam(
        camviz.capture(picture.net.module, picture.x, layers=picture.net.layers), "layercam"
    )
    expected = camviz.refine(torch.stack([finer, deepest]))[0]
    likeness = torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1]
    assert likeness > 0.99  # merged on the layer's grid instead of the picture's


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def explain(:", "mine.py is not a Python file: SyntaxError: invalid syntax (line 1)."),
        ("\0", "mine.py is not a Python file: "),
        ("\n1 / 0", "mine.py cannot be run: ZeroDivisionError: division by zero (line 2)."),
        ("import nowhere_to_be_found", "cannot be run: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "cannot be run: SystemExit: 3 (line 1)."),
        ("def explained(): ...", "mine.py has no function explain: write explain(module, x, target, layers)"),
        ("explain = 3", "mine.py has no function explain"),
        (f"{RETURNS}layers['x']", "mine.py failed on picture 1000000 of shapes-textured: TypeError: "),
        ("def explain(x): ...", "failed on picture 1000000 of shapes-textured: TypeError: explain() takes 1"),
        ("def explain(*_):\n    raise ValueError('a\\nb ' + 1000 * 'c')", "ValueError: a b ccc"),
        ("def explain(*_):\n    assert False", "textured: AssertionError (line 2)."),
        ("def explain(*_): raise SystemExit", "textured: SystemExit (line 1)."),
        (f"{RETURNS}None", "must return a tensor of 1 x h x w real numbers, and on picture 1000000"),
        (f"{RETURNS}x", "it returned torch.float32 (1, 3, 224, 224)."),
        (f"{RETURNS}x[0]", "it returned torch.float32 (3, 224, 224)."),
        (f"{RETURNS}x[:, 0, :0]", "it returned torch.float32 (1, 0, 224)."),
        (f"{RETURNS}x[:, 0] + 0j", "it returned torch.complex64 (1, 224, 224)."),
        (f"{RETURNS}x[:, 0] / 0", "returned NaN or infinite values on picture 1000000 of shapes-textured."),
        (f"{RETURNS}x[:, 0].double() * 1e200", "returned NaN or infinite values"),
    ],
)
def test_methods_that_cannot_be_used(tmp_path, capsys, text, words):
    assert run(written(tmp_path, text), tmp_path / "out", "--pictures", 1) == 1
    told = re.sub("^1 picture to measure: .*\n", "", capsys.readouterr().err.strip())
    assert told.startswith("camviz: ")
    assert told.endswith(".")
    assert "\n" not in told
    assert len(told) < 400
    assert words in told
    assert not list(tmp_path.glob("out/bench.*"))


def test_how_long_it_takes_is_told_first(tmp_path, capsys):
    """Of all that the study has measured, as many as the protocol asks for."""
    networks = list(DECIDING)
    run(written(tmp_path, f"{RETURNS}None"), tmp_path / "out", "--networks", ",".join(networks))
    told = capsys.readouterr().err
    pictures = min(300, pictures_of(networks))
    minutes = -(-3 * pictures * SECONDS // 60)
    assert f"{3 * pictures} pictures to measure: about {minutes} minutes on an idle machine" in told
    assert (f"The study has measured {pictures} pictures of each network so far" in told) == (pictures < 300)
    assert "--pictures N takes fewer" in told


def test_files_and_folders_that_cannot_be_used(tmp_path, capsys, monkeypatch):
    assert run(tmp_path / "none.py", tmp_path / "out") == 1
    assert "There is no file" in capsys.readouterr().err
    own = written(tmp_path, f"{RETURNS}None")
    monkeypatch.setattr(cli, "MAX_METHOD", 10)
    assert run(own, tmp_path / "out") == 1
    assert "more than 10 bytes" in capsys.readouterr().err
    monkeypatch.undo()
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "bench.csv").write_text("mine")
    assert run(own, tmp_path / "out") == 1
    assert "was not written by camviz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--networks", "resnet18"], "unknown network 'resnet18': choose from shapes-resnet18"),
        (["--networks", f"{NETWORK},{NETWORK}"], "the same network twice"),
        (["--networks", ""], "not a list of names"),
        (["--pictures", "0"], "from 1 on"),
        (["--pictures", "many"], "from 1 on"),
    ],
)
def test_what_was_not_understood(tmp_path, capsys, more, words):
    assert run(written(tmp_path, CONSTANT), tmp_path / "out", *more) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_has_changed_needs_another_folder(tmp_path):
    first, second = method(CONSTANT), method(CONSTANT.replace("3", "4"))
    bench._claim(tmp_path, first)
    bench._claim(tmp_path, second)  # there are no rows yet
    (tmp_path / f"{NETWORK}-plain-bench.parquet").touch()
    bench._claim(tmp_path, second)
    with pytest.raises(MethodError, match=r"holds rows of another version of mine\.py .*: choose another folder"):
        bench._claim(tmp_path, first)
    (tmp_path / "rows-of.txt").unlink()
    with pytest.raises(MethodError, match="another version"):
        bench._claim(tmp_path, second)


def test_a_module_beside_the_file(tmp_path):
    (tmp_path / "beside_the_method.py").write_text("def explain(module, x, target, layers): return x[:, 0]")
    file = written(tmp_path, "from beside_the_method import explain")
    assert callable(load_method(file, file.read_bytes()).explain)


def test_a_file_is_compiled_as_it_is_written():
    """Without the __future__ imports of camviz: annotations are values."""
    explain = method(f"{RETURNS}x[:, 0]".replace("x,", "x: int,")).explain
    assert explain.__annotations__ == {"x": int}


def test_every_part_of_the_study_can_be_asked_for():
    assert set(DECIDING) < set(NETWORKS)
    assert {"shapes-textured:textured", "shapes-shortcut:tagged"} < set(NETWORKS)
    assert pictures_of(list(NETWORKS)) >= 30


def constructed(pictures, better=0.0, blank=0):
    """Rows of two networks, each without a picture of the other; the method's best IoU is RefineCAM's, plus noise."""
    rng = np.random.default_rng(5)
    index = pd.MultiIndex.from_product(
        [["one", "two"], range(pictures + 1), [METHOD, *TITLES], [False, True]],
        names=["network", "picture", "map", "equal_area"],
    )
    rows = pd.DataFrame(index=index).reset_index().assign(kind="plain")
    rows = rows[rows["picture"] != np.where(rows["network"] == "one", pictures, 0)].reset_index(drop=True)
    names = ("best_iou", "auc", "mass", "faithfulness", "coherency", "complexity", "road_raw", "average_drop")
    rows = rows.assign(**{name: rng.uniform(0.1, 0.5, len(rows)) for name in names})
    own, refined = rows["map"] == METHOD, rows["map"] == REFINED
    noise = rng.normal(0, 0.01, own.sum())
    rows.loc[own, "best_iou"] = rows.loc[refined, "best_iou"].to_numpy() + better + noise
    rows.loc[own & (rows["picture"] <= blank) & (rows["network"] == "two"), "complexity"] = 0.0
    return rows


def benched(rows, pictures, name="mine"):
    own = UserMethod(name, Path("mine.py"), 64 * "f", lambda *_: torch.zeros(1))
    return summarised(own, rows, ("one", "two"), pictures)


def by_hand(values):
    """Mean and interval of (networks, pictures): the mean of the networks' means, and of 2,000 samples of pictures."""
    drawn = np.random.default_rng(0).integers(values.shape[1], size=(2000, values.shape[1]))
    means = [np.nanmean(values[:, pictures], axis=1).mean() for pictures in drawn]
    return [np.nanmean(values, axis=1).mean(), *np.quantile(means, [0.025, 0.975])]


def of(rows, name, score, equal_area):
    """A score's values (networks, pictures), NaN where there is none."""
    chosen = rows[(rows["map"] == name) & (rows["equal_area"] == equal_area)]
    values = np.full((2, 14), np.nan)
    values[(chosen["network"] == "two").to_numpy(int), chosen["picture"]] = chosen[score]
    return values


def test_the_numbers_by_hand():
    rows = constructed(13)
    table = pd.read_csv(io.BytesIO(as_csv(benched(rows, 13)))).set_index("map")
    for name, title in {METHOD: "mine", **TITLES}.items():
        found = table.loc[title]
        for score in ("best_iou", "auc", "faithfulness"):
            keys = [f"{score}_equal_area{end}" for end in ("", "_low", "_high")]
            assert found[keys].tolist() == pytest.approx(by_hand(of(rows, name, score, True)), rel=1e-5)
        assert found[["mass", "mass_low", "mass_high"]].tolist() == pytest.approx(
            by_hand(of(rows, name, "mass", False)), rel=1e-5
        )
        for key, area in (("arcc", False), ("arcc_exact", True)):
            road = np.minimum(2 * of(rows, name, "road_raw", area), 1)
            parts = [of(rows, name, "coherency", False), 1 - of(rows, name, "complexity", False), road]
            expected = by_hand(3 / sum(1 / part for part in parts))
            assert found[[key, f"{key}_low", f"{key}_high"]].tolist() == pytest.approx(expected, rel=1e-5)
        fit = np.nanmean(of(rows, name, "best_iou", True), axis=1)
        assert found[["best_iou_equal_area one", "best_iou_equal_area two"]].tolist() == pytest.approx(fit, rel=1e-5)


def test_the_comparisons_by_hand():
    rows = constructed(13, better=0.02)
    table = pd.read_csv(io.BytesIO(as_csv(benched(rows, 13)))).set_index("map")
    refined, others = of(rows, REFINED, "best_iou", True), [name for name in (METHOD, *TITLES) if name != REFINED]
    differences = [of(rows, name, "best_iou", True) - refined for name in others]
    found = table.drop(TITLES[REFINED])
    expected = [by_hand(each) for each in differences]
    assert found[["difference", "difference_low", "difference_high"]].to_numpy() == pytest.approx(
        np.array(expected), rel=1e-4
    )
    p = [sign_flip(each) for each in differences]
    assert found["p"].tolist() == pytest.approx(p)
    assert found["p_holm"].tolist() == pytest.approx(holm(p))
    assert table.loc[TITLES[REFINED], ["difference", "p", "p_holm"]].isna().all()


def test_no_interval_from_fewer_than_12_pictures():
    table = pd.read_csv(io.BytesIO(as_csv(benched(constructed(10), 10))))
    assert table.filter(regex="_(low|high)$").isna().all(axis=None)
    assert "[" not in as_text(benched(constructed(10), 10))


@pytest.mark.parametrize(
    ("pictures", "better", "sentence"),
    [
        (29, 0.1, "No winner is named from fewer than 30 pictures of each network."),
        (30, 0.1, "By best IoU, mine is better than RefineCAM of Grad-CAM++ (+0.1"),
        (30, -0.1, "By best IoU, mine is worse than RefineCAM of Grad-CAM++ (-0.1"),
        (30, 0.0, "No clear winner between mine and RefineCAM of Grad-CAM++ by best IoU ("),
    ],
)
def test_the_verdict(pictures, better, sentence):
    found = benched(constructed(pictures, better), pictures)
    assert found.verdict.startswith(sentence)
    assert as_text(found).endswith(found.verdict)


def test_how_many_maps_are_blank():
    assert benched(constructed(13, blank=3), 13).blank == 3


NASTY = r"a_b & 50% $x^2$ #1 {c}\d ~<e>|[f]*"


def test_latex_has_no_special_characters():
    assert latex(NASTY) == (
        r"a\_b \& 50\% \$x\textasciicircum{}2\$ \#1 \{c\}\textbackslash{}d "
        r"\textasciitilde{}\textless{}e\textgreater{}\textbar{}{[}f{]}{*}"
    )


def cells_of(table):
    lines = [line.removesuffix(r"\\") for line in table.splitlines() if line.endswith(r"\\")]
    return [re.split(r"(?<!\\)&", line) for line in lines]


@pytest.mark.parametrize("pictures", [10, 13])
def test_the_latex_table(pictures):
    found = benched(constructed(pictures), pictures, NASTY)
    text = as_latex(found).decode()
    first, second = text.split("\n\n")
    for table in (first, second):  # printed, so that each table says what it depends on
        assert latex(f"{PROTOCOL.name}, version {PROTOCOL.version}, SHA-256 {PROTOCOL.sha256}") in table
        assert f"camviz {__version__}, {pictures} of the protocol's 300 pictures of each of one, two" in table
        assert f"SHA-256 of its file {64 * 'f'}" in table
        assert not re.search("(?m)^%", table)
    for table, columns in ((first, 8), (second, 2)):
        plain = re.sub(r"\\[\\$&%#_{}]", "", table)  # without what is escaped
        assert plain.count("{") == plain.count("}")
        assert plain.count("$") % 2 == 0
        assert r"\begin{tabular}{l" + columns * "r" + "}" in plain
    cells, of_networks = cells_of(first), cells_of(second)
    assert {len(line) for line in cells} == {9}
    assert {len(line) for line in of_networks} == {3}
    assert len(of_networks) == 1 + 7
    assert of_networks[1][2].strip() == f"${found.rows[0].networks['best_iou_equal_area']['two']:.3f}$"
    assert len(cells) == 1 + 7 * (2 if pictures > 11 else 1)
    assert cells[1][0].strip() == latex(NASTY)
    assert cells[1][1].strip() == f"${found.rows[0].means['best_iou_equal_area'].value:.3f}$"


def test_the_figure():
    found = benched(constructed(13), 13)
    data = as_figure(found)
    assert data == as_figure(found)
    assert data.startswith(b"%PDF")
    assert data.rstrip().endswith(b"%%EOF")
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") == 1
    assert b"/Title (camviz bench: mine)" in data
    (subject,) = re.findall(rb"/Subject \((.*)\)", data)
    for part in (
        PROTOCOL.sha256,
        "camviz-trust, version 2",
        f"camviz {__version__}",
        "13 of the protocol's 300 pictures of each of one, two",
        64 * "f",
    ):
        assert part.encode() in subject


def test_text_for_a_terminal():
    head, *rows, last = as_text(benched(constructed(13), 13)).splitlines()
    assert head.endswith("  best IoU - RefineCAM's")
    assert [row[:25].strip() for row in rows] == ["mine", *TITLES.values()]
    assert last.startswith("13 of the protocol's 300 pictures of each of one, two. ")
    whole = as_text(benched(constructed(300), 300))
    assert whole.splitlines()[-1].startswith("300 pictures of each of one, two. ")


def test_the_rows_beside_it_are_in_every_part_of_the_study():
    assert {REFINED, DEEPEST, f"layercam, {MERGED}", f"eigencam, {MERGED}", "centre", "random"} == set(TITLES)
    assert bench_files.files(benched(constructed(10), 10)).keys() == set(FILES)


@pytest.mark.parametrize("content", [b"", b"PAR1 is not all of it", b"PAR1" + 40 * b"x" + b"PAR1"])
def test_damaged_rows_are_named(tmp_path, content):
    file = tmp_path / f"{NETWORK}-plain-bench.parquet"
    own = method(CONSTANT)
    bench._claim(tmp_path, own)
    file.write_bytes(content)
    with pytest.raises(MethodError, match=r"plain-bench\.parquet' is damaged: delete it"):
        bench.bench(own, [NETWORK], 1, tmp_path)
