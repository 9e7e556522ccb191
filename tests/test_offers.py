"""What `harness plugins list` says: what plugins declare, what waits for a library, what is broken, on any terminal."""

from __future__ import annotations

import json
import re
import sys
from types import SimpleNamespace

import pytest

from harness.contract import Capabilities
from harness.manager import Manager
from harness.offers import goals, missing_libraries, offer, offers

HOOKS = """
from harness.api import hookimpl

@hookimpl
def harness_attacks():
    return {name: f"shop_attacks:{target}" for name, target in OFFERED.items()}

@hookimpl
def harness_adapters():
    return {"soft": "shop_attacks:Soft"}

OFFERED = {
    "own": "Own",
    "borrowed": "Borrowed",
    "borrowed-too": "Borrowed",
    "roped": "Roped",
    "both-missing": "BothMissing",
    "working": "Working",
    "gone": "Gone",
}
"""

ATTACKS = """
from harness.api import Adapter, AdapterCapabilities, Attack, Capabilities, Library


class Own(Attack):
    \"\"\"Do it alone (Nobody, 1999).

    At length.
    \"\"\"

    capabilities = Capabilities(norm="l0", targeted=False, untargeted=True, gradients=False, stochastic=True)

    def run(self, classifier, images, criterion):
        return images


class Borrowed(Own):
    \"\"\"Let a library do it.\"\"\"

    library = Library(distribution="far-lib", install="pip install far-lib==2")
    capabilities = Capabilities(norm="l2", targeted=True, untargeted=True, gradients=True, budget="minimal")


class Roped(Borrowed):
    library = Library(distribution="near-lib", install="pip install near-lib rope", also=("rope",))


class BothMissing(Borrowed):
    library = Library(distribution="far-lib", install="pip install far-lib==2 rope", also=("rope",))


class Working(Borrowed):
    library = Library(distribution="near-lib", install="pip install near-lib")


class Soft(Adapter):
    \"\"\"Adapt softly.\"\"\"

    capabilities = AdapterCapabilities(target_labels=True)

    def losses(self, source, target):
        return {}
"""


