"""From a spec's name to a finished run: what the commands `run` and `bench` do, without a terminal."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from harness.catalogue import Catalogue
from harness.cells import Setting
from harness.data import describe_data
from harness.drawings import FOLDER as FIGURES
from harness.drawings import SUFFIXES, read_drawings
from harness.errors import UsageError
from harness.executors import WorkerSettings
from harness.manager import Manager
from harness.models import build_network
from harness.plan import Plan, make_plan
from harness.records import record_name
from harness.resolve import resolve_all
from harness.results import cells_in, experiment_name, results_folder
from harness.run_state import RunState, survey
from harness.runner import Runner, Watcher, results_locked
from harness.spec import find_spec, load_specs
from harness.stages.jobs import compiles
from harness.store import Store, atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from harness.executors import Executor
    from harness.leaderboard import Table
    from harness.models import Input
    from harness.resolved import ResolvedModel


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where a run keeps things and what it runs on; nothing here changes a result but ``device`` and ``threads``."""

    results: Path
    store: Path | None = None
    device: str = "auto"
    threads: int = 1
    workers: int | None = None
    checkpoint_seconds: float = 20.0


@dataclass(frozen=True)
class Prepared:
    """An experiment that could be run now."""

    spec: Path
    plan: Plan
    store: Store
    results: Path
    setting: Setting
    workers: int
    manager: Manager


def prepare(name: str, options: Options) -> Prepared:
    """Validate a spec, read its data once, and plan. Raises what is wrong with spec, plugins, data or weights."""
    manager = Manager.discover()
    catalogue = Catalogue(manager.catalogues())
    path = find_spec(name, catalogue)
    variants = resolve_all(load_specs(path), manager, catalogue)
    store = Store((options.store or options.results / ".store").resolve())
    setting = Setting(pick_device(options.device), options.threads)
    plan = make_plan(
        [(resolved, describe_data(resolved.dataset, manager, store)) for resolved in variants], manager, setting
    )
    workers = options.workers or default_workers(setting)
    return Prepared(path, plan, store, options.results / plan.experiment, setting, workers, manager)


def run(prepared: Prepared, watcher: Watcher, *, checkpoint_seconds: float = 20.0) -> RunState:
    """Run what is pending and write the leaderboards."""
    with results_locked(prepared.results):
        state = survey(prepared.plan, prepared.store, prepared.results)
        check_models(state, prepared.manager)
        check_compiling(state, prepared.setting)
        remove_leftovers(prepared)
        set_superseded_aside(prepared.plan, prepared.results)
        atomic_write(prepared.results / "spec.yaml", prepared.spec.read_bytes())
        if state.pending:
            runner = Runner(
                state,
                store=prepared.store,
                results=prepared.results,
                executor=_executor(prepared, checkpoint_seconds),
                manager=prepared.manager,
                setting=prepared.setting,
                watcher=watcher,
            )
            runner.run()
        write_reports(prepared.results)
        return state


def check_models(state: RunState, manager: Manager) -> None:
    """Build each classifier that is yet to be built, so that weights or data that do not fit are told before anything runs."""
    built: list[tuple[ResolvedModel, Input]] = []
    for stage in state.remaining():
        subject = stage.job.subject
        if stage.kind == "baseline" and (subject.model, subject.shape) not in built:
            build_network(subject.model, subject.shape, manager, seed=subject.seed)
            built.append((subject.model, subject.shape))


def check_compiling(state: RunState, setting: Setting) -> None:
    """Compile a sum where a stage that is left goes through torch.compile. Raises ``CompileError`` where torch cannot."""
    if any(compiles(stage.job) for stage in state.remaining()):
        from harness.engine.compiling import check_compiler

        check_compiler(setting.device)


def tables_of(results: Path) -> list[Table]:
    """Build the tables of a results folder. Raises ``UsageError`` where there are no records."""
    from harness.leaderboard import build

    return build(*cells_in(results))


def write_reports(named: Path) -> Path:
    """Write leaderboard.md, .csv, .json and report.html beside the folder of records that they are made of; returns where."""
    import json

    from harness.curves import curves_of
    from harness.leaderboard import build
    from harness.report.csv_table import to_csv
    from harness.report.drawings import drawings_html, drawings_markdown
    from harness.report.html import to_html
    from harness.report.json_table import to_json
    from harness.report.markdown import to_markdown

    records, failures = cells_in(named)
    results = results_folder(named)
    tables, drawings = build(records, failures), read_drawings(results)
    texts = {
        "leaderboard.md": to_markdown(tables) + drawings_markdown(drawings, results),
        "leaderboard.csv": to_csv(tables),
        "leaderboard.json": json.dumps(to_json(tables), indent=1, ensure_ascii=False) + "\n",
        "report.html": to_html(
            tables, experiment_name(results), drawings_html(drawings, results), curves=curves_of(records, tables)
        ),
    }
    for name, text in texts.items():
        atomic_write(results / name, text.encode())
    return results


def remove_leftovers(prepared: Prepared) -> None:
    """Remove what a run that was killed left beside its results: half-written files, checkpoints of finished stages."""
    for folder in ("records", "failures", FIGURES, "."):
        for path in (prepared.results / folder).glob(".*.tmp"):
            path.unlink(missing_ok=True)
    stages = prepared.plan.stages()
    for checkpoints in (prepared.store.root / "partial").glob("*"):
        stage = stages.get(checkpoints.name)
        if stage is not None and prepared.store.has(stage.kind, stage.key):
            prepared.store.partial(stage.key).clear()


def set_superseded_aside(plan: Plan, results: Path) -> None:
    """Move records and figures that the plan does not name, another spec's or setting's, to ``superseded/``: in no table."""
    wanted = {record_name(cell.name, cell.key) for cell in plan.cells}
    wanted |= {f"{picture.stem}{suffix}" for picture in plan.pictures for suffix in SUFFIXES}
    for folder in ("records", "failures", FIGURES):
        for path in sorted((results / folder).glob("*")):
            if path.suffix in SUFFIXES and path.name not in wanted:
                aside = results / "superseded" / folder / path.name
                aside.parent.mkdir(parents=True, exist_ok=True)
                path.replace(aside)


def pick_device(asked: str) -> str:
    """Return cpu or cuda; ``auto`` takes a GPU where torch finds one. A CPU build of torch is not even imported."""
    if asked == "cpu" or (asked == "auto" and metadata.version("torch").endswith("+cpu")):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise UsageError('--device cuda: torch finds no GPU; see "harness doctor", or run with --device cpu')
    return "cpu"


def default_workers(setting: Setting) -> int:
    """Return one worker a core on a CPU (two one-thread workers beat one two-thread worker), one on a GPU."""
    if setting.device == "cuda":
        return 1
    return max(1, available_cores() // setting.threads)


def available_cores() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _executor(prepared: Prepared, checkpoint_seconds: float) -> Executor:
    settings = WorkerSettings(
        prepared.store.root, prepared.setting.device, prepared.setting.threads, checkpoint_seconds
    )
    if prepared.workers > 1:
        from harness.executors.processes import ProcessExecutor

        return ProcessExecutor(settings, prepared.workers)
    from harness.executors.inline import InlineExecutor

    return InlineExecutor(settings, prepared.manager)
