"""`harness compare A B` and `harness compare A --published TABLE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import json_option

if TYPE_CHECKING:
    from harness.pairing import BySeed, Pairing
    from harness.records import CellRecord


@click.command(name="compare")
@click.argument("results", metavar="A [B]", nargs=-1, required=True)
@click.option("--published", metavar="TABLE", help="Compare A, or several folders together, with a published table.")
@click.option(
    "--as",
    "stand_ins",
    metavar="OURS=THEIRS",
    multiple=True,
    help="Which model or data set of TABLE one of ours stands for; may be given several times.",
)
@click.option("--adapter", metavar="NAME", help="Whose rows are compared with TABLE's.  [default: the paper's adapter]")
@json_option
def command(
    results: tuple[str, ...], *, published: str | None, stand_ins: tuple[str, ...], adapter: str | None, as_json: bool
) -> None:
    """Compare B with A, seed by seed, in test accuracy, or A with a published table (--published adcorda-table1).

    A and B are results folders (then rows of one name are compared), or a row of one: "results/digits-demo#vbi + deep-coral".

    With --published, ours and theirs stand side by side, and what differs in the setting below. Models and data sets that the
    table does not have stand for those that the table's card or --as names.
    """
    if published is not None:
        _compare_published(results, published, _stand_ins(stand_ins), adapter, as_json=as_json)
        return
    _check_pair(results, only_published={"--as": bool(stand_ins), "--adapter": adapter is not None})
    from harness.pairing import pair, sentences

    first, second = results
    pairings = pair(_rows(first), _rows(second))
    if as_json:
        told = [_as_json(pairing) for pairing in pairings]
        click.echo(json.dumps({"version": 1, "comparisons": told, "verdicts": sentences(pairings)}, ensure_ascii=False))
        return
    _render(pairings)


def _check_pair(results: tuple[str, ...], *, only_published: dict[str, bool]) -> None:
    from harness.errors import UsageError

    for option, given in only_published.items():
        if given:
            raise UsageError(f"{option}: goes with --published TABLE alone")
    if len(results) != 2:
        raise UsageError(
            f"compare: got {len(results)} {'folder or row' if len(results) == 1 else 'folders or rows'}, expected two, A and B; "
            "to compare with a published table add --published TABLE, such as adcorda-table1"
        )


def _compare_published(
    results: tuple[str, ...], name: str, stand_ins: dict[str, str], adapter: str | None, *, as_json: bool
) -> None:
    from harness.catalogue import Catalogue
    from harness.manager import Manager
    from harness.published import read_published
    from harness.published_comparison import compare_published

    table = read_published(name, Catalogue(Manager.discover().catalogues()))
    records = [record for folder in dict.fromkeys(results) for record in _records(folder)]
    compared = compare_published(records, table, stand_ins=stand_ins, adapter=adapter)
    if as_json:
        from harness.report.published_json import published_as_json

        click.echo(json.dumps(published_as_json(compared), ensure_ascii=False))
        return
    from harness.report.published import render_published
    from harness.report.terminal_grid import make_console

    render_published(compared, make_console())


def _stand_ins(given: tuple[str, ...]) -> dict[str, str]:
    from harness.errors import UsageError

    stand_ins = {}
    for one in given:
        ours, equals, theirs = one.rpartition("=")
        if not (ours and equals and theirs):
            raise UsageError(f'--as: got "{one}", expected OURS=THEIRS, such as small-cnn=ResNet-18')
        stand_ins[ours] = theirs
    return stand_ins


def _rows(argument: str) -> dict[tuple[str, str], BySeed]:
    from harness.pairing import choose, rows_of

    folder, _, label = argument.partition("#")
    records = _records(folder)
    return choose(records, label, where=folder) if label else rows_of(records)


def _records(folder: str) -> list[CellRecord]:
    from harness.results import records_in

    return records_in(Path(folder))


def _render(pairings: list[Pairing]) -> None:
    from harness.pairing import sentences
    from harness.report.pairing import render_pairings
    from harness.report.terminal_grid import make_console

    render_pairings(pairings, sentences(pairings), make_console())


def _as_json(pairing: Pairing) -> dict[str, Any]:
    difference = pairing.difference
    return {
        "first": pairing.first,
        "second": pairing.second,
        "target_labels": [uses.target_labels for uses in pairing.uses],
        "source_free": [uses.source_free for uses in pairing.uses],
        "points": {
            "mean": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "p": difference.p,
            "wilcoxon_p": difference.wilcoxon_p,
            "per_seed": {str(seed): value for seed, value in difference.per_seed.items()},
        },
        "mcnemar": {str(seed): test._asdict() for seed, test in pairing.mcnemar.items()},
        "differing": list(pairing.differing),
    }
