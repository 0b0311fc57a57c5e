"""Weighted cross entropy plus soft Dice, for labels in which vessels may be unknown."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from livertumor_cli.anatomy import Label
from livertumor_cli.training.patches import Batch

SMOOTH_VOXELS = 50.0
"""Keeps Dice calm where a structure has few voxels in the batch."""


def segmentation_loss(logits: Tensor, batch: Batch, *, class_weights: Tensor) -> Tensor:
    """Mean cross entropy plus the mean of one minus soft Dice over liver, tumor and vessel.

    Dice is what the UCA-Net paper trains with (section 3.1); cross entropy is added because it
    gives a gradient where a structure is absent from the patch. In patients without vessel labels
    "liver" means liver or vessel: their probabilities are added, and vessel Dice leaves them out.

    Args:
        logits: Shape (B, C, D, H, W), C = 2 (liver task) or 4.
        batch: Labels with values below C.
        class_weights: Shape (C,).

    Returns:
        Scalar.
    """
    log_p = functional.log_softmax(logits.float(), dim=1)
    if logits.shape[1] > 2:
        log_p = _merge_unknown_vessels(log_p, batch.has_vessels)
    entropy = functional.nll_loss(log_p, batch.labels, weight=class_weights)
    p = log_p.exp()
    losses = [1 - soft_dice(1 - p[:, 0], batch.labels > 0)]
    if logits.shape[1] > 2:
        tumor = batch.labels == Label.TUMOR
        if tumor.any():
            losses.append(1 - soft_dice(p[:, Label.TUMOR], tumor))
        known = batch.has_vessels
        vessel = batch.labels[known] == Label.VESSEL
        if vessel.any():
            losses.append(1 - soft_dice(p[known, Label.VESSEL], vessel))
    return entropy + torch.stack(losses).mean()


def soft_dice(p: Tensor, reference: Tensor) -> Tensor:
    """Dice of probabilities and a mask over the whole batch, any equal shapes."""
    overlap = (p * reference).sum()
    total = p.sum() + reference.sum()
    return (2 * overlap + SMOOTH_VOXELS) / (total + SMOOTH_VOXELS)


def _merge_unknown_vessels(log_p: Tensor, has_vessels: Tensor) -> Tensor:
    """Put liver-or-vessel into the liver channel of the samples whose vessels are not labeled."""
    merged = torch.logaddexp(log_p[:, Label.LIVER], log_p[:, Label.VESSEL])
    unknown = ~has_vessels.view(-1, 1, 1, 1)
    liver = torch.where(unknown, merged, log_p[:, Label.LIVER])
    return torch.stack(
        [log_p[:, Label.BACKGROUND], liver, log_p[:, Label.TUMOR], log_p[:, Label.VESSEL]], dim=1
    )
