"""torchvision's import beside a torch that its extension was not built for. Each case needs an interpreter of its own."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.engine import torchvision_compat
from harness.engine.torchvision_compat import import_torchvision
from harness.errors import PluginError

# Where the extension does load, this makes it one that does not.
BREAK = """
import torch
def refuse(path): raise OSError("could not load this library")
torch.ops.load_library = refuse
"""
FAILED = """
try:
    import torchvision
except RuntimeError as error:
    assert "operator torchvision::nms does not exist" in str(error)
else:
    raise AssertionError("the remedy is not needed")
"""
DEFINED = """
library = torch.library.Library("torchvision", "FRAGMENT")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def python(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "before",
    ["", FAILED, DEFINED],
    ids=["at first", "after an import that failed", "after the same remedy by someone else"],
)
def test_torchvision_works_without_its_extension(before):
    done = python(
        BREAK
        + "from harness.engine.torchvision_compat import import_torchvision\n"
        + before
        + """
import gc
torchvision = import_torchvision()
gc.collect()
print(import_torchvision() is torchvision)
from torchvision.transforms import v2
from torchvision import datasets
print(torchvision.models.resnet18(weights=None, num_classes=3).eval()(torch.zeros(1, 3, 32, 32)).shape[1])
print(v2.Resize(4)(torch.zeros(3, 8, 8)).shape[1], hasattr(torch.ops.torchvision, "nms"))
try:
    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except RuntimeError as error:
    print(str(error)[:31])
"""
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True", "3", "4 True", "Couldn't load custom C++ ops. T"]


def test_where_the_extension_loads_nothing_is_declared(monkeypatch):
    loaded = []
    monkeypatch.setattr("torch.ops.load_library", loaded.append)
    monkeypatch.setattr(torchvision_compat, "_declare_operators", lambda: pytest.fail("declared all the same"))
    torchvision_compat._make_importable()
    package = Path(find_spec("torchvision").submodule_search_locations[0])
    assert [Path(path).parent for path in loaded] == [package]
    assert Path(loaded[0]).name.startswith("_C")


def test_an_imported_torchvision_is_returned_as_it_is(monkeypatch):
    first = import_torchvision()
    monkeypatch.setattr(torchvision_compat, "_make_importable", lambda: pytest.fail("prepared twice"))
    assert import_torchvision() is first is sys.modules["torchvision"]


def test_a_missing_torchvision_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torchvision_compat, "find_spec", lambda name: None)
    with pytest.raises(PluginError) as caught:
        import_torchvision()
    assert str(caught.value) == "torchvision is not installed: install it with \"pip install 'torchvision>=0.21'\""
