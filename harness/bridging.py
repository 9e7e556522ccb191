"""Turn a library's attacks into plugins: a table of data names them with their options and capabilities, without the library.

A bridge is a table (JSON), a base class whose ``run`` hands the work to the library, and one ``Bridge`` that makes a class of
every entry. So names, options and capabilities are listed at once, and where the library is absent too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from harness.contract import Attack, Capabilities, FractionalFloat, Library, Norm, Options, Spending
from harness.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

OPTIONS = "Options"
ValueType = Literal["int", "float", "bool", "str"]
"""What an option's value may be."""

_TYPES: Mapping[ValueType, Any] = {"int": int, "float": FractionalFloat, "bool": bool, "str": str}
_CASTS: Mapping[ValueType, Any] = {"float": float, "str": str}
"""What a library writes as another type is turned into: ``1`` is a float's default, and the norm ``2`` a text."""

DEFAULT_EPS: Mapping[Norm, float] = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0}
"""The budget that every library's attacks start from here, for pixels in [0, 1]: their own defaults differ, or there are none."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parameter(_Entry):
    """One option of a library's attack. Limits hold for numbers; ``choices`` are all that a text may be."""

    name: str
    type: ValueType
    default: int | float | bool | str | None
    description: str
    optional: bool = False
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def annotated(self) -> tuple[Any, Any]:
        """Return the pydantic field: its type and what is known of it."""
        kind = Literal[self.choices] if self.choices else _TYPES[self.type]
        limits: dict[str, Any] = {"ge": self.minimum, "gt": self.above, "le": self.maximum}
        if self.type == "float":
            limits["allow_inf_nan"] = False
        given = {name: limit for name, limit in limits.items() if limit is not None}
        limited: Any = Annotated[kind, Field(**given)] if given else kind
        return (limited | None if self.optional else limited), Field(self.default, description=self.description)


@dataclass(frozen=True)
class Word:
    """What a library's signature does not say of a parameter: its meaning in one sentence, and its limits.

    ``kind``: its type where the signature's misleads, as ``1`` does for the default of a float.
    """

    description: str
    kind: ValueType | None = None
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def sized(self, norm: Norm) -> Word:
        """Return the word for the size of a perturbation in ``norm``: in L-inf at most 1, the range of the pixels."""
        return replace(self, maximum=1) if norm == "linf" else self

    def parameter(
        self,
        name: str,
        default: Any,
        *,
        kind: ValueType | None = None,
        optional: bool = False,
        choices: tuple[str, ...] = (),
    ) -> Parameter:
        """Return the option ``name``; ``kind`` and ``choices`` are the signature's, unless the word has its own.

        Without either kind it is the default's type. Raises ``ValidationError`` where an option cannot be of that type.
        """
        shown: Any = self.kind or kind or type(default).__name__
        return Parameter(
            name=name,
            type=shown,
            default=default if default is None else _CASTS.get(shown, type(default))(default),
            description=self.description,
            optional=optional,
            minimum=self.minimum,
            above=self.above,
            maximum=self.maximum,
            choices=self.choices or choices,
        )


class Entry(_Entry):
    """One attack of a library: ``name`` in kebab-case, ``attribute`` its class here, ``target`` what the library calls it.

    ``constants`` are arguments of the library that are no options, ``needs`` other distributions that the library imports for it
    alone, ``remark`` what a user must know before choosing it.
    """

    name: str
    attribute: str
    target: str
    summary: str
    norm: Norm
    targeted: bool
    untargeted: bool
    gradients: bool
    stochastic: bool
    budget: Spending
    examples: bool = False
    options: tuple[Parameter, ...] = ()
    constants: dict[str, Any] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    remark: str | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What it declares."""
        return Capabilities(
            norm=self.norm,
            targeted=self.targeted,
            untargeted=self.untargeted,
            gradients=self.gradients,
            stochastic=self.stochastic,
            budget=self.budget,
            examples=self.examples,
        )

    def options_type(self, module: str) -> type[Options]:
        """Make the model of its options, which is found as an attribute of ``module``: workers are sent options."""
        fields: dict[str, Any] = {option.name: option.annotated() for option in self.options}
        made: type[Options] = create_model(
            f"{self.attribute}{OPTIONS}",
            __base__=Options,
            __doc__=f"The options of {self.name}.",
            __module__=module,
            **fields,
        )
        return made


class Table(_Entry):
    """What a library offers, as found in the version that is named."""

    distribution: str
    version: str
    attacks: tuple[Entry, ...]

    @property
    def text(self) -> str:
        """The table as its file has it: what is as by default left out."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), indent=1, ensure_ascii=False) + "\n"


