"""Networks that users bring: checkpoint files as they come in the wild, and functions of their own that build a net."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from harness.errors import DataError, PluginError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from torch import Tensor, nn

_STATE_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "ema")
_WRAPPER_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_STARTS = (b"PK\x03\x04", b"\x80")  # a zip archive, as torch writes since 1.6, and a pickle, as it wrote before
_MOST_LINES = 12


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a network's tensors, on the CPU, from a safetensors file or from whatever ``torch.save`` wrote.

    Takes the state dict itself or one under ``state_dict``, ``model_state_dict``, ``model``, ``net`` or ``ema``, and
    drops prefixes such as ``module.`` that all names share. Never runs code that the file brings. Raises ``DataError``.
    """
    _check_is_file(path)
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = next((found for found in _candidates(loaded) if _is_state_dict(found)), None)
    if state is None:
        raise DataError(
            f'weights "{path}": no state dict found: got {_describe(loaded)}, expected a dict from names to tensors, '
            f"bare or under {', '.join(_STATE_ENTRIES)}; save it with torch.save(network.state_dict(), file)"
        )
    prefix = _wrapper_prefix(state)
    return {name.removeprefix(prefix): tensor.detach() for name, tensor in state.items()}


def load_into(module: nn.Module, state: Mapping[str, Tensor], *, path: Path, new_head: bool = False) -> None:
    """Copy ``state`` into ``module``, converted to its dtypes; ``path`` is named in errors.

    With ``new_head`` a last linear layer of another number of classes keeps the weights that ``module`` has. Missing counts of
    batch-norm's batches are no mismatch: old checkpoints lack them, and inference ignores them. Raises ``DataError`` that lists
    each name that is missing, unexpected or of another shape; nothing is copied then.
    """
    own = dict(module.state_dict())
    # Reading dropped a prefix that all names share; a network may have been written with just that one itself.
    own_prefix, prefix = _wrapper_prefix(own), _wrapper_prefix(state)
    given = {own_prefix + name.removeprefix(prefix): tensor for name, tensor in state.items()}
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in own]
    reshaped = [
        f"{name}: {tuple(given[name].shape)} in the file, {tuple(own[name].shape)} in the network"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    other_head = _other_head(module, given) if reshaped and not missing + unexpected else {}
    fits_but_head = len(reshaped) == len(other_head)
    if new_head and fits_but_head:
        reshaped, given = [], {name: tensor for name, tensor in given.items() if name not in other_head}
    lines = [*_listed("missing", missing), *_listed("unexpected", unexpected), *_listed("shape", reshaped)]
    if lines:
        hint = _hint(reshaped=bool(reshaped), fits_but_head=fits_but_head)
        raise DataError("\n".join([f'weights "{path}" do not fit the network {type(module).__name__}; {hint}', *lines]))
    module.load_state_dict(given, strict=False)


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, dtypes, shapes and bytes, in the order of the names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + b"\n")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def build_factory(target: str, *, folder: Path) -> Callable[..., object]:
    """Return the function that ``target``, ``"package.module:function"``, names.

    ``folder`` comes first on the import path, during the import alone. Raises ``PluginError``.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise PluginError(f'factory "{target}": expected "package.module:function", as in "my_package.models:make_net"')
    module = _import_user_module(module_name, target=target, folder=folder)
    factory = getattr(module, attribute, None)
    if factory is None:
        callables = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise PluginError(
            f'factory "{target}": {module.__file__} has no "{attribute}"{did_you_mean(attribute, callables)}'
        )
    if not callable(factory):
        raise PluginError(
            f'factory "{target}": expected a function that returns a torch.nn.Module, got {type(factory).__name__}'
        )
    found: Callable[..., object] = factory
    return found


def build_from_factory(target: str, *, folder: Path, num_classes: int) -> nn.Module:
    """Call the function that ``target`` names, with ``num_classes=`` if it takes that, and return its network.

    Raises ``PluginError``: with the type, message and place of what the function raised, or where it returns no module.
    """
    from torch import nn

    factory = build_factory(target, folder=folder)
    arguments = _arguments(factory, target=target, num_classes=num_classes)
    try:
        network = factory(**arguments)
    except (Exception, SystemExit) as error:
        raise PluginError(f'factory "{target}" raised {_told(error, folder)}') from error
    if not isinstance(network, nn.Module):
        raise PluginError(f'factory "{target}": expected it to return a torch.nn.Module, got {type(network).__name__}')
    return network


def _other_head(module: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what ``given`` holds of the last linear layer where that is for another number of classes."""
    from torch import nn

    heads = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    if not heads:
        return {}
    name, head = heads[-1]
    start = f"{name}." if name else ""
    parts = {f"{start}{part}": tensor for part, tensor in head.state_dict().items()}
    # Only the first dimension counts the classes.
    return {part: given[part] for part, own in parts.items() if _differ_in_rows(given[part], own)}


def _differ_in_rows(given: Tensor, own: Tensor) -> bool:
    return given.ndim == own.ndim and given.shape[1:] == own.shape[1:] and given.shape[:1] != own.shape[:1]


def _hint(*, reshaped: bool, fits_but_head: bool) -> str:
    if not reshaped:
        return "check that the architecture is the file's"
    if fits_but_head:
        return (
            'only its head is for other classes: "trained: false" takes the rest, gives it a new head and fine-tunes it'
        )
    return "check the number of classes and the width"


