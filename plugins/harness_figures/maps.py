"""Grad-CAM's maps, by captum, and how much of what they mark has moved (Selvaraju et al., 2017, arXiv:1610.02391)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from torch import Tensor, nn


def class_maps(network: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Return each image's map (N, H, W) for its target class: where the layer's maps speak for the class, the largest value 1.

    The layer's maps are weighted by the spatial means of the class logit's gradients, summed and cut off at zero, then upsampled
    to the images' size (bilinear). A map without positive evidence is zero everywhere.
    """
    from captum.attr import LayerGradCam

    module = network.get_submodule(f"net.{layer}")
    # The parameters are frozen: the gradients begin at the images.
    given = images.clone().requires_grad_()
    with torch.enable_grad():
        raw = LayerGradCam(network, module).attribute(given, target=targets.to(images.device), relu_attributions=True)
    upsampled = interpolate(raw.detach(), images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    peaks = upsampled.amax((1, 2), keepdim=True)
    return torch.where(peaks > 0, upsampled / peaks.clamp_min(torch.finfo(peaks.dtype).tiny), 0.0)


def moved_share(first: Tensor, second: Tensor) -> Tensor:
    """Return which share (N,) of what maps (N, H, W) mark lies elsewhere in others: the total variation distance, in [0, 1].

    Each map is taken as a distribution over pixels. The share is zero where either map is.
    """
    sums = [maps.double().sum((1, 2), keepdim=True) for maps in (first, second)]
    shares = [maps.double() / total.clamp_min(1e-12) for maps, total in zip((first, second), sums, strict=True)]
    distance = (shares[0] - shares[1]).abs().sum((1, 2)) / 2
    known = (sums[0] > 0) & (sums[1] > 0)
    return torch.where(known.flatten(), distance, 0.0)
