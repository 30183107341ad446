"""The charts of a sweep."""

import math

from camviz.statistics import Interval
from camviz.ui.robustness.charts import MEASURES, measures_figure


def test_an_undefined_measure_is_a_word_with_neither_point_nor_interval():
    nothing = Interval(math.nan, math.nan, math.nan, 0)
    found = {measure: {"known": Interval(0.5, 0.4, 0.7, 5), "unknown": nothing} for measure in MEASURES}
    for known, unknown in zip(*[iter(measures_figure(found).data)] * 2, strict=True):
        assert (known.mode, known.x, known.error_x.visible) == ("markers", (0.5,), True)
        assert math.isclose(known.error_x.array[0], 0.2)
        assert math.isclose(known.error_x.arrayminus[0], 0.1)
        assert (unknown.mode, unknown.text, unknown.error_x.visible) == ("text", ("undefined",), False)
