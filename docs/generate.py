"""Write the parts of the documentation that follow from the code: `make docs`. The tests check that the pages are up to date."""

from __future__ import annotations

import re
import types
from fractions import Fraction
from inspect import getdoc, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

from harness import hookspecs
from harness.budget import Adaptation, Baseline
from harness.cli import COMMANDS, cli
from harness.controls import TRAINED_ON_TARGET
from harness.launch import tables_of
from harness.manager import Manager
from harness.offers import cited, offers
from harness.references import (
    AdapterReference,
    CorrectorReference,
    DatasetReference,
    EvaluatorReference,
    FigureReference,
    ModelReference,
    QuantizerReference,
)
from harness.report.markdown import escape, to_excerpt
from harness.search import Range, Search
from harness.spec import Experiment
from harness.variants import MERGED, SHARED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import click
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[1]
DEMO = "digits-demo"
WIDTH = 100  # of the help's lines, whatever terminal this is run on
SECTIONS: Mapping[str, type[BaseModel]] = {
    "An experiment": Experiment,
    "`dataset`": DatasetReference,
    "An entry of `models`": ModelReference,
    "An entry of `correctors`": CorrectorReference,
    "An entry of `adapters`": AdapterReference,
    "An entry of `quantization`": QuantizerReference,
    "An entry of `evaluate`": EvaluatorReference,
    "An entry of `figures`": FigureReference,
    "`baseline`": Baseline,
    "`adaptation`": Adaptation,
    "`search`": Search,
    "A range in `search.space`": Range,
}


def commands_page() -> str:
    """Return docs/commands.md: every command's help."""
    parts = ["# Commands\n", "Written by `make docs` from `--help`.\n"]
    parts += [f"## `{name}`\n\n```text\n{text}\n```\n" for name, text in _helps()]
    return "\n".join(parts)


def spec_page() -> str:
    """Return docs/spec.md: every key of a spec."""
    parts = [
        "# The keys of a spec\n",
        (
            "Written by `make docs` from the code. Where an entry names a plugin, further keys beside it are the plugin's options: "
            "see `harness plugins show NAME`. Numbers may be written as fractions (`8/255`).\n"
        ),
    ]
    for title, model in SECTIONS.items():
        parts += [f"## {title}\n", "| key | default | meaning |", "| --- | --- | --- |"]
        parts += [f"| `{name}` | {_default(field)} | {_meaning(field)} |" for name, field in model.model_fields.items()]
        parts.append("")
    return "\n".join([*parts, *_variants()])


def _variants() -> list[str]:
    """Describe the key that turns one spec into several experiments."""
    merged, shared = (" and ".join(f"`{name}`" for name in names) for names in (MERGED, SHARED))
    return [
        "## `variants`\n",
        (
            "A list of mappings: one spec, several experiments, whose tables come into one results folder. Each entry is the "
            f"spec with some keys changed: those of {merged} one by one, every other key as a whole; {shared} are the same for "
            "all. A key may stand in every entry and not above them.\n"
        ),
        "```yaml",
        "dataset: cifar10",
        "models: [resnet18, resnet34]",
        "baseline: {epochs: 100, batch_size: 128}",
        "adapters: [{adapter: deep-coral, weight: 1/750}]",
        "variants:",
        "  - dataset: cifar10                                       # as above",
        "  - models: [efficientnet_v2_m]                            # instead of the two above, on cifar10",
        "    baseline: {batch_size: 64}                             # for 100 epochs still",
        "  - dataset: cifar100",
        "    adapters: [{adapter: deep-coral, weight: 1/25}]",
        "```",
        "",
    ]


def hooks_page() -> str:
    """Return docs/hooks.md: every hook with its signature and its sentence."""
    parts = [
        "# Hooks\n",
        (
            "Written by `make docs` from `harness/hookspecs.py`. A plugin package implements any of them with `@hookimpl`; "
            "[examples.md](examples.md) has one of each.\n"
        ),
    ]
    for name, hook in vars(hookspecs).items():
        if name.startswith("harness_"):
            written = str(signature(hook)).replace("'", "")  # annotations are kept as strings
            parts += [f"## `{name}`\n", "```python", f"def {name}{written}", "```\n", f"{getdoc(hook)}\n"]
    return "\n".join(parts)


def attacks_page() -> str:
    """Return docs/attacks.md: every attack of the installed plugins, library by library."""
    attacks = offers(Manager.discover(), "attack")
    by_package: dict[str, list[dict[str, Any]]] = {}
    for attack in attacks:
        by_package.setdefault(attack["qualified"].partition("/")[0], []).append(attack)
    parts = [
        f"# The {len(attacks)} attacks\n",
        (
            "Written by `make docs` from the installed plugins. Goals: approach given labels, flee them, or both; a corrector "
            "that only flees takes the objective `away-from-predicted`. Budget: a fixed one is spent (`eps`), or the smallest "
            "perturbation is looked for. Random: draws random numbers. `harness plugins show NAME` has the options.\n"
        ),
    ]
    for package, rows in sorted(by_package.items()):
        library = rows[0]["library"]
        get = "" if library["install"] is None else f" The work is done by {library['name']}: `{library['install']}`."
        parts += [f"## `{package}`\n", f"{len(rows)} attacks.{get}\n"]
        parts += ["| attack | norm | goals | gradients | budget | random | what it does |", f"|{' --- |' * 7}"]
        parts += [_attack_row(row) for row in sorted(rows, key=lambda row: str(row["name"]))]
        parts.append("")
    return "\n".join(parts)


