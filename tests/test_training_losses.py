"""The loss: what it rewards, and what it must not ask of patients without vessel labels."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from livertumor_cli.networks.pyramid import LevelLogits
from livertumor_cli.training.batch import Batch
from livertumor_cli.training.losses import (
    SMOOTH_VOXELS,
    at_level,
    entropy_and_dice,
    entropy_and_squared_dice,
    output_loss,
    soft_dice,
    squared_dice,
    weighted_entropy,
)

WEIGHTS = torch.tensor([1.0, 1.0, 2.0, 2.0])
SHAPE = (2, 4, 12, 12)


@pytest.fixture
def labels() -> torch.Tensor:
    """Liver with a tumor, and a vessel in the second patient only."""
    labels = torch.zeros(SHAPE, dtype=torch.int64)
    labels[:, :, 2:10, 2:10] = 1
    labels[:, 1:3, 3:6, 3:6] = 2
    labels[1, :, 7, 3:9] = 3
    return labels


def batch_of(labels: torch.Tensor, *vessels: bool) -> Batch:
    return Batch(torch.zeros(len(labels), 1, *SHAPE[1:]), labels, torch.tensor(vessels))


def logits_of(labels: torch.Tensor, *, classes: int = 4, certainty: float = 12.0) -> torch.Tensor:
    """Logits that say these labels."""
    one_hot = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1)
    return certainty * one_hot.float()


def loss_of(logits: torch.Tensor, batch: Batch) -> float:
    return float(entropy_and_dice(logits, batch, WEIGHTS[: logits.shape[1]]))


def test_soft_dice_is_the_formula():
    p = torch.tensor([1.0, 0.5, 0.0, 0.25])
    reference = torch.tensor([True, True, False, False])
    expected = (2 * 1.5 + SMOOTH_VOXELS) / (1.75 + 2 + SMOOTH_VOXELS)
    assert float(soft_dice(p, reference)) == pytest.approx(expected)


def test_soft_dice_of_nothing_on_nothing_is_one():
    assert float(soft_dice(torch.zeros(9), torch.zeros(9, dtype=torch.bool))) == 1.0


def test_right_answers_cost_nothing_and_wrong_ones_much(labels):
    batch = batch_of(labels, True, True)
    assert loss_of(logits_of(labels), batch) < 1e-3
    assert loss_of(logits_of(labels.flip(-2)), batch) > 2
    uncertain = loss_of(torch.zeros(2, 4, *SHAPE[1:]), batch)
    assert loss_of(logits_of(labels, certainty=1.0), batch) < uncertain


def test_liver_task_has_two_classes(labels):
    liver = labels.clamp(max=1)
    batch = batch_of(liver, False, True)
    assert loss_of(logits_of(liver, classes=2), batch) < 1e-3
    assert loss_of(logits_of(1 - liver, classes=2), batch) > 2


def test_unlabeled_vessels_may_be_called_liver_or_vessel(labels):
    unlabeled = labels.clone()
    unlabeled[labels == 3] = 1
    batch = batch_of(unlabeled, False, False)
    as_liver, as_vessel = loss_of(logits_of(unlabeled), batch), loss_of(logits_of(labels), batch)
    assert as_vessel == pytest.approx(as_liver, abs=1e-4)
    # The same answer is wrong where vessels are labeled and there is none.
    assert loss_of(logits_of(labels), batch_of(unlabeled, True, True)) > as_vessel + 0.1


def test_vessel_logits_of_unlabeled_patients_are_not_pulled_apart_from_liver(labels):
    labels = labels.clamp(max=2)
    logits = torch.zeros(2, 4, *SHAPE[1:], requires_grad=True)
    batch = batch_of(labels, False, False)
    entropy_and_dice(logits, batch, WEIGHTS).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:, 1], logits.grad[:, 3])


def test_each_patient_is_treated_by_its_own_flag(labels):
    labels = labels.clamp(max=2)
    logits = torch.zeros(2, 4, *SHAPE[1:], requires_grad=True)
    entropy_and_dice(logits, batch_of(labels, False, True), WEIGHTS).backward()
    assert logits.grad is not None
    liver, vessel = logits.grad[:, 1], logits.grad[:, 3]
    assert torch.allclose(liver[0], vessel[0])
    assert not torch.allclose(liver[1], vessel[1])


def test_vessel_dice_counts_labeled_patients_only(labels):
    """Other vessel answers in the unlabeled patient's liver leave the loss as it is."""
    batch = batch_of(labels, False, True)
    other = labels.clone()
    other[0, :, 8, 3:9] = 3
    assert loss_of(logits_of(other), batch) == pytest.approx(
        loss_of(logits_of(labels), batch), abs=1e-4
    )


def test_a_patch_without_tumor_is_not_asked_for_tumor_dice(labels):
    none = labels.clone()
    none[none == 2] = 1
    batch = batch_of(none, True, True)
    assert loss_of(logits_of(none), batch) < 1e-3
    assert loss_of(logits_of(labels), batch) > 0.1


def test_class_weights_make_a_missed_tumor_dearer(labels):
    missed = labels.clone()
    missed[missed == 2] = 1
    batch, logits = batch_of(labels, True, True), logits_of(missed)
    heavy = entropy_and_dice(logits, batch, torch.tensor([1.0, 1.0, 5.0, 1.0]))
    light = entropy_and_dice(logits, batch, torch.ones(4))
    assert float(heavy) > float(light)


