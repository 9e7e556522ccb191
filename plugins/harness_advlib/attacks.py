"""Run adv-lib's attacks: the criterion in its terms, its results made fit.

What is shielded from: FMN in L0 and StrAttack fail when no entry, or none at all, is left to change; FGA queries candidates
for one image in batches that look like the whole batch; images are changed while they are attacked.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.api import Attack, Bridge, Entry, Library, Options, undo_rounding
from harness_advlib.library import INSTALL, function
from harness_advlib.limits import possible, refuse_impossible
from harness_advlib.names import NUMBERS, our_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from harness.api import Classifier, Criterion

_CANDIDATES = frozenset({"fga", "vfga"})


class AdvLibAttack(Attack[Options]):
    """An attack of adv-lib; ``entry`` says which, and with what constants."""

    entry: ClassVar[Entry]

    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Perturb ``images`` (N, C, H, W). Raises ``PluginError`` where the attack cannot take such images or classes."""
        import torch

        attack = function(self.entry.target)
        parameters = inspect.signature(attack).parameters
        ours = {our_name(self.entry.target, name): name for name in parameters}
        BRIDGE.fits(self.entry, {**ours, **parameters})
        options = possible(self.options.model_dump(), classes=classifier.num_classes)
        refuse_impossible(
            self.entry,
            options,
            classes=classifier.num_classes,
            shape=tuple(images.shape[1:]),
            targeted=criterion.targeted,
        )
        given = {ours[name]: value for name, value in options.items()} | self.entry.constants
        given = {name: _number(value) if name in NUMBERS else value for name, value in given.items()}
        if "num_classes" in parameters:
            given["num_classes"] = classifier.num_classes
        with torch.enable_grad():
            perturbed = self._call(attack, classifier, images, criterion, given)
        return undo_rounding(perturbed, images, norm=self.entry.norm, bounds=classifier.bounds, eps=options.get("eps"))

    def _call(
        self,
        attack: Callable[..., Tensor],
        classifier: Classifier,
        images: Tensor,
        criterion: Criterion,
        given: Mapping[str, Any],
    ) -> Tensor:
        # Positional, because what is called ``inputs`` elsewhere is called ``images`` in perc_al.
        arguments = (images.clone(), criterion.labels.clone())
        keywords = {**given, "targeted": criterion.targeted}
        if self.entry.name == "fmn-l0":
            return _sparsest(attack, classifier, images, criterion, keywords)
        if self.entry.target in _CANDIDATES:
            return attack(_crowded(classifier, images), *arguments, **keywords)
        try:
            return attack(classifier, *arguments, **keywords)
        except IndexError:
            if self.entry.target == "str_attack" and keywords["retrain"]:
                # It looks for the percentile of the changes, and there is no change: it has found nothing.
                return images
            raise


def _sparsest(
    attack: Callable[..., Tensor],
    classifier: Classifier,
    images: Tensor,
    criterion: Criterion,
    keywords: Mapping[str, Any],
) -> Tensor:
    from harness_advlib.sparse import WithSentinel

    watched = WithSentinel(classifier, criterion)
    return attack(watched, *watched.joined(images, criterion.labels), **keywords)[:-1]


def _crowded(classifier: Classifier, images: Tensor) -> Classifier:
    """Return a view of more rows than FGA asks for at once.

    It asks for n samples of the batch, and for n or 2 n candidates of some of them; a query as long as the view's rows would
    be taken for theirs, in order. An odd number of rows beyond the batch's is neither.
    """
    import torch

    count = len(images)
    return classifier[torch.arange(count + 1 + count % 2, device=images.device) % count]


def _number(value: str | None) -> float | None:
    return None if value is None else float(value)


BRIDGE: Bridge[AdvLibAttack] = Bridge(
    table_path=Path(__file__).with_name("attacks.json"),
    module=__name__,
    library=Library(distribution="adv-lib", install=INSTALL),
)
"""The table of attacks, and the classes made of it."""


def __getattr__(name: str) -> Any:
    return BRIDGE.attribute(name, AdvLibAttack)
