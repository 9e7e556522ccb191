"""From the names of a spec to plugins with validated options: what a plan is made of. Nothing here imports torch itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from harness.criteria import targeted_objective
from harness.entry_names import derived_name
from harness.errors import HarnessError, SpecError, did_you_mean
from harness.lookup import CONTROL_ADAPTERS, LocatedError, Lookup
from harness.resolve_search import SearchResolver
from harness.resolve_subjects import SubjectResolver
from harness.resolved import (
    ResolvedAdapter,
    ResolvedCorrector,
    ResolvedEvaluator,
    ResolvedExperiment,
    ResolvedFigure,
    ResolvedQuantizer,
)
from harness.spec import FULL_PRECISION
from harness.usual_eps import with_usual_eps
from harness.validation import Finding, alternatives, dotted, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    from harness.catalogue import Catalogue, CorrectorCard
    from harness.criteria import Objective, Select
    from harness.manager import Manager
    from harness.references import (
        AdapterReference,
        CorrectorReference,
        EvaluatorReference,
        FigureReference,
        QuantizerReference,
        Reference,
    )
    from harness.resolved import ResolvedPlugin
    from harness.search_space import ResolvedSearch
    from harness.spec import LoadedSpec
    from harness.yamlio import Location

    FoundT = TypeVar("FoundT")


def resolve_all(
    variants: Sequence[LoadedSpec], manager: Manager, catalogue: Catalogue
) -> tuple[ResolvedExperiment, ...]:
    """Look up the variants of a spec; see ``resolve``. What is wrong in what they share is told once."""
    found: list[ResolvedExperiment] = []
    errors: list[HarnessError] = []
    for loaded in variants:
        try:
            found.append(resolve(loaded, manager, catalogue))
        except HarnessError as error:
            errors.append(error)
    if errors:
        raise type(errors[0])("\n".join(dict.fromkeys(line for error in errors for line in str(error).splitlines())))
    return tuple(found)


def resolve(loaded: LoadedSpec, manager: Manager, catalogue: Catalogue) -> ResolvedExperiment:
    """Look every name up and validate every plugin's options.

    Raises all findings at once, in the order of the file, as an error of the first one's kind: ``SpecError``,
    ``PluginError`` or ``DataError``.
    """
    return _Resolver(loaded, manager, catalogue).resolve()


class _Resolver:
    """Goes through a spec, and notes what is wrong instead of stopping there."""

    def __init__(self, loaded: LoadedSpec, manager: Manager, catalogue: Catalogue) -> None:
        self.experiment = loaded.experiment
        self.lookup = Lookup(loaded.document, loaded.folder, manager, catalogue)
        self.document = loaded.document
        self.manager = manager
        self.catalogue = catalogue
        self.subjects = SubjectResolver(self.lookup)
        self.findings: list[tuple[Finding, type[HarnessError]]] = []

    def resolve(self) -> ResolvedExperiment:
        experiment = self.experiment
        dataset = self._tried(("dataset",), lambda at: self.subjects.dataset(experiment.dataset, at))
        models = self._each("models", dict(enumerate(experiment.models)), self.subjects.model)
        correctors = self._each("correctors", dict(enumerate(experiment.correctors)), self._corrector)
        adapters = self._each("adapters", dict(enumerate(experiment.adapters)), self._adapter)
        evaluators = self._each("evaluate", experiment.evaluators, self._evaluator)
        quantizers = self._each("quantization", experiment.quantizers, self._quantizer)
        figures = self._each(
            "figures", dict(enumerate(experiment.figures)), lambda asked, at: self._figure(asked, at, correctors)
        )
        if self.findings or dataset is None:
            raise self._error()
        found = iter(quantizers)
        precisions = tuple(
            None if asked.quantizer == FULL_PRECISION else next(found) for asked in experiment.quantization
        )
        matrix = tuple(models), tuple(correctors), tuple(adapters)
        search = self._search(adapters, correctors, figures)
        return ResolvedExperiment(experiment, dataset, *matrix, tuple(evaluators), precisions, tuple(figures), search)

    def _search(
        self,
        adapters: Sequence[ResolvedAdapter],
        correctors: Sequence[ResolvedCorrector],
        figures: Sequence[ResolvedFigure],
    ) -> ResolvedSearch | None:
        """Look up what is tuned, once all that can be is known."""
        asked = self.experiment.search
        if asked is None:
            return None
        adaptation = self.experiment.adaptation
        resolver = SearchResolver(
            self.lookup, adaptation=adaptation, adapters=adapters, correctors=correctors, figures=figures
        )
        found = self._tried(("search",), partial(resolver.search, asked))
        if found is None:
            raise self._error()
        return found

    def _each(
        self, section: str, references: Mapping[int, Reference], look_up: Callable[[Any, Location], FoundT]
    ) -> list[FoundT]:
        """Look up a section's entries, by their places in its list; two of one name are refused."""
        found: list[FoundT] = []
        seen: dict[str, Location] = {}
        for index, reference in references.items():
            entry: Any = self._tried((section, index), partial(look_up, reference))
            if entry is None:
                continue
            if entry.name in seen:
                line = self.document.place(seen[entry.name])[0]
                self._note(
                    self.lookup.wrong(
                        (section, index),
                        f'{section} has two entries called "{entry.name}", the first in line {line}; '
                        "give one of them a name",
                    )
                )
            seen.setdefault(entry.name, (section, index))
            found.append(entry)
        return found

    def _tried(self, location: Location, action: Callable[[Location], FoundT]) -> FoundT | None:
        """Run one look-up; note what is wrong, with its place, and go on with the next."""
        try:
            return action(location)
        except LocatedError as error:
            self._note(error)
        except HarnessError as error:
            where, place = self.document.where(location), self.document.place(location)
            for line in str(error).splitlines():
                self.findings.append((Finding(place, f"{where}: {line}"), type(error)))
        return None

    def _note(self, error: LocatedError) -> None:
        self.findings.extend((finding, error.kind) for finding in error.findings)

    def _error(self) -> HarnessError:
        ordered = sorted(self.findings, key=lambda noted: noted[0].place)
        return ordered[0][1]("\n".join(finding.text for finding, _ in ordered))

    def _corrector(self, reference: CorrectorReference, at: Location) -> ResolvedCorrector:
        card = self._preset(reference.preset, (*at, "preset")) if reference.preset is not None else None
        name = reference.attack or ""
        if card is not None:
            if card.attack is None:
                self._refuse_attack_options(reference, at)
                name = reference.name or derived_name(reference.preset or "", reference)
                return ResolvedCorrector(name, None, "toward-true", "first-hit", reference.keep)
            name = card.attack
        preset = card.options if card else {}
        attack = self.lookup.configured("attack", name, reference, at, written=reference.inline_options, preset=preset)
        objective = reference.objective or (card.objective if card else None) or "toward-true"
        select = self._select(reference, card, attack, at)
        self._check_direction(attack, objective, at)
        if select == "final" and self.experiment.attack_passes is not None:
            text = "select: final: an attack that attack_passes ends has no last iterate; choose first-hit or min-norm"
            raise self.lookup.wrong((*at, "select"), f"{dotted(at)}: {text}")
        name = reference.name or derived_name(reference.preset or reference.attack or "", reference)
        return ResolvedCorrector(name, attack, objective, select, reference.keep)

    def _select(
        self, reference: CorrectorReference, card: CorrectorCard | None, attack: ResolvedPlugin, at: Location
    ) -> Select:
        """Return which iterate counts. The first hit of an attack that starts from another image would be that image."""
        kind: Any = self.manager.load(attack.plugin)
        asked = reference.select or (card.select if card else None)
        if kind.capabilities.examples and asked == "first-hit":
            text = f'attack "{attack.plugin.name}" starts from another image, which would be its first hit'
            raise self.lookup.wrong((*at, "select"), f"{text}; choose min-norm or final")
        return asked or ("min-norm" if kind.capabilities.examples else "first-hit")

    def _preset(self, name: str, location: Location) -> CorrectorCard:
        presets = self.catalogue.paths("correctors")
        if name not in presets:
            self.lookup.refuse_misplaced(name, "preset", location)
            attacks = [alias for plugin in self.manager.names("attack") for alias in plugin.names[:2]]
            near = did_you_mean(name, {*presets, *attacks})
            known = f"; expected {alternatives([*presets])}, or {{attack: …}}"
            raise self.lookup.wrong(location, f"unknown corrector preset {shown(name)}{near or known}")
        return self.catalogue.corrector(name)

    def _check_direction(self, attack: ResolvedPlugin, objective: Objective, at: Location) -> None:
        kind: Any = self.manager.load(attack.plugin)
        targeted = targeted_objective(objective)
        if not (kind.capabilities.targeted if targeted else kind.capabilities.untargeted):
            verb, other = ("approach", "away-from-predicted") if targeted else ("flee", "toward-true")
            text = f'attack "{attack.plugin.name}" cannot {verb} labels, as {objective} asks; choose another objective'
            raise self.lookup.wrong((*at, "objective"), f"{text}, such as {other}")

    def _refuse_attack_options(self, reference: CorrectorReference, at: Location) -> None:
        own = [key for key in ("objective", "select") if getattr(reference, key) is not None]
        findings = [
            Finding(
                self.document.place((*at, key), key=True),
                f"{self.document.where((*at, key), key=True)}: {dotted(at)}: {shown(key)} has no meaning for preset "
                f'"{reference.preset}", which attacks nothing; remove it',
            )
            for key in (*own, *reference.inline_options)
        ]
        if findings:
            raise LocatedError(SpecError, findings)

    def _adapter(self, reference: AdapterReference, at: Location) -> ResolvedAdapter:
        plugin, _ = self.lookup.plugin("adapter", reference.adapter, (*at, "adapter"))
        if plugin.package == "adaptation" and plugin.name in CONTROL_ADAPTERS:
            text = f"name {CONTROL_ADAPTERS[plugin.name]} under controls, where every row is compared with it"
            raise self.lookup.wrong((*at, "adapter"), f'"{reference.adapter}" is a control; {text}')
        adapter = self.lookup.configured("adapter", reference.adapter, reference, at, written=reference.inline_options)
        return ResolvedAdapter(reference.name or derived_name(plugin.name, reference), adapter)

    def _quantizer(self, reference: QuantizerReference, at: Location) -> ResolvedQuantizer:
        written = reference.inline_options
        quantizer = self.lookup.configured("quantizer", reference.quantizer, reference, at, written=written)
        kind: Any = self.manager.load(quantizer.plugin)
        if reference.gradients == "straight-through" and not kind.differentiable:
            text = f'quantizer "{quantizer.plugin.name}" lets no gradients through; choose full-precision'
            raise self.lookup.wrong((*at, "gradients"), f"{dotted(at)}.gradients: {text}, or another quantizer")
        name = reference.name or derived_name(quantizer.plugin.name, reference)
        return ResolvedQuantizer(name, quantizer, reference.gradients)

    def _evaluator(self, reference: EvaluatorReference, at: Location) -> ResolvedEvaluator:
        written = reference.inline_options
        evaluator = self.lookup.configured("evaluator", reference.evaluator, reference, at, written=written)
        evaluator = with_usual_eps(self.lookup, evaluator, reference, at, card=self.experiment.dataset.card)
        name = reference.name or derived_name(evaluator.plugin.name, reference)
        return ResolvedEvaluator(name, evaluator, reference.samples, reference.batch_size)

    def _figure(
        self, reference: FigureReference, at: Location, correctors: Sequence[ResolvedCorrector]
    ) -> ResolvedFigure:
        figure = self.lookup.configured("figure", reference.figure, reference, at, written=reference.inline_options)
        attacking = [corrector.name for corrector in correctors if corrector.attack]
        asked = reference.correctors if reference.correctors is not None else attacking
        # Correctors that could not be looked up have their own findings: their names may be right.
        if len(correctors) == len(self.experiment.correctors):
            self._check_listed(asked, attacking, (*at, "correctors"), "corrector of this spec that attacks")
            if not asked:
                raise self.lookup.wrong(
                    at, f"{dotted(at)}: no corrector of this spec attacks: there is nothing to draw"
                )
        seeds = reference.seeds if reference.seeds is not None else self.experiment.seeds[:1]
        self._check_listed(seeds, self.experiment.seeds, (*at, "seeds"), "seed of this spec")
        name = reference.name or derived_name(figure.plugin.name, reference)
        return ResolvedFigure(name, figure, tuple(asked), tuple(seeds), reference.dpi)

    def _check_listed(self, asked: Sequence[object], known: Sequence[object], at: Location, what: str) -> None:
        """Refuse entries that are not among those known, and entries that stand twice."""
        for index, entry in enumerate(asked):
            if entry not in known:
                near = did_you_mean(str(entry), map(str, known)) or f"; expected {alternatives([*map(str, known)])}"
                raise self.lookup.wrong(
                    (*at, index), f"{dotted(at)}: {shown(entry)} is no {what}{near if known else ''}"
                )
            if entry in asked[:index]:
                raise self.lookup.wrong((*at, index), f"{dotted(at)}: {shown(entry)} stands twice; keep one of them")
