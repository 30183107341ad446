"""A method of somebody's own on the sealed study's pictures, beside the maps that the study has measured there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from camviz.methods import METHODS
from camviz.methods.registry import Progress
from camviz.metrics import SCORES
from camviz.models import Net, load_model
from camviz.statistics import Interval, holm
from camviz.trust.evaluation import TRUTH
from camviz.trust.ranked_maps import BLIND, MERGED
from camviz.trust.resampling import LEAST_FOR_WINNER, interval, sign_flip
from camviz.trust.sealed_study import (
    ORDINARY,
    PARTS,
    PICTURES,
    PROTOCOL,
    REFINED,
    SHIPPED,
    Part,
    complete,
    rows_file,
)
from camviz.trust.study_results import DEEPEST, Contrast, network_means, with_derived
from camviz.trust.user_method import MethodError, UserMethod
from camviz.versions import __version__

SECONDS = 6  # of one core, a picture, for a method as quick as Grad-CAM++ on the networks that decide
# Each part of the study, by what the option --networks calls it.
NETWORKS = {part.network if part.kind == "plain" else f"{part.network}:{part.kind}": part for part in PARTS}
METHOD = "method"  # the name of the user's map in the rows
_KEYS = ["network", "picture"]
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Column:
    """One score in the tables: its name in the rows, its title, and whether maps are scored at equal area."""

    name: str
    title: str
    equal_area: bool

    @property
    def key(self) -> str:
        """Its name in the CSV file."""
        return f"{self.name}_equal_area" if self.equal_area else self.name

    @property
    def area(self) -> str:
        """How the maps are scored, in words."""
        return "at equal area" if self.equal_area else "as they are"


FIT = Column(TRUTH, SCORES[TRUTH].title, equal_area=True)
COLUMNS = (
    FIT,
    Column("auc", SCORES["auc"].title, equal_area=True),
    Column("mass", SCORES["mass"].title, equal_area=False),
    Column("faithfulness", SCORES["faithfulness"].title, equal_area=True),
    Column("arcc", SCORES["arcc"].title, equal_area=False),
    Column("arcc_exact", "ARCC, exact shares", equal_area=False),
)
# The maps of the study that stand beside the user's.
TITLES = {
    REFINED: f"RefineCAM of {METHODS['gradcam++'].title}",
    DEEPEST: f"{METHODS['gradcam++'].title}, deepest layer",
    **{f"{name}, {MERGED}": f"{METHODS[name].title}, merged" for name in ("layercam", "eigencam")},
    **{name: METHODS[name].title for name in BLIND},
}


@dataclass(frozen=True)
class Row:
    """One map in the tables.

    Attributes:
        title: its name.
        means: the mean over networks of each of `COLUMNS`, by its key, with its interval.
        networks: the mean of each network, by the column's key and the network's name.
        against: its best IoU compared with RefineCAM's; None for RefineCAM itself.
    """

    title: str
    means: Mapping[str, Interval]
    networks: Mapping[str, Mapping[str, float]]
    against: Contrast | None


@dataclass(frozen=True)
class Bench:
    """What the bench says of a method.

    Attributes:
        method: the method's name.
        sha256: the SHA-256 of its file.
        networks: the names of the networks, as in `NETWORKS`.
        pictures: how many pictures of each.
        blank: how many of the method's maps are constant.
        rows: the method, then the maps of the study.
    """

    method: str
    sha256: str
    networks: tuple[str, ...]
    pictures: int
    blank: int
    rows: tuple[Row, ...]

    @property
    def provenance(self) -> dict[str, str]:
        """What the numbers depend on, by name; every file says so."""
        return {
            "protocol": PROTOCOL.name,
            "protocol_version": str(PROTOCOL.version),
            "protocol_sha256": PROTOCOL.sha256,
            "camviz": __version__,
            "pictures_a_network": str(self.pictures),
            "networks": ", ".join(self.networks),
            "method": self.method,
            "method_sha256": self.sha256,
        }

    @property
    def measured_on(self) -> str:
        """Which pictures, in words."""
        number = str(PICTURES) if self.pictures == PICTURES else f"{self.pictures} of the protocol's {PICTURES}"
        return f"{number} pictures of each of {', '.join(self.networks)}"

    @property
    def verdict(self) -> str:
        """How the method compares with RefineCAM by best IoU, in a sentence."""
        against = self.rows[0].against
        if against is None or self.pictures < LEAST_FOR_WINNER:
            return f"No winner is named from fewer than {LEAST_FOR_WINNER} pictures of each network."
        told = f"{against.difference.value:+.3f}, p = {against.corrected:.2g} after Holm's correction"
        if against.corrected >= _SIGNIFICANT:
            return f"No clear winner between {self.method} and {TITLES[REFINED]} by best IoU ({told})."
        word = "better" if against.difference.value > 0 else "worse"
        return f"By best IoU, {self.method} is {word} than {TITLES[REFINED]} ({told})."


def pictures_of(networks: Sequence[str]) -> int:
    """How many pictures of each of these networks the study's rows hold."""
    return min(_shipped(NETWORKS[name])["picture"].nunique() for name in networks)


