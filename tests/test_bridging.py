"""Bridges, against a tiny library and a table of its attacks: names without the library, options checked, versions known."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

from harness.bridging import DEFAULT_EPS, Parameter, Table, Word
from harness.contract import Attack, Capabilities, Options
from harness.errors import PluginError
from harness.manager import Manager
from harness.resolved import ResolvedPlugin
from harness.store import content_key

SMALL = ("tiny", "adaptation", "classifiers", "datasets", "registry")
LIBRARY = """
def push(images, eps, rounds, mode, flip, patience, scale):
    return images + eps * scale
"""

MODULE = """
from __future__ import annotations

import inspect
from pathlib import Path

from harness.api import Attack, Bridge, Library, hookimpl


class TinyAttack(Attack):
    entry = None

    def run(self, classifier, images, criterion):
        import tinylib

        function = getattr(tinylib, self.entry.target)
        BRIDGE.fits(self.entry, inspect.signature(function).parameters)
        return function(images, **self.options.model_dump(), **self.entry.constants)


BRIDGE = Bridge(
    table_path=Path(__file__).with_name("tiny_attacks.json"),
    module=__name__,
    library=Library(distribution="tiny-lib", install="pip install tiny-lib"),
)


@hookimpl
def harness_attacks():
    return BRIDGE.names


def __getattr__(name):
    return BRIDGE.attribute(name, TinyAttack)
"""

PUSH = {
    "name": "push",
    "attribute": "PushAttack",
    "target": "push",
    "summary": "Push every pixel (Nobody, 1999).",
    "norm": "linf",
    "targeted": True,
    "untargeted": False,
    "gradients": False,
    "stochastic": True,
    "budget": "minimal",
    "options": [
        {
            "name": "eps",
            "type": "float",
            "default": 0.25,
            "description": "How far.",
            "above": 0,
            "maximum": 1,
        },
        {"name": "rounds", "type": "int", "default": 5, "description": "How often.", "minimum": 1},
        {"name": "mode", "type": "str", "default": "up", "description": "Where to.", "choices": ["up", "down"]},
        {"name": "flip", "type": "bool", "default": False, "description": "Whether to turn round."},
        {
            "name": "patience",
            "type": "int",
            "default": None,
            "description": "When to give up.",
            "optional": True,
            "minimum": 0,
        },
    ],
    "constants": {"scale": 2.0},
    "remark": "It pushes in one direction alone.",
}
PULL = {
    **{key: value for key, value in PUSH.items() if key not in {"remark", "constants", "options"}},
    "name": "pull",
    "attribute": "PullAttack",
    "target": "pull",
    "summary": "Pull.",
    "examples": True,
    "needs": ["rope", "hook"],
}
TABLE = {"distribution": "tiny-lib", "version": "1.2", "attacks": [PUSH, PULL]}


def install(site, distribution, version, entry_points=""):
    folder = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (folder / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Install the bridge, not its library."""
    (tmp_path / "tiny_bridge.py").write_text(MODULE)
    (tmp_path / "tiny_attacks.json").write_text(json.dumps(TABLE))
    install(tmp_path, "tiny-bridge", "0.3", "[harness.v1]\ntiny = tiny_bridge\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("tiny_bridge", "tinylib"):
        sys.modules.pop(name, None)


@pytest.fixture
def library(site):
    """Install the library."""
    (site / "tinylib.py").write_text(LIBRARY)
    install(site, "tiny-lib", "1.2")
    return site


@pytest.fixture
def bridge(site):
    import tiny_bridge

    return tiny_bridge


def push(bridge, **options):
    return bridge.PushAttackOptions(**options)


# -- what is offered -------------------------------------------------------------------------------------------------------


def test_the_tables_attacks_are_offered_and_described_without_the_library(site):
    manager = Manager.discover()
    assert [problem for problem in manager.problems if problem.package == "tiny"] == []
    plugin = manager.find("attack", "tiny/push")
    assert plugin.target == "tiny_bridge:PushAttack"
    loaded = manager.load(plugin)
    assert issubclass(loaded, Attack)
    assert (loaded.__name__, loaded.__module__) == ("PushAttack", "tiny_bridge")
    assert loaded.capabilities == Capabilities(
        norm="linf", targeted=True, untargeted=False, gradients=False, stochastic=True, budget="minimal"
    )
    assert inspect.getdoc(loaded) == "Push every pixel (Nobody, 1999).\n\nIt pushes in one direction alone."
    assert "tinylib" not in sys.modules
    pull = manager.load(manager.find("attack", "tiny/pull"))
    assert pull.capabilities.examples
    assert inspect.getdoc(pull) == "Pull."


def test_a_class_is_made_once_so_that_two_that_ask_have_the_same(bridge):
    assert bridge.PushAttack is bridge.PushAttack
    assert bridge.PushAttackOptions is bridge.PushAttack.options_type
    assert bridge.PushAttack is not bridge.PullAttack


@pytest.mark.parametrize("name", ["PushAtack", "PushAtackOptions", "Options", "nothing"])
def test_an_attribute_that_the_table_lacks_is_an_attribute_error(bridge, name):
    with pytest.raises(AttributeError, match="module 'tiny_bridge' has no attribute"):
        getattr(bridge, name)
    assert not hasattr(bridge, name)


def test_the_import_systems_questions_do_not_read_the_table(bridge, site):
    (site / "tiny_attacks.json").unlink()
    assert not hasattr(bridge, "__path__")
    with pytest.raises(FileNotFoundError):
        _ = bridge.PushAttack


def test_an_offer_that_the_module_does_not_keep_is_a_broken_plugin_and_not_a_crash(site):
    """A hook that names more than the table has."""
    text = (site / "tiny_bridge.py").read_text()
    offers = 'BRIDGE.names | {"shove": "tiny_bridge:ShoveAttack"}'
    (site / "tiny_bridge.py").write_text(text.replace("return BRIDGE.names", f"return {offers}"))
    manager = Manager.discover()
    with pytest.raises(PluginError, match='is broken: "tiny_bridge" has no "ShoveAttack"'):
        manager.load(manager.find("attack", "shove"))
    assert manager.load(manager.find("attack", "tiny/push"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"budget": "huge"}, "budget"),
        ({"norm": "l3"}, "norm"),
        ({"extra": 1}, "extra"),
        ({"options": [{"name": "eps", "type": "number", "default": 1, "description": "x"}]}, "type"),
    ],
)
def test_a_table_that_says_something_else_is_refused(change, told):
    with pytest.raises(ValidationError, match=told):
        Table.model_validate({**TABLE, "attacks": [{**PUSH, **change}]})


