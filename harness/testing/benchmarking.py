"""Time an attack under pytest-benchmark, and hold it to success: what does nothing must not win."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, UsageError
from harness.plugin_options import validated_options
from harness.timings import Measured, Untimed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from pytest_benchmark.fixture import BenchmarkFixture
    from torch import Tensor

    from harness.contract import Attack, Capabilities, Options
    from harness.criteria import Objective, Select
    from harness.engine.attacking import BatchResult
    from harness.engine.examples import TrainingExamples
    from harness.engine.networks import PixelClassifier
    from harness.manager import Manager, PluginName
    from harness.timings import Purpose

ROUNDS = 5


class NoSuccessError(AssertionError):
    """An attack that succeeds on too few images for its time to mean anything; ``reason`` says on how many."""

    def __init__(self, title: str, done: str, min_success: float) -> None:
        super().__init__(
            f"{title} {done}, expected more than {min_success:.0%}: an attack that does nothing cannot be timed; give it other "
            "options or more passes"
        )
        self.reason = f"no success, {done}"


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What is timed: an attack, on images (N, C, H, W) and labels (N,) on the classifier's device."""

    plugin: PluginName
    attack: Attack[Options]
    given: Mapping[str, Any]
    classifier: PixelClassifier
    images: Tensor
    labels: Tensor
    purpose: Purpose
    objective: Objective | None
    select: Select

    @property
    def done(self) -> str:
        return "corrects" if self.purpose == "correct" else "fools the classifier on"


class AttackBenchmark:
    """The fixture ``attack_benchmark``: times one attack, once a test.

    A round is one batch, as an experiment runs it: the attack, and the harness's own observation and verdict. The device is
    synchronized before and after each. The first round is not timed.
    """

    def __init__(self, benchmark: BenchmarkFixture, manager: Manager, untimed: list[Untimed]) -> None:
        self._benchmark = benchmark
        self._manager = manager
        self._untimed = untimed

    def __call__(
        self,
        attack: str,
        *,
        classifier: PixelClassifier,
        images: Tensor,
        labels: Tensor,
        options: Mapping[str, Any] | None = None,
        purpose: Purpose = "correct",
        objective: Objective | None = None,
        select: Select | None = None,
        min_success: float = 0.0,
        max_passes: int | None = None,
        examples: TrainingExamples | None = None,
        seed: int = 0,
        rounds: int = ROUNDS,
    ) -> BatchResult:
        """Time an installed attack on images (N, C, H, W) in [0, 1] with true labels (N,), and return what it made of them.

        ``purpose``: "correct" images that are labelled wrong, or "attack" images that are labelled right. ``objective``: by default
        toward-true, or away-from-predicted where the attack cannot approach labels. ``select``: by default first-hit, or min-norm
        where the attack starts from another image. Raises ``NoSuccessError`` where no more than the share ``min_success``
        succeeds, ``UsageError`` where the attack cannot do what is asked, ``PluginError`` or ``ContractError`` where it is broken.
        """
        plugin = self._manager.find("attack", attack)
        try:
            made = self._make(plugin, options or {})
            case = _Case(
                plugin=plugin,
                attack=made,
                given=options or {},
                classifier=classifier,
                images=images.to(classifier.device),
                labels=labels.to(classifier.device),
                purpose=purpose,
                objective=_objective(plugin, made.capabilities, purpose, objective),
                select=_select(plugin, made.capabilities, select),
            )
            _refuse_unfit(case)
            run = _runner(case, max_passes=max_passes, examples=examples, seed=seed)
            return self._time(case, run, min_success=min_success, rounds=rounds)
        except Exception as error:
            self._untimed.append(Untimed(attack=plugin.qualified, reason=_reason(error)))
            raise

    def _make(self, plugin: PluginName, options: Mapping[str, Any]) -> Attack[Options]:
        kind: Any = self._manager.load_ready(plugin)
        made: Attack[Options] = kind(validated_options(plugin, kind, options))
        return made

    def _time(self, case: _Case, run: Callable[[], BatchResult], *, min_success: float, rounds: int) -> BatchResult:
        def judged() -> BatchResult:
            result = run()
            synchronize(case.classifier.device)
            _require_success(case, result, min_success)
            return result

        def synchronized() -> None:
            synchronize(case.classifier.device)

        # Before the rounds: pytest-benchmark takes the group's name when they begin.
        self._benchmark.group = f"{case.attack.capabilities.norm}, batch {len(case.images)}"
        pedantic: Callable[..., BatchResult] = self._benchmark.pedantic
        result = pedantic(judged, setup=synchronized, rounds=rounds, warmup_rounds=1)
        self._benchmark.extra_info.update(_measured(case, result).model_dump(mode="json"))
        return result


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what was asked of it; a CPU has, always."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _objective(
    plugin: PluginName, can: Capabilities, purpose: Purpose, objective: Objective | None
) -> Objective | None:
    """Return the objective of a correction; None for an attack. Raises ``UsageError`` for what the attack cannot do."""
    from harness.criteria import targeted_objective

    if purpose == "attack":
        if objective is not None:
            raise UsageError(f'objective="{objective}" is a correction\'s; leave it out with purpose="attack"')
        if not can.untargeted:
            raise UsageError(f'{plugin.title} cannot flee labels; expected purpose="correct"')
        return None
    if objective is None:
        return "toward-true" if can.targeted else "away-from-predicted"
    targeted = targeted_objective(objective)
    if not (can.targeted if targeted else can.untargeted):
        verb, other = ("approach", "away-from-predicted") if targeted else ("flee", "toward-true")
        raise UsageError(f'{plugin.title} cannot {verb} labels, as objective="{objective}" asks; use "{other}"')
    return objective


