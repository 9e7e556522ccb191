"""Let a quantizer say what this machine makes of its options, when a run is planned: keys and tables then hold no ``auto``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, PluginError

if TYPE_CHECKING:
    from harness.contract import Options
    from harness.manager import Manager, PluginName
    from harness.resolved import ResolvedQuantizer


def settled(asked: ResolvedQuantizer | None, manager: Manager) -> ResolvedQuantizer | None:
    """Return a quantizer with the options that its ``settled`` returns, None for full precision.

    Raises ``PluginError`` where the machine has not what is asked for, or what the plugin returns are no options of its own.
    """
    if asked is None:
        return None
    options = _settled_options(asked.quantizer.plugin, asked.quantizer.options, manager)
    return replace(asked, quantizer=replace(asked.quantizer, options=options))


def _settled_options(plugin: PluginName, options: Options, manager: Manager) -> Options:
    kind: Any = manager.load(plugin)
    try:
        found: Options = kind(options).settled()
    except HarnessError:
        raise
    except Exception as error:
        raised = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"{plugin} is broken: its settled() raises {raised}") from error
    fits: bool = isinstance(found, kind.options_type)
    if not fits:
        expected = kind.options_type.__name__
        raise PluginError(
            f"{plugin} is broken: its settled() returns a {type(found).__name__}; expected its options, {expected}"
        )
    return found
