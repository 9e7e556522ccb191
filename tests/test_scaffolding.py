"""A package that `harness plugins new` writes: whole or not at all, tidy, and working where a stranger installs it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fresh_environments import FreshEnvironment

import harness
from harness.errors import UsageError
from harness.scaffolding import LONGEST_NAME, PACKAGE_KINDS, new_package, write_package

LONG = "x" * LONGEST_NAME
NAMES = {"attack": "my-attack", "adapter": "my-adapter"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a folder with a package of each kind; read it only."""
    folder = tmp_path_factory.mktemp("written")
    for kind, name in NAMES.items():
        write_package(new_package(kind, name), folder)
    return folder


def paths_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# -- what is written -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PACKAGE_KINDS)
def test_a_package_has_all_that_is_needed_to_publish_it_but_a_licence(kind, tmp_path):
    package = new_package(kind, f"my-{kind}")
    made = write_package(package, tmp_path)
    folder = tmp_path / f"my-{kind}"
    assert paths_in(folder) == {
        ".github/workflows/ci.yml",
        ".gitignore",
        "README.md",
        "digits.yaml",
        f"my_{kind}/__init__.py",
        f"my_{kind}/{kind}.py",
        f"my_{kind}/py.typed",
        "pyproject.toml",
        f"tests/test_my_{kind}.py",
    }
    assert {path.relative_to(folder).as_posix() for path in made} == paths_in(folder)
    assert [path.name for path in tmp_path.iterdir()] == [f"my-{kind}"]
    assert "add a licence" in (folder / "README.md").read_text()
    for path in made:
        assert "$" not in path.read_text(), f"something is left to be filled in: {path}"


def test_the_entry_point_names_the_package_in_the_group_of_the_api():
    for kind in PACKAGE_KINDS:
        project = tomllib.loads(dict(new_package(kind, "l2-step").texts())["pyproject.toml"])["project"]
        assert project["entry-points"] == {"harness.v1": {"l2-step": "l2_step"}}
        assert project["name"] == "l2-step"


def test_the_files_are_everyones_to_read_that_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        write_package(new_package("attack", "my-attack"), tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "my-attack").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "my-attack" / "README.md").stat().st_mode & 0o777 == 0o644


def test_where_the_name_is_taken_the_specs_and_tests_use_the_longer_one():
    texts = dict(new_package("attack", "bim", name_is_taken=True).texts())
    assert "{attack: bim/bim, " in texts["digits.yaml"]
    assert 'conformance_suite("bim/bim")' in texts["tests/test_bim.py"]
    assert '{"bim": "bim.attack:Bim"}' in texts["bim/__init__.py"]


# -- names -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My_Attack", 'plugin name "My_Attack": expected lower-case letters, digits and single dashes'),
        ("My_Attack", 'at most 30 characters; try "my-attack"'),
        ("2-step", 'try "step"'),
        ("-", "beginning with a letter, at most 30 characters"),
        ("", "beginning with a letter, at most 30 characters"),
        ("two--dashes", 'try "two-dashes"'),
        ("ends-", 'try "ends"'),
        ("../up", 'try "up"'),
        ("größe", "expected lower-case letters"),
        (LONG + "x", f'try "{LONG}"'),
        ("lambda", '"lambda": is a word of Python\'s own; choose another, such as "my-lambda"'),
        ("none", "is a word of Python's own"),
        ("random", 'its package would hide another "random"'),
        ("test", 'its package would hide another "test"'),
        ("torch", 'its package would hide another "torch"'),
        ("harness-extras", "is kept for the harness's own packages"),
        ("options", 'its class "Options" would hide one that it is made with'),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_a_way_out(name, said):
    with pytest.raises(UsageError) as error:
        new_package("attack", name)
    assert said in str(error.value)
    assert error.value.exit_code == 2


def test_a_name_that_is_proposed_is_accepted():
    for name in ("My_Attack", "2-step", "two--dashes", LONG + "x", "x" * 29 + "--y", "größe 1"):
        with pytest.raises(UsageError) as error:
            new_package("attack", name)
        _, _, proposed = str(error.value).partition('try "')
        assert new_package("attack", proposed.rstrip('"')).name


@pytest.mark.parametrize("kind", PACKAGE_KINDS)
def test_no_class_is_called_as_what_its_module_uses(kind):
    texts = dict(new_package(kind, "zz-example").texts())
    used = set()
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text)) if path.endswith(".py") else ():
            if isinstance(node, ast.ImportFrom):
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ClassDef):
                used.add(node.name)
    classes = {name for name in used if name.istitle() or name[:1].isupper()} - {"ZzExample", "ZzExampleOptions"}
    assert len(classes) > 4
    for name in classes:
        kebab = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).strip("-")
        with pytest.raises(UsageError):
            new_package(kind, kebab)


# -- all or nothing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "file", "link to nothing"])
def test_what_exists_is_never_written_over(what, tmp_path):
    place = tmp_path / "my-attack"
    if what == "folder":
        place.mkdir()
    elif what == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError) as error:
        write_package(new_package("attack", "my-attack"), tmp_path)
    assert str(error.value) == (
        f'{place}: exists, and is not overwritten; choose another name or another "--directory"'
    )
    assert [path.name for path in tmp_path.iterdir()] == ["my-attack"]
    assert not place.is_file() or place.read_text() == "mine"
    assert not place.is_dir() or not list(place.iterdir())


