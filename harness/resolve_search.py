"""Look up what a spec's search tunes: every value is validated as the key it stands for would be, at its place in the file."""

from __future__ import annotations

from importlib import metadata, util
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from harness.budget import Adaptation
from harness.errors import PluginError, SpecError, did_you_mean
from harness.lookup import LocatedError, Lookup
from harness.search import GRID, Range
from harness.search_space import Bounds, Dimension, ResolvedSearch, Space, changed
from harness.validation import Finding, alternatives, describe, parse, shown
from harness.yamlio import Document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.resolved import ResolvedAdapter, ResolvedCorrector, ResolvedFigure, ResolvedPlugin
    from harness.search import SamplerName, Search
    from harness.yamlio import Location

BUDGET_KEYS: Final = ("steps", "epochs", "validations")
SHARED_SECTIONS: Final = (
    "baseline",
    "dataset",
    "evaluate",
    "models",
    "quantization",
    "seeds",
    "validation",
)
CORRECTOR_KEYS: Final = ("keep", "name", "objective", "select")
INSTALL: Final = 'pip install "adcorda-harness[search]"'
LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = {"cmaes": ("optuna", "cmaes")}
MOST_CHECKED: Final = 10_000  # combinations of one plugin's options


class SearchResolver:
    """Validates the dimensions of a search one by one, and notes what is wrong instead of stopping there."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        adaptation: Adaptation,
        adapters: Sequence[ResolvedAdapter],
        correctors: Sequence[ResolvedCorrector],
        figures: Sequence[ResolvedFigure] = (),
    ) -> None:
        self.lookup = lookup
        self.document = lookup.document
        self.adaptation = adaptation
        self.adapters = {adapter.name: adapter.adapter for adapter in adapters}
        self.correctors = {corrector.name: corrector.attack for corrector in correctors}
        self.drawn = {corrector: figure.name for figure in reversed(figures) for corrector in figure.correctors}
        self.findings: list[Finding] = []

    def search(self, asked: Search, at: Location) -> ResolvedSearch:
        """Return what is tuned. Raises all findings at once, or that what the sampler needs is not installed."""
        dimensions = []
        for name, values in asked.space.items():
            try:
                dimensions.append(self._dimension(name, values, (*at, "space", name), asked.sampler))
            except LocatedError as error:
                self.findings += error.findings
        space = Space(tuple(dimensions))
        if asked.sampler == GRID and not self.findings:
            self._check_combinations(space, at)
        if self.findings:
            raise LocatedError(SpecError, self.findings)
        return ResolvedSearch(asked.sampler, asked.trials, space, self._versions(asked.sampler, at))

    def _versions(self, sampler: SamplerName, at: Location) -> dict[str, str]:
        """Return the versions of the libraries that the sampler is taken from."""
        needed = () if sampler == GRID else LIBRARIES.get(sampler, ("optuna",))
        missing = [name for name in needed if util.find_spec(name) is None]
        if missing:
            is_are = "is" if len(missing) == 1 else "are"
            text = f'sampler "{sampler}" needs {" and ".join(missing)}, which {is_are} not installed; run "{INSTALL}"'
            raise self.lookup.wrong((*at, "sampler"), f"{text}, or choose grid", PluginError)
        return {name: metadata.version(name) for name in needed}

    def _dimension(self, name: str, values: list[Any] | Range, at: Location, sampler: SamplerName) -> Dimension:
        section, _, rest = name.partition(".")
        entry, _, option = rest.rpartition(".")
        if section == "adaptation":
            entry, option = "", rest
        self._check_name(name, section, entry, option, at)
        bare = Dimension(name, section, entry, option)  # type: ignore[arg-type]  # checked in the line above
        if not isinstance(values, Range):
            return Dimension(name, bare.section, entry, option, self._choices(bare, values, at))
        if sampler == GRID:
            raise self.lookup.wrong(at, f"search.space.{name}: a grid takes a list of values, not a range")
        return Dimension(name, bare.section, entry, option, bounds=self._bounds(bare, values, at))

    def _check_name(self, name: str, section: str, entry: str, option: str, at: Location) -> None:
        """Raise where a name is none of something that an arm has of its own."""
        if section in SHARED_SECTIONS:
            raise self._misnamed(at, f'"{section}" is what all arms share; a search tunes what each arm does with it')
        if section == "adaptation" and option in BUDGET_KEYS:
            raise self._misnamed(at, f"{option} is the budget, the same for every trial of every arm")
        if section == "adaptation" and option == "compile":
            raise self._misnamed(at, "compile decides how long it takes, not how well; set it under adaptation")
        if section == "correctors" and option in CORRECTOR_KEYS:
            raise self._misnamed(at, f"{option} makes it another corrector; list that one too, under correctors")
        if section == "adaptation" and option:
            return
        entries: dict[str, Mapping[str, ResolvedPlugin | None]]
        entries = {"adapters": self.adapters, "correctors": self.correctors}
        known = entries.get(section, {})
        if not entry or not option:
            keys = {key: f"adaptation.{key}" for key in Adaptation.model_fields if key not in (*BUDGET_KEYS, "compile")}
            near = did_you_mean(keys.get(name, name), keys.values())
            expected = "expected adaptation.KEY, adapters.NAME.OPTION or correctors.NAME.OPTION"
            raise self._misnamed(at, f"unknown key {shown(name)}{near or f'; {expected}'}")
        if entry not in known:
            names = [candidate for candidate, plugin in known.items() if plugin is not None]
            expected = f"; expected {alternatives(names)}" if names else ""
            raise self._misnamed(
                at, f"no entry of {section} is called {shown(entry)}{did_you_mean(entry, names) or expected}"
            )
        if known[entry] is None:
            raise self._misnamed(at, f'corrector "{entry}" attacks nothing and has no options')
        if section == "correctors" and entry in self.drawn:
            text = f'figure "{self.drawn[entry]}" would draw "{entry}" as it is listed, not as it is tuned'
            raise self._misnamed(at, f"{text}; give the figure other correctors, or draw it in a spec without search")

    def _misnamed(self, at: Location, text: str) -> LocatedError:
        place = self.document.place(at, key=True)
        return LocatedError(
            SpecError, [Finding(place, f"{self.document.where(at, key=True)}: search.space: {shown(at[-1])}: {text}")]
        )

    def _choices(self, dimension: Dimension, values: Sequence[Any], at: Location) -> tuple[Any, ...]:
        """Validate a list of values; what is found of all of them is told at once, an unknown key once."""
        found: list[Any] = []
        findings: list[Finding] = []
        for index, value in enumerate(values):
            try:
                taken = self._value(dimension, value, (*at, index))
                if taken in found:
                    text = f"search.space.{dimension.name}: {shown(value)} stands twice; keep one of them"
                    raise self.lookup.wrong((*at, index), text)
                found.append(taken)
            except LocatedError as error:
                findings += [finding for finding in error.findings if finding not in findings]
        if findings:
            raise LocatedError(SpecError, findings)
        return tuple(found)

    def _bounds(self, dimension: Dimension, values: Range, at: Location) -> Bounds:
        ends = [self._value(dimension, getattr(values, end), (*at, end)) for end in ("low", "high")]
        low, high = ends
        if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
            raise self.lookup.wrong(
                at, f"search.space.{dimension.name}: is no number that has a range; list its values"
            )
        if low >= high:
            text = (
                f"search.space.{dimension.name}.high: got {shown(values.high)}, expected more than {shown(values.low)}"
            )
            raise self.lookup.wrong((*at, "high"), text)
        if values.log and low <= 0:
            text = f"search.space.{dimension.name}.low: got {shown(values.low)}, expected more than 0, or no log"
            raise self.lookup.wrong((*at, "low"), text)
        return Bounds(low, high, values.log, whole=all(isinstance(end, int) for end in ends))

    def _value(self, dimension: Dimension, value: Any, at: Location) -> Any:
        """Validate one value as the key it stands for; returns it as JSON holds it."""
        where: Location = (dimension.section, *([dimension.entry] if dimension.entry else []))
        document = self._as_if_written(where, dimension.option, value, at)
        plugin = (self.adapters if dimension.section == "adapters" else self.correctors).get(dimension.entry)
        if plugin is None:
            return self._adaptation_value(dimension.option, value, document)
        lookup = Lookup(document, self.lookup.folder, self.lookup.manager, self.lookup.catalogue)
        preset = plugin.options.model_dump(mode="json", exclude_unset=True)
        written = {dimension.option: value}
        options = lookup.options(plugin.plugin, type(plugin.options), where, written=written, preset=preset)
        return options.model_dump(mode="json")[dimension.option]

    def _adaptation_value(self, option: str, value: Any, document: Document) -> Any:
        written = self.adaptation.model_dump(mode="json", exclude_unset=True)
        try:
            return parse(Adaptation, {**written, option: value}).model_dump(mode="json")[option]
        except ValidationError as error:
            findings = describe(error, document, ("adaptation",), model=Adaptation, beside=())
            raise LocatedError(SpecError, findings) from error

    def _as_if_written(self, where: Location, option: str, value: Any, at: Location) -> Document:
        """Return a document in which the value stands where a spec would have it, at its place in this file."""
        data: Any = {option: value}
        for part in reversed(where):
            data = {part: data}
        place = self.document.place(at)
        around = {where[:length]: place for length in range(len(where) + 1)}
        key = self.document.place(at[:3], key=True)
        return Document(self.document.name, data, {(*where, option): key}, {**around, (*where, option): place})

    def _check_combinations(self, space: Space, at: Location) -> None:
        """Note the first combination of a plugin's options that it refuses."""
        owners: dict[tuple[str, str], list[Dimension]] = {}
        for dimension in space.dimensions:
            owners.setdefault((dimension.section, dimension.entry), []).append(dimension)
        for (section, entry), dimensions in owners.items():
            plugin = (self.adapters if section == "adapters" else self.correctors).get(entry)
            own = Space(tuple(dimensions))
            if len(dimensions) < 2 or (own.size or 0) > MOST_CHECKED:
                continue
            options = {dimension.name: dimension.option for dimension in dimensions}
            try:
                for settings in own.grid():
                    changes = {options[name]: value for name, value in settings.items()}
                    changed(plugin.options if plugin else self.adaptation, changes)
            except SpecError as error:
                self.findings += self._misnamed((*at, "space", dimensions[0].name), str(error)).findings
