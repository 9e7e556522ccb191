"""Write the table "Against peers" of docs/performance.md from the JSON that `make bench` saves.

``python performance_table.py results/timing.json [docs/performance.md]``. Peers' seconds and all ratios are rounded down, the
harness's seconds up.
"""

from __future__ import annotations

import json
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from statistics import median

from marked_page import filled, page_for

FORMAT = "adcorda-harness/peers/1"
PART = "peers"
HEAD = (
    "| what | against | peer, s | ours, s | times faster (least–most) | with our allocator | target | reached | remarks |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
)

HOW_MEASURED = (
    "in each of which the sides take turns, each in a process of its own that does nothing else. Ratios, peer over ours, are "
    "medians of the rounds' own, with the least and the most of them, and are rounded down."
)
CALLED = (
    "- Peers are called as their users call them: the plain model, the C library's allocator, torch's own choice of threads. "
    "Models, attacks and our twin, which an experiment makes once a stage, are made before the clock starts; our verdict by the "
    "original classifier is within our seconds."
)
KEPT = (
    "- With our allocator: the peer, too, in a process started as the workers are; in long rounds, in the first alone, so that "
    "this ratio is of one round."
)
STEPS = (
    "- Attack steps and the bare passes that they are held against take turns in one process, started as the workers are; the "
    "twin's bare passes go in parts of the size that an attack's go in. So do passes with and without torch.compile, with random "
    "weights and images."
)
NORMS = "- Median norms are of the images that both reached."
WHO = (CALLED, KEPT, STEPS, NORMS)
HOW_REPEATED = (
    "- To repeat it: `HARNESS_BENCH_WEIGHTS=FILE HARNESS_BENCH_IMAGES=FOLDER make bench`, with a checkpoint of a CIFAR ResNet-20 "
    "and a folder with `train/CLASS/*`; without them a net trained on the embedded digits stands in."
)


def main(arguments):
    """Put the table of a saved file between a page's markers."""
    saved = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    page = page_for(saved, *arguments[1:])
    text = filled(page.read_text(encoding="utf-8"), section(saved), part=PART)
    page.write_text(text, encoding="utf-8")


def section(saved):
    """Return the table with what it was measured on. Raises ``ValueError`` where the file holds no contest with peers."""
    contests = [one["extra_info"] for one in saved["benchmarks"] if one["extra_info"].get("format") == FORMAT]
    if not contests:
        raise ValueError(f'no benchmark in the file has the format {FORMAT}: run "make bench"')
    lines = [line(row, contest["seconds"]) for contest in contests for row in contest["rows"]]
    return "\n".join([*HEAD, *lines, "", *notes(saved, contests)])


def line(row, seconds):
    """Return a row of the table."""
    ratios = each_round(seconds, row["peer"], row["ours"])
    kept = row["kept"] and shown_ratio(median(each_round(seconds, row["kept"], row["ours"])))
    held = [said for said, holds in row["checks"].items() if holds]
    remarks = [*held, row["remark"]] if row["remark"] else held
    cells = [
        row["what"],
        row["against"],
        shown_seconds(median(seconds[row["peer"]]), ROUND_FLOOR),
        shown_seconds(median(seconds[row["ours"]]), ROUND_CEILING),
        f"{shown_ratio(median(ratios))} ({shown_ratio(min(ratios))}–{shown_ratio(max(ratios))})",
        kept or "–",
        "–" if row["target"] is None else f"{row['target']:g}",
        verdict(row, ratios),
        "; ".join(remarks),
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def each_round(seconds, peer, ours):
    """Return the ratios within the rounds, of which a peer may have taken part in the first alone."""
    return [theirs / mine for theirs, mine in zip(seconds[peer], seconds[ours], strict=False)]


def verdict(row, ratios):
    """Say whether the median ratio reaches the target while all checks hold."""
    failed = [said for said, holds in row["checks"].items() if not holds]
    if failed:
        return f"no: {'; '.join(failed)}"
    if row["target"] is None:
        return "–"
    return "yes" if median(ratios) >= row["target"] else "no"


def shown_ratio(ratio):
    """Return a ratio rounded down to two decimals, from 10 on to one, from 100 on to none."""
    return _rounded(ratio, 2 if ratio < 10 else 1 if ratio < 100 else 0, ROUND_FLOOR)


def shown_seconds(seconds, rounding):
    """Return seconds with three digits, rounded up or down."""
    return _rounded(seconds, max(0, 2 - Decimal(seconds).adjusted()), rounding)


def _rounded(value, decimals, rounding):
    # By what is written of the number: 0.29 is a little less in binary, and that is nobody's merit.
    return f"{Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), rounding=rounding)}"


def notes(saved, contests):
    """Return the sentences below the table: how the figures came about, on what, and how to repeat them."""
    first, cpu = contests[0], saved["machine_info"]["cpu"]
    rounds = min(len(contest["seconds"][row["ours"]]) for contest in contests for row in contest["rows"])
    machine = (
        cpu.get("brand_raw", "unknown CPU"),
        f"{cpu.get('count', '?')} cores",
        f"{first['threads']} threads for either side",
        f"torch {first['torch']}",
        str(saved["datetime"])[:10],
        *dict.fromkeys(contest["data"] for contest in contests),
    )
    return (
        f"- {', '.join(machine)}.",
        f"- Seconds are medians of {rounds} rounds, {HOW_MEASURED}",
        CALLED,
        KEPT,
        STEPS,
        NORMS,
        HOW_REPEATED,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
