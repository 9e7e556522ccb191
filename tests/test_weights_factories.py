"""Functions of the user's own that build a network: how they are found, called, and told apart when they fail."""

import sys

import pytest
from torch import nn

from harness.errors import PluginError
from harness.weights import build_from_factory

ALONE = "it is called with num_classes alone: give its other arguments defaults"
MODULE = """
import sys
from torch import nn
from layers_of_mine import head
sys.path_seen = list(sys.path)

SIZE = 3
def make_net(num_classes): return head(num_classes)
def make_any(**kwargs): return head(kwargs["num_classes"])
def make_fixed(): return head(4)
def make_wide(width, depth=2): return head(4)
def make_number(): return 3
def make_failure(num_classes):
    return nn.Linear("three", num_classes)
def make_exit(): sys.exit("no arguments given")
class MakeNet(nn.Linear):
    def __init__(self, num_classes=10): super().__init__(3, num_classes)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as a user has it: a module that builds networks, and one that it imports."""
    (tmp_path / "models_of_mine.py").write_text(MODULE)
    (tmp_path / "layers_of_mine.py").write_text("from torch import nn\ndef head(n): return nn.Linear(3, n)\n")
    yield tmp_path
    for name in ("models_of_mine", "layers_of_mine", "broken_of_mine", "package_of_mine"):
        sys.modules.pop(name, None)


def made(name, folder, num_classes=7):
    return build_from_factory(f"models_of_mine:{name}", folder=folder, num_classes=num_classes)


def broken(target, folder):
    with pytest.raises(PluginError) as caught:
        build_from_factory(target, folder=folder, num_classes=7)
    return str(caught.value)


@pytest.mark.parametrize(("name", "outputs"), [("make_net", 7), ("make_any", 7), ("make_fixed", 4), ("MakeNet", 7)])
def test_a_factory_is_told_the_number_of_classes_if_it_takes_it(folder, name, outputs):
    assert made(name, folder).out_features == outputs


def test_the_folder_is_on_the_import_path_during_the_import_alone(folder):
    before = list(sys.path)
    made("make_net", folder)
    assert sys.path == before
    assert sys.path_seen == [str(folder), *before]


def test_two_folders_modules_of_one_name_are_told_apart(folder):
    (folder / "other").mkdir()
    (folder / "other" / "models_of_mine.py").write_text("from torch import nn\ndef make_net(): return nn.ReLU()\n")
    assert isinstance(made("make_net", folder), nn.Linear)
    assert isinstance(made("make_net", folder / "other"), nn.ReLU)
    assert isinstance(made("make_net", folder), nn.Linear)


@pytest.mark.parametrize("target", ["models_of_mine", "models_of_mine:", ":make_net"])
def test_a_target_of_another_form_is_refused(folder, target):
    assert broken(target, folder) == (
        f'factory "{target}": expected "package.module:function", as in "my_package.models:make_net"'
    )


@pytest.mark.parametrize("module", ["absent_of_mine", "models_of_mine.sub"])
def test_a_missing_module_is_named(folder, module):
    assert broken(f"{module}:make", folder) == (
        f'factory "{module}:make": no module "{module}", neither in {folder} nor installed; expected '
        '"package.module:function", with the package beside the spec or installed'
    )


def test_a_missing_function_suggests_the_nearest(folder):
    assert broken("models_of_mine:make_nett", folder) == (
        f'factory "models_of_mine:make_nett": {folder / "models_of_mine.py"} has no "make_nett"; did you mean '
        '"make_net"?'
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SIZE", "expected a function that returns a torch.nn.Module, got int"),
        ("make_number", "expected it to return a torch.nn.Module, got int"),
        (
            "make_wide",
            f"missing a required argument: 'width'; {ALONE}",
        ),
    ],
)
def test_a_factory_that_does_not_fit_is_told_why(folder, name, reason):
    assert broken(f"models_of_mine:{name}", folder) == f'factory "models_of_mine:{name}": {reason}'


def test_what_a_factory_raises_is_told_with_the_line_of_the_users_file(folder):
    message = broken("models_of_mine:make_failure", folder)
    assert message.startswith('factory "models_of_mine:make_failure" raised TypeError: ')
    line = MODULE.splitlines().index('    return nn.Linear("three", num_classes)') + 1
    assert message.endswith(f" (models_of_mine.py:{line})")


def test_a_factory_that_exits_does_not_end_the_run(folder):
    assert 'make_exit" raised SystemExit: no arguments given (models_of_mine.py:' in broken(
        "models_of_mine:make_exit", folder
    )


def test_a_factory_without_python_lines_is_told_without_a_place(folder):
    assert broken("builtins:next", folder) == (
        'factory "builtins:next" raised TypeError: next expected at least 1 argument, got 0'
    )


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "x = 1\nimport absent_of_mine\n",
            "ModuleNotFoundError: No module named 'absent_of_mine' (broken_of_mine.py:2)",
        ),
        ("x = 1\n\n1 / 0\n", "ZeroDivisionError: division by zero (broken_of_mine.py:3)"),
        ("x = 1\ny = = 2\n", "SyntaxError: invalid syntax (broken_of_mine.py:2)"),
    ],
    ids=["import", "exception", "syntax"],
)
def test_what_a_module_raises_at_import_is_told_with_its_line(folder, source, told):
    (folder / "broken_of_mine.py").write_text(source)
    assert broken("broken_of_mine:make", folder) == (
        f'factory "broken_of_mine:make": the import of "broken_of_mine" raised {told}'
    )
