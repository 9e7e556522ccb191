"""The checks of adapters: their losses and gradients, what they look at, what they leave behind."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from harness.testing.adapter_runs import SEED, AdapterSubject, Step, loss_fault
from harness.testing.checks import CheckFailed, CheckSkipped, check, described, needs

if TYPE_CHECKING:
    from torch import Tensor

    from harness.adapting import Batch
    from harness.engine.networks import PixelClassifier

CLOSE = 1e-5


@check("adapter")
def adapts(subject: AdapterSubject) -> None:
    """Compute its losses, or adapt a network, without raising."""
    subject.check_made()
    if not subject.steps_by_gradient:
        _, error = _adapted(subject)
        where = "from adapt()"
    else:
        error, where = subject.usual.error, "from remarks(), modules(), trained(), prepare() or losses()"
    if error is not None:
        raise CheckFailed(
            f"raised {described(error)} {where} on a small network with batch-norm; expected it to work on any network"
        )


@check("adapter")
def finite_scalar_losses(subject: AdapterSubject) -> None:
    """Return a dict of named losses, each a finite scalar."""
    _by_gradient(subject)
    step = subject.usual
    if step.error is not None:
        raise needs("adapts")
    if (fault := loss_fault(step.losses)) is not None:
        raise CheckFailed(
            f"returned {fault}; expected finite scalar tensors by name: average over the batch, and keep what is divided "
            "by and what a logarithm is taken of from zero"
        )


@check("adapter")
def gradient_reaches_features(subject: AdapterSubject) -> None:
    """Have losses whose gradient reaches the features or the logits, and is finite."""
    _by_gradient(subject)
    step = subject.usual
    total = step.total()
    reached = [part for batch in (step.source, step.target) for part in (batch.features, batch.logits)]
    reached = [part for part in reached if part.requires_grad]
    gradients = _gradients(total, reached)
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        raise CheckFailed(
            "its losses have a gradient that is not finite; expected a finite one: keep roots and logarithms from zero"
        )
    if not any(bool((gradient != 0).any()) for gradient in gradients):
        raise CheckFailed(
            "no gradient of its losses reaches the features or the logits; expected one that changes the network: compute "
            "them from the batches' features or logits, undetached"
        )


@check("adapter")
def target_declared(subject: AdapterSubject) -> None:
    """Look at the target if, and only if, ``capabilities.target`` says so."""
    _by_gradient(subject)
    usual = _repeated(subject)
    if subject.capabilities.target:
        if _same(usual, _total(subject.step(images="others"))) and not _reached(subject.usual, subject.usual.target):
            raise CheckFailed(
                "declares target=True and has the same losses for other target images; expected others: declare "
                "target=False, which saves the target's forward pass"
            )
    elif not _same(usual, _total(subject.step(images="shown"))):
        raise CheckFailed(
            "declares target=False and has other losses when the target is shown; expected the same: declare target=True"
        )


@check("adapter")
def source_declared(subject: AdapterSubject) -> None:
    """Look at the source where ``capabilities.source`` says so; where it does not, there is none."""
    _by_gradient(subject)
    usual = _repeated(subject)
    if not subject.capabilities.source or _reached(subject.usual, subject.usual.source):
        return
    if _same(usual, _total(subject.step(source_images="others"))):
        raise CheckFailed(
            "declares source=True and has the same losses for other source images; expected others: declare "
            "source=False, which saves the source's forward pass"
        )


@check("adapter")
def target_labels_declared(subject: AdapterSubject) -> None:
    """Read the target's labels if, and only if, ``capabilities.target_labels`` says so."""
    _by_gradient(subject)
    usual, others = _repeated(subject), _total(subject.step(labels="others"))
    if subject.capabilities.target_labels:
        # What is drawn by the labels uses them, whatever its losses read.
        if subject.capabilities.sampling == "shuffled" and _same(usual, others):
            raise CheckFailed(
                "declares target_labels=True and has the same losses for other target labels; expected others: declare "
                "target_labels=False"
            )
        return
    without = subject.step(labels="none")
    if without.error is not None:
        raise CheckFailed(
            f"declares target_labels=False and raised {described(without.error)} without them; expected losses that need "
            "none: declare target_labels=True, or use the source's labels"
        )
    if not _same(usual, others) or not _same(usual, _total(without)):
        raise CheckFailed(
            "declares target_labels=False and has other losses for other target labels; expected the same: declare "
            "target_labels=True, or leave target.labels alone"
        )


