"""The plugin under check: its class, its options, and the toys that it is tried on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.contract import Options
from harness.errors import PluginError, UsageError, did_you_mean
from harness.testing.checks import CheckFailed, CheckSkipped, described, needs
from harness.validation import dotted, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.contract import Configurable
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
            return self._validated(self.given)
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

    def _validated(self, given: Mapping[str, Any] | Options) -> Options:
        if isinstance(given, Options):
            return given
        options_type = self.loaded.options_type
        try:
            return options_type.model_validate(given)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            name = dotted(found["loc"]) or "options"
            known = list(options_type.model_fields)
            if found["type"] == "extra_forbidden":
                expected = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
                raise UsageError(f'{self.plugin.title} has no option "{name}"{expected if known else ""}') from error
            raise UsageError(
                f'{self.plugin.title}: option "{name}": got {shown(found["input"])}; {found["msg"]}'
            ) from error