# -- how a table is made -----------------------------------------------------------------------------------------------------


def test_a_word_is_an_option_of_the_defaults_type_or_of_its_own_or_of_the_annotations():
    assert Word("How often.", minimum=1).parameter("rounds", 5) == Parameter(
        name="rounds", type="int", default=5, description="How often.", minimum=1
    )
    misled = Word("How far.", kind="float", above=0).parameter("far", 1)
    assert (misled.type, repr(misled.default)) == ("float", "1.0")
    named = Word("Norm.", kind="str", choices=("1", "2")).parameter("norm", 2, kind="float", choices=("x",))
    assert (named.type, named.default, named.choices) == ("str", "2", ("1", "2"))
    absent = Word("When to give up.").parameter("patience", None, kind="int", optional=True, choices=())
    assert (absent.type, absent.default, absent.optional) == ("int", None, True)
    assert Word("Where.").parameter("mode", "up", choices=("up", "down")).choices == ("up", "down")
    with pytest.raises(ValidationError, match="type"):
        Word("Nothing known.").parameter("callback", None)


@pytest.mark.parametrize(("norm", "largest"), [("linf", 1), ("l2", 9), ("l1", 9), ("l0", 9)])
def test_a_size_is_at_most_the_pixels_range_in_linf_alone(norm, largest):
    word = Word("How far.", above=0, maximum=9)
    assert word.sized(norm).parameter("eps", 0.5).maximum == largest
    assert word.maximum == 9


def test_a_table_is_written_sorted_with_the_installed_version_and_read_again(library, bridge):
    entries = bridge.BRIDGE.table.attacks
    assert [entry.name for entry in entries] == ["push", "pull"]
    made = bridge.BRIDGE.described(iter(entries))
    assert (made.distribution, made.version) == ("tiny-lib", "1.2")
    assert [entry.name for entry in made.attacks] == ["pull", "push"]
    bridge.BRIDGE.write(made)
    text = bridge.BRIDGE.table_path.read_text(encoding="utf-8")
    assert text == made.text
    assert text.endswith("}\n")
    assert Table.model_validate_json(text) == made
    assert "remark" not in json.loads(text)["attacks"][0]  # as by default


