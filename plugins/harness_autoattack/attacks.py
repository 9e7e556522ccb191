"""AutoAttack's parts as attacks, by pyautoattack's own classes (Croce and Hein, 2020, arXiv:2003.01690).

Each flees labels as the library's own evaluation has it do; those with targets approach given labels too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.api import Attack, Bridge, Entry, Library, Options
from harness_autoattack.limits import refuse_impossible, refuse_training

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier, Criterion

BRIDGE: Bridge[Part] = Bridge(
    table_path=Path(__file__).with_name("attacks.json"),
    module=__name__,
    library=Library(distribution="pyautoattack", install="pip install 'pyautoattack>=0.2'"),
)


class Part(Attack[Options]):
    """One of AutoAttack's attacks in one norm. A sample that it fails on comes back unperturbed, as in the library."""

    entry: ClassVar[Entry]

    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Perturb those of ``images`` (N, C, H, W) that have not reached their objective; same shape back.

        Raises ``PluginError`` where the classes, the images or the options leave the attack nothing to work with.
        """
        import torch

        from harness_autoattack.driving import Drive

        part, _, norm = self.entry.name.rpartition("-")
        size = tuple(images.shape[-2:])
        refuse_impossible(part, norm, self.options.model_dump(), classes=classifier.num_classes, size=size)
        refuse_training(classifier)
        perturbed = images.clone()
        with torch.no_grad():
            rows = (~criterion.reached(classifier(images))).nonzero().flatten()
            if len(rows):
                drive = Drive(self.entry, self.options)
                BRIDGE.fits(self.entry, drive.parameters)
                perturbed[rows] = drive(classifier[rows], images[rows], criterion[rows])
        return perturbed


def __getattr__(name: str) -> Any:
    return BRIDGE.attribute(name, Part)
