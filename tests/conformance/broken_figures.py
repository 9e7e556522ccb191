"""Figures that are sound but for one thing each; ``BROKEN`` says which check tells."""

from __future__ import annotations

import random

from harness.api import Drawing, Figure, NoOptions, hookimpl


class SoundFigure(Figure[NoOptions]):
    """A bar a corrector: the share that it corrects."""

    def draw(self, network, samples, classes):
        from matplotlib.figure import Figure as Canvas

        shares = {name: self.share(made) for name, made in samples.items()}
        canvas = Canvas(figsize=(2, 2))
        canvas.subplots().bar(list(shares), list(shares.values()))
        return self.drawing(canvas, shares)

    def share(self, made):
        return float(made.corrected.float().mean()) if len(made) else 0.0

    def drawing(self, canvas, shares):
        table = [{"corrector": name, "share": share} for name, share in shares.items()]
        return Drawing(figure=canvas, caption="Shares corrected.", numbers=shares, table=table)


class RaisesWhenDrawing(SoundFigure):
    """Raise."""

    def draw(self, network, samples, classes):
        raise RuntimeError("out of paint")


class ReturnsTheCanvas(SoundFigure):
    """Return the picture alone."""

    def drawing(self, canvas, shares):
        return canvas


class DrawsOnPaper(SoundFigure):
    """Draw on something else."""

    def drawing(self, canvas, shares):
        return Drawing(figure="paper", caption="Shares corrected.")


class SaysNothing(SoundFigure):
    """Leave the caption empty."""

    def drawing(self, canvas, shares):
        return Drawing(figure=canvas, caption=" ", numbers=shares)


class GivesNoNumber(SoundFigure):
    """Give a number that is none."""

    def drawing(self, canvas, shares):
        return Drawing(figure=canvas, caption="Shares corrected.", numbers=dict.fromkeys(shares, float("nan")))


class TearsTheTable(SoundFigure):
    """Give each row a column of its own."""

    def drawing(self, canvas, shares):
        return Drawing(figure=canvas, caption="Shares corrected.", table=[{name: 1} for name in shares])


class DividesByNothing(SoundFigure):
    """Take it that something is labelled wrong."""

    def share(self, made):
        return int(made.corrected.sum()) / len(made)


class NeedsACorrection(SoundFigure):
    """Take it that something is corrected."""

    def share(self, made):
        return float(made.corrected.nonzero()[0, 0]) if len(made) else 0.0


class DrawsAtRandom(SoundFigure):
    """Draw from the system."""

    def share(self, made):
        return random.SystemRandom().random()


class GivesNoFigures(SoundFigure):
    """Draw, and no more."""

    def drawing(self, canvas, shares):
        return Drawing(figure=canvas, caption="Shares corrected.")


BROKEN = {
    RaisesWhenDrawing: "draws",
    ReturnsTheCanvas: "draws",
    DrawsOnPaper: "draws",
    SaysNothing: "draws",
    GivesNoNumber: "draws",
    TearsTheTable: "draws",
    DividesByNothing: "draws-the-extremes",
    NeedsACorrection: "draws-the-extremes",
    DrawsAtRandom: "same-drawing",
    GivesNoFigures: "numbers-given",
}
SOUND = (SoundFigure,)


@hookimpl
def harness_figures():
    return {plugin.__name__: f"{__name__}:{plugin.__name__}" for plugin in (*SOUND, *BROKEN)}
