"""The documentation: its links lead somewhere, and what can be chosen is described."""

import re
from pathlib import Path

import pytest

import camviz
from camviz import noise

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])

FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.M | re.S)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]\n]*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)


def without_code(text):
    return CODE.sub("", FENCE.sub("", text))


def anchors(text):
    """The anchors that GitHub gives to the headings of a page."""
    found = {}
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCE.sub("", text), re.M):
        words = re.sub(r"[^\w\- ]", "", LINK.sub(lambda link: link[0][1 : link[0].index("]")], heading).lower())
        slug = words.replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{number}" if number else slug for slug, last in found.items() for number in range(last + 1)}


def broken(page):
    """The relative links of a page that lead nowhere."""
    wrong = []
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if ELSEWHERE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (
            anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text(encoding="utf-8")))
        ):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    assert broken(page) == []


def test_every_page_is_reached_from_the_readme():
    reached, found = set(), {ROOT / "README.md"}
    while found:
        page = found.pop()
        reached.add(page)
        links = LINK.findall(without_code(page.read_text(encoding="utf-8")))
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links if not ELSEWHERE.match(link)}
        found |= {target for target in targets if target.suffix == ".md" and target.is_file()} - reached
    assert set((ROOT / "docs").rglob("*.md")) <= reached


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A name, *here*\n\n```\n# no heading\n```\n\n## Twice\n\n## Twice\n")
    (tmp_path / "page.md").write_text(
        "[a](other.md) [b](other.md#a-name-here) [c](other.md#twice-1) [d](https://example.org/x) `[e](none.md)`\n"
        "![f](none.png) [g](other.md#twice-2) [h](#nothing) [i](other.md#no-heading)\n"
    )
    assert broken(tmp_path / "page.md") == ["none.png", "other.md#twice-2", "#nothing", "other.md#no-heading"]


@pytest.mark.parametrize(
    ("page", "register"),
    [
        ("methods-and-scores.md", camviz.METHODS),
        ("methods-and-scores.md", camviz.RULES),
        ("methods-and-scores.md", camviz.SCORES),
        ("methods-and-scores.md", camviz.REFINE_READINGS),
        ("methods-and-scores.md", camviz.COHERENCY_READINGS),
        ("robustness.md", noise.KINDS),
    ],
    ids=["methods", "rules", "scores", "readings of RefineCAM", "readings of coherency", "noises"],
)
def test_what_can_be_chosen_is_described(page, register):
    described = set(CODE.findall((ROOT / "docs" / page).read_text(encoding="utf-8")))
    assert set(register) - described == set()
