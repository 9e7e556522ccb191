"""Conflicting, broken, outdated and misspelt plugins, each a distribution that pip installs into an environment of its own."""

from __future__ import annotations

import json
import re

import pytest
from fresh_environments import FreshEnvironment
from running import TINY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]  # pip builds the distributions for the first test that asks

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"

[project.entry-points."{group}"]
{entry} = "{module}"

[tool.setuptools]
py-modules = ["{module}"]
"""

OFFER = """
from harness.api import Attack, Capabilities, Library, hookimpl, input_gradient


@hookimpl
def harness_attacks():
    return {offered}


class Step(Attack):
    \"\"\"Take one step along the sign of the gradient.\"\"\"

    capabilities = Capabilities(norm="linf", targeted=True, untargeted=True, gradients=True)

    def run(self, classifier, images, criterion):
        gradient = input_gradient(classifier, images, criterion)
        return (images - 0.1 * gradient.sign()).clamp(*classifier.bounds)
"""

HOLLOW = {
    "no-module": "hollow_attacks_elsewhere:Step",
    "no-class": "hollow_attacks:Stepp",
    "no-attack": "hollow_attacks:Library",
}

OLD = """
import os
from pathlib import Path

Path(os.environ["OLD_MARKER"]).touch()
"""

MISSPELT = """
from harness.api import hookimpl


@hookimpl
def harness_atacks():
    return {"never-offered": "misspelt_attacks:Step"}


def harness_adapters():
    return {"never-called": "misspelt_attacks:Soft"}
"""

THIRSTY = """
    library = Library(distribution="no-such-library-anywhere", install="pip install no-such-library-anywhere")
"""

RAISING = """
from harness.api import hookimpl


@hookimpl
def harness_attacks():
    raise LookupError("no catalogue of attacks")


@hookimpl
def harness_run_event(event):
    raise OSError("no tracker")
