"""Another classifier of the same images, for the control whose corrections were made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import SpecError
from harness.models import input_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.data import DataDescription
    from harness.models import Input
    from harness.resolved import ResolvedExperiment
    from harness.stages.jobs import Subject


def rivals_of(subject: Subject, resolved: ResolvedExperiment, data: DataDescription) -> Iterator[Subject]:
    """Yield the other classifiers of the spec that see the same images, the next one first; last, this one from another start.

    Raises ``SpecError`` where all are used up.
    """
    place = resolved.models.index(subject.model)
    for model in (*resolved.models[place + 1 :], *resolved.models[:place]):
        shape = input_of(model, data, resolved.dataset.normalization)
        if _alike(shape, subject.shape):
            yield replace(subject, model=model, shape=shape, quantizer=None)
    if not subject.model.trained:
        yield replace(subject, quantizer=None, rival=True)
    raise SpecError(
        f'controls: "transferred" needs another classifier to make corrections for; model "{subject.model.name}" comes trained '
        f"and no other of the spec sees images of {subject.shape.image_size} pixels: add one to models, or leave the control out"
    )


def rival_name(subject: Subject) -> str:
    """Name a rival in a sentence."""
    return f"{subject.model.name} from another start" if subject.rival else subject.model.name


def _alike(first: Input, second: Input) -> bool:
    """Whether images made for one classifier fit the other."""
    return (first.channels, first.image_size) == (second.channels, second.image_size)
