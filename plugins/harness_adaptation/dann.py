"""DANN: features that a domain discriminator cannot tell apart (Ganin et al., 2016, arXiv:1505.07818)."""

from __future__ import annotations

from harness_adaptation.adversarial import AdversarialOptions, DomainAdversarial


class Dann(DomainAdversarial[AdversarialOptions]):
    """Show the discriminator the features alone.

    Source and target differ in the corrected samples only: expect an accuracy near chance, and read the figure.
    """
