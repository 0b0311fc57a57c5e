"""Agreement scores against the formulas of LiTS written plainly a second time, on random shapes."""

import math

import numpy as np
import pytest
from scipy import ndimage

from livertumor_cli.geometry import Geometry
from livertumor_cli.measure.comparison import compare_case
from livertumor_cli.measure.components import number_lesions

SHAPE = (6, 14, 15)
EIGHTEEN = ndimage.generate_binary_structure(3, 2)


def random_labels(rng, *, tumor_share):
    """A ragged liver with ragged tumors."""
    fields = [ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.0) for _ in range(2)]
    labels = (fields[0] > np.quantile(fields[0], 0.5)).astype(np.uint8)
    labels[(fields[1] > np.quantile(fields[1], 1 - tumor_share)) & (labels > 0)] = 2
    return labels


def surface_mm(mask, spacing_mm):
    return np.argwhere(mask ^ ndimage.binary_erosion(mask, EIGHTEEN)) * np.array(spacing_mm)


def distances_mm(prediction, reference, spacing_mm):
    """Of every surface voxel to the other surface, there and back."""
    one, other = (surface_mm(mask, spacing_mm) for mask in (prediction, reference))
    table = np.sqrt(((one[:, None] - other[None]) ** 2).sum(axis=-1))
    return table.min(axis=1), table.min(axis=0)


def lits_counts(predicted, reference, *, threshold):
    """True positives, false positives, false negatives of merged lesions, by dictionaries."""
    numbers = [range(1, int(lesions.max()) + 1) for lesions in (predicted, reference)]
    common = {
        (p, r): int(((predicted == p) & (reference == r)).sum())
        for p in numbers[0]
        for r in numbers[1]
    }
    merged = {}  # references by the prediction that overlaps them most
    for r in numbers[1]:
        shares = [(common[p, r], -p) for p in numbers[0] if common[p, r]]
        if shares:
            merged.setdefault(-max(shares)[1], []).append(r)
    joined = {}  # predictions by the merged references that they overlap most
    for p in numbers[0]:
        sums = [(sum(common[p, r] for r in members), -key) for key, members in merged.items()]
        if max(sums, default=(0, 0))[0]:
            joined.setdefault(-max(sums)[1], []).append(p)
    found = right = 0
    for key, members in merged.items():
        one = np.isin(predicted, joined.get(key, []))
        other = np.isin(reference, members)
        if (one & other).sum() > threshold * (one | other).sum():
            found += len(members)
            right += len(joined[key])
    return found, len(numbers[0]) - right, len(numbers[1]) - found


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_the_formulas(seed):
    rng = np.random.default_rng(seed)
    spacing_mm = tuple(rng.choice([0.7, 1.0, 2.5, 5.0], 3).tolist())
    reference = random_labels(rng, tumor_share=0.15)
    prediction = random_labels(rng, tumor_share=0.2) if seed % 2 else np.roll(reference, 1, axis=2)
    geometry = Geometry.from_spacing(SHAPE, spacing_mm=spacing_mm)
    agreement = compare_case(prediction, reference, geometry=geometry)
    masks = [(prediction >= 1, reference >= 1), (prediction == 2, reference == 2)]
    for part, (a, b) in zip(agreement.structures, masks, strict=True):
        dice = 2 * (a & b).sum() / (a.sum() + b.sum())
        there, back = distances_mm(a, b, spacing_mm)
        both = np.concatenate([there, back])
        assert part.overlap.dice == pytest.approx(dice)
        assert part.overlap.voe == pytest.approx(1 - dice / (2 - dice))
        assert part.overlap.rvd == pytest.approx(a.sum() / b.sum() - 1)
        assert part.overlap.rvd_lits == pytest.approx(b.sum() / a.sum() - 1)
        assert part.surface.assd_mm == pytest.approx(both.sum() / both.size)
        assert part.surface.rmsd_mm == pytest.approx(math.sqrt((both**2).sum() / both.size))
        assert part.surface.msd_mm == pytest.approx(both.max())
        assert part.surface.hd95_mm == pytest.approx(
            max(np.percentile(there, 95), np.percentile(back, 95))
        )
    burdens = [
        100 * (labels == 2).sum() / (labels >= 1).sum() for labels in (prediction, reference)
    ]
    assert agreement.burden.error_percent == pytest.approx(burdens[0] - burdens[1])


@pytest.mark.parametrize("seed", range(8))
def test_merged_lesions_are_counted_by_the_rule(seed):
    rng = np.random.default_rng(100 + seed)
    reference = random_labels(rng, tumor_share=0.25)
    # Tumors with holes and gaps: pieces on either side.
    prediction = np.where(rng.random(SHAPE) < 0.1, 0, np.roll(reference, seed % 2, axis=1))
    agreement = compare_case(
        prediction.astype(np.uint8),
        reference,
        geometry=Geometry.from_spacing(SHAPE, spacing_mm=(1, 1, 1)),
    )
    lesions = [number_lesions(labels == 2, connectivity=6) for labels in (prediction, reference)]
    counts = [
        (one.true_positives, one.false_positives, one.false_negatives)
        for one in (agreement.detection_lits, agreement.detection_lits_any)
    ]
    assert counts == [lits_counts(*lesions, threshold=threshold) for threshold in (0.5, 0.0)]
