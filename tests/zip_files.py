"""Zip files, taken apart and put together."""

import io
import stat
import zipfile

TIME = (1980, 1, 1, 0, 0, 0)


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts, method=zipfile.ZIP_STORED, edit=None):
    """A zip of (name, bytes) pairs or a dictionary; `edit` may change each entry before it is written."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in parts.items() if isinstance(parts, dict) else parts:
            entry = zipfile.ZipInfo(name, TIME)
            entry.compress_type = method
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            if edit:
                edit(entry)
            archive.writestr(entry, content)
    return stream.getvalue()