"""

DISTRIBUTIONS = {
    "sound-attacks": OFFER.format(offered='{"step": "sound_attacks:Step", "twin": "sound_attacks:Step"}'),
    "second-attacks": OFFER.format(offered='{"twin": "second_attacks:Step", "other": "second_attacks:Step"}'),
    "torn-attacks": "raise RuntimeError('torn in two')",
    "hollow-attacks": OFFER.format(offered=HOLLOW),
    "old-attacks": OLD,
    "misspelt-attacks": MISSPELT,
    "thirsty-attacks": OFFER.format(offered='{"thirsty": "thirsty_attacks:Step"}') + THIRSTY,
    "raising-attacks": RAISING,
}
GROUPS = {"old-attacks": "harness.v0"}
VERSION = "1.4"


def write(folder, name):
    """Write a distribution's project: its one module has its name, its entry point the first word of that."""
    place = folder / name
    place.mkdir(parents=True)
    module = name.replace("-", "_")
    values = {"version": VERSION, "group": GROUPS.get(name, "harness.v1"), "entry": name.partition("-")[0]}
    (place / "pyproject.toml").write_text(PROJECT.format(name=name, module=module, **values))
    (place / f"{module}.py").write_text(DISTRIBUTIONS[name])
    return place


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Build all of them once: their wheels by their names."""
    folder = tmp_path_factory.mktemp("distributions")
    places = [str(write(folder / "projects", name)) for name in DISTRIBUTIONS]
    builder = FreshEnvironment(folder / "venv")
    built = builder.run(f"python -m pip wheel --quiet --no-deps --wheel-dir wheels {' '.join(places)}", cwd=folder)
    assert built.returncode == 0, built.stdout
    return {path.name.partition("-")[0].replace("_", "-"): path for path in (folder / "wheels").iterdir()}


def environment_with(wheels, folder, *names):
    """Make an environment and install distributions into it."""
    environment = FreshEnvironment(folder / "venv")
    paths = " ".join(str(wheels[name]) for name in names)
    installed = environment.run(f"python -m pip install --quiet --no-deps {paths}", cwd=folder)
    assert installed.returncode == 0, installed.stdout
    return environment


@pytest.fixture(scope="module")
def everything(wheels, tmp_path_factory):
    """Return an environment in which all of them are installed."""
    return environment_with(wheels, tmp_path_factory.mktemp("everything"), *DISTRIBUTIONS)


@pytest.fixture
def call(everything, tmp_path):
    """Return a function that runs a command there: ``call("harness doctor", code=1)`` returns what it says."""

    def calling(command, *, code=0, environment=everything):
        ran = environment.run(command, cwd=tmp_path, COLUMNS="300", OLD_MARKER=str(tmp_path / "imported"))
        assert ran.returncode == code, ran.stdout
        return ran.stdout

    yield calling
    assert not (tmp_path / "imported").exists(), "what is written for another version was imported"


def write_spec(folder, *attacks):
    changes = {
        "correctors": [{"attack": attack} for attack in attacks],
        "adaptation": TINY["adaptation"] | {"steps": 5, "validations": 1},
    }
    (folder / "tiny.yaml").write_text(json.dumps(TINY | changes, indent=1))


@pytest.fixture(scope="module")
def findings(everything, tmp_path_factory):
    """Return what the doctor finds: verdict, subject, message and remedy of each."""
    folder = tmp_path_factory.mktemp("doctor")
    ran = everything.run("harness doctor --json 2>/dev/null", cwd=folder, OLD_MARKER=str(folder / "imported"))
    assert ran.returncode == 1, ran.stdout
    assert not (folder / "imported").exists()
    return [
        (one["verdict"], one["subject"], one["message"], one["remedy"]) for one in json.loads(ran.stdout)["findings"]
    ]


# -- the doctor ------------------------------------------------------------------------------------------------------------


def test_the_doctor_names_every_problem_with_its_distribution_and_exits_with_1(findings):
    hollow = f"(hollow-attacks {VERSION}) is broken: "
    broken = [finding[1:] for finding in findings if finding[0] == "broken"]
    assert {(subject, message) for subject, message, _ in broken} == {
        (
            "plugin torn",
            "torn-attacks: cannot be imported: RuntimeError: torn in two",
        ),
        (
            "plugin old",
            "old-attacks: is written for harness.v0, this is harness.v1; look for a release that fits",
        ),
        (
            "plugin raising",
            "raising-attacks: harness_attacks raised LookupError: no catalogue of attacks",
        ),
        (
            "plugin misspelt",
            'misspelt-attacks: implements no known hook "harness_atacks"; did you mean "harness_attacks"?',
        ),
        (
            "plugin misspelt",
            'misspelt-attacks: defines "harness_adapters" without @hookimpl, so that it is never called',
        ),
        (
            "attack hollow/no-module",
            (
                f'attack "hollow/no-module" {hollow}"hollow_attacks_elsewhere" cannot be imported: ModuleNotFoundError: '
                "No module named 'hollow_attacks_elsewhere'"
            ),
        ),
        (
            "attack hollow/no-class",
            f'attack "hollow/no-class" {hollow}"hollow_attacks" has no "Stepp"; did you mean "Step"?',
        ),
        (
            "attack hollow/no-attack",
            f'attack "hollow/no-attack" {hollow}"hollow_attacks:Library" is no subclass of harness.api.Attack',
        ),
    }
    for subject, message, remedy in broken:
        distribution = "hollow-attacks" if subject.startswith("attack") else message.partition(":")[0]
        assert remedy == f'"pip uninstall {distribution}" removes it'


def test_the_doctor_notes_a_name_that_two_claim_and_a_library_that_plugins_wait_for(findings):
    notes = [finding[1:] for finding in findings if finding[0] == "note"]
    assert ("attack twin", "claimed by second/twin and sound/twin", "name one of those in specs") in notes
    assert (
        "library",
        'no-such-library-anywhere is not installed: 1 plugin waits for that; run "pip install no-such-library-anywhere"',
        "",
    ) in notes


def test_the_module_that_must_not_be_imported_would_tell(everything, tmp_path):
    """The other tests look for its mark: here it is made on purpose."""
    ran = everything.run("python -c 'import old_attacks'", cwd=tmp_path, OLD_MARKER=str(tmp_path / "imported"))
    assert (ran.returncode, (tmp_path / "imported").exists()) == (0, True)


# -- the list --------------------------------------------------------------------------------------------------------------


def test_the_list_has_the_good_ones_and_says_beside_it_what_is_wrong(call):
    shown = call("harness plugins list --kind attack")
    for name in ("sound/step", "sound/twin", "second/twin", "second/other", "paper/bim"):
        assert re.search(rf"^ +{name} +linf ", shown, re.MULTILINE), name
    assert re.search(r"^ +hollow/no-class .*hollow-attacks \(broken\)", shown, re.MULTILINE)
    assert re.search(r"^ +thirsty/thirsty .*no-such-library-anywhere \(not installed\)", shown, re.MULTILINE)
    lines = shown.splitlines()
    assert "torn-attacks/torn cannot be imported: RuntimeError: torn in two" in lines
    assert (
        'no-such-library-anywhere is not installed: 1 plugin waits for that; run "pip install no-such-library-anywhere"'
        in lines
    )
    assert "never-offered" not in shown
    assert "never-called" not in shown


def test_the_json_has_the_good_ones_the_broken_ones_and_the_problems(call):
    document = json.loads(call("harness plugins list --json 2>/dev/null"))
    plugins = {plugin["qualified"]: plugin for plugin in document["plugins"]}
    for name in ("sound/step", "sound/twin", "second/twin", "thirsty/thirsty"):
        assert (plugins[name]["version"], plugins[name]["norm"], "problem" in plugins[name]) == (VERSION, "linf", False)
    assert {name for name, plugin in plugins.items() if "problem" in plugin} == {f"hollow/{name}" for name in HOLLOW}
    assert {problem["distribution"] for problem in document["problems"]} == {
        "torn-attacks",
        "old-attacks",
        "misspelt-attacks",
        "raising-attacks",
    }


# -- specs -----------------------------------------------------------------------------------------------------------------


def test_a_bare_name_that_two_distributions_claim_is_refused_with_both_and_the_way_out(call, tmp_path):
    write_spec(tmp_path, "twin")
    shown = call("harness run tiny.yaml --dry-run", code=3)
    assert re.match(r"harness: tiny\.yaml:\d+:\d+: ", shown)
    assert (
        f'ambiguous attack "twin": claimed by second/twin (second-attacks {VERSION}) and sound/twin (sound-attacks '
        f'{VERSION}); use "second/twin" or "sound/twin"\n'
    ) in shown


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("no-module", '"hollow_attacks_elsewhere" cannot be imported'),
        ("hollow/no-class", 'has no "Stepp"; did you mean "Step"?'),
        ("hollow-attacks/no-attack", "is no subclass of harness.api.Attack"),
        ("thirsty", 'which is not installed; run "pip install no-such-library-anywhere"'),
        (
            "torn/step",
            f'plugin "torn" (torn-attacks {VERSION}) cannot be imported: RuntimeError: torn in two. See "harness doctor".',
        ),
        ("old/step", "is written for harness.v0, this is harness.v1; look for a release that fits"),
        ("raising/step", "harness_attacks raised LookupError: no catalogue of attacks"),
        ("never-offered", 'unknown attack "never-offered". See "harness plugins list". 4 plugins have problems'),
    ],
)
def test_a_spec_that_names_what_cannot_be_used_is_refused_with_the_reason(call, tmp_path, attack, said):
    write_spec(tmp_path, attack)
    shown = call("harness run tiny.yaml --dry-run", code=3)
    assert re.match(r"harness: tiny\.yaml:\d+:\d+: ", shown)
    assert said in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "results" / "tiny").exists()


def test_a_spec_that_names_good_ones_alone_runs_to_its_end(call, tmp_path):
    write_spec(tmp_path, "step", "second/twin")
    call("harness run tiny.yaml --workers 1")
    written = (tmp_path / "results" / "tiny" / "records").glob("*.json")
    records = [json.loads(path.read_text()) for path in written]
    assert {record["correction"]["attack"] for record in records} == {"sound/step", "second/twin"}
    assert all(record["correction"]["corrected"] > 0 for record in records)
    assert {
        (record["versions"].get("sound-attacks"), record["versions"].get("second-attacks")) for record in records
    } == {
        (VERSION, None),
        (None, VERSION),
    }
    assert not list((tmp_path / "results" / "tiny").glob("failures/*.json"))


# -- the way out -----------------------------------------------------------------------------------------------------------


def test_without_one_of_the_two_that_conflict_the_bare_name_means_the_other(wheels, call, tmp_path):
    environment = environment_with(wheels, tmp_path, "sound-attacks", "second-attacks")
    assert 'ambiguous attack "twin"' in call("harness plugins show twin", code=3, environment=environment)
    call("python -m pip uninstall --quiet --yes second-attacks", environment=environment)
    shown = call("harness plugins show twin", environment=environment)
    assert shown.startswith(f"sound/twin: attack of sound-attacks {VERSION}, sound_attacks:Step\n")
    write_spec(tmp_path, "twin")
    planned = call("harness run tiny.yaml --dry-run", environment=environment)
    assert "twin" in planned