def test_a_table_of_a_library_that_is_not_installed_is_refused(bridge):
    with pytest.raises(PluginError, match='tiny-lib is not installed; run "pip install tiny-lib"'):
        bridge.BRIDGE.described(bridge.BRIDGE.table.attacks)


def test_the_usual_budgets_are_those_of_the_field_and_l0_has_none():
    assert DEFAULT_EPS == {"linf": 8 / 255, "l2": 0.5, "l1": 12}


# -- options ---------------------------------------------------------------------------------------------------------------


def test_options_have_the_tables_defaults_and_descriptions(bridge):
    assert push(bridge).model_dump() == {
        "eps": 0.25,
        "rounds": 5,
        "mode": "up",
        "flip": False,
        "patience": None,
    }
    described = {name: field.description for name, field in bridge.PushAttackOptions.model_fields.items()}
    assert described["eps"] == "How far."
    assert all(described.values())


def test_fractions_are_numbers_for_floats_alone(bridge):
    assert push(bridge, eps="8/255").eps == 8 / 255
    with pytest.raises(ValidationError):
        push(bridge, rounds="4/2")


@pytest.mark.parametrize(
    "options",
    [
        {"eps": 1},
        {"eps": 1e-9},
        {"rounds": 1},
        {"mode": "down"},
        {"flip": True},
        {"patience": 0},
        {"patience": None},
    ],
)
def test_values_at_their_limits_are_taken(bridge, options):
    assert push(bridge, **options).model_dump().items() >= options.items()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"eps": 0}, "greater than 0"),
        ({"eps": "256/255"}, "less than or equal to 1"),
        ({"eps": None}, "valid number"),
        ({"rounds": 0}, "greater than or equal to 1"),
        ({"rounds": 1.5}, "valid integer"),
        ({"mode": "left"}, "'up' or 'down'"),
        ({"mode": None}, "'up' or 'down'"),
        ({"flip": "perhaps"}, "valid boolean"),
        ({"patience": -1}, "greater than or equal to 0"),
        ({"epsilon": 1}, "Extra inputs are not permitted"),
    ],
)
def test_values_beyond_their_limits_are_refused(bridge, options, said):
    with pytest.raises(ValidationError, match=said):
        push(bridge, **options)


def test_limits_and_choices_are_part_of_the_schema_that_editors_read(library, tmp_path):
    import jsonschema
    from running import TINY

    from harness.catalogue import Catalogue
    from harness.schema import json_schema

    everything = Manager.discover()
    only = Manager.discover([point for point in metadata.entry_points(group="harness.v1") if point.name in SMALL])
    schema = json_schema(only, Catalogue(everything.catalogues()))

    def fits(**options):
        spec = {**TINY, "correctors": [{"attack": "tiny/push", **options}]}
        return jsonschema.Draft202012Validator(schema).is_valid(spec)

    for options in (
        {},
        {"eps": 1},
        {"eps": "8/255"},
        {"rounds": 1},
        {"mode": "down"},
        {"patience": None},
        {"patience": 0},
    ):
        assert fits(**options), options
    for options in ({"eps": 0}, {"eps": 1.5}, {"rounds": 0}, {"mode": "left"}, {"patience": -1}, {"epsilon": 1}):
        assert not fits(**options), options


def test_a_text_without_choices_is_any_text():
    kind, _ = Parameter(name="a", type="str", default="x", description="y").annotated()
    assert kind is str


def test_options_can_be_sent_to_another_process_and_are_the_same_there(bridge, site):
    sent = pickle.dumps([push(bridge, eps="1/4", rounds=7), bridge.PushAttack(push(bridge))])
    back, attack = pickle.loads(sent)
    assert back == push(bridge, eps=0.25, rounds=7)
    assert type(back) is bridge.PushAttackOptions
    assert type(attack) is bridge.PushAttack
    script = (
        "import pickle, sys; options, attack = pickle.load(sys.stdin.buffer); "
        "print(type(attack).__name__, options.model_dump_json())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {script}"],
        input=sent,
        capture_output=True,
        timeout=60,
        check=False,
    )
    name, _, written = ran.stdout.decode().partition(" ")
    assert (name, json.loads(written)) == ("PushAttack", back.model_dump()), ran.stderr.decode()


# -- the library -----------------------------------------------------------------------------------------------------------


