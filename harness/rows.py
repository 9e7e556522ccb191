"""What a leaderboard's row averages over seeds: its key, its names and its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.controls import SUBSTITUTES, TRAINED_ON_TARGET

if TYPE_CHECKING:
    from harness.controls import Control
    from harness.records import CellName

STANDALONE = ("none", *TRAINED_ON_TARGET, "target-to-target", "random-subset")
CORRECTORS = ("none", "bi", "bih", "vbi-iter1", "vbi", "ll", "ddn", "sp")


class RowKey(NamedTuple):
    """A cell without its seed."""

    model: str
    control: Control | None
    corrector: str | None
    adapter: str

    @classmethod
    def of(cls, cell: CellName) -> RowKey:
        """Return the row that a cell belongs to."""
        return cls(cell.model, cell.control, cell.corrector, cell.adapter)

    @property
    def is_curriculum(self) -> bool:
        """Whether nothing was corrected: training on ``T_c`` alone."""
        return self.control == "curriculum" or (self.control is None and self.corrector in {None, "none"})

    @property
    def is_method(self) -> bool:
        """Whether the row is a corrector (or none) with an adapter, rather than a control."""
        return self.control is None or self.is_curriculum

    @property
    def source_label(self) -> str:
        """What the source set is made with: a corrector or what stands in for it; empty where there is no such set."""
        made = "curriculum" if self.corrector in {None, "none"} else str(self.corrector)
        names: dict[str, str] = {
            "none": "baseline",
            **dict.fromkeys(TRAINED_ON_TARGET, ""),
            "target-to-target": "T→T",
            "random-subset": "random subset",
            "curriculum": "curriculum",
            "sham": f"sham of {made}",
            "transferred": f"{made} for another model",
        }
        return names.get(self.control or "", made)

    @property
    def adapter_label(self) -> str:
        """How the classifier was adapted, empty for the baseline."""
        if self.control == "finetune-source" or self.control in TRAINED_ON_TARGET:
            return str(self.control)
        return "" if self.control == "none" else self.adapter

    @property
    def label(self) -> str:
        """The row's name in a sentence: ``vbi + deep-coral``, ``sham of vbi + deep-coral``, ``finetune-target``."""
        if self.control == "finetune-source":
            return f"finetune-source of {self.source_label}"
        return " + ".join(part for part in (self.source_label, self.adapter_label) if part)

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key: the baseline, the controls that stand alone, then each corrector's rows with their controls."""
        if self.control in STANDALONE:
            return (0, STANDALONE.index(self.control), "", False, self.adapter, 0)
        corrector = "none" if self.is_curriculum else self.corrector or "none"
        last = SUBSTITUTES.index(self.control) + 1 if self.control in SUBSTITUTES else 0
        place = CORRECTORS.index(corrector) if corrector in CORRECTORS else len(CORRECTORS)
        return (1, place, corrector, self.control == "finetune-source", self.adapter, last)
