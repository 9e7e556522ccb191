"""`harness plugins check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.testing import checks_of


@pytest.fixture
def call(capsys):
    """Call the command in this process; returns the exit code, stdout and stderr."""
    from harness.cli import main

    def calling(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["plugins", "check", *arguments])
        return end.value.code, *capsys.readouterr()

    return calling


@pytest.fixture(autouse=True)
def _installed(tmp_path, monkeypatch):
    """Install the broken plugins, as pip would."""
    for name in ("attacks", "adapters"):
        folder = tmp_path / f"broken_{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: broken-{name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[harness.v1]\nbroken-{name} = broken_{name}\n")
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.syspath_prepend(tmp_path)


def test_sound_plugin_gets_a_line_a_check_on_stdout(call):
    code, out, err = call("SoundSearch")
    names = [check.name for check in checks_of("attack")]
    assert out.splitlines() == [f"ok      {name}" for name in names]
    assert (code, err) == (0, f"{len(names)} ok, 0 failed, 0 skipped\n")


def test_failed_check_says_what_is_wrong_and_exits_with_1(call):
    code, out, err = call("broken-adapters/IgnoresTheTarget")
    assert code == 1
    assert (
        "failed  target-declared: declares target=True and has the same losses for other target images, at every step of a "
        "loop; expected others: declare target=False"
    ) in out
    assert "skipped modules-trained: has no modules of its own" in out
    assert "1 failed, 2 skipped" in err


def test_json_holds_every_check_with_its_sentence(call):
    code, out, err = call("IgnoresTheTarget", "--json")
    document = json.loads(out)
    assert (code, err) == (1, "")
    assert (document["version"], document["plugin"], document["kind"]) == (
        1,
        "broken-adapters/IgnoresTheTarget",
        "adapter",
    )
    assert [(check["name"], check["title"]) for check in document["checks"]] == [
        (check.name, check.title) for check in checks_of("adapter")
    ]
    [failure] = [check for check in document["checks"] if check["status"] == "failed"]
    assert failure["name"] == "target-declared"


def test_options_are_read_as_a_spec_writes_them(call):
    code, out, _ = call("LeavesTheBall", "--option", "eps=5/100", "--option", "alpha=2e-2", "--json")
    assert code == 1
    [failure] = [check for check in json.loads(out)["checks"] if check["status"] == "failed"]
    assert "moved a sample by 0.07 in linf" in failure["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["Sond"], 3, 'unknown plugin "Sond"; did you mean "Sound"? See "harness plugins list".'),
        (["Missing"], 3, 'is broken: "broken_attacks" has no "Missing"'),
        (["NeedsItsLibrary"], 3, 'needs no-such-attacks, which is not installed; run "pip install no-such-attacks"'),
        (
            ["Raises"],
            3,
            '"Raises" is a plugin of the kind attack and a plugin of the kind adapter; name the kind as well',
        ),
        (["Sound", "--kind", "classifier"], 3, 'unknown classifier "Sound"'),
        (["SoundSearch", "--option", "epz=1"], 2, 'attack "SoundSearch": unknown option "epz"; did you mean "eps"?'),
        (["SoundSearch", "--option", "eps"], 2, "expected KEY=VALUE"),
    ],
)
def test_what_cannot_be_checked_says_why_and_checks_nothing(call, arguments, code, message):
    got, out, err = call(*arguments)
    assert (got, out) == (code, "")
    assert message in err
    assert err.startswith("harness: ")
