"""Timings of attacks in pytest-benchmark's JSON: what stands there of each, and how a saved file is read again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.contract import Norm
from harness.criteria import Objective, Select
from harness.errors import StoreError, UsageError
from harness.validation import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Purpose = Literal["correct", "attack"]
"""Whether wrongly labelled images are corrected, or rightly labelled ones attacked."""

FORMAT: Final = "adcorda-harness/timing/1"
FAMILY = FORMAT.rpartition("/")[0]
UNTIMED_KEY = "adcorda_harness_untimed"

_EXPECTED = (
    'expected the JSON that "make bench" or "pytest --benchmark-json=FILE" saves of tests that use attack_benchmark'
)


class _Part(BaseModel):
    # What others add to a benchmark's extra_info is none of our business.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Measured(_Part):
    """What a timed attack did; a benchmark's ``extra_info``.

    ``attack`` is the qualified name, ``library`` the one that does the work with its version, ``options`` those that were given.
    ``success`` is a share in (0, 1], ``forward`` and ``backward`` are passes per image, ``median_norm`` is that of the
    perturbations of the images that count as a success. ``cut``: whether the attack was ended because it had spent its passes.
    """

    format: Literal["adcorda-harness/timing/1"] = FORMAT
    attack: str
    distribution: str
    version: str
    library: str | None
    options: dict[str, Any]
    purpose: Purpose
    objective: Objective | None
    select: Select
    norm: Norm
    batch: int = Field(ge=1)
    device: str
    threads: int = Field(ge=1)
    success: float = Field(gt=0, le=1)
    forward: float = Field(ge=0)
    backward: float = Field(ge=0)
    median_norm: float = Field(ge=0)
    cut: bool


class Untimed(_Part):
    """An attack that has no timing, and why."""

    format: Literal["adcorda-harness/timing/1"] = FORMAT
    attack: str
    reason: str


class _Stats(_Part):
    median: float = Field(gt=0)
    rounds: int = Field(ge=1)


class _Benchmark(_Part):
    stats: _Stats
    extra_info: Measured


@dataclass(frozen=True)
class Timing:
    """One timed attack: what it did, the median seconds of a round (one batch), and how many rounds there were."""

    measured: Measured
    seconds: float
    rounds: int

    @property
    def seconds_per_image(self) -> float:
        """The median round's seconds divided by the batch."""
        return self.seconds / self.measured.batch

    @property
    def order(self) -> tuple[str, int, float, str]:
        """Sort key: the group, then the fastest first."""
        return self.measured.norm, self.measured.batch, self.seconds_per_image, self.measured.attack


@dataclass(frozen=True)
class Timings:
    """A saved file: attacks by group, the fastest first; those without a timing; how many benchmarks are something else.

    ``machine`` and ``date`` are pytest-benchmark's, empty where it does not say.
    """

    file: str
    timed: tuple[Timing, ...]
    untimed: tuple[Untimed, ...]
    others: int = 0
    machine: str = ""
    date: str = ""


def read_timings(path: Path) -> Timings:
    """Read pytest-benchmark's JSON.

    Raises ``UsageError`` where the file is missing, is no such JSON or holds no attack's timing, ``StoreError`` where one is
    damaged.
    """
    saved = _load(path)
    benchmarks = saved["benchmarks"]
    ours = [(where, one) for where, one in enumerate(benchmarks) if _is_ours(one)]
    timed = [_timing(path, where, one) for where, one in ours]
    untimed = [_part(Untimed, path, UNTIMED_KEY, one) for one in saved.get(UNTIMED_KEY, [])]
    if not timed and not untimed:
        raise UsageError(
            f"{path}: no benchmark in it (of {len(benchmarks)}) is an attack's; {_EXPECTED}: other benchmarks do not say "
            "which attack they time"
        )
    return Timings(
        file=path.name,
        timed=tuple(sorted(timed, key=lambda timing: timing.order)),
        untimed=tuple(sorted(untimed, key=lambda one: one.attack)),
        others=len(benchmarks) - len(ours),
        machine=_machine(saved),
        date=str(saved.get("datetime") or "")[:10],
    )


def _load(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UsageError(f'{path}: no such file; {_EXPECTED}: run "make bench"')
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {_EXPECTED}") from error
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise UsageError(f"{where}: is no JSON ({error.msg}); {_EXPECTED}") from error
    except ValueError as error:  # bytes that are no text
        raise UsageError(f"{path}: is no JSON (no UTF-8 text); {_EXPECTED}") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("benchmarks"), list):
        raise UsageError(f'{path}: is JSON of something else, it has no list "benchmarks"; {_EXPECTED}')
    return saved


def _is_ours(benchmark: object) -> bool:
    extra = benchmark.get("extra_info") if isinstance(benchmark, dict) else None
    return isinstance(extra, dict) and str(extra.get("format", "")).startswith(FAMILY)


def _timing(path: Path, where: int, benchmark: Mapping[str, Any]) -> Timing:
    found = _part(_Benchmark, path, f"benchmarks[{where}]", benchmark)
    return Timing(found.extra_info, found.stats.median, found.stats.rounds)


PartT = TypeVar("PartT", bound=_Part)


def _part(kind: type[PartT], path: Path, where: str, data: object) -> PartT:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *map(str, first["loc"])])
        got = "" if first["type"] == "missing" else f" got {shown(first['input'])},"
        raise StoreError(
            f"{path}: {place}:{got} {first['msg'].lower()}; it was changed by hand or saved by another version: "
            'run "make bench" again'
        ) from error


def _machine(saved: Mapping[str, Any]) -> str:
    info = saved.get("machine_info")
    cpu = info.get("cpu") if isinstance(info, dict) else None
    return str(cpu.get("brand_raw") or "") if isinstance(cpu, dict) else ""
