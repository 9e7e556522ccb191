"""The samples of a batch that an attack still works on, so that no pass is spent on a finished one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier, Criterion


class ActiveSet:
    """The unfinished samples: their rows in the batch, and ``classifier`` and ``criterion`` for them alone.

    ``rows`` is None as long as that is the whole batch, which then costs nothing.
    """

    def __init__(self, classifier: Classifier, criterion: Criterion) -> None:
        self.classifier = classifier
        self.criterion = criterion
        self.rows: Tensor | None = None
        self._whole = classifier, criterion
        self._results: Tensor | None = None

    def drop_met(self, images: Tensor, logits: Tensor) -> Tensor | None:
        """Keep ``images`` (n, …) that their ``logits`` (n, K) show to be met as results, and go on with the others.

        Returns the others' places (m,) among the n, by which the attack cuts its own state; None where all n stay.
        """
        if not self.criterion.stop_early:
            return None
        # The attack's one wait for the device in a step; what follows happens only when a sample finished.
        kept = (~self.criterion.met(logits)).nonzero().flatten()
        if len(kept) == len(logits):
            return None
        self._store(images)
        self.rows = kept if self.rows is None else self.rows[kept]
        classifier, criterion = self._whole
        self.classifier, self.criterion = classifier[self.rows], criterion[self.rows]
        return kept

    def finish(self, images: Tensor) -> Tensor:
        """Return the whole batch (N, …): ``images`` (n, …) of the active samples, what was kept of the others."""
        return images if self.rows is None else self._store(images)

    def _store(self, images: Tensor) -> Tensor:
        if self._results is None or self.rows is None:
            self._results = images.clone()
        else:
            # The rows that are still active are written over when they finish.
            self._results[self.rows] = images
        return self._results
