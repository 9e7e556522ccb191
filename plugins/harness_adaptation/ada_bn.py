"""AdaBN: the target's own batch-norm statistics, and nothing else (Li et al., 2016, arXiv:1603.04779)."""

from __future__ import annotations

from harness_adaptation.recalibrate_bn import RecalibrateBatchNorm


class AdaBn(RecalibrateBatchNorm):
    """The same work as the control ``recalibrate-bn``, under the name by which it is listed among adapters.

    The statistics are averaged over batches, where the paper merges them exactly: with 500 images a batch, the variance lacks
    what little the batches' means differ by.
    """