def _select(plugin: PluginName, capabilities: Capabilities, asked: Select | None) -> Select:
    """Return which iterate counts: an attack that starts from another image would win with that image, having done nothing."""
    if capabilities.examples and asked == "first-hit":
        raise UsageError(
            f"{plugin.title} starts from another image, which would be its first hit; expected select min-norm or final"
        )
    return asked or ("min-norm" if capabilities.examples else "first-hit")


def _refuse_unfit(case: _Case) -> None:
    """Raise where there is nothing to attack, or where doing nothing would count as a success."""
    from harness.engine.prediction import labelled_true

    count = len(case.images)
    if count == 0:
        raise UsageError("no images to attack, got a batch of 0; expected (N, C, H, W) with N of at least 1")
    right = labelled_true(case.classifier, case.images, case.labels)
    met = int((right if case.purpose == "correct" else ~right).sum())
    if met:
        is_now, wanted = ("right", "wrong") if case.purpose == "correct" else ("wrong", "right")
        raise UsageError(
            f"{met} of {count} images are labelled {is_now} before the attack, so that doing nothing would count; "
            f'expected only images that are labelled {wanted} with purpose="{case.purpose}"'
        )


def _runner(
    case: _Case, *, max_passes: int | None, examples: TrainingExamples | None, seed: int
) -> Callable[[], BatchResult]:
    import torch

    from harness.engine.attacking import Attacker, Corrector, RunOptions

    how: RunOptions = {
        "name": case.plugin.name,
        "select": case.select,
        "seed": seed,
        "max_passes": max_passes,
        "examples": examples,
    }
    samples = torch.arange(len(case.images))
    if case.objective is None:
        attacker = Attacker(case.attack, case.classifier, **how)
        return lambda: attacker.attack_batch(case.images, case.labels, samples)
    corrector = Corrector(case.attack, case.classifier, objective=case.objective, **how)
    return lambda: corrector.correct(case.images, case.labels, samples)


def _require_success(case: _Case, result: BatchResult, min_success: float) -> None:
    met, count = int(result.met.sum()), len(result.met)
    if met <= max(min_success, 0.0) * count:
        done = f"{case.done} {met} of {count} images ({met / count:.0%})"
        raise NoSuccessError(case.plugin.title, done, min_success)


def _measured(case: _Case, result: BatchResult) -> Measured:
    import torch

    from harness.engine.norms import per_sample_norm

    capabilities, count = case.attack.capabilities, len(case.images)
    library = case.attack.library
    norms = per_sample_norm(result.images - case.images.cpu(), capabilities.norm)
    return Measured(
        attack=case.plugin.qualified,
        distribution=case.plugin.distribution,
        version=case.plugin.version,
        library=f"{library.distribution} {library.version}" if library else None,
        options=case.attack.options.model_dump(mode="json", include=set(case.given)),
        purpose=case.purpose,
        objective=case.objective,
        select=case.select,
        norm=capabilities.norm,
        batch=count,
        device=_device_name(case.classifier.device),
        threads=torch.get_num_threads(),
        success=float(result.met.float().mean()),
        forward=result.passes.forward / count,
        backward=result.passes.backward / count,
        median_norm=float(norms[result.met].median()),
        cut=result.cut,
    )


def _device_name(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    import torch

    return torch.cuda.get_device_name(device)


def _reason(error: Exception) -> str:
    if isinstance(error, NoSuccessError):
        return error.reason
    text = " ".join(str(error).split())
    return text if isinstance(error, HarnessError) else f"{type(error).__name__}: {text}"