def install(site, distribution, version, entry_points=""):
    folder = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (folder / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Install a shop of plugins and one of the two libraries that they name."""
    (tmp_path / "shop_hooks.py").write_text(HOOKS)
    (tmp_path / "shop_attacks.py").write_text(ATTACKS)
    install(tmp_path, "shop-plugins", "0.3", "[harness.v1]\nshop = shop_hooks\n")
    install(tmp_path, "near-lib", "4.5")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("shop_hooks", "shop_attacks"):
        sys.modules.pop(name, None)


@pytest.fixture
def manager(site):
    return Manager.discover()


@pytest.fixture
def call(site, capsys, monkeypatch):
    """Call `harness plugins list` in this process, on a terminal of a width: ``call("--norm", "l2", width=60)``."""
    from harness.cli import main

    def calling(*arguments, width=None):
        if width is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["plugins", "list", *arguments])
        return SimpleNamespace(code=end.value.code, **capsys.readouterr()._asdict())

    return calling


def shop(listed):
    return {entry["name"]: entry for entry in listed if entry["distribution"] == "shop-plugins"}


def line_of(text, name):
    (found,) = [line for line in text.splitlines() if re.search(rf"(^|\s){re.escape(name)}(\s|$)", line)]
    return " ".join(found.split())


# -- what is known of each -------------------------------------------------------------------------------------------------


def test_an_attack_is_described_by_its_source_its_first_sentence_and_what_it_declares(manager):
    assert offer(manager, manager.find("attack", "shop/own")) == {
        "name": "own",
        "kind": "attack",
        "qualified": "shop/own",
        "distribution": "shop-plugins",
        "version": "0.3",
        "target": "shop_attacks:Own",
        "summary": "Do it alone (Nobody, 1999).",
        "library": {"name": "shop-plugins", "version": "0.3", "install": None, "missing": []},
        "norm": "l0",
        "targeted": False,
        "untargeted": True,
        "gradients": False,
        "stochastic": True,
        "budget": "fixed",
        "examples": False,
        "goals": ["flee"],
    }


@pytest.mark.parametrize(
    ("targeted", "untargeted", "said"),
    [(True, True, ["approach", "flee"]), (True, False, ["approach"]), (False, True, ["flee"])],
)
def test_goals_are_what_labels_can_be_driven_at(targeted, untargeted, said):
    assert goals(Capabilities(norm="l2", targeted=targeted, untargeted=untargeted, gradients=True)) == said


def test_a_librarys_version_and_what_is_missing_are_told_apart(manager):
    libraries = {
        name: entry["library"] for name, entry in shop(offers(manager, "attack")).items() if "library" in entry
    }
    assert libraries["borrowed"] == {
        "name": "far-lib",
        "version": None,
        "install": "pip install far-lib==2",
        "missing": ["far-lib"],
    }
    assert libraries["roped"] == {
        "name": "near-lib",
        "version": "4.5",
        "install": "pip install near-lib rope",
        "missing": ["rope"],
    }
    assert (libraries["working"]["version"], libraries["working"]["missing"]) == ("4.5", [])
    assert libraries["both-missing"]["missing"] == ["far-lib", "rope"]


def test_an_adapter_says_what_it_uses(manager):
    entry = shop(offers(manager, "adapter"))["soft"]
    assert entry["uses"] == {"source": True, "target": True, "target_labels": True, "sampling": "shuffled"}
    assert "norm" not in entry


def test_a_broken_plugin_has_its_problem_and_no_claims(manager):
    entry = shop(offers(manager))["gone"]
    assert entry["problem"] == 'attack "shop/gone" (shop-plugins 0.3) is broken: "shop_attacks" has no "Gone"'
    assert not {"summary", "library", "norm", "goals"} & set(entry)


def test_every_plugin_of_a_kind_is_there_once(manager):
    everything = offers(manager)
    assert [entry["qualified"] for entry in everything] == [name.qualified for name in manager.names()]
    for kind in ("attack", "adapter", "evaluator"):
        assert offers(manager, kind) == [entry for entry in everything if entry["kind"] == kind]


def test_each_library_that_is_missing_is_named_once_with_how_many_wait_and_what_to_run(manager):
    """Borrowed twice waits for the library; one for the library and the rope, one for the rope alone."""
    said = missing_libraries(shop(offers(manager)).values())
    assert sorted(said) == [
        'far-lib and rope are not installed: 1 plugin waits for that; run "pip install far-lib==2 rope"',
        'far-lib is not installed: 2 plugins wait for that; run "pip install far-lib==2"',
        'rope is not installed: 1 plugin waits for that; run "pip install near-lib rope"',
    ]


def test_nothing_is_said_where_nothing_is_missing(manager):
    assert missing_libraries([offer(manager, manager.find("attack", "shop/own"))]) == []
    assert missing_libraries([]) == []


# -- the command -----------------------------------------------------------------------------------------------------------


def test_the_list_shows_what_attacks_can_do_and_what_their_library_is(call):
    called = call("--kind", "attack", width=200)
    assert (called.code, "Too narrow" in called.err) == (0, False)
    assert line_of(called.out, "shop/own") == "shop/own l0 shop-plugins 0.3 flee no fixed yes"
    assert line_of(called.out, "shop/working") == "shop/working l2 near-lib 4.5 both yes minimal no"
    assert line_of(called.out, "shop/borrowed") == "shop/borrowed l2 far-lib (not installed) both yes minimal no"
    assert line_of(called.out, "shop/roped") == "shop/roped l2 near-lib (rope not installed) both yes minimal no"
    assert line_of(called.out, "shop/gone") == "shop/gone – shop-plugins (broken) – – – –"


def test_what_is_missing_or_broken_is_said_beside_the_list_and_is_no_failure(call):
    called = call()
    assert called.code == 0
    assert 'far-lib is not installed: 2 plugins wait for that; run "pip install far-lib==2"' in called.err.splitlines()
    assert called.err.count('attack "shop/gone" (shop-plugins 0.3) is broken') == 1
    assert "not installed: " not in called.out
    assert line_of(called.out, "shop/soft") == "shop/soft source, target, labels shop-plugins 0.3"


def test_the_json_holds_the_same_and_nothing_beside_it(call, manager):
    called = call("--json")
    document = json.loads(called.out)
    assert called.err == ""
    assert document == {"version": 1, "plugins": json.loads(json.dumps(offers(manager))), "problems": []}


def test_a_norm_leaves_the_attacks_of_that_norm_alone(call):
    for norm, own in (("l0", {"own"}), ("l2", {"borrowed", "borrowed-too", "roped", "both-missing", "working"})):
        found = json.loads(call("--norm", norm, "--json").out)["plugins"]
        assert {(entry["kind"], entry["norm"]) for entry in found} == {("attack", norm)}
        assert set(shop(found)) == own
    assert "shop/soft" not in call("--norm", "l2").out


def test_a_kind_leaves_that_kind_alone(call):
    found = json.loads(call("--kind", "adapter", "--json").out)["plugins"]
    assert {entry["kind"] for entry in found} == {"adapter"}
    assert {"soft"} == set(shop(found))
    called = call("--kind", "adapter")
    assert "not installed" not in called.err
    assert "attacks" not in called.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kind", "atack"], "attack"),
        (["--norm", "l3"], "'l0', 'l1', 'l2', 'linf'"),
    ],
)
def test_a_kind_or_norm_that_there_is_not_is_a_usage_error(call, arguments, said):
    called = call(*arguments)
    assert (called.code, called.out) == (2, "")
    assert said in called.err


@pytest.mark.parametrize("width", [30, 60, 80, 100, 120, 200])
def test_no_name_is_cut_and_what_does_not_fit_is_left_out_and_said(call, width):
    """The names stay, wrapped where they must be; the other columns go from the last to the first."""
    called = call("--norm", "l2", width=width)
    qualified = {entry["qualified"] for entry in json.loads(call("--norm", "l2", "--json").out)["plugins"]}
    names = "".join(line[2:].split(" ")[0] for line in called.out.splitlines())  # wrapped ones are joined again
    assert [name for name in qualified if name not in names] == []
    assert all(len(line.rstrip()) <= width for line in called.out.splitlines())
    (head,) = [line.split() for line in called.out.splitlines() if line.startswith("  Name ")]
    everything = ["Name", "Norm", "Library", "Goals", "Gradients", "Budget", "Stochastic"]
    hidden = re.findall(r"Too narrow for (.*)\.", called.err)
    assert head == everything[: len(head)]
    assert hidden == ([", ".join(everything[len(head) :])] if len(head) < len(everything) else [])
    assert (hidden == []) == (width >= 120)


def test_a_pipe_gets_every_column_and_no_wrapped_name(call, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    called = call("--norm", "l2", "--kind", "attack")
    assert "Too narrow" not in called.err
    longest = line_of(called.out, "foolbox/l2-clipping-aware-repeated-additive-gaussian-noise")
    assert longest.split()[1:3] == ["l2", "foolbox"]
    assert longest.split()[-1] in {"yes", "no"}


def test_a_list_of_nothing_is_no_table(call, monkeypatch):
    monkeypatch.setattr(Manager, "discover", Manager)
    called = call()
    assert (called.code, called.out, called.err) == (0, "", "")


def test_a_package_that_cannot_be_imported_stands_beside_those_that_can(call, site):
    (site / "torn_hooks.py").write_text("raise ImportError('torn')")
    install(site, "torn-plugins", "1.0", "[harness.v1]\ntorn = torn_hooks\n")
    called = call("--kind", "adapter")
    assert called.code == 0
    assert "torn-plugins/torn cannot be imported: ImportError: torn" in called.err.splitlines()
    assert "shop/soft" in called.out
    (problem,) = json.loads(call("--json").out)["problems"]
    assert problem == {
        "plugin": "torn",
        "distribution": "torn-plugins",
        "message": "cannot be imported: ImportError: torn",
    }
