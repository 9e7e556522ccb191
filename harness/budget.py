"""How a classifier is trained: the options of the baseline's and the adaptation's loops, the same for every arm."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.contract import FractionalFloat
from harness.faults import KeyFaultError

BatchNormPolicy = Literal["joint", "separate", "frozen", "target-only"]
Precision = Literal["float32", "bfloat16"]
PositiveFloat = Annotated[FractionalFloat, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[FractionalFloat, Field(ge=0, allow_inf_nan=False)]


class Training(BaseModel):
    """What every training loop has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="The optimizer.")
    lr: PositiveFloat = Field(1e-4, description="Learning rate.")
    backbone_lr_factor: PositiveFloat = Field(
        1.0, description="Learning rate of all layers but the last linear one, as a factor of lr."
    )
    momentum: Annotated[FractionalFloat, Field(ge=0, lt=1)] = Field(
        0.9, description="SGD's momentum; Adam's are torch's defaults."
    )
    weight_decay: NonNegativeFloat = Field(1e-4, description="Weight decay, on every parameter.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="How the learning rate moves over the steps."
    )
    batch_size: Annotated[int, Field(ge=2)] = Field(128, description="Samples of a step, of each domain.")
    augmentation: Literal["none", "flip", "flip-crop"] = Field(
        "none", description="Random horizontal flips; crops after padding by an eighth of the image."
    )
    precision: Precision = Field(
        "float32",
        description="What the network computes in while it is trained; bfloat16 is mixed precision, weights and losses stay "
        "float32, and so does every evaluation.",
    )
    compile: bool = Field(
        False,
        description="Whether training passes go through torch.compile: meant for GPUs, where it is still to be measured; on CPUs "
        "it does not pay. It takes a C++ compiler, or triton, and gives other last digits.",
    )
    clip_norm: PositiveFloat | None = Field(
        None, description="The largest norm of all gradients together; longer ones are scaled down to it."
    )


class Baseline(Training):
    """Stage 1: fine-tune on T, keep the epoch that is best on validation. The defaults are the paper's."""

    epochs: Annotated[int, Field(ge=1)] = Field(100, description="Passes over the training set.")


class Adaptation(Training):
    """Stage 5: from T' to T, keep the checkpoint that is best on validation. Exactly one of steps and epochs is used."""

    lr: PositiveFloat = Field(1e-3, description="Learning rate (the paper's is tuned and not printed).")
    batch_size: Annotated[int, Field(ge=2)] = Field(16, description="Samples of a step, of each domain.")
    steps: Annotated[int, Field(ge=1)] | None = Field(None, description="Optimizer steps, the same for every arm.")
    epochs: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Instead of steps: passes over T; turned into steps by the size of T, the same for every arm."
    )
    validations: Annotated[int, Field(ge=1)] = Field(20, description="Checkpoints that are validated, evenly spaced.")
    batch_norm: BatchNormPolicy = Field(
        "separate",
        description="Batch statistics of source and target: joint in one batch, separate, frozen, or running "
        "statistics of the target only.",
    )
    queue: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Earlier batches whose outputs adapters may use beside a step's own, for statistics that a batch alone is "
        "too small for.",
    )
    shrinkage: Annotated[FractionalFloat, Field(ge=0, le=1, allow_inf_nan=False)] | Literal["ledoit-wolf"] = Field(
        0.0,
        description="How far adapters draw a covariance towards a multiple of the identity: a share, or ledoit-wolf's estimate.",
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise KeyFaultError("epochs", 'stands beside "steps"; keep one of them')
        return self

    def total_steps(self, num_target: int) -> int:
        """Return the optimizer steps for a target of ``num_target`` samples; 20 epochs (the paper's) by default."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or 20) * ceil(num_target / self.batch_size)
