"""Long leaderboards: rows that are asked for, in the order asked for, and all of them at a glance."""

from __future__ import annotations

import io
import re

import pytest
from record_factory import control, make_matrix, make_record, method
from rich.console import Console

from harness.errors import UsageError
from harness.leaderboard import build, narrowed, ordered
from harness.report.dot_plot import ROW_PIXELS, dot_plot
from harness.report.gain_matrix import LONG, gain_matrix
from harness.report.html import to_html
from harness.report.markdown import to_markdown
from harness.report.terminal import render

ADAPTERS = [f"adapter{number:02}" for number in range(12)]


@pytest.fixture
def long():
    """Twelve adapters from two correctors, from T and from the curriculum, with shams; gains that tell each from the other."""
    records = [control("finetune-target", 0.75, adapter="finetune", source=None)]
    for number, adapter in enumerate(ADAPTERS):
        gain = number / 100
        records += [
            method(0.5 + gain, adapter=adapter),
            method(0.6 + gain, adapter=adapter, corrector="ll"),
            control("sham", 0.9, adapter=adapter, corrector="vbi", corrected=1),
            control("target-to-target", 0.4 + gain, adapter=adapter),
            control("curriculum", 0.3 + gain, adapter=adapter, corrector="none", corrected=0),
        ]
    return build(records)


def printed(tables, width=120):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    render(tables, console)
    return console.file.getvalue()


def test_a_long_table_is_shown_at_a_glance_first(long):
    (table,) = long
    matrix = gain_matrix(table)
    assert matrix.labels == tuple(ADAPTERS)
    cells = {column.heading: column.cells for column in matrix.columns}
    assert list(cells) == ["T→T", "curriculum", "vbi", "ll"]  # shams are in the table alone
    assert [column[3] for column in cells.values()] == ["-7.00", "-17.00", "+3.00", "+13.00"]  # over the baseline's 50
    assert matrix.notes == ("Trained on T alone: finetune-target +25.00.",)
    text = printed(long)
    assert text.index("at a glance") < text.index("Corr. rate")


def test_pages_begin_with_the_glance_too(long):
    line = "| adapter03 | -7.00 | -17.00 | +3.00 | +13.00 |"
    text = to_markdown(long)
    assert text.index("at a glance") < text.index(line) < text.index("### All rows") < text.index("Corr. rate")
    page = to_html(long, "mine")
    assert page.index("at a glance") < page.index("<h3>All rows</h3>") < page.index("Corr. rate")
    (cells,) = re.findall(r'<tr><td class="name" data-label="Adapter">adapter03</td>(.*?)</tr>', page)
    assert re.findall(r">([-+.0-9]+)<", cells) == ["-7.00", "-17.00", "+3.00", "+13.00"]


def test_a_short_table_has_no_glance(long):
    (table,) = narrowed(long, ["vbi + *"])
    assert len(table.rows) < LONG
    assert gain_matrix(table) is None
    assert "at a glance" not in printed([table]) + to_markdown([table]) + to_html([table], "mine")


def test_a_narrow_terminal_drops_the_last_correctors_and_says_so(long):
    text = printed(long, 34).partition("Row")[0]
    assert "curriculum" in text
    assert "Too narrow for vbi, ll." in " ".join(text.split())


def test_rows_are_chosen_by_pattern_and_keep_what_the_whole_table_says_of_them(long):
    whole = {row.key: row for row in long[0].rows}
    (table,) = narrowed(long, ["vbi + adapter1?", "finetune-target"])
    assert [row.key.label for row in table.rows] == ["finetune-target", "vbi + adapter10", "vbi + adapter11"]
    assert all(row is whole[row.key] for row in table.rows)
    assert f"3 of {len(whole)} rows" in printed([table])
    assert f"3 of {len(whole)} rows" in to_markdown([table])


def test_tables_without_a_chosen_row_are_left_out():
    tables = build([method(0.6), method(0.6, model="other", corrector="ll", comparable={"key": "other"})])
    assert [table.rows[0].key.model for table in narrowed(tables, ["ll + *"])] == ["other"]


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_row_alone(long):
    with pytest.raises(UsageError) as caught:
        narrowed(long, ["vbi + adaptor03"])
    assert str(caught.value) == '--row: no row "vbi + adaptor03"; did you mean "vbi + adapter03"?'


def test_rows_are_sorted_by_a_column_highest_first(long):
    rows = ordered(long[0], "test").rows
    means = [row.test.mean for row in rows]
    assert means == sorted(means, reverse=True)
    assert len(rows) == len(long[0].rows)


def test_no_row_is_the_best_in_t_prime():
    records = [make_record(test=0.6, source=0.9), make_record(test=0.5, corrector="ll", source=1.0)]
    assert [sorted(row.best) for row in build(records)[0].rows] == [["delta", "test", "valid"], []]


@pytest.mark.parametrize(("seeds", "told"), [((1,), True), ((1, 2, 5), False)])
def test_a_p_of_one_seed_is_named(seeds, told):
    tables = build(make_matrix(seeds))
    for text in (printed(tables), to_markdown(tables)):
        assert ("p is McNemar's (McNemar p)" in text) == told


def test_sentences_at_narrow_widths_leave_absent_differences_out():
    text = printed(build([method(0.6), control("finetune-target", 0.5, adapter="finetune", source=None)]), 26)
    assert "vbi + deep-coral vs finetune-target: +10.00" in " ".join(text.split())
    assert "deep-coral vs T→T: –" not in " ".join(text.split())


def test_no_line_of_the_dot_plot_strikes_a_label_through(long):
    dashes = re.findall(r'stroke-dasharray="([\d ]+)"', dot_plot(long[0].rows))
    assert dashes
    for one in dashes:
        lengths = [int(length) for length in one.split()]
        assert sum(lengths) == ROW_PIXELS  # so that each row's pattern begins where the row does
        assert len(lengths) % 2 == 0
        assert lengths[0] == 0
        assert lengths[1] > 14 + 3  # a label's baseline and what hangs below it
