"""A study as one file that opens again: a zip of a description and of tables of numbers, without pictures."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from camviz.methods import METHODS
from camviz.metrics import SCORES
from camviz.trust.sealed_study import DIGEST, PROTOCOL, VERSION
from camviz.trust.study_results import EXACT, METRICS, TRUTHS, StudyResults
from camviz.versions import versions

FORMAT = "camviz-study"
_FORMAT_VERSION = 1
_DESCRIPTION, _SAMPLES = "study.json", "samples.csv"
# Of a file, and of what it inflates to: a study of 300 pictures with six networks has 15 million bytes of text.
_MOST, _MOST_INFLATED = 30_000_000, 80_000_000
_KEYS: dict[str, Any] = {"network": str, "kind": str, "picture": "int64", "map": str, "equal_area": bool}
# Stages whose maps are no method's.
_OTHER_MAPS = ("deliberate", "fading")
_SAVE_AGAIN = "download the study again"


class StudyFileError(ValueError):
    """A file that is no study; the message says why and what to do."""


def pack(results: StudyResults, *, sealed: bool) -> bytes:
    """Write a study: its rows, its samples, and what it was made with.

    Args:
        results: the study.
        sealed: whether it follows the protocol of sealed samples, which the file then names.
    """
    description = {
        "format": FORMAT,
        "version": _FORMAT_VERSION,
        "made_with": versions(),
        "protocol": {"name": PROTOCOL, "version": VERSION, "sha256": DIGEST} if sealed else None,
        "truths": list(results.truths),
        "metrics": {stage: list(names) for stage, names in results.metrics.items()},
    }
    tables = {_SAMPLES: results.samples, **{_name(stage): rows for stage, rows in results.rows.items()}}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_DESCRIPTION, json.dumps(description, indent=2))
        for name, table in tables.items():
            archive.writestr(name, table.to_csv(index=False, float_format="%.9g"))
    return stream.getvalue()


def _name(stage: str) -> str:
    return f"rows-{stage}.csv"


def unpack(data: bytes) -> StudyResults:
    """Read a study.

    Raises:
        StudyFileError: bytes that are no study, or not whole.
    """
    if len(data) > _MOST:
        raise StudyFileError(f"This file has {len(data):,} bytes and a study at most {_MOST:,}: choose another file.")
    members = _members(data)
    description = _description(members)
    stages = [stage for stage in description["metrics"] if _name(stage) in members]
    others = [stage for stage in _OTHER_MAPS if _name(stage) in members]
    if "ordinary" not in stages:
        raise StudyFileError(f"This study has no rows of the stage ordinary: {_SAVE_AGAIN}.")
    rows = {stage: _rows(members[_name(stage)], description["metrics"][stage]) for stage in stages}
    for stage in stages:
        _check_maps(rows[stage])
    rows |= {stage: _rows(members[_name(stage)], METRICS["ordinary"]) for stage in others}
    missing = [truth for truth in description["truths"] if truth not in rows["ordinary"]]
    if missing:
        raise StudyFileError(f"This study's rows lack the truth {missing[0]!r}: {_SAVE_AGAIN}.")
    samples = _table(members.get(_SAMPLES, b""), {"network": str, "kind": str, "left_out": str, "band": str})
    return StudyResults(samples, rows, description["metrics"], tuple(description["truths"]))


def _members(data: bytes) -> dict[str, bytes]:
    """The files in the zip, never more bytes than a study may have."""
    left = _MOST_INFLATED
    members = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist()[:20]:
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


def _description(members: Mapping[str, bytes]) -> dict[str, Any]:
    """What the study was made with, checked."""
    try:
        found = json.loads(members[_DESCRIPTION])
        known = found["format"] == FORMAT
        version = found["version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StudyFileError("This zip file isn't a camviz study: choose another file.") from error
    if not known or version != _FORMAT_VERSION:
        raise StudyFileError(f"This study has the format {version!r}, which this version of camviz does not read.")
    try:
        unknown = [truth for truth in found["truths"] if truth not in TRUTHS]
        unknown += [stage for stage in found["metrics"] if stage not in (*METRICS, "road")]
        unknown += [name for names in found["metrics"].values() for name in names if name not in SCORES]
        some = bool(found["truths"]) and bool(found["metrics"])
    except (KeyError, TypeError, AttributeError) as error:
        raise StudyFileError(f"This study's description is damaged: {_SAVE_AGAIN}.") from error
    if unknown or not some:
        raise StudyFileError(f"This study's description names {unknown[:1]}, unknown here: {_SAVE_AGAIN}.")
    return found


def _rows(data: bytes, metrics: Sequence[str]) -> pd.DataFrame:
    table = _table(data, _KEYS)
    missing = [name for name in _KEYS if name not in table]
    if missing or table.empty:
        raise StudyFileError(f"This study's rows lack {missing[:1] or 'everything'}: {_SAVE_AGAIN}.")
    values = [name for name in table if name in {*metrics, *TRUTHS, *EXACT}]
    if not all(pd.api.types.is_numeric_dtype(table[name]) for name in values):
        raise StudyFileError(f"This study's rows hold scores that are no numbers: {_SAVE_AGAIN}.")
    if table.duplicated(["network", "kind", "picture", "map", "equal_area"]).any():
        raise StudyFileError(f"This study has two rows for the same map: {_SAVE_AGAIN}.")
    return table[[*_KEYS, *values]]


def _check_maps(table: pd.DataFrame) -> None:
    methods = set(table["map"].str.partition(", ")[0])
    if not methods <= set(METHODS):
        raise StudyFileError(f"This study has maps of {min(methods - set(METHODS))!r}, a method unknown here.")


def _table(data: bytes, types: Mapping[str, Any]) -> pd.DataFrame:
    try:
        return pd.read_csv(io.BytesIO(data), dtype=dict(types), keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except Exception as error:
        # Deliberately broad: the text is a stranger's, and pandas has many ways to fail.
        raise StudyFileError(f"This study's tables are damaged: {_SAVE_AGAIN}.") from error