def test_half_precision_logits_are_judged_in_float32(labels):
    logits = logits_of(labels, certainty=3.0)
    batch = batch_of(labels, True, True)
    loss = entropy_and_dice(logits.bfloat16(), batch, WEIGHTS)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(loss_of(logits, batch), rel=1e-5)


def test_extreme_logits_stay_finite(labels):
    logits = logits_of(labels.flip(-1), certainty=1e4).requires_grad_()
    loss = entropy_and_dice(logits, batch_of(labels, False, True), WEIGHTS)
    loss.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(logits.grad).all())


# The other papers' losses


def test_squared_dice_is_the_formula():
    """DPC-Net, eq. 12, for one class: 2 * 1.5 / (1 + 1/4 + 1/16 + 2)."""
    p = torch.tensor([1.0, 0.5, 0.0, 0.25])
    reference = torch.tensor([True, True, False, False])
    assert float(squared_dice(p, reference)) == pytest.approx(3 / (1.3125 + 2))


def test_entropy_and_squared_dice_of_an_even_guess():
    """Two of four voxels are liver, every class has a third: log 3 and a ratio of 12/22."""
    labels = torch.tensor([[[0, 0], [1, 1]]])
    batch = Batch(torch.zeros(1, 1, 2, 2), labels, torch.tensor([False]))
    loss = entropy_and_squared_dice(torch.zeros(1, 3, 2, 2), batch, torch.ones(3))
    ratio = (2 * 2 / 3) / (4 / 9 + 2)
    assert float(loss) == pytest.approx(torch.log(torch.tensor(3.0)).item() + 1 - ratio)


def test_nothing_but_background_is_left_to_the_entropy():
    batch = Batch(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4).long(), torch.tensor([False]))
    loss = entropy_and_squared_dice(torch.zeros(1, 3, 4, 4), batch, torch.ones(3))
    assert float(loss) == pytest.approx(torch.log(torch.tensor(3.0)).item())


def test_weighted_entropy_is_the_weighted_mean():
    """A liver voxel called liver with 2/3, a tumor voxel called tumor with 1/5; weights 1 and 3."""
    p = torch.tensor([[1 / 6, 2 / 3, 1 / 6], [0.4, 0.4, 0.2]])
    logits = p.log().T[None, :, None]  # (1, 3, 1, 2)
    batch = Batch(torch.zeros(1, 1, 1, 2), torch.tensor([[[1, 2]]]), torch.tensor([False]))
    expected = -(torch.log(torch.tensor(2 / 3)) + 3 * torch.log(torch.tensor(0.2))) / 4
    loss = weighted_entropy(logits, batch, torch.tensor([1.0, 1.0, 3.0]))
    assert float(loss) == pytest.approx(expected.item())


@pytest.mark.parametrize("loss", [entropy_and_dice, entropy_and_squared_dice, weighted_entropy])
@pytest.mark.parametrize("shape", [(2, 12, 12), SHAPE], ids=["2D", "3D"])
def test_losses_without_vessels_know_right_from_wrong(loss, shape, labels):
    labels = labels.clamp(max=2)[:, 1] if len(shape) == 3 else labels.clamp(max=2)
    batch = Batch(torch.zeros(2, 1, *shape[1:]), labels, torch.tensor([False, True]))
    right = loss(logits_of(labels, classes=3), batch, WEIGHTS[:3])
    wrong = loss(logits_of(labels.flip(-1), classes=3), batch, WEIGHTS[:3])
    assert float(right) < 1e-3
    assert float(wrong) > 1


# Deep supervision


def test_levels_are_weighted_as_the_paper_says():
    """Three levels: 1/3, 1/6, 1/12 (DPC-Net, eq. 13), and several outputs of a level each count."""
    batch = Batch(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 8, 8, 8).long(), torch.tensor([True]))
    output = [LevelLogits(level, torch.zeros(1, 3, *[8 >> level] * 3)) for level in (0, 0, 1, 1, 2)]
    seen: list[tuple[int, ...]] = []

    def one(logits: torch.Tensor, batch: Batch, _weights: torch.Tensor) -> torch.Tensor:
        assert logits.shape[2:] == batch.labels.shape[1:]
        seen.append(tuple(batch.labels.shape[1:]))
        return torch.tensor(1.0)

    loss = output_loss(output, batch, loss=one, class_weights=torch.ones(3))
    assert float(loss) == pytest.approx(2 / 3 + 2 / 6 + 1 / 12)
    assert seen == [(8, 8, 8)] * 2 + [(4, 4, 4)] * 2 + [(2, 2, 2)]


def test_plain_logits_have_the_plain_loss(labels):
    batch, logits = batch_of(labels, True, True), logits_of(labels, certainty=2.0)
    plain = entropy_and_dice(logits, batch, WEIGHTS)
    assert output_loss(logits, batch, loss=entropy_and_dice, class_weights=WEIGHTS) == plain


def test_labels_of_a_level_come_from_the_middle_of_their_blocks():
    labels = torch.arange(8 * 8).view(1, 8, 8)
    batch = Batch(torch.zeros(1, 1, 8, 8), labels, torch.tensor([True]))
    assert torch.equal(at_level(batch, 2).labels[0], labels[0, [2, 6]][:, [2, 6]])
    assert at_level(batch, 0) is batch
