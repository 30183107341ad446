"""Points with whiskers, as HTML."""

import math
import re

from camviz.html.interval_chart import interval_words, intervals_html
from camviz.statistics import Interval

NOTHING = Interval(math.nan, math.nan, math.nan, 0)
PAINT = {"known & <b>": "#111111", "unknown": "#222222"}


def test_an_undefined_value_is_a_word_with_neither_point_nor_interval():
    known, unknown = Interval(0.5, 0.4, 0.7, 5), NOTHING
    html = intervals_html({"C": {"known & <b>": known, "unknown": unknown}}, PAINT)
    first, second = re.findall(r'<div role="row".*?</span></div>', html)
    assert '<s style="--from:0.4000;--to:0.7000"></s><i style="--at:0.5000"></i>' in first
    assert "<s" not in second.replace("<span", "")
    assert "<i" not in second
    assert ">undefined</span>" in second


def test_every_column_names_its_rows_and_says_their_numbers():
    rows = {"known & <b>": Interval(0.5, 0.4, 0.7, 5), "unknown": Interval(0.25, math.nan, math.nan, 1)}
    html = intervals_html({"C < 1": rows, "R": rows}, PAINT)
    assert html.count('<span role="rowheader">known &amp; &lt;b&gt;</span>') == 2
    assert 'aria-label="C &lt; 1"' in html
    assert html.count('aria-label="0.50, 95 %: 0.40 to 0.70 on 5 pictures"') == 2
    assert html.count("--paint:#222222") == 2


def test_words():
    assert interval_words(Interval(0.5, 0.4, 0.7, 5)) == "95 %: 0.40 to 0.70 on 5 pictures"
    assert interval_words(Interval(0.5, math.nan, math.nan, 1)) == "1 picture, no interval"
    assert interval_words(Interval(0.5, math.nan, math.nan, 7)) == "7 pictures, no interval"
    assert interval_words(NOTHING) == "no pictures"