@check("adapter")
def modules_trained(subject: AdapterSubject) -> None:
    """Return from ``modules`` what its losses train."""
    import torch

    _by_gradient(subject)
    step = subject.usual
    total = step.total()
    if not step.modules:
        raise CheckSkipped("has no modules of its own")
    for name, module in step.modules.items():
        if not isinstance(name, str) or not isinstance(module, torch.nn.Module):
            raise CheckFailed(
                f"returned {name!r}: {type(module).__name__} from modules(); expected names and torch.nn.Module"
            )
        parameters: list[Tensor] = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if parameters and not _gradients(total, parameters):
            raise CheckFailed(
                f'its module "{name}" gets no gradient; expected its losses to train it: use the very module that '
                "modules() returns, or leave it out"
            )


@check("adapter")
def batches_untouched(subject: AdapterSubject) -> None:
    """Leave the batches that it is given as they are."""
    _by_gradient(subject)
    if subject.usual.error is not None:
        raise needs("adapts")
    if subject.usual.changed:
        raise CheckFailed(
            f"changed {' and '.join(subject.usual.changed)}; expected the batches as they were: no operation in place"
        )


@check("adapter")
def same_losses(subject: AdapterSubject) -> None:
    """Give the same losses again for the same batches and seed."""
    _by_gradient(subject)
    first, again = _total(subject.usual), _total(subject.step())
    if not _same(first, again):
        raise CheckFailed(
            f"gave {first:.6g} and then {again:.6g} for the same batches and seed; expected the same: draw from torch's "
            "generator, which the harness seeds, and keep no state outside the instance"
        )


@check("adapter")
def network_left_sound(subject: AdapterSubject) -> None:
    """Leave finite weights and a network that still classifies; for adapters without gradient steps."""
    import torch

    if subject.steps_by_gradient:
        raise CheckSkipped("takes gradient steps, which the harness makes")
    network, error = _adapted(subject)
    if error is not None:
        raise needs("adapts")
    before = subject.toys.network.state_dict()
    after = network.state_dict()
    if {name: value.shape for name, value in before.items()} != {name: value.shape for name, value in after.items()}:
        raise CheckFailed(
            "left other parameters or buffers than the network had; expected the same names and shapes: change values "
            "alone, and take out what was put in"
        )
    if not all(bool(value.isfinite().all()) for value in after.values()):
        raise CheckFailed("left weights that are not finite; expected finite ones: check for a division by zero")
    with torch.no_grad():
        logits = network.eval()(subject.toys.images)
    if logits.shape != (len(subject.toys.images), network.num_classes) or not bool(logits.isfinite().all()):
        raise CheckFailed(
            "left a network that gives no finite logits; expected one that classifies as before or better"
        )


def _by_gradient(subject: AdapterSubject) -> None:
    if not subject.steps_by_gradient:
        raise CheckSkipped("adapts without gradient steps")


def _adapted(subject: AdapterSubject) -> tuple[PixelClassifier, BaseException | None]:
    """Return the toy network after ``adapt``, and what that raised."""
    from harness.engine.randomness import isolated_generators

    network = copy.deepcopy(subject.toys.network)
    adapter = subject.make()
    try:
        with isolated_generators(SEED):
            loop = adapter.loop = subject.loop(network)
            adapter.adapt(network, loop.source, loop.target)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (an adapter may raise anything)
        return network, error
    return network, None


def _gradients(total: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """Return the gradients at those parts that the total depends on."""
    import torch

    if not total.requires_grad or not parts:
        return []
    try:
        found = torch.autograd.grad(total, parts, allow_unused=True, retain_graph=True)
    except RuntimeError as error:
        raise CheckFailed(
            f"its losses cannot be differentiated: {described(error)}; expected a gradient: no operation in place"
        ) from error
    return [gradient for gradient in found if gradient is not None]


def _reached(step: Step, batch: Batch) -> bool:
    """Whether a gradient reaches a batch: some losses have one value whatever they look at, and yet move the network."""
    parts = [part for part in (batch.features, batch.logits) if part.requires_grad]
    return any(bool((gradient != 0).any()) for gradient in _gradients(step.total(), parts))


def _repeated(subject: AdapterSubject) -> float:
    """Return the usual step's total. Raises ``CheckSkipped`` where it is another each time, so that no comparison tells."""
    if same_losses.run(subject).status != "ok":
        raise needs("same-losses")
    return _total(subject.usual)


def _total(step: Step) -> float:
    return float(step.total().detach())


def _same(first: float, second: float) -> bool:
    return abs(first - second) <= CLOSE * max(abs(first), abs(second)) + CLOSE**2


ADAPTER_CHECKS = (
    adapts,
    finite_scalar_losses,
    gradient_reaches_features,
    source_declared,
    target_declared,
    target_labels_declared,
    modules_trained,
    batches_untouched,
    same_losses,
    network_left_sound,
)
