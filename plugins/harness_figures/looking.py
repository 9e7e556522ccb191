"""What Grad-CAM sees in samples before and after: how far their maps moved, and which of them to show."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch

from harness_figures.layers import FeatureMap, choose_layer
from harness_figures.maps import class_maps, moved_share
from harness_figures.panels import Shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from harness.api import Perturbed

MOST_AT_ONCE = 64
VALUES_AT_ONCE = 2**20
"""Values of images that pass the network together with gradients: 64 images of 32 pixels a side, 6 of 224."""


class Look:
    """A network seen at one layer, and the samples of each corrector."""

    def __init__(self, network: nn.Module, samples: Mapping[str, Perturbed], layer: str | None) -> None:
        self.network = network
        self.samples = samples
        self._asked = layer

    @cached_property
    def layer(self) -> FeatureMap:
        """The layer looked at. Raises ``PluginError`` where there is none of that name."""
        first = next(made for made in self.samples.values() if len(made))
        return choose_layer(self.network, first.images(torch.tensor([0]))[0], self._asked)

    @cached_property
    def shared(self) -> Tensor | None:
        """The places of the samples that every corrector corrects which corrects any; None where there are none."""
        some = [made for made in self.samples.values() if bool(made.corrected.any())]
        if not some or any(not torch.equal(made.rows, some[0].rows) for made in some):
            return None
        together = torch.stack([made.corrected for made in some]).all(0).nonzero().flatten()
        return together if len(together) else None

    def moved(self, most: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Return by corrector the places (n,) of at most ``most`` corrected samples, and their moved shares (n,)."""
        found = {}
        for name, made in self.samples.items():
            own = made.corrected.nonzero().flatten()
            places = _evenly_spread(own if self.shared is None or not len(own) else self.shared, most)
            maps = self._maps(made, places)
            found[name] = places, torch.cat([moved_share(*part).cpu() for part in maps] or [torch.zeros(0)])
        return found

    def places_of(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return by corrector where the stored rows stand, without those that it was not given."""
        return {
            name: torch.tensor([at[row] for row in rows if row in at], dtype=torch.int64)
            for name, made in self.samples.items()
            for at in [{row: place for place, row in enumerate(made.rows.tolist())}]
        }

    def shown(self, name: str, places: Tensor) -> list[Shown]:
        """Return what is drawn of one corrector's samples."""
        if not len(places):
            return []
        made = self.samples[name]
        originals, images = (part.cpu() for part in made.images(places))
        maps = [torch.cat(parts).cpu() for parts in zip(*self._maps(made, places), strict=True)]
        moved = moved_share(*maps)
        return [
            Shown(
                corrector=name,
                row=int(made.rows[place]),
                true=int(made.labels[place]),
                before=int(made.before[place]),
                after=int(made.after[place]),
                original=originals[index].numpy(),
                perturbed=images[index].numpy(),
                map_before=maps[0][index].numpy(),
                map_after=maps[1][index].numpy(),
                moved=float(moved[index]),
            )
            for index, place in enumerate(places.tolist())
        ]

    def _maps(self, made: Perturbed, places: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, in batches, the maps (n, H, W) of originals for the labels first given, of perturbed images for the true ones."""
        if not len(places):
            return
        values = made.images(places[:1])[0].numel()
        for some in torch.split(places, min(MOST_AT_ONCE, max(1, VALUES_AT_ONCE // values))):
            originals, images = made.images(some)
            yield (
                class_maps(self.network, self.layer.name, originals, made.before[some]),
                class_maps(self.network, self.layer.name, images, made.labels[some]),
            )


def spread_over_classes(scores: Tensor, labels: Tensor, count: int) -> Tensor:
    """Return the indices (count,) of the largest scores (n,), no label (n,) a second time while another has none, and so on."""
    order = scores.argsort(descending=True, stable=True).tolist()
    turns: dict[int, int] = {}
    ranked = []
    for rank, index in enumerate(order):
        label = int(labels[index])
        turns[label] = turns.get(label, 0) + 1
        ranked.append((turns[label], rank, index))
    return torch.tensor([index for _, _, index in sorted(ranked)[:count]], dtype=torch.int64)


def _evenly_spread(places: Tensor, most: int) -> Tensor:
    """Return at most ``most`` of the places (n,), evenly spread over them."""
    if len(places) <= most:
        return places
    return places[torch.arange(most) * len(places) // most]
