"""A study as one file that opens again: a zip of a description and of tables of numbers, without pictures."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from camviz.methods import METHODS
from camviz.metrics import SCORES
from camviz.trust.sealed_samples import KINDS
from camviz.trust.sealed_study import PROTOCOL, REFINED, Protocol
from camviz.trust.study_results import AS_THEY_ARE, CONTROLS, EXACT, METRICS, TRUTHS, StudyResults
from camviz.versions import versions

FORMAT = "camviz-study"
_FORMAT_VERSION = 1
_DESCRIPTION, _SAMPLES = "study.json", "samples.csv"
# Of a file, and of what it inflates to: a study of 300 pictures with six networks has 15 million bytes of text.
_MOST, _MOST_INFLATED = 30_000_000, 80_000_000
_KEYS: dict[str, Any] = {"network": str, "kind": str, "picture": "int64", "map": str, "equal_area": bool}
# Stages of maps that are no method's, each with one that the others are compared with.
_OTHER_MAPS = {"deliberate": REFINED, "fading": "noise 0"}
_STAGES = (*METRICS, "road")
_SAMPLE_TEXTS = ("network", "kind", "left_out", "band")
_SAMPLE_NUMBERS = ("picture", "label", "is_frame", "probability", "without", "elsewhere")
_MOST_COLUMNS, _MOST_MAPS, _MOST_NETWORKS, _MOST_PICTURES, _MOST_VERSIONS = 100, 64, 16, 2000, 1000
_NETWORK = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Columns of the table of metrics, beside which each network has one.
_RESERVED = ("pair_accuracy", "low", "high", "pictures", "rank_low", "rank_high", "title")
_SAVE_AGAIN = "download the study again"


class StudyFileError(ValueError):
    """A file that is no study; the message says why and what to do."""


def pack(results: StudyResults) -> bytes:
    """Write a study: its rows, its samples, its protocol, and the versions that write it."""
    description = {
        "format": FORMAT,
        "version": _FORMAT_VERSION,
        "made_with": versions(),
        "protocol": None if results.protocol is None else asdict(results.protocol),
        "truths": list(results.truths),
        "metrics": {stage: list(names) for stage, names in results.metrics.items()},
    }
    kept = {stage: rows for stage, rows in results.rows.items() if stage in results.metrics or stage in _OTHER_MAPS}
    tables = {_SAMPLES: results.samples, **{_name(stage): rows for stage, rows in kept.items()}}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_DESCRIPTION, json.dumps(description, indent=2))
        for name, table in tables.items():
            archive.writestr(name, table.to_csv(index=False, float_format="%.9g"))
    return stream.getvalue()


def _name(stage: str) -> str:
    return f"rows-{stage}.csv"


def unpack(data: bytes) -> StudyResults:
    """Read a study, which may follow another version of the protocol than this camviz's.

    Raises:
        StudyFileError: bytes that are no study, or not whole.
    """
    if len(data) > _MOST:
        raise StudyFileError(f"This file has {len(data):,} bytes and a study at most {_MOST:,}: choose another file.")
    members = _members(data)
    metrics, truths, protocol = _description(members)
    rows = {stage: _rows(members, stage, names) for stage, names in metrics.items()}
    missing = [truth for truth in truths if truth not in rows["ordinary"]]
    if missing:
        raise StudyFileError(f"This study's rows lack the truth {missing[0]!r}: {_SAVE_AGAIN}.")
    kinds = set(rows["ordinary"]["kind"])
    if len(kinds) > 1 and not kinds <= set(KINDS):
        raise StudyFileError(f"This study has kinds of samples that are unknown here: {_SAVE_AGAIN}.")
    for table in rows.values():
        _check_methods(table)
    for stage, needed in _OTHER_MAPS.items():
        if _name(stage) in members:
            rows[stage] = _rows(members, stage, METRICS["ordinary"])
            if needed not in set(rows[stage]["map"]) or not set(truths) <= set(rows[stage]):
                raise StudyFileError(f"This study's stage {stage} lacks the map {needed!r} or a truth: {_SAVE_AGAIN}.")
    for stage, table in rows.items():
        _check_counts(stage, table, set(rows["ordinary"]["network"]))
    return StudyResults(_samples(members), rows, metrics, truths, protocol)


def _members(data: bytes) -> dict[str, bytes]:
    """The files in the zip, never more bytes than a study may have."""
    left = _MOST_INFLATED
    members = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist()[:20]:
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # zipfile would inflate more of these than is read.
                    raise StudyFileError(f"This study was packed again: {_SAVE_AGAIN}.")
                with archive.open(entry) as stream:
                    content = stream.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise StudyFileError(f"This file inflates to more than {_MOST_INFLATED:,} bytes: choose another.")
                members[entry.filename] = content
    except StudyFileError:
        raise
    except Exception as error:
        # Deliberately broad: on hostile bytes zipfile raises struct.error, RuntimeError, NotImplementedError...
        raise StudyFileError("This isn't a camviz study. Choose a file ending in .camviz-study.zip.") from error
    return members


def _description(members: Mapping[str, bytes]) -> tuple[dict[str, list[str]], tuple[str, ...], Protocol | None]:
    """The metrics of each stage whose rows are in the file, the truths, and the protocol."""
    try:
        found = json.loads(members[_DESCRIPTION])
        known, version = found["format"] == FORMAT, found["version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StudyFileError("This zip file isn't a camviz study: choose another file.") from error
    if not known or version != _FORMAT_VERSION:
        raise StudyFileError(f"This study has the format {version!r}, which this version of camviz does not read.")
    try:
        truths, stages = list(found["truths"]), {stage: list(names) for stage, names in found["metrics"].items()}
        names = [name for each in stages.values() for name in each]
        unknown = [each for each in truths if each not in TRUTHS] + [each for each in stages if each not in _STAGES]
        unknown += [each for each in names if each not in SCORES]
    except (KeyError, TypeError, AttributeError) as error:
        raise StudyFileError(f"This study's description is damaged: {_SAVE_AGAIN}.") from error
    if unknown or not truths or not names or len(set(names)) < len(names):
        raise StudyFileError(f"This study's description names {unknown[:1]}, unknown here: {_SAVE_AGAIN}.")
    present = {stage: names for stage, names in stages.items() if names and _name(stage) in members}
    if "ordinary" not in present:
        raise StudyFileError(f"This study has no rows of the stage ordinary: {_SAVE_AGAIN}.")
    return present, tuple(truths), _protocol(found.get("protocol"))


def _protocol(found: Any) -> Protocol | None:  # noqa: ANN401  (a stranger's)
    """The protocol that a study names, of whatever version."""
    if found is None:
        return None
    try:
        protocol = Protocol(**found)
        known = protocol.name == PROTOCOL.name and _SHA256.fullmatch(protocol.sha256)
    except TypeError as error:
        raise StudyFileError(f"This study's description is damaged: {_SAVE_AGAIN}.") from error
    if not known or type(protocol.version) is not int or not 0 < protocol.version < _MOST_VERSIONS:
        raise StudyFileError(f"This study names a protocol that is unknown here: {_SAVE_AGAIN}.")
    return protocol


def _rows(members: Mapping[str, bytes], stage: str, metrics: Sequence[str]) -> pd.DataFrame:
    """A stage's rows: its keys, and the columns of known scores."""
    wanted = {*_KEYS, *metrics, *TRUTHS, *EXACT, *CONTROLS}
    table = _table(members[_name(stage)], _KEYS, wanted)
    missing = [name for name in _KEYS if name not in table]
    missing += [name for name in metrics if name not in table and stage not in _OTHER_MAPS]
    if missing or table.empty:
        raise StudyFileError(f"This study's rows lack {missing[:1] or 'everything'}: {_SAVE_AGAIN}.")
    if table[list(_KEYS)].isna().any(axis=None):
        raise StudyFileError(f"This study has rows without a name: {_SAVE_AGAIN}.")
    _require_numbers(table.drop(columns=list(_KEYS)), "rows hold scores")
    if table.duplicated(list(_KEYS)).any():
        raise StudyFileError(f"This study has two rows for the same map: {_SAVE_AGAIN}.")
    if table["equal_area"].nunique() < 2 and stage not in AS_THEY_ARE:
        raise StudyFileError(f"This study lacks the maps at equal area or those as they are: {_SAVE_AGAIN}.")
    return table


