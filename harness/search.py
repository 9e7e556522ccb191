"""The section `search` of a spec: which settings are tuned on the validation samples, by which sampler, in how many trials."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from harness.faults import KeyFaultError
from harness.references import Section

SamplerName = Literal["grid", "random", "qmc", "tpe", "gp", "cmaes"]
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)

GRID: SamplerName = "grid"
"""The sampler that goes through all combinations, as the paper does; the others are Optuna's."""

KEY_PATTERN = r"^(adaptation\.[a-z_]+|(adapters|correctors)\..+\.[A-Za-z_]+)$"
"""What the keys of ``space`` look like, for editors; what they must name is looked up when a spec is resolved."""


class Range(Section):
    """A range of numbers, its ends included; whole numbers alone where the option takes no others."""

    low: int | float | str = Field(description="The lower end: a number or a fraction.")
    high: int | float | str = Field(description="The upper end.")
    log: bool = Field(False, description="Whether numbers are drawn evenly by their logarithms.")


Values = Annotated[list[Any], Field(min_length=1)]


class Search(Section):
    """Tune settings on the validation samples alone, in as many trials for every arm that can be tuned, controls included."""

    sampler: SamplerName = Field(
        "grid",
        description="grid: all combinations, as in the paper. The others are Optuna's, which adcorda-harness[search] "
        "installs; tpe and gp draw their first ten trials at random.",
    )
    trials: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Trials of every arm; a grid takes as many as its largest arm has combinations."
    )
    space: dict[str, Values | Range] = Field(
        min_length=1,
        description="What is tuned: adaptation.KEY, adapters.NAME.OPTION or correctors.NAME.OPTION, by the names that the "
        "entries have in this spec; for each a list of values, or a range (not for grid).",
        json_schema_extra={"propertyNames": {"pattern": KEY_PATTERN}},
    )

    @model_validator(mode="after")
    def _trials_fit_the_sampler(self) -> Self:
        if self.sampler == GRID and self.trials is not None:
            text = "a grid has as many trials as its largest arm has combinations; leave trials out"
            raise KeyFaultError("trials", f"{text}, or choose a sampler such as random")
        if self.sampler != GRID and self.trials is None:
            raise KeyFaultError("sampler", f'"{self.sampler}" goes on for as long as it is let; add trials, such as 12')
        return self
