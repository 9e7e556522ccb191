"""The house keeps its order: who imports whom, what is imported when, and how long things are."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from harness import hookspecs
from harness.kinds import KINDS
from harness.manager import Manager

ROOT = Path(__file__).parents[1]
HARNESS = sorted((ROOT / "harness").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
REGISTRY = ROOT / "registry" / "harness_registry"

MODULE_LINES = 350  # about 300 is the guide
FUNCTION_LINES = 45
HEAVY = ("torch", "torchvision", "sklearn", "scipy", "foolbox", "matplotlib", "captum")
COMPUTING = ("harness.engine.", "harness.stages.", "harness.executors.inline", "harness.executors.working")
"""Modules that compute: imported by workers, and by nothing that lists, validates or plans."""
NAMED = ("harness.stages.jobs", "harness.stages.stage", "harness.engine.norms", "harness.engine.gradients")
"""Modules among them that a plan or a plugin's options need."""


def module_name(path):
    base = next(folder for folder in (ROOT / "plugins", ROOT / "registry", ROOT) if path.is_relative_to(folder))
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Yield every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_the_contracts_of_who_imports_whom_are_kept():
    checked = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    assert "0 broken" in checked.stdout


@pytest.mark.parametrize("path", [*PLUGINS, REGISTRY / "__init__.py"], ids=module_name)
def test_plugins_import_the_api_and_nothing_else_of_ours(path):
    ours = {name for name in imports(path) if name == "harness" or name.startswith("harness.")}
    assert ours <= {"harness.api"}


def test_the_harness_does_not_use_the_plugins_api_itself():
    users = [module_name(path) for path in HARNESS if "harness.api" in imports(path)]
    assert [name for name in users if not name.startswith("harness.testing")] == []


def test_the_registry_holds_no_code_but_its_hook():
    assert [path.name for path in REGISTRY.rglob("*.py")] == ["__init__.py"]
    body = ast.parse((REGISTRY / "__init__.py").read_text()).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert [function.name for function in functions] == ["harness_catalogues"]


def heavy_after(code):
    """Return which heavy packages are imported after ``code`` ran in a process of its own."""
    report = f"import sys; print(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_what_lists_validates_or_plans_is_imported_without_torch():
    computing = tuple(COMPUTING)
    names = [module_name(path) for path in HARNESS]
    light = [name for name in names if name in NAMED or not name.startswith(computing)]
    assert len(light) > 40
    assert heavy_after(f"import importlib\nfor name in {light!r}: importlib.import_module(name)") == []


def test_every_plugin_class_is_imported_without_torch():
    assert len(Manager.discover().names()) > 10
    code = "from harness.manager import Manager\nmanager = Manager.discover()\n"
    assert heavy_after(code + "[manager.load(plugin) for plugin in manager.names()]") == []
    assert heavy_after("import torch") == ["torch"]


@pytest.mark.parametrize("path", [*HARNESS, *PLUGINS], ids=module_name)
def test_modules_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES} == {}


def test_every_hook_has_one_sentence_and_annotations():
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("harness_")}
    assert len(hooks) == len(KINDS) + 2  # and the catalogues, and a run's events
    for hook in hooks.values():
        assert "\n" not in hook.__doc__.strip()
        assert hook.__doc__.strip()[-1] in ".…"
        assert "return" in hook.__annotations__


def test_every_name_of_the_api_is_there_and_documented():
    from harness import api

    for name in api.__all__:
        value = getattr(api, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = api.nothing
