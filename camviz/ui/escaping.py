"""What strangers name, such as files and links' values, as Markdown that shows their words and does nothing else."""

from __future__ import annotations

import re

# What starts mark-up in a line, the dot by which an address is recognised without http, and what starts a list.
_MARKS = re.compile(r"[\\`*_\[\]<>~$:&!|#@]|(?<=www\u2060)\.|^[-+=]", re.IGNORECASE)
_NUMBERED = re.compile(r"^(\d+)([.)])")
# Addresses are made links even where their signs are escaped, but not with an invisible joiner among these.
_ADDRESS, _JOINER = re.compile(r"https?(?=:)|www(?=\.)|@", re.IGNORECASE), "\u2060"
_SHOWN = 40  # characters of a word in a sentence


def as_text(words: str) -> str:
    """Words in running text: no mark-up, picture, address, formula or icon in them takes effect."""
    line = "".join(sign if sign.isprintable() else " " for sign in words).strip()
    line = _ADDRESS.sub(lambda start: start[0] + _JOINER, line)
    return _NUMBERED.sub(r"\1\\\2", _MARKS.sub(lambda mark: f"\\{mark[0]}", line))


def code(words: str) -> str:
    """The same as code, shortened: for values that a sentence is about."""
    line = "".join(sign if sign.isprintable() and sign != "`" else " " for sign in words[: _SHOWN + 1]).strip()
    return f"`{line if len(line) <= _SHOWN else line[:_SHOWN] + '…'}`" if line else "(nothing)"