def _require_numbers(values: pd.DataFrame, what: str) -> None:
    if values.empty:
        return
    if not all(map(pd.api.types.is_numeric_dtype, values.dtypes)) or np.isinf(values.to_numpy(float)).any():
        raise StudyFileError(f"This study's {what} that are no numbers: {_SAVE_AGAIN}.")


def _check_methods(table: pd.DataFrame) -> None:
    """Refuse maps of unknown methods."""
    unknown = sorted(set(table["map"].str.partition(", ")[0]) - set(METHODS))
    if unknown:
        raise StudyFileError(f"This study has maps of {unknown[0][:60]!r}, a method unknown here.")


def _check_counts(stage: str, table: pd.DataFrame, networks: set[str]) -> None:
    """Refuse unknown networks, and more of anything than a study has."""
    odd = [name for name in set(table["network"]) if not _NETWORK.fullmatch(name) or name in _RESERVED]
    if odd or not set(table["network"]) <= networks:
        raise StudyFileError(f"This study's stage {stage} has networks with impossible names: {_SAVE_AGAIN}.")
    pictures = table.groupby(["network", "kind"])["picture"].nunique().max()
    if table["map"].nunique() > _MOST_MAPS or len(networks) > _MOST_NETWORKS or pictures > _MOST_PICTURES:
        raise StudyFileError(
            f"A study has at most {_MOST_MAPS} maps of each of {_MOST_PICTURES:,} pictures, and {_MOST_NETWORKS} "
            "networks: this one has more."
        )


def _samples(members: Mapping[str, bytes]) -> pd.DataFrame:
    """The samples; without sizes if they are not whole."""
    wanted = {*_SAMPLE_TEXTS, *_SAMPLE_NUMBERS}
    table = _table(members.get(_SAMPLES, b""), dict.fromkeys(_SAMPLE_TEXTS, str), wanted)
    _require_numbers(table.drop(columns=list(_SAMPLE_TEXTS), errors="ignore"), "samples hold values")
    if "left_out" in table:
        table["left_out"] = table["left_out"].fillna("")
    if not {"network", "kind", "picture", "band"} <= set(table.columns):
        return table.drop(columns="band", errors="ignore")
    return table


def _table(data: bytes, types: Mapping[str, Any], wanted: set[str]) -> pd.DataFrame:
    """The wanted columns of a table."""
    if data.partition(b"\n")[0].count(b",") > _MOST_COLUMNS:
        raise StudyFileError(f"This study's tables have more than {_MOST_COLUMNS} columns: {_SAVE_AGAIN}.")
    try:
        return pd.read_csv(
            io.BytesIO(data), dtype=dict(types), usecols=wanted.__contains__, keep_default_na=False, na_values=[""]
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except Exception as error:
        # Deliberately broad: the text is a stranger's, and pandas has many ways to fail.
        raise StudyFileError(f"This study's tables are damaged: {_SAVE_AGAIN}.") from error
