"""Run a spec in this process and be killed (SIGKILL, no clean-up whatever) at a chosen point."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from running import Witness, run_spec


class Killer(Witness):
    """Dies as soon as it hears what it waits for."""

    def __init__(self, kind, *, after):
        super().__init__()
        self.kind = kind
        self.after = after

    def progressed(self, stage, done, total):
        super().progressed(stage, done, total)
        heard = [entry for entry in self.progress if entry[0] == self.kind]
        if self.after != "finished" and len(heard) == self.after:
            die()

    def stage_finished(self, stage, state):
        if self.after == "finished" and stage.kind == self.kind:
            die()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_renaming(method, parent):
    """Die in the middle of an atomic write below a folder called ``parent``: written, not renamed yet."""
    rename = getattr(Path, method)

    def dying(self, target):
        if parent in Path(target).parts and self.name.startswith("."):
            die()
        return rename(self, target)

    setattr(Path, method, dying)


def run_until_killed(spec, results, point, after=2):
    """Run ``spec`` until ``point``: for a kind of stage, until it has told ``after`` times how far it is."""
    watcher = Witness()
    if point == "writing a record":
        die_before_renaming("replace", "records")
    elif point == "storing an artifact":
        die_before_renaming("rename", "adapt")
    elif point == "writing a checkpoint":
        die_before_renaming("replace", "partial")
    elif point == "between stages":
        watcher = Killer("split", after="finished")
    else:
        watcher = Killer(point, after=after)
    run_spec(spec, results, watcher=watcher)
