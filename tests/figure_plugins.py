"""A third party's figures: one that counts, one that raises."""

from __future__ import annotations

from pydantic import Field

from harness.api import Drawing, Figure, Options, hookimpl


@hookimpl
def harness_figures():
    return {"counts": "figure_plugins:Counts", "torn": "figure_plugins:Torn"}


class CountsOptions(Options):
    """The options of counting."""

    height: float = Field(1.0, gt=0, description="Inches.")


class Counts(Figure[CountsOptions]):
    """How many samples each corrector was given, and how many it corrected."""

    def draw(self, network, samples, classes):
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(2, self.options.height))
        numbers = {}
        for name, made in samples.items():
            labels = [network(images).argmax(1) for _, images in made.batches(16)]
            right = sum(
                int((part == true).sum())
                for part, true in zip(labels, made.labels.split([*map(len, labels)]), strict=True)
            )
            assert right == int(made.corrected.sum())
            assert bool((made.before != made.labels).all())
            numbers |= {f"{name}: wrong": len(made), f"{name}: corrected": right}
        canvas.subplots().bar(range(len(numbers)), list(numbers.values()))
        table = [{"z": key, "a": value} for key, value in numbers.items()]
        return Drawing(
            figure=canvas,
            caption=f"Counts <of> {len(classes)} classes.",
            numbers=numbers,
            table=table,
            flags=("a & b",),
        )


class Torn(Counts):
    """Raise."""

    def draw(self, network, samples, classes):
        raise RuntimeError("torn")