@pytest.mark.parametrize("raised", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_half_way_leaves_nothing(raised, tmp_path, monkeypatch):
    write_text = Path.write_text

    def full(path, *args, **kwargs):
        if path.name == "pyproject.toml":
            raise raised
        return write_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises((UsageError, KeyboardInterrupt)) as error:
        write_package(new_package("attack", "my-attack"), tmp_path)
    if isinstance(raised, OSError):
        assert str(error.value) == (
            f"{tmp_path / 'my-attack'}: cannot be written: No space left on device; nothing is left of it"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_none_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written: Not a directory"):
        write_package(new_package("attack", "my-attack"), tmp_path / "file")


# -- tidy ------------------------------------------------------------------------------------------------------------------


def checked(*arguments, cwd):
    """Run a tool of this environment and return what it says; it must be content."""
    # Where the harness is installed in place, mypy does not find it by itself.
    environment = {**os.environ, "MYPYPATH": str(Path(harness.__file__).parents[1])}
    command = [sys.executable, "-m", *arguments]
    ran = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("name", ["z", "my-own", LONG])
@pytest.mark.parametrize("kind", PACKAGE_KINDS)
def test_what_is_written_is_formatted_and_linted(kind, name, tmp_path):
    write_package(new_package(kind, name), tmp_path)
    checked("ruff", "format", "--no-cache", "--check", ".", cwd=tmp_path / name)
    checked("ruff", "check", "--no-cache", ".", cwd=tmp_path / name)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_is_written_passes_mypy_strict(written, tmp_path):
    places = [place for kind, name in NAMES.items() for place in (f"{name}/my_{kind}", f"{name}/tests")]
    config = f"{NAMES['attack']}/pyproject.toml"
    assert tomllib.loads((written / config).read_text())["tool"]["mypy"]["strict"] is True
    quiet = ("--follow-imports", "silent", "--cache-dir", str(tmp_path))
    assert "no issues found in 6" in checked("mypy", "--config-file", config, *quiet, *places, cwd=written)


# -- installed by a stranger -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stranger(written, tmp_path_factory):
    """Return an environment in which both packages are installed, as their READMEs say; not in place."""
    environment = FreshEnvironment(tmp_path_factory.mktemp("stranger") / "venv")
    for name in NAMES.values():
        installed = environment.run("python -m pip install --quiet '.[test]'", cwd=written / name)
        assert installed.returncode == 0, installed.stdout
    return environment


def said(environment, command, *, cwd):
    ran = environment.run(command, cwd=cwd)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.slow
def test_the_installed_plugins_are_listed(stranger, tmp_path):
    listed = json.loads(said(stranger, "harness plugins list --json 2>/dev/null", cwd=tmp_path))["plugins"]
    found = {plugin["name"]: plugin for plugin in listed if plugin["name"] in NAMES.values()}
    assert {name: (one["kind"], one["qualified"], one["version"]) for name, one in found.items()} == {
        "my-attack": ("attack", "my-attack/my-attack", "0.1.0"),
        "my-adapter": ("adapter", "my-adapter/my-adapter", "0.1.0"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACKAGE_KINDS)
def test_the_tests_that_are_written_pass(kind, stranger, written):
    shown = said(stranger, "python -m pytest -p no:cacheprovider", cwd=written / NAMES[kind])
    assert " passed" in shown
    assert "failed" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACKAGE_KINDS)
def test_the_conformance_check_is_content(kind, stranger, tmp_path):
    said(stranger, f"harness plugins check {NAMES[kind]}", cwd=tmp_path)


RESOLVE = """
import sys
from pathlib import Path
from harness.catalogue import Catalogue
from harness.manager import Manager
from harness.resolve import resolve
from harness.spec import load_specs

manager = Manager.discover()
for spec in sys.argv[1:]:
    resolved = resolve(load_specs(Path(spec))[0], manager, Catalogue(manager.catalogues()))
    print(*[each.name for each in (*resolved.correctors, *resolved.adapters)])
"""


@pytest.mark.slow
def test_the_specs_that_are_written_name_what_is_there(stranger, written, tmp_path):
    (tmp_path / "resolve.py").write_text(RESOLVE)
    specs = [f"{written}/{name}/digits.yaml" for name in NAMES.values()]
    shown = said(stranger, f"python resolve.py {' '.join(specs)}", cwd=tmp_path)
    assert shown.splitlines() == ["none vbi mine deep-coral", "none vbi deep-coral mine"]


@pytest.mark.slow
def test_what_is_written_corrects_and_adapts(stranger, written, tmp_path):
    """The attack's spec with the adapter's adapter: one seed, no controls, few steps."""
    text = (written / NAMES["attack"] / "digits.yaml").read_text()
    changes = {
        "seeds: [1, 2]": "seeds: [1]",
        "adapters: [deep-coral]": "adapters: [{adapter: my-adapter, weight: 0.1, name: ours}]",
        "controls: default": "controls: none",
        "steps: 300": "steps: 20",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "digits.yaml").write_text(text)
    said(stranger, "harness run digits.yaml --workers 1", cwd=tmp_path)
    records = (tmp_path / "results" / "my-attack-on-digits" / "records").glob("*.json")
    read = [json.loads(path.read_text()) for path in records]
    cells = {(record["cell"]["corrector"], record["cell"]["adapter"]): record for record in read}
    assert set(cells) >= {("vbi", "ours"), ("mine", "ours")}
    assert cells["mine", "ours"]["correction"]["corrected"] > 0
