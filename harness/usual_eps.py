"""The field's usual perturbation bounds of a data set, for evaluators that a spec asks for ``eps: standard``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.validation import dotted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.lookup import Lookup
    from harness.references import EvaluatorReference
    from harness.resolved import ResolvedPlugin
    from harness.yamlio import Location

STANDARD = "standard"


def with_usual_eps(
    lookup: Lookup, resolved: ResolvedPlugin, reference: EvaluatorReference, at: Location, *, card: str | None
) -> ResolvedPlugin:
    """Put the usual eps of the data set, by its ``card``, in the place of ``standard``, in the norm that the evaluator is held to.

    Raises ``LocatedError`` where the data set has none in that norm.
    """
    if getattr(resolved.options, "eps", None) != STANDARD:
        return resolved
    if card is not None and card not in lookup.catalogue.paths("datasets"):
        return resolved  # told where the data set is looked up
    usual: Mapping[str, float] = lookup.catalogue.dataset(card).standard_eps if card is not None else {}
    kind: Any = lookup.manager.load(resolved.plugin)
    written = reference.inline_options
    beside = [key for key in type(reference).model_fields if key not in reference.sources]
    for norm, eps in usual.items():
        changed = {**written, "eps": eps}
        options = lookup.options(resolved.plugin, kind.options_type, at, written=changed, beside=beside)
        threat = kind(options).threat()
        if threat is not None and threat[0] == norm:
            return replace(resolved, options=options)
    whose = "a data set without a card" if card is None else f'data set "{card}"'
    has = f"one in {' and '.join(usual)} alone" if usual else "none"
    text = f'{dotted((*at, "eps"))}: got "{STANDARD}", {whose} has {has}; write a number, such as 8/255'
    raise lookup.wrong((*at, "eps"), text)