BaseT = TypeVar("BaseT", bound=Attack[Any])


@dataclass(frozen=True)
class Bridge(Generic[BaseT]):
    """A library's table, and where the classes made of it are found: attributes of ``module``."""

    table_path: Path
    module: str
    library: Library

    @cached_property
    def names(self) -> dict[str, str]:
        """The attacks as a hook offers them: names and import strings."""
        entries = json.loads(self.table_path.read_text(encoding="utf-8"))["attacks"]
        return {entry["name"]: f"{self.module}:{entry['attribute']}" for entry in entries}

    @cached_property
    def table(self) -> Table:
        """The whole table."""
        return Table.model_validate_json(self.table_path.read_text(encoding="utf-8"))

    def described(self, entries: Iterable[Entry]) -> Table:
        """Return the table of the installed library's attacks, by name. Raises ``PluginError`` where it is not installed."""
        version = self.library.version
        if version is None:
            raise PluginError(f'{self.library.distribution} is not installed; run "{self.library.install}"')
        attacks = sorted(entries, key=lambda entry: entry.name)
        return Table(distribution=self.library.distribution, version=version, attacks=tuple(attacks))

    def write(self, table: Table) -> None:
        """Write the table where this bridge reads it."""
        self.table_path.write_text(table.text, encoding="utf-8")

    def attack(self, attribute: str, base: type[BaseT]) -> type[BaseT]:
        """Return the class that ``module`` offers as ``attribute``. Raises ``AttributeError`` where there is none."""
        made: type[BaseT] = _made(self, attribute, base)
        return made

    def attribute(self, name: str, base: type[BaseT]) -> Any:
        """Return what ``module`` holds as ``name``, an attack's class or its options': what the module's ``__getattr__`` returns.

        Raises ``AttributeError`` where there is none.
        """
        if name.startswith("__"):  # the import system's questions, which must not read the table
            raise AttributeError(name)
        made = self.attack(name.removesuffix(OPTIONS), base)
        return made.options_type if name.endswith(OPTIONS) else made

    def entry(self, attribute: str) -> Entry:
        """Return a class's entry. Raises ``AttributeError`` where there is none."""
        for entry in self.table.attacks:
            if entry.attribute == attribute:
                return entry
        raise AttributeError(f"module {self.module!r} has no attribute {attribute!r}")

    def library_of(self, entry: Entry) -> Library:
        """Return the library with what else this attack needs."""
        if not entry.needs:
            return self.library
        install = f"{self.library.install} {' '.join(entry.needs)}"
        return replace(self.library, install=install, also=entry.needs)

    def fits(self, entry: Entry, parameters: Mapping[str, Any]) -> None:
        """Raise ``PluginError`` where the library that is installed lacks a parameter that the table has."""
        asked = [*(option.name for option in entry.options), *entry.constants]
        missing = [name for name in asked if name not in parameters]
        if missing:
            raise PluginError(
                f"{self.library.distribution} {self.library.version}: {entry.target} takes no {', '.join(missing)}; "
                f'this bridge was made for {self.table.version}: run "{self.library.install}"'
            )

    def __hash__(self) -> int:
        return hash((self.table_path, self.module))


class _LazyOptions:
    """A class's ``options_type`` that is made when it is first asked for: a list of a hundred attacks asks for none."""

    def __init__(self, entry: Entry, module: str) -> None:
        self._make = cache(lambda: entry.options_type(module))

    def __get__(self, instance: object, owner: type) -> type[Options]:
        return self._make()


@cache
def _made(bridge: Bridge[Any], attribute: str, base: type[Attack[Any]]) -> Any:
    entry = bridge.entry(attribute)
    described = f"{entry.summary}\n\n{entry.remark}" if entry.remark else entry.summary
    return type(
        attribute,
        (base,),
        {
            "__doc__": described,
            "__module__": bridge.module,
            "capabilities": entry.capabilities,
            "options_type": _LazyOptions(entry, bridge.module),
            "library": bridge.library_of(entry),
            "entry": entry,
        },
    )
