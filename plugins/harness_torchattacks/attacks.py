"""Run torchattacks' attacks (Kim, 2020, arXiv:2010.01950): the criterion in the library's terms, its results made fit.

What is shielded from: the library seeds the global generator with zero, queries candidates for one image in batches that look
like the whole batch, and takes masked logits for zeros. Some attacks divide by gradients that may be zero, or leave the pixels'
bounds: see ``fitting``.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from harness.api import Attack, Bridge, Entry, Library, Options
from harness_torchattacks.fitting import fitted
from harness_torchattacks.library import INSTALL, arguments, import_torchattacks, our_names, quiet
from harness_torchattacks.limits import refuse_impossible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from harness.api import Classifier, Criterion

_ONE_BY_ONE = frozenset({"DeepFool", "JSMA", "OnePixel", "Pixle", "SparseFool"})
"""They loop over the images: given one at a time, with its own view, no query for one is taken for another's."""

_LABEL_TO_LEAVE = frozenset({"FAB", "Jitter", "UPGD"})
"""They read, beside the label to approach, the one to leave."""

_POSITIVE_LOGITS = frozenset({"CW", "EADEN", "EADL1", "UPGD"})
"""Their margins mask logits by multiplying with zero, which then passes for the largest of negative ones."""


class TorchAttack(Attack[Options]):
    """An attack of torchattacks; ``entry`` says which, and with what constants."""

    entry: ClassVar[Entry]

    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Perturb ``images`` (N, C, H, W). Raises ``PluginError`` where the attack cannot take such images or classes."""
        import torch

        target = self.entry.target
        attack = getattr(import_torchattacks(), target)
        parameters = inspect.signature(attack).parameters
        BRIDGE.fits(self.entry, {**parameters, **our_names(target, parameters)})
        options = self.options.model_dump()
        refuse_impossible(
            self.entry,
            options,
            classes=classifier.num_classes,
            shape=tuple(images.shape[1:]),
            targeted=criterion.targeted,
        )
        given = arguments(target, parameters, options, num_classes=classifier.num_classes) | self.entry.constants
        with torch.enable_grad(), quiet():
            perturbed = self._perturbed(attack, classifier, images, criterion, given)
        eps = options.get("eps")
        return fitted(target, perturbed, images, bounds=classifier.bounds, eps=eps, norm=self.entry.norm)

    def _perturbed(
        self,
        attack: Callable[..., Any],
        classifier: Classifier,
        images: Tensor,
        criterion: Criterion,
        given: Mapping[str, Any],
    ) -> Tensor:
        import torch

        if self.entry.target not in _ONE_BY_ONE:
            return self._call(attack, classifier, images, criterion, given)
        rows = torch.arange(len(images), device=images.device).unsqueeze(1)
        return torch.cat([self._call(attack, classifier[row], images[row], criterion[row], given) for row in rows])

    def _call(
        self,
        attack: Callable[..., Any],
        classifier: Classifier,
        images: Tensor,
        criterion: Criterion,
        given: Mapping[str, Any],
    ) -> Tensor:
        made: Any = attack(self._model(classifier), **given)
        made.set_device(images.device)
        labels = criterion.labels
        if criterion.targeted and self.entry.target in _LABEL_TO_LEAVE:
            made.set_mode_targeted_by_function(lambda *_: criterion.labels, quiet=True)
            labels = classifier(images).detach().argmax(1)
        elif criterion.targeted:
            made.set_mode_targeted_by_label(quiet=True)
        perturbed: Tensor = made(images.clone(), labels.clone())
        return perturbed

    def _model(self, classifier: Classifier) -> nn.Module:
        if self.entry.target not in _POSITIVE_LOGITS:
            return cast("nn.Module", classifier)
        from harness_torchattacks.shifting import Shifted

        return Shifted(classifier)


BRIDGE: Bridge[TorchAttack] = Bridge(
    table_path=Path(__file__).with_name("attacks.json"),
    module=__name__,
    library=Library(distribution="torchattacks", install=INSTALL),
)
"""The table of attacks, and the classes made of it."""


def __getattr__(name: str) -> Any:
    return BRIDGE.attribute(name, TorchAttack)
