"""How to read a report: notes on its numbers, and what each control isolates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.compare import MIN_SEEDS_WILCOXON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.leaderboard import Table

CONTROL_MEANINGS: Mapping[str, str] = {
    "baseline": "nothing done",
    "recalibrate-bn": "batch-norm statistics re-estimated on T: no training",
    "finetune-target": "cross-entropy on T for the same steps: more training, no method",
    "finetune-source": "cross-entropy on T' for the same steps: no alignment",
    "curriculum": "the wrong samples are dropped, none is corrected: no correction",
    "T→T": "the adapter from T to T: alignment without a gap",
    "sham": "random perturbations of the same norm per sample, kept without correcting",
    "random subset": "the right samples replaced by a random subset of T of the same size",
    "label-smoothing": "cross-entropy on T with smoothed labels: less confidence alone",
    "logit-variance": "cross-entropy on T with a penalty on the logits' variance: smaller logits alone",
    "ema, swa": "cross-entropy on T, weights averaged over the steps: less noise in the weights alone",
    "adversarial-training": "cross-entropy on perturbed samples of T: attacks without correction or adaptation",
    "upweight-errors": "cross-entropy on T, the wrong samples counted more: attention to them, uncorrected",
    "for another model": "the wrong samples corrected for another classifier, kept whatever this one says",
}

_NOTES = (
    (
        "T is the training set; T' is what the adaptation starts from: the samples the classifier gets right, and those "
        "that were corrected. ΔAcc is the test accuracy minus the baseline's."
    ),
    (
        "± is the sample standard deviation (n-1) over seeds. The rate is corrected/wrong training samples, their means over "
        "seeds; a sham's is labelled true/moved."
    ),
    (
        "Differences are paired by seed, in points of test accuracy, with a 95% t-interval; one seed has none, and McNemar's "
        "exact p on its test predictions stands instead. Bold differences have an interval above zero."
    ),
    (
        "A claim is shown if the interval against each of its controls lies above zero, harmful if each lies below. "
        "Holm's correction is over the rows of a table, a row's p being that of its weakest control."
    ),
)


def reading_notes(tables: Sequence[Table]) -> list[str]:
    """Return the notes on the numbers of these tables, and on the tests that their seeds allow."""
    return [*_NOTES, *_wilcoxon_notes(tables)]


def _wilcoxon_notes(tables: Sequence[Table]) -> list[str]:
    paired = sorted(
        {
            reference.difference.n
            for table in tables
            for claims in table.claims
            for reference in claims.references
            if reference.difference
        }
    )
    few = [n for n in paired if n < MIN_SEEDS_WILCOXON]
    notes = []
    if len(few) < len(paired):
        notes.append(
            f"Wilcoxon's signed-rank p stands in the row-by-row verdicts, from {MIN_SEEDS_WILCOXON} seeds on. It is not adjusted, "
            "and decides no verdict."
        )
    if few:
        counted = " or ".join(map(str, few))
        seeds = "seed" if few == [1] else "seeds"
        notes.append(f"{counted} {seeds}: no Wilcoxon test, which needs {MIN_SEEDS_WILCOXON}.")
    return notes