def bench(
    method: UserMethod,
    networks: Sequence[str],
    pictures: int,
    folder: Path,
    progress: Callable[[str], Progress] | None = None,
) -> Bench:
    """Measure a method on the study's first pictures, and compare it with what the study has measured on them.

    Args:
        method: the method.
        networks: names in `NETWORKS`.
        pictures: how many pictures of each network, at most `pictures_of` them.
        folder: where the method's rows are kept, picture by picture; a later call resumes from them.
        progress: a network's name -> what is called with (pictures done, all pictures).

    Raises:
        MethodError: the method failed, or the folder holds rows of another one.
    """
    _claim(folder, method)
    stage = replace(ORDINARY, name="bench", makers=lambda picture: {METHOD: method.maker(picture)})
    tables = []
    for name in networks:
        part = NETWORKS[name]
        net = load_model(part.network, "cpu")  # as in the study
        shipped = _shipped(part)
        chosen = shipped["picture"].unique()[:pictures].tolist()
        _require_readable(rows_file(folder, part, stage))
        complete(part, stage, net, chosen, folder, None if progress is None else progress(name))
        rows = pd.concat([pd.read_parquet(rows_file(folder, part, stage)), _beside(shipped, net)])
        tables.append(rows[rows["picture"].isin(chosen)].assign(network=name, kind=part.kind))
    return summarised(method, pd.concat(tables, ignore_index=True), tuple(networks), pictures)


def summarised(method: UserMethod, rows: pd.DataFrame, networks: tuple[str, ...], pictures: int) -> Bench:
    """Compute every mean, interval and comparison.

    Args:
        method: the method.
        rows: the rows of `METHOD` and of each map in `TITLES`, as the study's files hold them, with "network" and
            "kind".
        networks: their names.
        pictures: how many pictures of each.
    """
    table = with_derived(rows)
    titles = {METHOD: method.name, **TITLES}
    against = _against_refined(table, titles)
    found = []
    for name, title in titles.items():
        values = {column.key: _values(table, name, column).reindex(list(networks)) for column in COLUMNS}
        means = {key: interval(each.to_numpy()) for key, each in values.items()}
        of_networks = {key: network_means(each) for key, each in values.items()}
        found.append(Row(title, means, of_networks, against.get(name)))
    own = table[(table["map"] == METHOD) & ~table["equal_area"]]
    blank = int((own["complexity"] == 0).sum())  # stretched, a map has a 1 somewhere unless it is constant
    return Bench(method.name, method.sha256, networks, pictures, blank, tuple(found))


def _against_refined(table: pd.DataFrame, titles: Mapping[str, str]) -> dict[str, Contrast]:
    """The best IoU of every other map compared with RefineCAM's, with Holm's correction over all of them."""
    refined = _values(table, REFINED, FIT)
    differences = {name: _values(table, name, FIT) - refined for name in titles if name != REFINED}
    tests = [sign_flip(each.to_numpy()) for each in differences.values()]
    return {
        name: Contrast(
            titles[name],
            titles[REFINED],
            interval(difference.to_numpy()),
            p,
            corrected,
            network_means(difference),
        )
        for (name, difference), p, corrected in zip(differences.items(), tests, holm(tests), strict=True)
    }


def _values(table: pd.DataFrame, name: str, column: Column) -> pd.DataFrame:
    """A map's score on each network (rows) and picture (columns)."""
    rows = table[(table["map"] == name) & (table["equal_area"] == column.equal_area)]
    return rows.set_index(_KEYS)[column.name].astype("float64").unstack("picture")


def _shipped(part: Part) -> pd.DataFrame:
    return pd.read_parquet(rows_file(SHIPPED, part, ORDINARY))


def _beside(shipped: pd.DataFrame, net: Net) -> pd.DataFrame:
    """The rows of the maps in `TITLES`, the deepest layer's renamed."""
    rows = shipped.replace({"map": {f"gradcam++, {net.layers[-1]}": DEEPEST}})
    return rows[rows["map"].isin(list(TITLES))]


def _require_readable(file: Path) -> None:
    """Refuse a file of rows that was damaged since it was written."""
    try:
        if file.exists():
            pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise MethodError(f"{str(file)!r} is damaged: delete it, and its pictures are measured again.") from error


def _claim(folder: Path, method: UserMethod) -> None:
    """Note whose rows a folder holds, and refuse one that holds those of another method."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "rows-of.txt"
    whose = f"method {method.sha256}\nprotocol {PROTOCOL.sha256}\ncamviz {__version__}\n".encode()
    if not any(folder.glob("*.parquet")):
        note.write_bytes(whose)
    elif not note.exists() or note.read_bytes() != whose:
        raise MethodError(
            f"{str(folder)!r} holds rows of another version of {method.file.name} or of camviz: choose another folder "
            "with --out."
        )
