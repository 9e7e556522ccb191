"""Rankings, against the worked example of Demšar (2006), scikit-posthocs, and an analysis of variance of the ranks."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import scikit_posthocs
from PIL import Image
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.errors import UsageError
from harness.ranking import critical_difference, rank, ranking_sentences
from harness.report.ranking import group_letters, render, to_json
from harness.report.ranking_diagram import _figure, draw
from harness.report.terminal_grid import make_console

TREES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
# Table 6 of Demšar (2006): AUC of four learners on 14 data sets; 0.9755 for 0.975 where the printed ranks break a tie of rounding
AUC = {
    "adult": (0.763, 0.768, 0.771, 0.798),
    "breast cancer": (0.599, 0.591, 0.590, 0.569),
    "wisconsin": (0.954, 0.971, 0.968, 0.967),
    "cmc": (0.628, 0.661, 0.654, 0.657),
    "ionosphere": (0.882, 0.888, 0.886, 0.898),
    "iris": (0.936, 0.931, 0.916, 0.931),
    "liver": (0.661, 0.668, 0.609, 0.685),
    "lung cancer": (0.583, 0.583, 0.563, 0.625),
    "lymphography": (0.775, 0.838, 0.866, 0.875),
    "mushroom": (1.000, 1.000, 1.000, 1.000),
    "primary tumor": (0.940, 0.962, 0.965, 0.962),
    "rheum": (0.619, 0.666, 0.614, 0.669),
    "voting": (0.972, 0.981, 0.9755, 0.975),
    "wine": (0.957, 0.978, 0.946, 0.970),
}
DEMSAR = {name: dict(zip(TREES, scores, strict=True)) for name, scores in AUC.items()}


def table(scores, names="abcdefghijklmnop"):
    """Blocks from a matrix (N, k)."""
    return {f"block {row}": dict(zip(names, map(float, line), strict=False)) for row, line in enumerate(scores)}


def random_blocks(seed, blocks=10, names=5, step=0.5):
    random = np.random.default_rng(seed)
    return (random.normal(size=(blocks, names)) + step * np.arange(names)).round(1)


def test_demsars_example_is_reproduced():
    ranking = rank(DEMSAR)
    assert {name: round(mean, 3) for name, mean in ranking.mean_ranks.items()} == {
        "C4.5+m+cf": 1.964,
        "C4.5+m": 2.0,
        "C4.5+cf": 2.893,
        "C4.5": 3.143,
    }
    assert ranking.critical_difference == pytest.approx(1.25, abs=0.005)
    # the paper's 9.28 leaves ties out; they divide it by 1 - sum(t³ - t) / (N k (k² - 1)): three pairs and a tie of four
    ties = 1 - (3 * 6 + 60) / (14 * 4 * 15)
    assert ranking.friedman.chi_squared * ties == pytest.approx(9.28, abs=0.005)
    without_ties = 9.28
    assert 13 * without_ties / (14 * 3 - without_ties) == pytest.approx(
        3.69, abs=0.005
    )  # the paper's F, by its formula
    chi_squared = ranking.friedman.chi_squared
    assert ranking.friedman.f == pytest.approx(13 * chi_squared / (14 * 3 - chi_squared))
    # "the data is not sufficient to reach any conclusion" of C4.5 against the rest but for the two with tuned m: 1.179 < 1.25
    assert ranking.groups["nemenyi"] == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)


@pytest.mark.parametrize(("names", "quantile"), [(3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_those_of_demsars_table(names, quantile):
    assert critical_difference(names, 10) == pytest.approx(quantile * (names * (names + 1) / 60) ** 0.5, abs=1e-3)


@pytest.mark.parametrize("seed", range(2))
def test_p_values_agree_with_the_libraries(seed):
    scores = random_blocks(seed, blocks=8)
    ranking = rank(table(scores))
    assert ranking.friedman[:2] == pytest.approx(tuple(stats.friedmanchisquare(*scores.T)))
    nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    pairs = [(one, other) for one in range(5) for other in range(one + 1, 5)]
    every = stats.PermutationMethod(n_resamples=np.inf)
    raw = [stats.wilcoxon((scores[:, i] - scores[:, j]).round(6), method=every).pvalue for i, j in pairs]
    for (i, j), adjusted in zip(pairs, multipletests(raw, method="holm")[1], strict=True):
        pair = frozenset({"abcde"[i], "abcde"[j]})
        assert ranking.p_values["nemenyi"][pair] == pytest.approx(nemenyi[i, j], abs=2e-3)
        assert ranking.p_values["wilcoxon-holm"][pair] == pytest.approx(adjusted)


def test_f_is_that_of_an_analysis_of_variance_of_the_ranks():
    scores = random_blocks(9, blocks=12, names=4)
    ranks = stats.rankdata(-scores, axis=1)
    means = ranks.mean(0)
    between = 12 * ((means - 2.5) ** 2).sum() / 3
    within = ((ranks - means) ** 2).sum() / (11 * 3)
    found = rank(table(scores)).friedman
    assert found.f == pytest.approx(between / within)
    assert found.p == pytest.approx(stats.f.sf(between / within, 3, 33))


def test_nemenyis_groups_are_the_stretches_shorter_than_the_critical_difference():
    ranking = rank(table(random_blocks(2, blocks=14, names=8, step=0.6)))
    means, apart = ranking.mean_ranks, ranking.critical_difference
    names = list(means)
    stretches = []
    for first, name in enumerate(names):
        near = [other for other in names[first:] if means[other] - means[name] < apart]
        if not any(set(near) <= set(before) for before in stretches):
            stretches.append(near)
    assert [list(group) for group in ranking.groups["nemenyi"]] == stretches
    assert 1 < len(stretches) < 8


def test_wilcoxon_groups_hold_every_pair_that_does_not_differ_and_no_other():
    ranking = rank(table(random_blocks(5, blocks=14, names=6, step=0.6)))
    alike = {pair for pair, p in ranking.p_values["wilcoxon-holm"].items() if p >= 0.05}
    grouped = {
        frozenset({one, other})
        for group in ranking.groups["wilcoxon-holm"]
        for one in group
        for other in group
        if one != other
    }
    assert grouped == alike
    assert alike != set(ranking.p_values["wilcoxon-holm"])


def test_wilcoxon_does_not_depend_on_what_else_is_ranked():
    scores = random_blocks(1, blocks=12, names=6)
    raw = {count: rank(table(scores[:, :count])).p_values["wilcoxon-holm"][frozenset("ab")] for count in (3, 6)}
    assert raw[3] <= raw[6]  # by Holm alone
    assert rank(table(scores[:, :3])).mean_ranks["a"] != rank(table(scores)).mean_ranks["a"]


def test_where_friedman_shows_nothing_all_rows_are_one_group():
    ranking = rank(table(random_blocks(355, names=6, step=0.0)))
    assert not ranking.differ
    assert min(ranking.p_values["nemenyi"].values()) < 0.05  # a pair would differ, were it asked for
    bars = [line for line in _figure(ranking, "nemenyi", {}).axes[0].lines if line.get_marker() == "o"]
    assert [sorted(bar.get_xdata()) for bar in bars] == [sorted(ranking.mean_ranks.values())]
    assert ranking.groups == {"nemenyi": (tuple(ranking.mean_ranks),), "wilcoxon-holm": (tuple(ranking.mean_ranks),)}
    assert "not shown that any rows differ, and so all stand in one group" in ranking_sentences(ranking)[0]


def test_rows_that_always_tie_share_their_rank_and_have_no_test():
    ranking = rank(table(np.ones((8, 3))))
    assert ranking.friedman is None
    assert set(ranking.mean_ranks.values()) == {2.0}
    assert set(ranking.p_values["wilcoxon-holm"].values()) == {1.0}
    assert ranking_sentences(ranking)[0].startswith("Friedman: all rows tie in every block")
    assert to_json(ranking)["friedman"] is None


def test_blocks_that_all_agree_have_an_infinite_f():
    ranking = rank(table([[3.0, 2.0, 1.0]] * 8))
    assert (ranking.friedman.f, ranking.friedman.p) == (float("inf"), 0.0)
    assert ranking.friedman.chi_squared == pytest.approx(16)
    assert to_json(ranking)["friedman"]["f"] is None
    # a row against another: of 2^8 signs two are as extreme, times three pairs
    assert ranking.p_values["wilcoxon-holm"][frozenset("ab")] == pytest.approx(3 * 2 / 256)


def test_scores_that_differ_by_rounding_alone_tie():
    ranking = rank(table([[0.1 + 0.2, 0.3, 0.1]] * 8))
    assert ranking.mean_ranks == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_what_lacks_the_larger_share_of_scores_is_dropped():
    blocks = table(random_blocks(0, blocks=12, names=4))
    for block in list(blocks)[:6]:
        del blocks[block]["d"]
    ranking = rank(blocks)
    assert (len(ranking.blocks), set(ranking.mean_ranks)) == (12, {"a", "b", "c"})
    assert ranking.dropped == ('dropped: "d", which has no score in 6 of 12 blocks',)
    assert ranking_sentences(ranking)[-1] == ranking.dropped[0]


def test_of_the_last_eight_blocks_none_is_dropped_for_one_row():
    blocks = table(random_blocks(0, blocks=8, names=4))
    del blocks["block 3"]["d"]
    ranking = rank(blocks)
    assert (len(ranking.blocks), set(ranking.mean_ranks)) == (8, {"a", "b", "c"})


def test_a_block_that_lacks_most_rows_is_dropped_before_rows_are():
    blocks = table(random_blocks(0, blocks=9, names=4))
    blocks["block 3"] = {"a": 1.0}
    ranking = rank(blocks)
    assert (len(ranking.blocks), set(ranking.mean_ranks)) == (8, {"a", "b", "c", "d"})
    assert ranking.dropped == ('dropped: block "block 3", which lacks 3 of 4 rows',)


def test_fewer_than_eight_blocks_are_refused_and_seeds_are_none():
    with pytest.raises(UsageError, match=r"got 7 blocks, expected at least 8 .* seeds are no blocks, since"):
        rank(table(random_blocks(0, blocks=7)))
    short = table(random_blocks(0, blocks=8)) | {"other": {"z": 1.0}}
    del short["block 0"]
    with pytest.raises(UsageError, match=r'got 7 blocks left \(dropped: "z".*other.*\), expected at least 8'):
        rank(short)


def test_two_rows_are_compared_and_not_ranked():
    with pytest.raises(UsageError, match=r'got 2 rows, expected at least 3 .* compare two rows with "harness compare"'):
        rank(table(random_blocks(0, names=2)))


def test_a_diverged_score_is_refused_by_name():
    blocks = table(random_blocks(0))
    blocks["block 2"]["b"] = float("nan")
    with pytest.raises(UsageError, match='"b" has the score nan in block "block 2", expected a finite number'):
        rank(blocks)


def test_the_sentences_say_how_many_blocks_wilcoxon_and_holm_need():
    sentences = ranking_sentences(rank(table(random_blocks(0, blocks=8, names=6))))
    # 15 pairs: 15 x 2 / 2^10 = 0.029, and 0.059 for nine blocks
    assert "power: by Wilcoxon and Holm 8 blocks cannot tell one of 15 pairs apart, 10 can" in sentences


@pytest.mark.parametrize(("data_sets", "told"), [(2, True), (8, False), (None, False)])
def test_blocks_that_share_a_data_set_are_said_to_be_less_than_independent(data_sets, told):
    blocks = table(random_blocks(0, blocks=8, names=6))
    shared = {block: f"data {place % data_sets}" for place, block in enumerate(blocks)} if data_sets else None
    ranking = rank(blocks, data_sets=shared)
    said = "8 blocks over 2 data sets: pairs that share a data set are less than independent"
    found = [sentence for sentence in ranking_sentences(ranking) if "less than independent" in sentence]
    assert [sentence.startswith(said) for sentence in found] == [True] * told
    title = _figure(ranking, "nemenyi", {}).axes[0].get_title()
    assert ("less than independent" in title) == told


def test_a_data_set_counts_only_with_the_blocks_that_are_kept():
    blocks = table(random_blocks(0, blocks=9, names=6))
    blocks["block 8"] = {"a": 1.0}
    shared = dict.fromkeys(blocks, "one") | {"block 8": "other"}
    assert rank(blocks, data_sets=shared).problems == "8 blocks over 1 data set"


def test_rows_that_share_a_group_share_a_letter(capsys):
    assert group_letters("abc", [("a", "b"), ("b", "c")]) == {"a": "a", "b": "a b", "c": "b"}
    assert group_letters("a", [("a",)] * 27)["a"].split() == [str(place) for place in range(1, 28)]
    render(rank(DEMSAR), make_console())
    shown = capsys.readouterr().out
    assert "C4.5+m+cf       1.96  a" in shown
    assert "14 blocks: adult; breast cancer" in shown


@pytest.mark.parametrize("test", ["nemenyi", "wilcoxon-holm"])
def test_the_diagram_names_every_row_and_is_the_same_each_time(tmp_path, test):
    ranking = rank(table(random_blocks(5, blocks=14, names=6, step=0.6), names=["$x_{1}", *"bcdef"]))
    for name in ("a.svg", "b.svg", "a.png"):
        draw(ranking, tmp_path / name, post_hoc=test)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    drawn = (tmp_path / "a.svg").read_text()
    assert ET.fromstring(drawn).tag.endswith("svg")
    for name, mean in ranking.mean_ranks.items():
        assert f"{name}  {mean:.2f}" in drawn or f"{mean:.2f}  {name}" in drawn
    assert (f"CD = {ranking.critical_difference:.2f}" in drawn) == (test == "nemenyi")
    with Image.open(tmp_path / "a.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert colours.min() < 30
    assert np.ptp(colours.astype(int), axis=1).max() == 0  # black, white and gray


def test_a_diagram_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"expected a file name that ends in \.png or \.svg"):
        draw(rank(DEMSAR), tmp_path / "a.pdf")
