"""Which results folder is meant, and that nothing is ever written among its records."""

from __future__ import annotations

import json

import pytest
from record_factory import make_failure, make_record

from harness.errors import UsageError
from harness.launch import write_reports
from harness.records import write_record
from harness.results import cells_in, experiment_name, records_in, results_folder


@pytest.fixture
def results(tmp_path):
    write_record(tmp_path / "toy" / "records", make_record(test=0.5))
    return tmp_path / "toy"


def test_the_folder_of_the_records_means_the_one_around_it(results, monkeypatch):
    assert results_folder(results) == results
    assert results_folder(results / "records") == results
    monkeypatch.chdir(results / "records")
    for here in (".", "../records", ".."):
        assert results_folder(type(results)(here)).resolve() == results.resolve()
        assert experiment_name(type(results)(here)) == "toy"


def test_an_experiment_may_be_called_records(tmp_path):
    write_record(tmp_path / "records" / "records", make_record(test=0.5))
    assert results_folder(tmp_path / "records") == tmp_path / "records"
    assert len(records_in(tmp_path / "records")) == 1


def test_reports_are_never_written_among_the_records(results):
    for _ in range(2):  # a second time, for what the first one wrote would not be read as a record
        assert write_reports(results / "records") == results
    assert [path.suffix for path in (results / "records").iterdir()] == [".json"]
    assert (results / "leaderboard.json").is_file()
    assert len(records_in(results / "records")) == 1
    assert "<title>toy</title>" in (results / "report.html").read_text()


@pytest.mark.parametrize("command", ["leaderboard", "curves", "compare", "report", "ranks"])
def test_every_command_that_reads_results_takes_either_folder(results, command, capsys):
    from harness.cli import main

    write_record(results / "records", make_record(test=0.6, corrector="vbi", corrected=1))
    said = []
    for folder in (results, results / "records"):
        arguments = [command, str(folder), *([str(folder)] if command == "compare" else [])]
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        said.append((end.value.code, *(text.replace(str(results), "") for text in captured)))
    assert said[0] == said[1]
    assert said[0][0] == (2 if command == "ranks" else 0)  # one block is too few to rank over
    assert sorted(path.suffix for path in (results / "records").iterdir()) == [".json", ".json"]


@pytest.mark.parametrize(("exists", "said"), [(True, "holds no records"), (False, "is no folder")])
def test_a_folder_without_records_says_what_is_expected(tmp_path, exists, said):
    folder = tmp_path / "empty"
    if exists:
        folder.mkdir()
    for read in (records_in, cells_in):
        with pytest.raises(UsageError, match=f"empty: {said}; expected a results folder such as"):
            read(folder)


def test_failures_alone_are_cells_and_no_records(tmp_path):
    write_record(tmp_path / "failures", make_failure())
    assert [len(found) for found in cells_in(tmp_path)] == [0, 1]
    with pytest.raises(UsageError, match="holds no records"):
        records_in(tmp_path)


def test_json_is_called_after_the_experiment(results, capsys):
    from harness.cli import main

    with pytest.raises(SystemExit):
        main(["leaderboard", str(results / "records"), "--json"])
    assert json.loads(capsys.readouterr().out)["experiment"] == "toy"
