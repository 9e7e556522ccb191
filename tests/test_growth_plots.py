"""How the growth of cost is told: lines by least squares, the last stretch, the page's section."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "benchmarks"))

from growth_plots import Line, filled, last_over_mean, points_of


def points(seconds, sizes=(10, 20, 40)):
    return [{"size": size, "seconds": seconds(size)} for size in sizes]


def test_a_straight_line_is_found_again():
    line = Line.through([10, 20, 40], [3 + 0.5 * size for size in (10, 20, 40)])
    assert (line.slope, line.start, line.r2) == pytest.approx((0.5, 3, 1))


def test_r2_is_the_square_of_the_correlation():
    across, up = [1, 2, 3, 5], [2.0, 1.0, 4.0, 3.5]
    assert Line.through(across, up).r2 == pytest.approx(np.corrcoef(across, up)[0, 1] ** 2)


def test_two_points_are_too_few_for_a_line():
    with pytest.raises(ValueError, match="got 2 points, expected three or more"):
        Line.through([1, 2], [1, 2])


def test_the_last_stretch_tells_a_straight_line_from_a_square():
    assert last_over_mean(points(lambda size: 7 + 2 * size)) == pytest.approx(1)
    # (40² - 20²) / 20 over (40² - 10²) / 30
    assert last_over_mean(points(lambda size: size**2)) == pytest.approx(60 / 50)


def test_a_file_without_an_axis_is_refused_by_its_name():
    only = {"extra_info": {"format": "adcorda-harness/growth/1", "axis": "cells", "size": 1}}
    with pytest.raises(ValueError, match="no points of wrong, images in the file"):
        points_of({"benchmarks": [only, {"extra_info": {}}]})


def test_only_what_is_between_the_markers_is_written_anew():
    page = "a\n<!-- growth -->\nold\n<!-- /growth -->\nb\n"
    assert filled(page, "new", part="growth") == "a\n<!-- growth -->\n\nnew\n\n<!-- /growth -->\nb\n"
    with pytest.raises(ValueError, match="expected"):
        filled("a page without them", "new", part="growth")
