"""A tiny real experiment for the tests of everything that runs one, and the means to run and compare it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from harness.launch import Options, prepare, run

TESTS = Path(__file__).parent
TINY = {
    "name": "tiny",
    "dataset": "digits",
    "models": [{"architecture": "small-cnn", "width": 4, "name": "net"}],
    "seeds": [1],
    "validation": 0.2,
    "baseline": {"epochs": 3, "batch_size": 64, "lr": 0.05},
    "correctors": ["vbi-iter1", "ll"],
    "adapters": ["deep-coral"],
    "controls": "none",
    "adaptation": {"steps": 40, "batch_size": 16, "lr": 0.01, "validations": 4},
    "attack_batch_size": 50,
}
TINY_STAGES = {"baseline": 1, "split": 1, "correct": 2, "adapt": 2, "evaluate": 3}


class Witness:
    """A watcher that remembers what it hears."""

    def __init__(self):
        self.stages = []
        self.progress = []
        self.failures = []

    def started(self, state):
        self.cached = state.cached

    def stage_started(self, stage):
        pass

    def progressed(self, stage, done, total):
        self.progress.append((stage.kind, done, total))

    def stage_finished(self, stage, state):
        if stage.key in state.done:
            self.stages.append(stage)

    def cell_finished(self, record, state):
        pass

    def cell_failed(self, failure, state):
        self.failures.append(failure)

    @property
    def kinds(self):
        """How many stages of each kind were run to their end."""
        return Counter(stage.kind for stage in self.stages)


def write_spec(folder, **changes):
    """Write the tiny spec, with changes, as ``<its name>.yaml``; JSON is YAML."""
    spec = {**TINY, **changes}
    path = folder / f"{spec['name']}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec, indent=1))
    return path


def run_spec(spec, results, *, workers=1, watcher=None, store=None, checkpoint_seconds=0.0):
    """Run a spec in this process (and its workers); returns what was heard and the final state."""
    witness = watcher or Witness()
    prepared = prepare(str(spec), Options(results=results, store=store, device="cpu", workers=workers))
    state = run(prepared, witness, checkpoint_seconds=checkpoint_seconds)
    return witness, state


def records_of(results, name="tiny"):
    """Return the records' bytes by file name, times aside."""
    found = {}
    for path in sorted((results / name / "records").glob("*.json")):
        fields = json.loads(path.read_bytes())
        del fields["times"]
        found[path.name] = json.dumps(fields, sort_keys=True)
    return found


def environment(**changes):
    """Return an environment for a subprocess: this one's, without a terminal's width and colours."""
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR", "FORCE_COLOR"}}
    return {**kept, **changes}


def harness(*arguments, cwd, check=None, **changes):
    """Run the command in a process of its own."""
    command = [sys.executable, "-c", "from harness.cli import main; main()", *map(str, arguments)]
    result = subprocess.run(
        command, cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=100, check=False
    )
    if check is not None:
        assert result.returncode == check, (result.returncode, result.stdout, result.stderr)
    return result


def install_broken_plugins(site):
    """Lay the distribution "broken" out in ``site``, as pip would; its module is in the tests' folder."""
    info = site / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.v1]\nbroken = broken_plugins\n")
    return os.pathsep.join([str(site), str(TESTS)])
