"""The classifier as pyautoattack takes it, and as one class against the others when a label is to be approached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier

OTHER, WANTED = 0, 1
"""The first two columns of a ``WantedView``: the likeliest of the other labels, and the wanted one."""


class View:
    """Pixels in [0, 1], float32, to logits that belong to who asked: the library writes into them, and knows no other range.

    The classifier gets the precision of the images that it came with.
    """

    def __init__(self, classifier: Classifier, images: Tensor) -> None:
        self.classifier = classifier
        self.dtype, self.device = images.dtype, images.device
        self.low, high = classifier.bounds
        self.range = high - self.low

    def __call__(self, unit: Tensor) -> Tensor:
        """Return the logits (n, K), float32, of images (n, C, H, W) in [0, 1]."""
        return self.classifier(self.to_pixels(unit)).to(torch.float32, copy=True)

    def to_unit(self, images: Tensor) -> Tensor:
        """Return images in [0, 1], float32, contiguous: the library flattens without a copy."""
        return ((images - self.low) / self.range).to(torch.float32).contiguous()

    def to_pixels(self, unit: Tensor) -> Tensor:
        """Return images in the classifier's bounds and precision."""
        return (unit * self.range + self.low).to(self.dtype)


class WantedView(View):
    """Each sample's logits in another order: the likeliest other label, the wanted one, then the rest as they fall.

    So to flee the label ``OTHER`` is to approach ``wanted`` (n,), and the values that a loss sorts are the same.
    Queries must be of the whole batch. ``width``: how many columns are returned, None for all.
    """

    def __init__(self, classifier: Classifier, images: Tensor, wanted: Tensor, *, width: int | None = None) -> None:
        super().__init__(classifier, images)
        self.wanted = wanted[:, None]
        self.width = width

    def __call__(self, unit: Tensor) -> Tensor:
        """Return the logits (n, K) or (n, width), float32, in their new order."""
        logits = super().__call__(unit)
        ranked = logits.detach().scatter(1, self.wanted, torch.inf).argsort(1, descending=True)
        order = torch.cat([ranked[:, 1:2], ranked[:, :1], ranked[:, 2:]], 1)
        return logits.gather(1, order[:, : self.width])
