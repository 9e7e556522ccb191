"""Leaderboards as LaTeX tables, with booktabs' rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.api import Options, ReportFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ACCURACIES = {"source": "$T'$", "train": "Train", "valid": "Valid", "test": "Test", "delta": r"$\Delta$Acc"}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "^": r"\textasciicircum{}",
    "→": r"$\rightarrow$",
    "′": r"$'$",
    "Δ": r"$\Delta$",
    "±": r"$\pm$",
    "–": "--",
    "×": r"$\times$",
}


class LatexOptions(Options):
    """The options of LaTeX tables."""

    controls: bool = Field(default=True, description="Whether the control rows are written too.")
    digits: int = Field(default=2, ge=0, le=6, description="Digits after the decimal point of a percentage.")
    std: bool = Field(default=True, description="Whether the sample std over seeds is written after the mean.")


MARKS = {
    "target_labels": (r"$^\dagger$", "uses the labels of $T$"),
    "source_free": (r"$^\ddagger$", "looks at $T$ alone, whatever corrects"),
}
"""What is said of a row's adapter, by the leaderboard's field."""


class Latex(ReportFormat[LatexOptions]):
    r"""Write each table as a LaTeX ``table`` with booktabs' rules; needs ``\usepackage{booktabs}``."""

    suffix = ".tex"

    def render(self, leaderboard: Mapping[str, Any]) -> str:
        """Return the tables, one after the other, the best mean of each column in bold."""
        tables = [self._table(table) for table in leaderboard["tables"] if self._rows(table)]
        return "\n\n".join(["% needs \\usepackage{booktabs}", *tables]) + "\n"

    def _rows(self, table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [row for row in table["rows"] if self.options.controls or row["control"] is None]

    def _table(self, table: Mapping[str, Any]) -> str:
        rows = self._rows(table)
        caption = f"{escape(table['title'])}. {self._units(rows)}; {self._marks()} in bold.{_notes(rows)}"
        heads = ["Row", "Corr.\\ rate", *ACCURACIES.values()]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{caption}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
                r"\toprule",
                _line(heads),
                r"\midrule",
                *(_line(self._cells(row)) for row in rows),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )

    def _units(self, rows: Iterable[Mapping[str, Any]]) -> str:
        seeds = sorted({seed for row in rows for seed in row["seeds"]})
        if len(seeds) == 1:
            return f"Percent, seed {seeds[0]}"
        spread = r" $\pm$ sample std" if self.options.std else ""
        return f"Percent, mean{spread} over seeds {', '.join(map(str, seeds))}"

    def _marks(self) -> str:
        """Say what is marked: a control that is not shown may be the best."""
        return "best means" if self.options.controls else "best means, controls not shown included,"

    def _cells(self, row: Mapping[str, Any]) -> list[str]:
        correction = row["correction"]
        rate = correction["rate"] if correction else None
        share = "--" if rate is None else f"{100 * rate:.0f}\\%"
        marks = "".join(mark for field, (mark, _) in MARKS.items() if row.get(field))
        return [escape(row["label"]) + marks, share, *(self._accuracy(row, name) for name in ACCURACIES)]

    def _accuracy(self, row: Mapping[str, Any], name: str) -> str:
        found = row["accuracy"][name]
        if found is None:
            return "--"
        digits, sign = self.options.digits, "+" if name == "delta" else ""
        mean = f"{100 * found['mean']:{sign}z.{digits}f}".replace("-", "$-$")
        mean = rf"\textbf{{{mean}}}" if name in row["best"] else mean
        spread = self.options.std and found["std"] is not None
        return rf"{mean} $\pm$ {100 * found['std']:.{digits}f}" if spread else mean


def escape(text: str) -> str:
    """Return text that LaTeX sets as it is."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def _notes(rows: Iterable[Mapping[str, Any]]) -> str:
    """Explain the marks that some row bears."""
    found = list(rows)
    said = [f" {mark}: {words}." for field, (mark, words) in MARKS.items() if any(row.get(field) for row in found)]
    return "".join(said)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
