"""Every mistake in a spec is answered in one way: where, what was got, what was expected, what to do."""

from __future__ import annotations

import re

import pytest
from broken_specs import BROKEN_SPECS
from broken_yaml import VALID, BrokenSpec
from first_party import own_manager
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.catalogue import Catalogue
from harness.errors import HarnessError
from harness.resolve import resolve
from harness.spec import load_specs

JARGON = re.compile(
    r"[Ii]nput should|pydantic|validat(?:ion error|or)|\bNone\b|\bTrue\b|\bFalse\b|<class '|object at|CommentedMap|PosixPath"
    r"|Reference|Adaptation|Normalization|Options|Literal|Traceback|Error\b"
)


@pytest.fixture(scope="module")
def manager():
    return own_manager()


@pytest.fixture(scope="module")
def catalogue(manager):
    return Catalogue(manager.catalogues())


@pytest.mark.parametrize("case", BROKEN_SPECS, ids=lambda case: case.title)
def test_broken_spec_is_answered_exactly(case: BrokenSpec, manager, catalogue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "spec.yaml"
    path.write_bytes(case.content)
    with pytest.raises(HarnessError) as raised:
        resolve(load_specs(path.relative_to(tmp_path))[0], manager, catalogue)
    assert str(raised.value).splitlines() == [_line(finding) for finding in case.findings]
    assert raised.value.exit_code == case.exit_code


def test_specs_that_the_broken_ones_are_made_of_are_valid(manager, catalogue, tmp_path):
    path = tmp_path / "spec.yaml"
    for text in ("\n".join(VALID.values()), FULL):
        path.write_text(text)
        assert resolve(load_specs(path)[0], manager, catalogue).dataset.name == "digits"


def test_there_are_at_least_a_hundred_cases_and_no_two_are_alike():
    for distinct in (
        {case.title for case in BROKEN_SPECS},
        {case.content for case in BROKEN_SPECS},
        {case.findings for case in BROKEN_SPECS},
    ):
        assert len(distinct) == len(BROKEN_SPECS) >= 100


@pytest.mark.parametrize("case", BROKEN_SPECS, ids=lambda case: case.title)
def test_no_answer_speaks_python_or_runs_on(case: BrokenSpec):
    for finding in case.findings:
        assert not JARGON.search(finding)
        assert len(finding) < 270
        assert finding.isprintable()


@pytest.mark.parametrize("case", [case for case in BROKEN_SPECS if len(case.findings) > 1], ids=lambda case: case.title)
def test_findings_come_in_the_order_of_the_file(case: BrokenSpec):
    places = [tuple(map(int, finding.split(":")[:2])) for finding in case.findings]
    assert places == sorted(places)


def _line(finding: str) -> str:
    return f"spec.yaml:{finding}" if finding[0].isdigit() else f"spec.yaml: {finding}"


FULL = """\
name: digits
description: "all sections"
dataset: {card: digits, normalization: {mean: [0.3], std: [0.4]}}
models:
  - small-cnn
  - {architecture: cifar-resnet20, name: r20, image_size: 32, normalization: dataset}
seeds: [1, 2, 5]
validation: 0.2
baseline: &loop {epochs: 6, batch_size: 64, lr: 1/20}
correctors:
  - none
  - {preset: vbi, steps: 3, eps: 8/255}
  - {attack: ddn, objective: toward-true, select: min-norm, keep: all, name: 'ddn, all'}
adapters: [deep-coral, {adapter: deep-coral, weight: 0.5, on: features}]
controls: [none, sham]
adaptation: {steps: 400, batch_size: 16, lr: 0.01, validations: 10, batch_norm: separate}
attack_batch_size: 64
"""
PIECES = [
    *"\t\n :[]{},&*!|>'\"%@`#?-<~\\\x00\ud800é0.",
    "- ",
    ": ",
    "<<: *loop",
    "&loop ",
    "*loop",
    "!!set ",
    "!!binary ",
    "--- ",
    "%TAG ! a",
    "null",
    "1e999",
    ".nan",
    "2026-01-01",
    "true",
    "8/0",
    "{}",
    "[]",
]


@st.composite
def mutated(draw) -> str:
    """A valid spec after up to six deletions, duplications, replacements or insertions of characters or lines."""
    text = FULL
    for _ in range(draw(st.integers(1, 6))):
        units = text.splitlines(keepends=True) if draw(st.booleans()) else list(text)
        if not units:
            break
        index = draw(st.integers(0, len(units) - 1))
        length = draw(st.integers(1, 4))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.sampled_from(units), st.text(max_size=3)))
        change = draw(st.sampled_from(["delete", "duplicate", "replace", "insert"]))
        kept = units[index : index + length] if change in {"duplicate", "insert"} else []
        new = {"delete": [], "duplicate": kept, "replace": [piece], "insert": [piece]}[change]
        text = "".join([*units[:index], *new, *kept, *units[index + length :]])
    return text


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(text=mutated())
def test_no_mutation_of_a_spec_raises_anything_else(text, manager, catalogue, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = ""
    try:
        resolve(load_specs(path)[0], manager, catalogue)
    except HarnessError as error:  # a mutation may also leave the spec valid
        said = str(error)
    assert all(line.startswith(f"{path}:") for line in said.splitlines())
