"""`harness plugins new`."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("kind", ["attack", "adapter"])
def test_what_is_written_is_printed_and_what_to_do_next_is_said(kind, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = call("plugins", "new", kind, f"my-{kind}")
    assert called.code == 0
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert sorted(called.out.splitlines()) == written
    assert f"my-{kind}/my_{kind}/{kind}.py" in written
    assert called.err == (
        f'next:\n  cd my-{kind} && python -m pip install -e ".[test]"\n  python -m pytest\n  harness run digits.yaml\n'
    )


def test_another_directory_stands_in_what_is_printed(call, tmp_path):
    place = tmp_path / "with space"
    place.mkdir()
    called = call("plugins", "new", "attack", "my-attack", "--directory", place)
    assert str(place / "my-attack" / "pyproject.toml") in called.out.splitlines()
    assert f"cd '{place}/my-attack' && " in called.err


def test_a_name_that_a_plugin_has_is_noted_and_the_longer_one_used(call, tmp_path):
    called = call("plugins", "new", "attack", "bim", "--directory", tmp_path)
    assert called.code == 0
    assert called.err.startswith('note: attack "paper/bim" (adcorda-harness ')
    assert 'has this name already, so that specs must say which is meant: yours is "bim/bim"\nnext:' in called.err
    assert "{attack: bim/bim, " in (tmp_path / "bim" / "digits.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["attack", "My_Attack"], 'plugin name "My_Attack": expected lower-case letters'),
        (["attack", "torch"], 'its package would hide another "torch"'),
        (["atack", "mine"], "'atack' is not one of 'attack', 'adapter'"),
        (["attack"], "Missing argument 'NAME'"),
        (["attack", "mine", "--directory", "no-such-folder"], "'no-such-folder' does not exist"),
        (["attack", "there"], "there: exists, and is not overwritten; choose another name or another"),
    ],
)
def test_mistakes_are_said_and_nothing_is_written(call, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    called = call("plugins", "new", *arguments)
    assert called.code == 2
    assert called.out == ""
    assert said in called.err
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