def adapters_page() -> str:
    """Return docs/adapters.md: every adapter of the installed plugins, with its options."""
    manager = Manager.discover()
    found = sorted(offers(manager, "adapter"), key=lambda row: str(row["name"]))
    serving = set(TRAINED_ON_TARGET.values())
    own = [row for row in found if row["name"] not in serving]
    controls = [row for row in found if row["name"] in serving]
    heads = ["| adapter | uses | labels | steps | options | what it does |", f"|{' --- |' * 6}"]
    parts = [
        f"# {len(own)} adapters, and {len(controls)} that serve as controls\n",
        (
            "Written by `make docs` from the installed plugins. Uses: the source T', the target T, or both. Labels: whether the "
            "target's labels enter, in the loss or in how batches are drawn; such rows are marked † in every table. Steps: whether "
            "the training loop makes gradient steps, or the adapter changes the weights by itself. Learning rate, optimizer, "
            "schedule, batch size, batch-norm policy, precision, clipping, queue and shrinkage are no options of an adapter: they "
            "are the experiment's (`adaptation`), the same for every arm.\n"
        ),
        *heads,
        *(_adapter_row(row, manager) for row in own),
        "\n## Controls\n",
        (
            "They look at `T` alone, whatever `T'` is, and stand in every table as rival explanations: `controls` in a spec names "
            "them. `finetune` trains `finetune-source` on `T'` too.\n"
        ),
        *heads,
        *(_adapter_row(row, manager) for row in controls),
        "",
    ]
    return "\n".join(parts)


def _adapter_row(row: Mapping[str, Any], manager: Manager) -> str:
    uses, kind = row["uses"], cast("Any", manager.load(manager.find("adapter", row["qualified"])))
    domains = " and ".join(name for name in ("source", "target") if uses[name])
    shown = [f"`{name}` {_shown(field)}" for name, field in kind.options_type.model_fields.items()]
    steps = _yes(kind.takes_gradient_steps())
    return f"| `{row['name']}` | {domains} | {_yes(uses['target_labels'])} | {steps} | {', '.join(shown) or '–'} | {_cited(kind)} |"


def _shown(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if not isinstance(value, float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    short = f"{value:.4g}"
    # As the papers write them where a decimal would be rounded: 1/750, 8/255.
    return short if float(short) == value else str(Fraction(value).limit_denominator(1000))


def _cited(kind: Any) -> str:
    """Return what a class does and its source, for a table's cell."""
    return escape(cited(kind)).replace("\\`", "`")


def _attack_row(row: Mapping[str, Any]) -> str:
    goals = "both" if len(row["goals"]) > 1 else row["goals"][0]
    words = [row["norm"], goals, _yes(row["gradients"]), row["budget"], _yes(row["stochastic"])]
    return f"| `{row['name']}` | {' | '.join(words)} | {escape(row['summary'])} |"


def _yes(value: object) -> str:
    return "yes" if value else "no"


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "spec.md": spec_page,
    "hooks.md": hooks_page,
    "attacks.md": attacks_page,
    "adapters.md": adapters_page,
}


def with_leaderboard(readme: str, results: Path) -> str:
    """Return the README's text with the tables of a results folder between its markers, unchanged without the folder.

    Raises ``ValueError`` where the markers are missing.
    """
    if not results.is_dir():
        return readme
    block = "\n\n".join(to_excerpt(table) for table in tables_of(results))
    markers = rf"(<!-- leaderboard: {DEMO} -->\n).*?(<!-- /leaderboard -->)"
    filled, count = re.subn(markers, lambda found: f"{found[1]}\n{block}\n\n{found[2]}", readme, flags=re.DOTALL)
    if count != 1:
        raise ValueError(
            f'README.md: expected "<!-- leaderboard: {DEMO} -->" and "<!-- /leaderboard -->" once, in this order'
        )
    return filled


def _helps() -> Iterator[tuple[str, str]]:
    """Yield each command's name and help, the group's first."""
    top = _context(cli, "harness", None)
    yield "harness", cli.get_help(top)
    for name in COMMANDS:
        command = cli.get_command(top, name)
        if command is None:
            raise LookupError(f'"harness {name}" is listed but not there')
        context = _context(command, name, top)
        yield context.command_path, command.get_help(context)
        for part, inner in getattr(command, "commands", {}).items():
            inner_context = _context(inner, part, context)
            yield inner_context.command_path, inner.get_help(inner_context)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return command.make_context(name, [], parent, resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if hasattr(value, "model_dump"):
        return "see below"
    if value is None:
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(field: FieldInfo) -> str:
    values = ", ".join(_values(field.annotation))
    return escape(f"{field.description} One of {values}." if values else str(field.description))


def _values(annotation: Any) -> list[str]:
    """Return the names that a field takes, if it takes nothing else."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [str(value) for value in arguments]
    if origin is Annotated:
        return _values(arguments[0])
    if origin is list:
        values = _values(arguments[0])
        return [f"a list of some of {', '.join(values)}"] if values else []
    if origin in {Union, types.UnionType}:
        members = [_values(member) for member in arguments if member is not type(None)]
        return [value for member in members for value in member] if all(members) else []
    return []


if __name__ == "__main__":
    for page_name, page in PAGES.items():
        (ROOT / "docs" / page_name).write_text(page(), encoding="utf-8")
    home = ROOT / "README.md"
    home.write_text(with_leaderboard(home.read_text(encoding="utf-8"), ROOT / "results" / DEMO), encoding="utf-8")
