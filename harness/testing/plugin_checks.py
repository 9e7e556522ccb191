"""The checks of every plugin: it is imported without torch, resolved, described, and its options hold together."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

from pydantic import ValidationError

from harness.errors import PluginError
from harness.hookspecs import ENTRY_POINT_GROUP
from harness.kinds import KINDS
from harness.testing.checks import CheckFailed, CheckSkipped, check, described
from harness.testing.subject import Subject  # noqa: TC001 (the decorator's type variable is bound to it)
from harness.validation import dotted, parse, shown

_TORCH_FOUND = 10
_IMPORTER = """
import sys
from importlib import import_module
for number, target in enumerate(sys.argv[1:]):
    module, _, attribute = target.partition(":")
    imported = import_module(module)
    if attribute:
        getattr(imported, attribute)
    if "torch" in sys.modules:
        sys.exit({torch_found} + number)
"""


@check(*KINDS)
def target_resolves(subject: Subject) -> None:
    """Be found where the hook says, as a class of its kind."""
    try:
        subject.manager.load(subject.plugin)
    except PluginError as error:
        raise CheckFailed(f"{error}; expected a class at that place: mend the import string or the class") from error


@check(*KINDS)
def import_without_torch(subject: Subject) -> None:
    """Be imported without loading torch, so that lists, help and schemas come at once."""
    _ = subject.loaded
    targets = [*_hook_modules(subject), subject.plugin.target]
    # The paths of this process: what is imported here is imported there.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(  # noqa: S603 (this interpreter, on the names of modules that were imported here)
        [sys.executable, "-c", _IMPORTER.format(torch_found=_TORCH_FOUND), *targets],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if ran.returncode >= _TORCH_FOUND:
        module = targets[ran.returncode - _TORCH_FOUND].partition(":")[0]
        raise CheckFailed(
            f'importing "{module}" loads torch; expected it unloaded: import torch, and what needs it, inside functions '
            "and under TYPE_CHECKING"
        )
    if ran.returncode:
        last = ran.stderr.strip().rpartition("\n")[2]
        raise CheckSkipped(f"cannot be imported in a fresh process: {last or f'exit code {ran.returncode}'}")


@check(*KINDS)
def described_for_users(subject: Subject) -> None:
    """Have a docstring, and a description of every option."""
    loaded = subject.loaded
    if not (vars(loaded).get("__doc__") or "").strip():
        raise CheckFailed(
            f'the class "{subject.plugin.target}" has no docstring; expected what it does and where it comes from: write '
            "one, plugins show prints it"
        )
    fields = loaded.options_type.model_fields
    silent = [name for name, field in fields.items() if not (field.description or "").strip()]
    if silent:
        raise CheckFailed(
            f"the options {', '.join(silent)} have no description; expected one each: "
            'declare them as Field(…, description="…")'
        )


@check(*KINDS)
def defaults_round_trip(subject: Subject) -> None:
    """Have options whose defaults validate, come back the same from a record, and refuse unknown keys."""
    options_type = subject.loaded.options_type
    if options_type.model_config.get("extra") != "forbid":
        raise CheckFailed(
            'its options take unknown keys; expected them to be refused: leave model_config["extra"] at "forbid"'
        )
    if subject.required and subject.given is None:
        raise CheckSkipped(f"has no default for {', '.join(subject.required)}; give options")
    try:
        options = subject.options if subject.given is not None else options_type()
        again = parse(options_type, options.model_dump(mode="json"))
        options_type.model_json_schema()
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        where = dotted(found["loc"]) or "the whole"
        raise CheckFailed(
            f'the default of "{where}" is {shown(found["input"])}: {found["msg"]}; expected a default that the option\'s '
            "own type and limits allow"
        ) from error
    except Exception as error:
        raise CheckFailed(
            f"its options raised {described(error)} on the way to JSON and back; expected the same options: use types that "
            "JSON can hold"
        ) from error
    other = [name for name in options_type.model_fields if getattr(again, name) != getattr(options, name)]
    if other:
        raise CheckFailed(
            f"the options {', '.join(other)} come back from JSON as other values; expected the same: a validator must "
            "leave its own result as it is"
        )


def _hook_modules(subject: Subject) -> list[str]:
    """Return the modules that offer the plugin; none where it was registered by hand."""
    plugin = subject.plugin
    return [
        point.module
        for point in metadata.entry_points(group=ENTRY_POINT_GROUP, name=plugin.package)
        if point.dist is not None and point.dist.name == plugin.distribution
    ]


PLUGIN_CHECKS = (target_resolves, import_without_torch, described_for_users, defaults_round_trip)
