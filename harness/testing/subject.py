"""The plugin under check: its class, its options, and the toys that it is tried on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import PluginError
from harness.plugin_options import validated_options
from harness.testing.checks import CheckFailed, CheckSkipped, described, needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.contract import Configurable, Options
    from harness.manager import Manager, PluginName
    from harness.testing.toys import Toys


class NotMade(CheckSkipped):
    """The plugin's class raised when an instance was to be made; ``error`` describes what."""

    def __init__(self, error: str) -> None:
        super().__init__(f"says nothing while no instance can be made ({error})")
        self.error = error


class Subject:
    """A plugin with the options ``given``, its defaults where there are none."""

    def __init__(self, manager: Manager, plugin: PluginName, given: Mapping[str, Any] | Options | None = None) -> None:
        self.manager = manager
        self.plugin = plugin
        self.given = given

    @cached_property
    def loaded(self) -> type[Configurable[Options]]:
        """The plugin's class. Raises ``CheckSkipped`` where it cannot be imported."""
        try:
            return self.manager.load(self.plugin)
        except PluginError as error:
            raise needs("target-resolves") from error

    @cached_property
    def options(self) -> Options:
        """The options. Raises ``UsageError`` where those given do not fit, ``CheckSkipped`` where there are no defaults."""
        if self.given is not None:
            return validated_options(self.plugin, self.loaded, self.given)
        if self.required:
            raise CheckSkipped(f"has no default for {', '.join(self.required)}; give options")
        try:
            return self.loaded.options_type()
        except ValidationError as error:
            raise needs("defaults-round-trip") from error

    @property
    def required(self) -> list[str]:
        """The options without a default."""
        return [name for name, field in self.loaded.options_type.model_fields.items() if field.is_required()]

    @cached_property
    def made(self) -> Any:
        """An instance, one for all runs as in an experiment. Raises ``CheckSkipped`` where its library is not installed."""
        return self.make()

    def make(self) -> Any:
        """Return a new instance. Raises ``NotMade`` where its class raises, ``CheckSkipped`` without its library."""
        loaded: Any = self.loaded
        try:
            self.manager.load_ready(self.plugin)
        except PluginError as error:
            raise CheckSkipped(str(error)) from error
        options = self.options
        try:
            return loaded(options)
        except Exception as error:
            raise NotMade(described(error)) from error

    def check_made(self) -> None:
        """Raise ``CheckFailed`` where no instance can be made."""
        try:
            _ = self.made
        except NotMade as failure:
            raise CheckFailed(
                f"raised {failure.error} when it was made; expected an instance: do nothing in __init__ but keep the options"
            ) from failure

    @cached_property
    def toys(self) -> Toys:
        """The toy network and its images."""
        from harness.testing.toys import Toys

        return Toys.make()
