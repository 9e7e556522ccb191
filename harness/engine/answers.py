"""What an adapter's hooks return, held to the contract as it comes: in a run and in the checks of the author kit alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.adapting import Adapter, WeightAveraging
from harness.errors import ContractError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.adapting import Batch, Domain
    from harness.contract import Options

LONGEST_TEXT = 40
"""Characters of a value that a message repeats."""
NAMED = 3
"""Names that a message lists, of however many."""


class AnswerError(ContractError):
    """A hook that returned what the contract does not know; ``fault`` is the message without the adapter's name."""

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(f'adapter "{name}": {fault}')
        self.fault = fault


class UnsoundNetworkError(AnswerError):
    """An ``adapt`` that left a network which is none any more."""


class Answers:
    """Ask an adapter's hooks, and refuse a wrong answer with ``AnswerError`` before it is used.

    ``hook`` is the one asked last. What a hook raises passes through.
    """

    def __init__(self, adapter: Adapter[Options], name: str) -> None:
        self.adapter = adapter
        self.name = name
        self.hook = "__init__"
        self._allowed: set[int] = set()

    def remarks(self, num_features: int, num_classes: int) -> list[str]:
        """Return what a reader must know of its rows, each a text."""
        found = self._asked("remarks").remarks(num_features, num_classes)
        if isinstance(found, str) or not isinstance(found, Iterable):
            raise self._wrong(shown(found), "an iterable of texts", "return a list of sentences, or yield each")
        listed: list[Any] = list(found)
        for remark in listed:
            if not isinstance(remark, str) or not remark.strip():
                raise self._wrong(
                    f"{shown(remark)} among its remarks", "texts alone", "leave it out, or say it in words"
                )
        return listed

    def modules(self, num_features: int, num_classes: int) -> dict[str, nn.Module]:
        """Return its own modules by name. Names become parts of the names in a checkpoint: texts without a full stop."""
        found: Any = self._asked("modules").modules(num_features, num_classes)
        expected = "names and modules"
        if not isinstance(found, Mapping):
            raise self._wrong(shown(found), f"a dict of {expected}", 'return {"name": module}')
        for name, module in found.items():
            if not isinstance(name, str) or not name or "." in name:
                raise self._wrong(f"a module named {name!r}", expected, "name it by a text without a full stop")
            if not isinstance(module, nn.Module):
                raise self._wrong(
                    f'{shown(module)} as "{name}"', expected, "wrap tensors as buffers of a torch.nn.Module"
                )
        return dict(found)

    def trained(self, network: nn.Module, modules: Mapping[str, nn.Module]) -> list[nn.Parameter] | None:
        """Return the parameters, of the network or of its ``modules``, that a step changes; None for all of them."""
        found: Any = self._asked("trained").trained(network)
        if found is None:
            return None
        expected = "parameters of the network or of its modules()"
        if isinstance(found, torch.Tensor) or not isinstance(found, Iterable):
            raise self._wrong(shown(found), f"None or an iterable of {expected}", "return a list of them")
        listed: list[Any] = list(found)
        if not listed:
            raise self._wrong(
                "no parameter", expected, "return None to train all of them, or those that this step trains"
            )
        if not self._known(listed, network, modules):
            foreign = next(one for one in listed if id(one) not in self._allowed)
            raise self._wrong(
                f"{shown(foreign)} that is no parameter of either",
                expected,
                "take them from the network that it is given, and return modules of its own from modules()",
            )
        return listed

    def weight_averaging(self) -> WeightAveraging | None:
        """Return how the weights are averaged: a decay in [0, 1) or None, a start in [0, 1)."""
        found: Any = self._asked("weight_averaging").weight_averaging()
        if found is None:
            return None
        if not isinstance(found, WeightAveraging):
            raise self._wrong(shown(found), "None or a WeightAveraging", "return WeightAveraging(decay=0.999)")
        if found.decay is not None and not 0 <= found.decay < 1:
            raise self._wrong(f"decay {found.decay:g}", "one in [0, 1)", "give None for equal weights")
        if not 0 <= found.start < 1:
            raise self._wrong(f"start {found.start:g}", "a share in [0, 1)", "at 1 there would be nothing to average")
        return found

    def prepare(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the source's images (N, C, H, W) as they enter the network, detached."""
        found: Any = self._asked("prepare").prepare(images, labels)
        if not isinstance(found, torch.Tensor) or found.shape != images.shape or found.dtype != images.dtype:
            expected = f"the images again, float32 {tuple(images.shape)}"
            raise self._wrong(shown(found), expected, "change values alone")
        return found.detach()

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the named losses of a step, scalars that depend on what is trained."""
        found = self.unjudged_losses(source, target)
        if (fault := loss_fault(found)) is not None:
            raise self._wrong(fault, "a dict of named losses, each a scalar tensor", "average over the batch")
        losses: dict[str, Tensor] = found
        if not any(value.requires_grad for value in losses.values()):
            chosen = type(self.adapter).trained is not Adapter.trained
            raise AnswerError(
                self.name,
                f"none of its losses ({', '.join(losses)}) depends on the network; compute them from the batches' logits or "
                f"features, undetached{', and from what trained() returns for this step' if chosen else ''}",
            )
        return losses

    def unjudged_losses(self, source: Batch, target: Batch) -> Any:
        """Return whatever ``losses`` returns."""
        return self._asked("losses").losses(source, target)

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return its figures of a step, computed without gradients."""
        with torch.no_grad():
            return self._figures(self._asked("diagnostics").diagnostics(source, target))

    def adapt(self, network: nn.Module, source: Domain, target: Domain) -> dict[str, float]:
        """Let it adapt the network in place; returns its figures, none where it tells none.

        Refuses weights that are not finite, and a network whose parameters and buffers are no longer those that it had.
        """
        before = _shapes(network)
        found: Any = self._asked("adapt").adapt(network, source, target)
        figures = {} if found is None else self._figures(found)
        after = _shapes(network)
        if differing := [name for name in {**before, **after} if before.get(name) != after.get(name)]:
            raise UnsoundNetworkError(
                self.name,
                f"adapt() left other parameters or buffers than the network had ({_some(differing)}); expected the same names "
                "and shapes: change values alone, and take out what was put in",
            )
        if not all(bool(torch.isfinite(value).all()) for value in network.state_dict().values()):
            raise UnsoundNetworkError(
                self.name,
                "adapt() left weights that are not finite; expected finite ones: leave the network as it was where it cannot "
                "adapt",
            )
        return figures

    def _figures(self, found: Any) -> dict[str, float]:
        """Return figures by name as floats: records hold finite ones alone."""
        expected = "a dict of names and finite numbers"
        if not isinstance(found, Mapping):
            raise self._wrong(shown(found), expected, 'return {"name": float(value)}')
        figures = {}
        for name, value in found.items():
            if not isinstance(name, str) or not name:
                raise self._wrong(f"a figure named {name!r}", expected, "name it by a text")
            number = _number(value)
            if number is None:
                raise self._wrong(
                    f'{shown(value)} as "{name}"', expected, "reduce it to one number, and name each of several"
                )
            if not math.isfinite(number):
                raise self._wrong(f'{number:g} as "{name}"', expected, "leave a figure out where it means nothing")
            figures[name] = number
        return figures

    def _known(self, listed: list[Any], network: nn.Module, modules: Mapping[str, nn.Module]) -> bool:
        """Whether all are parameters of the network or a module; they are listed anew only where one seems not to be."""
        if all(id(one) in self._allowed for one in listed):
            return True
        self._allowed = {id(one) for module in (network, *modules.values()) for one in module.parameters()}
        return all(id(one) in self._allowed for one in listed)

    def _asked(self, hook: str) -> Adapter[Options]:
        self.hook = f"{hook}()"
        return self.adapter

    def _wrong(self, got: str, expected: str, advice: str) -> AnswerError:
        return AnswerError(self.name, f"{self.hook} returned {got}; expected {expected}: {advice}")


def loss_fault(losses: Any) -> str | None:
    """Say how losses are no dict of scalar tensors by name, if so; whether they are finite is another question."""
    if not isinstance(losses, dict):
        return shown(losses)
    if not losses:
        return "an empty dict"
    for name, value in losses.items():
        if not isinstance(name, str):
            return f"a loss named {name!r}, which is no text"
        if not isinstance(value, torch.Tensor) or value.ndim != 0:
            return f'{shown(value)} as the loss "{name}"'
        if not value.is_floating_point():
            return f'{value.dtype} as the loss "{name}", which has no gradient'
    return None


def shown(value: Any) -> str:
    """Describe a value that was returned, in a few words."""
    if value is None:
        return "None"
    if isinstance(value, torch.Tensor):
        kind = "parameter" if isinstance(value, nn.Parameter) else "tensor"
        return f"a {kind} {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, str):
        return f'the text "{value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"}"'
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return None
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