def _check_is_file(path: Path) -> None:
    if not path.exists():
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*"))) if path.parent.is_dir() else ""
        raise DataError(f'weights "{path}": no such file{near or "; paths are taken from the folder of the spec"}')
    if not path.is_file():
        raise DataError(f'weights "{path}": expected a file such as net.safetensors or net.pth, got a folder')
    if path.stat().st_size == 0:
        raise DataError(f'weights "{path}": the file is empty; copy or download it again')


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(_unreadable(path, "a safetensors file", error)) from error


def _read_torch(path: Path) -> object:
    import torch

    with path.open("rb") as file:
        start = file.read(24)
    if not start.startswith(_STARTS):
        lfs = "; it is a Git LFS pointer: run git lfs pull" if start.startswith(b"version https://git-lfs") else ""
        raise DataError(
            f'weights "{path}": expected a file that torch.save wrote (or name.safetensors), got one that starts with '
            f"{start!r}{lfs or '; copy or download it again'}"
        )
    try:
        with torch.serialization.safe_globals(_harmless_globals()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats, which are read all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to, a KeyError for one
        raise DataError(_refusal(path, error)) from error


def _harmless_globals() -> list[Any]:
    """Return what checkpoints often hold beside the weights, arguments and numpy scalars, and no code hides in."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in "?efd" + np.typecodes["AllInteger"]]
    return [Namespace, np.dtype, *dtypes, scalar, (scalar, "numpy.core.multiarray.scalar")]


def _refusal(path: Path, error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+) was not", str(error))
    if found is None and "TorchScript" not in str(error):
        return _unreadable(path, "a file that torch.save wrote", error)
    held = "a TorchScript program" if found is None else f"a pickled {found[1]}"
    load = "torch.jit.load(file).state_dict()" if found is None else "the network's state_dict()"
    return (
        f'weights "{path}": refused, because the file holds {held}, and reading that can run any code; where you '
        f"trust it, read it yourself and save the tensors alone: torch.save({load}, file)"
    )


def _unreadable(path: Path, expected: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    return f'weights "{path}": damaged or cut short: expected {expected}, got "{reason}"; copy or download it again'


def _candidates(loaded: object, *, depth: int = 2) -> Iterator[object]:
    yield loaded
    if depth and isinstance(loaded, Mapping):
        for name in _STATE_ENTRIES:
            yield from _candidates(loaded.get(name), depth=depth - 1)


def _is_state_dict(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    from torch import Tensor

    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(entry, Tensor) for name, entry in value.items())


def _describe(loaded: object) -> str:
    if not isinstance(loaded, Mapping):
        return f"a {type(loaded).__name__}"
    entries = [f"{name} ({type(entry).__name__})" for name, entry in loaded.items()]
    more = f" and {len(entries) - _MOST_LINES} more" if len(entries) > _MOST_LINES else ""
    return f"a dict of {', '.join(entries[:_MOST_LINES])}{more}" if entries else "an empty dict"


def _wrapper_prefix(names: Iterable[str]) -> str:
    """Return the longest chain of wrappers' prefixes, such as ``module._orig_mod.``, that all names share."""
    prefix, names = "", list(names)
    while names:
        shared = [wrapper for wrapper in _WRAPPER_PREFIXES if all(name.startswith(prefix + wrapper) for name in names)]
        if not shared:
            break
        prefix += shared[0]
    return prefix


def _listed(title: str, items: list[str]) -> list[str]:
    lines = [f"  {title}: {item}" for item in items[:_MOST_LINES]]
    return [*lines, f"  {title}: {len(items) - _MOST_LINES} more"] if len(items) > _MOST_LINES else lines


def _import_user_module(name: str, *, target: str, folder: Path) -> ModuleType:
    try:
        with _first_on_path(folder):
            _forget_namesake(name.partition(".")[0], folder)
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # the module is the user's: it may raise anything, or exit
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise PluginError(
                f'factory "{target}": no module "{error.name}", neither in {folder} nor installed; expected '
                f'"package.module:function", with the package beside the spec or installed'
            ) from error
        raise PluginError(f'factory "{target}": the import of "{name}" raised {_told(error, folder)}') from error


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if entry in sys.path:  # the user's module may have changed the path itself
            sys.path.remove(entry)


def _forget_namesake(package: str, folder: Path) -> None:
    """Unload a package that another spec's folder gave the same name: its network would be taken for this one's."""
    here, loaded = PathFinder.find_spec(package, [str(folder.resolve())]), sys.modules.get(package)
    if here is None or loaded is None or (loaded.__spec__ and loaded.__spec__.origin == here.origin):
        return
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
        del sys.modules[name]


def _arguments(factory: Callable[..., object], *, target: str, num_classes: int) -> dict[str, int]:
    try:
        signature = inspect.signature(factory)
    except ValueError:  # a builtin, which does not tell
        return {}
    takes = any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == "num_classes" and parameter.kind is not parameter.POSITIONAL_ONLY)
        for parameter in signature.parameters.values()
    )
    arguments = {"num_classes": num_classes} if takes else {}
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise PluginError(
            f'factory "{target}": {error}; it is called with num_classes alone: give its other arguments defaults'
        ) from error
    return arguments


def _told(error: BaseException, folder: Path) -> str:
    """Return type, message and the last place in the user's own files, so that the user need not ask for a traceback."""
    if isinstance(error, SyntaxError) and error.filename:
        places = [(error.filename, error.lineno)]
        message = error.msg
    else:
        places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        places = [place for place in places if place[0] != __file__]
        message = str(error)
    root = folder.resolve()
    inside = [place for place in places if Path(place[0]).is_relative_to(root) and "site-packages" not in place[0]]
    where = [f" ({Path(file).name}:{line})" for file, line in (inside or places)[-1:]]
    return f"{type(error).__name__}: {message}{''.join(where)}"
