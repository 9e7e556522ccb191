"""`harness doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from harness.cli.listing import show_list
from harness.cli.options import json_option


@click.command(name="doctor")
@json_option
def command(*, as_json: bool) -> int:
    """Say what is installed, broken, missing or slow. Exits with 1 when something is broken."""
    from harness.diagnosis import examine
    from harness.manager import Manager

    findings = list(examine(Manager.discover()))
    entries = [asdict(finding) for finding in findings]
    if not as_json:  # a column for the few remedies would leave the messages no room
        entries = [
            {**entry, "message": "\n".join(filter(None, (entry["message"], entry["remedy"])))} for entry in entries
        ]
    columns = ("subject", "verdict", "message")
    show_list(entries, columns=columns, key="findings", as_json=as_json, title="This installation")
    return 1 if any(finding.verdict == "broken" for finding in findings) else 0
