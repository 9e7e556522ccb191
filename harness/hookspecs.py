"""The hooks: what a plugin package offers, as names and import strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAMESPACE = "harness"
ENTRY_POINT_GROUP = "harness.v1"

hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)


@hookspec
def harness_attacks() -> Mapping[str, str]:  # type: ignore[empty-body]  # a hookspec is its signature
    """Name the attacks offered, e.g. ``{"linf-pgd": "my_package.pgd:LinfPGD"}``."""


@hookspec
def harness_adapters() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name the adapters offered, e.g. ``{"mk-mmd": "my_package.mmd:MultiKernelMMD"}``."""


@hookspec
def harness_classifiers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name the architectures offered, e.g. ``{"my-net": "my_package.nets:MyNet"}``."""


@hookspec
def harness_datasets() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name the data set providers offered, e.g. ``{"my-data": "my_package.data:MyData"}``."""


@hookspec
def harness_quantizers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name the quantizers offered, e.g. ``{"int8": "my_package.int8:Int8"}``."""


@hookspec
def harness_evaluators() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name the evaluators offered, e.g. ``{"autoattack": "my_package.evaluator:AutoAttack"}``."""


@hookspec
def harness_figures() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name the figures offered, e.g. ``{"logit-change": "my_package.logits:LogitChange"}``."""


@hookspec
def harness_report_formats() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name the report formats offered, e.g. ``{"latex": "my_package.latex:Latex"}``."""


@hookspec
def harness_catalogues() -> Sequence[Path]:  # type: ignore[empty-body]
    """Name folders of cards: ``datasets/*.yaml``, ``models/*.yaml``, ``correctors/*.yaml``, ``experiments/*.yaml``, …."""


@hookspec
def harness_run_event(event: Mapping[str, Any]) -> None:
    """Observe a run: ``event["kind"]`` is run-started, stage-finished, cell-finished, cell-failed or run-finished."""
