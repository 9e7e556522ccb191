"""Synthetic records for the tests of everything that reads them."""

from __future__ import annotations

from harness.records import (
    Accuracies,
    Adaptation,
    CellFailure,
    CellName,
    CellRecord,
    Checkpoint,
    Comparable,
    Correction,
    Losses,
    TestPredictions,
)

EXAMPLES = 200
BASELINE = 0.5
NO_ATTACK = dict.fromkeys(("attack", "objective", "select", "norm", "median_norm")) | {"forward": 0, "backward": 0}
SHAM = {"survived": {}, "forward": 0, "backward": 0}


def make_record(
    *,
    test,
    control=None,
    corrector=None,
    adapter="deep-coral",
    model="net",
    seed=1,
    corrected=None,
    wrong=10,
    source=1.0,
    baseline=BASELINE,
    predictions=None,
    options=None,
    flags=(),
    warnings=(),
    key=None,
    comparable=None,
    work=None,
    history=(),
    times=None,
    uses=None,
):
    """A record whose test accuracy is ``test``: the first ``test`` of 200 examples are right, unless told otherwise.

    ``corrected`` (None: no corrector) of ``wrong`` samples; ``comparable`` and ``work``: fields to change, ``key`` among the
    former's; ``history``: the diagnostics of each checkpoint, whose losses are a tenth of them; ``uses``: what the adapter's
    record says that it uses, where it is not the usual.
    """
    cell = CellName(model=model, corrector=corrector, adapter=adapter, control=control, seed=seed)
    right = round(test * EXAMPLES)
    return CellRecord(
        experiment="toy",
        key=key or f"{abs(hash((model, corrector, adapter, control, seed))):032x}"[-32:],
        cell=cell,
        comparable=make_comparable(**{"model": model} | (comparable or {})),
        counts={"train": 80, "validation": 20, "test": EXAMPLES},
        correction=None if corrected is None else make_correction(corrected, wrong, options or {}, flags, **work or {}),
        accuracy=Accuracies(source=source, train=0.9, valid=test, test=test),
        baseline=Accuracies(source=None, train=0.8, valid=baseline, test=baseline),
        loss=Losses(target=0.25, source=None if source is None else 0.125),
        adaptation=Adaptation(
            adapter=adapter, options={}, steps=10, best_step=5, history=make_history(history), **uses or {}
        ),
        test=TestPredictions(
            labels=[0] * EXAMPLES,
            predictions=predictions or [0] * right + [1] * (EXAMPLES - right),
        ),
        warnings=list(warnings),
        versions={},
        environment={},
        times=times or {},
    )


def method(test, seed=1, **changes):
    """A record of the corrector "vbi" with Deep CORAL."""
    return make_record(**{"corrector": "vbi", "corrected": 3, "test": test, "seed": seed} | changes)


def control(name, test, seed=1, **changes):
    """A control's record."""
    return make_record(control=name, test=test, seed=seed, **changes)


def sham(test, seed=1, *, true, moved, **changes):
    """A record of the sham of "vbi": of ``moved`` samples ``true`` are labelled true."""
    return control(
        "sham", test, seed, **{"corrector": "vbi", "corrected": true, "work": SHAM | {"kept": moved}} | changes
    )


def make_comparable(**changes):
    fields = {
        "key": "k" * 8,
        "dataset": "toys",
        "data_fingerprint": "d" * 64,
        "model": "net",
        "model_fingerprint": "m" * 64,
        "validation": 20,
        "baseline": None,
        "budget": {"steps": 2000, "epochs": None, "batch_size": 16, "optimizer": "sgd", "lr": 0.01, "momentum": 0.9},
        "evaluation": "clean",
    }
    return Comparable(**fields | changes)


def make_correction(corrected, wrong, options, flags, **changes):
    fields = {
        "attack": "bim",
        "objective": "toward-true",
        "select": "first-hit",
        "options": options,
        "wrong": wrong,
        "corrected": corrected,
        "kept": corrected,
        "norm": "linf",
        "median_norm": 0.01 if corrected else None,
        "survived": {"uint8": corrected},
        "forward": 100,
        "backward": 50,
        "flags": list(flags),
    }
    return Correction(**fields | changes)


def make_history(diagnostics):
    return [
        Checkpoint(
            step=step, valid=0.5, diagnostics=figures, losses={name: value / 10 for name, value in figures.items()}
        )
        for step, figures in enumerate(diagnostics, 1)
    ]


def make_failure(
    *, model="net", corrector="ll", adapter="deep-coral", control=None, seed=1, stage="correct", reason="out of memory"
):
    cell = CellName(model=model, corrector=corrector, adapter=adapter, control=control, seed=seed)
    return CellFailure(
        experiment="toy", key="f" * 32, dataset="toys", cell=cell, stage=stage, reason=reason, exit_code=1
    )


def make_matrix(seeds=(1, 2, 5)):
    """One corrector, one adapter and every control: per seed a base that differs, plus each row's own gain and a jitter."""
    gains = {
        ("none", None, "none"): 0.0,
        ("recalibrate-bn", None, "recalibrate-bn"): 0.01,
        ("finetune-target", None, "finetune"): 0.05,
        ("target-to-target", None, "deep-coral"): 0.06,
        ("random-subset", None, "deep-coral"): 0.04,
        ("curriculum", "none", "deep-coral"): 0.06,
        ("finetune-source", "none", "finetune"): 0.04,
        (None, "vbi", "deep-coral"): 0.08,
        ("sham", "vbi", "deep-coral"): 0.07,
        ("finetune-source", "vbi", "finetune"): 0.05,
    }
    return [
        make_record(
            control=control,
            corrector=corrector,
            adapter=adapter,
            seed=seed,
            test=0.5 + 0.01 * order + gain + (0.005 * (row * (row + order) % 3) if gain else 0.0),
            baseline=0.5 + 0.01 * order,
            corrected=_corrected(control, corrector),
            work={"curriculum": NO_ATTACK, "sham": SHAM | {"kept": 3}}.get(control),
            source=None if control in {"none", "recalibrate-bn", "finetune-target"} else 1.0,
        )
        for order, seed in enumerate(seeds)
        for row, ((control, corrector, adapter), gain) in enumerate(gains.items())
    ]


def _corrected(control, corrector):
    return {(None, "vbi"): 3, ("sham", "vbi"): 1, ("curriculum", "none"): 0}.get((control, corrector))