def test_the_library_does_the_work_with_options_and_constants(library, bridge):
    attack = bridge.PushAttack(push(bridge, eps=0.25))
    moved = attack.run(None, torch.zeros(2, 1, 1, 1), None)
    assert moved.flatten().tolist() == [0.5, 0.5]  # eps times the constant scale, 2


def test_a_library_that_lacks_a_parameter_is_told_with_both_versions(library, bridge):
    (library / "tinylib.py").write_text("def push(images, eps, mode, flip, patience):\n    return images\n")
    with pytest.raises(PluginError) as raised:
        bridge.PushAttack(push(bridge)).run(None, torch.zeros(1), None)
    assert str(raised.value) == (
        'tiny-lib 1.2: push takes no rounds, scale; this bridge was made for 1.2: run "pip install tiny-lib"'
    )
    assert raised.value.exit_code == 3


def test_parameters_that_the_table_does_not_have_are_the_librarys_own(library, bridge):
    given = {**dict.fromkeys(("eps", "rounds", "mode", "flip", "patience", "scale")), "verbose": False}
    assert bridge.BRIDGE.fits(bridge.BRIDGE.entry("PushAttack"), given) is None


def test_missing_names_what_is_not_installed_and_nothing_else(site, bridge):
    alone, more = bridge.PushAttack.library, bridge.PullAttack.library
    assert (alone.version, alone.missing) == (None, ("tiny-lib",))
    assert (more.install, more.missing) == ("pip install tiny-lib rope hook", ("tiny-lib", "rope", "hook"))
    install(site, "tiny-lib", "1.2")
    install(site, "rope", "4")
    assert (alone.version, alone.missing) == ("1.2", ())
    assert (more.version, more.missing) == ("1.2", ("hook",))


@pytest.mark.parametrize(
    ("name", "installed", "message"),
    [
        ("push", (), 'needs tiny-lib, which is not installed; run "pip install tiny-lib"'),
        ("pull", ("tiny-lib",), 'needs rope and hook, which are not installed; run "pip install tiny-lib rope hook"'),
        ("pull", ("tiny-lib", "rope"), 'needs hook, which is not installed; run "pip install tiny-lib rope hook"'),
    ],
)
def test_an_attack_is_not_ready_without_its_libraries_and_says_how_to_get_them(site, name, installed, message):
    for distribution in installed:
        install(site, distribution, "1.2")
    manager = Manager.discover()
    plugin = manager.find("attack", f"tiny/{name}")
    with pytest.raises(PluginError) as raised:
        manager.load_ready(plugin)
    assert str(raised.value) == f'attack "tiny/{name}" (tiny-bridge 0.3) {message}'
    assert raised.value.exit_code == 3
    assert issubclass(manager.load(plugin).options_type, Options)


def test_an_attack_is_ready_with_its_library(library):
    manager = Manager.discover()
    assert manager.load_ready(manager.find("attack", "tiny/push")).__name__ == "PushAttack"


def test_results_of_another_version_of_the_library_have_another_key(library):
    def identity():
        manager = Manager.discover()
        plugin = manager.find("attack", "tiny/push")
        loaded = manager.load(plugin)
        return ResolvedPlugin(plugin, loaded.options_type(), loaded.library).identity()

    before = identity()
    assert before["library"] == {"tiny-lib": "1.2"}
    (library / "tiny_lib-1.2.dist-info").rename(library / "tiny_lib-1.3.dist-info")
    (library / "tiny_lib-1.3.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-lib\nVersion: 1.3\n"
    )
    after = identity()
    assert after["library"] == {"tiny-lib": "1.3"}
    assert content_key(before) != content_key(after)
    assert {**after, "library": before["library"]} == before


def test_a_spec_resolves_an_attack_with_its_library(library, tmp_path):
    from running import write_spec

    from harness.catalogue import Catalogue
    from harness.resolve import resolve
    from harness.spec import load_specs

    manager = Manager.discover()
    entry = {"attack": "tiny/push", "eps": "1/4", "mode": "down", "name": "pushed"}
    spec = write_spec(tmp_path / "spec", correctors=[entry])
    resolved = resolve(load_specs(spec)[0], manager, Catalogue(manager.catalogues()))
    (corrector,) = resolved.correctors
    found = SimpleNamespace(**corrector.identity()["attack"])
    assert found.library == {"tiny-lib": "1.2"}
    assert (found.options["eps"], found.options["mode"]) == (0.25, "down")
