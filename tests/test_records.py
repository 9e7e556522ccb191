"""Records: canonical JSON, readable file names, errors that name the file."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError
from record_factory import make_failure, make_matrix, make_record

from harness.errors import StoreError
from harness.records import (
    CellName,
    CellRecord,
    dump,
    read_failures,
    read_record,
    read_records,
    record_name,
    write_record,
)

KEY = "0123456789abcdef" * 4


def cell(**changes):
    return CellName(**{"model": "net", "corrector": "vbi", "adapter": "coral", "control": None, "seed": 1, **changes})


@pytest.mark.parametrize("record", [*make_matrix(seeds=(1,)), make_failure()], ids=lambda record: record.cell.adapter)
def test_what_is_written_is_read_again(tmp_path, record):
    path = write_record(tmp_path, record)
    read = read_record if isinstance(record, CellRecord) else lambda _: read_failures(tmp_path)[0]
    assert read(path) == record
    assert path.read_text() == dump(record)


def test_json_is_sorted_and_unicode_and_ends_with_a_newline():
    text = dump(make_record(test=0.5, model="größer"))
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert "größer" in text


def test_equal_records_are_equal_bytes_whatever_the_order_of_their_mappings():
    one = make_record(test=0.5, corrected=1, options={"eps": 0.1, "steps": 5}, key=KEY)
    other = make_record(test=0.5, corrected=1, options={"steps": 5, "eps": 0.1}, key=KEY)
    assert dump(one) == dump(other)


def test_infinite_and_missing_numbers_survive(tmp_path):
    record = make_record(test=0.5, source=None, corrected=0)
    assert record.correction.median_norm is None
    assert read_record(write_record(tmp_path, record)).accuracy.source is None


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "net--vbi--coral--seed1--01234567.json"),
        ({"control": "sham"}, "net--sham--vbi--coral--seed1--01234567.json"),
        ({"corrector": None, "adapter": "none", "control": "none"}, "net--none--none--seed1--01234567.json"),
        ({"corrector": "vbi(eps=8/255, steps=3)"}, "net--vbi-eps-8-255--steps-3---coral--seed1--01234567.json"),
        ({"model": "../../etc"}, "..-..-etc--vbi--coral--seed1--01234567.json"),
    ],
)
def test_file_names_are_readable_and_stay_in_their_folder(changes, name):
    assert record_name(cell(**changes), KEY) == name


def test_file_names_are_never_too_long(tmp_path):
    path = write_record(tmp_path, make_record(test=0.5, corrector="ü" * 400, key=KEY))
    assert path.name.endswith("--01234567.json")
    assert read_records(tmp_path)[0].cell.corrector == "ü" * 400


def test_records_are_read_in_the_order_of_their_names(tmp_path):
    for record in reversed(make_matrix(seeds=(1, 2))):
        write_record(tmp_path, record)
    (tmp_path / ".net--vbi.json.x.tmp").write_text("{")  # what a run that was killed leaves
    names = [record_name(record.cell, record.key) for record in read_records(tmp_path)]
    assert names == sorted(names)
    assert len(names) == 20


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "Invalid JSON"),
        ('{"schema_version": 1', "Invalid JSON"),
        ("{}", "experiment: Field required"),
    ],
)
def test_a_broken_record_is_named_with_the_way_out(tmp_path, content, why):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(StoreError) as caught:
        read_records(tmp_path)
    assert str(caught.value).startswith(f"{path}: is not a record that this version reads (")
    assert why in str(caught.value)
    assert "delete it and run the spec again" in str(caught.value)


def test_a_record_of_another_schema_is_refused(tmp_path):
    path = write_record(tmp_path, make_record(test=0.5))
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(StoreError, match="schema_version: Input should be 1"):
        read_record(path)


def test_records_are_immutable_and_take_nothing_unknown():
    record = make_record(test=0.5)
    with pytest.raises(ValidationError, match="frozen"):
        record.experiment = "other"
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        CellName(**cell().model_dump(), colour="red")


def test_the_gain_is_over_the_baseline():
    assert make_record(test=0.75, baseline=0.5).delta == 0.25
    assert make_record(test=0.25, baseline=0.5).delta == -0.25
