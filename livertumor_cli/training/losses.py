"""The papers' losses, for labels in which vessels may be unknown, and deep supervision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from livertumor_cli.anatomy import Label
from livertumor_cli.networks.pyramid import LevelLogits, level_weight
from livertumor_cli.training.batch import Batch

Loss = Callable[[Tensor, Batch, Tensor], Tensor]
"""Scalar loss of logits (B, C, ...), a batch with labels below C, and class weights (C,)."""

UNKNOWN = -100
"""Label of voxels that no loss may judge."""

SMOOTH_VOXELS = 50.0
"""Keeps Dice calm where a structure has few voxels in the batch."""


def entropy_and_dice(logits: Tensor, batch: Batch, class_weights: Tensor) -> Tensor:
    """Mean cross entropy plus the mean of one minus soft Dice over liver, tumor and vessel.

    Dice is what the UCA-Net paper trains with (section 3.1); cross entropy is added because it
    gives a gradient where a structure is absent from the patch. In patients without vessel labels
    "liver" means liver or vessel: their probabilities are added, and vessel Dice leaves them out.

    Args:
        logits: Shape (B, C, ...), C = 2 (liver), 3 (with tumor) or 4 (with vessel).
        batch: Labels with values below C.
        class_weights: Shape (C,).
    """
    log_p = _log_probabilities(logits, batch)
    entropy = functional.nll_loss(log_p, batch.labels, weight=class_weights)
    p = log_p.exp()
    losses = [1 - soft_dice(1 - p[:, 0], batch.labels > 0)]
    if logits.shape[1] > Label.TUMOR:
        tumor = batch.labels == Label.TUMOR
        if tumor.any():
            losses.append(1 - soft_dice(p[:, Label.TUMOR], tumor))
    if logits.shape[1] > Label.VESSEL:
        known = batch.has_vessels
        vessel = batch.labels[known] == Label.VESSEL
        if vessel.any():
            losses.append(1 - soft_dice(p[known, Label.VESSEL], vessel))
    return entropy + torch.stack(losses).mean()


def weighted_entropy(logits: Tensor, batch: Batch, class_weights: Tensor) -> Tensor:
    """Cross entropy alone, weighted by class (SFAN, section 3)."""
    log_p = _log_probabilities(logits, batch)
    return functional.nll_loss(log_p, batch.labels, weight=class_weights)


def entropy_and_squared_dice(logits: Tensor, batch: Batch, class_weights: Tensor) -> Tensor:
    """Cross entropy plus Dice whose denominators are squared (DPC-Net, eq. 10 to 12).

    Eq. 12 adds all classes up before it divides; background and liver would drown the tumor. So
    each class has a ratio of its own and their mean counts, as in nnU-Net, which the paper follows;
    classes that the batch lacks are left to the cross entropy.
    """
    log_p = _log_probabilities(logits, batch)
    entropy = functional.nll_loss(log_p, batch.labels, weight=class_weights)
    p = log_p.exp()
    masks = {label: batch.labels == label for label in range(1, logits.shape[1])}
    losses = [
        1 - squared_dice(p[:, label], mask) for label, mask in masks.items() if bool(mask.any())
    ]
    return entropy + torch.stack(losses).mean() if losses else entropy


def segment_loss(logits: Tensor, batch: Batch, class_weights: Tensor) -> Tensor:
    """Mean cross entropy plus the mean of one minus soft Dice over the segments in the batch.

    Args:
        logits: Shape (B, 9, D, H, W).
        batch: Labels 0 to 8, and UNKNOWN where a reference does not say which segment it is.
        class_weights: Shape (9,).
    """
    known = batch.labels != UNKNOWN
    entropy = functional.cross_entropy(
        logits.float(), batch.labels, weight=class_weights, ignore_index=UNKNOWN
    )
    p = logits.float().softmax(dim=1)
    masks = {label: batch.labels == label for label in range(1, logits.shape[1])}
    losses = [
        1 - soft_dice(p[:, label] * known, mask) for label, mask in masks.items() if mask.any()
    ]
    return entropy + torch.stack(losses).mean() if losses else entropy


def soft_dice(p: Tensor, reference: Tensor) -> Tensor:
    """Dice of probabilities and a mask over the whole batch, any equal shapes."""
    overlap = (p * reference).sum()
    total = p.sum() + reference.sum()
    return (2 * overlap + SMOOTH_VOXELS) / (total + SMOOTH_VOXELS)


def squared_dice(p: Tensor, reference: Tensor) -> Tensor:
    """Dice with squared denominators over the whole batch; the mask must not be empty."""
    return 2 * (p * reference).sum() / ((p * p).sum() + reference.sum())


def output_loss(
    output: Tensor | list[LevelLogits], batch: Batch, *, loss: Loss, class_weights: Tensor
) -> Tensor:
    """Loss of what a network gives in training: logits, or those of every supervised level.

    Args:
        output: Logits, or outputs of deep supervision, whose losses are added up with the weights
            of DPC-Net's eq. 13; the coarsest level of the network is among them.
        batch: At full resolution.
        loss: The loss of one output.
        class_weights: Shape (C,).
    """
    if isinstance(output, Tensor):
        return loss(output, batch, class_weights)
    levels = 1 + max(one.level for one in output)
    losses = [
        level_weight(one.level, levels=levels)
        * loss(one.logits, at_level(batch, one.level), class_weights)
        for one in output
    ]
    return torch.stack(losses).sum()


def at_level(batch: Batch, level: int) -> Batch:
    """The batch with the labels of every 2^level-th voxel, from the middle of each block."""
    if level == 0:
        return batch
    step = 1 << level
    every = (slice(step // 2, None, step),) * (batch.labels.ndim - 1)
    return Batch(batch.image, batch.labels[:, *every], batch.has_vessels)


def _log_probabilities(logits: Tensor, batch: Batch) -> Tensor:
    """Log-softmax in which "liver" holds vessels too where those are not labeled."""
    log_p = functional.log_softmax(logits.float(), dim=1)
    if logits.shape[1] <= Label.VESSEL:
        return log_p
    merged = torch.logaddexp(log_p[:, Label.LIVER], log_p[:, Label.VESSEL])
    unknown = ~batch.has_vessels.view(-1, *[1] * (logits.ndim - 2))
    liver = torch.where(unknown, merged, log_p[:, Label.LIVER])
    return torch.stack(
        [log_p[:, Label.BACKGROUND], liver, log_p[:, Label.TUMOR], log_p[:, Label.VESSEL]], dim=1
    )
