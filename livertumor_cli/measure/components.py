"""Connected components of a mask: lesions numbered by size, and the largest piece."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import BoolArray, InstanceArray, LabelArray
from livertumor_cli.errors import InputError, Reason
from livertumor_cli.geometry import bounding_box

LESION_CONNECTIVITY = 26
"""Voxels that touch at a corner are one lesion: how a reader counts what lies on the next slice."""

SCORING_CONNECTIVITY = 6
"""Faces only: how the LiTS challenge counts lesions."""

MAX_COMPONENTS = int(np.iinfo(np.uint16).max)

_RANK = {6: 1, 18: 2, 26: 3}


def number_lesions(
    tumor_mask: BoolArray, *, connectivity: int = LESION_CONNECTIVITY
) -> InstanceArray:
    """Number the connected components of a mask 1, 2, ... in order of falling voxel count.

    Components of equal size are ordered by their first voxel in z, y, x order, so that the same
    mask always gives the same numbers.

    Args:
        tumor_mask: Shape (z, y, x).
        connectivity: 26 (corners touch), 18 (edges) or 6 (faces).

    Returns:
        Shape (z, y, x), 0 outside; all 0 for an empty mask. uint8, or uint16 from 256 on.

    Raises:
        InputError: If there are more components than a 16-bit number can name.
        ValueError: If `connectivity` is none of 6, 18 and 26.
    """
    structure = _structure(connectivity)
    box = bounding_box(tumor_mask)
    if box is None:
        return np.zeros(tumor_mask.shape, dtype=np.uint8)
    components, count = ndimage.label(tumor_mask[box], structure=structure)
    if count > MAX_COMPONENTS:
        raise InputError(
            f"the mask falls into {count} pieces; at most {MAX_COMPONENTS} can be numbered.",
            reason=Reason.TOO_LARGE,
            hint="A mask in so many pieces is usually noise; check the scan and the mask.",
        )
    # Seldom more than 255: a whole scan's worth of second bytes is spared, in memory and on disk.
    lesions = np.zeros(tumor_mask.shape, dtype=np.min_scalar_type(count))
    inside = components > 0
    found = components[inside]
    lesions[box][inside] = _numbers_by_size(found, count)[found]
    return lesions


def number_tumors(labels: LabelArray) -> InstanceArray:
    """`number_lesions` of the tumor in a label map, without a mask of the whole scan.

    Args:
        labels: Values of `anatomy.Label`, shape (z, y, x).

    Returns:
        Shape (z, y, x), as `number_lesions` gives it.

    Raises:
        InputError: If there are more components than a 16-bit number can name.
    """
    box = bounding_box(labels)
    if box is None:
        return np.zeros(labels.shape, dtype=np.uint8)
    inside = number_lesions(labels[box] == Label.TUMOR)
    lesions = np.zeros(labels.shape, dtype=inside.dtype)
    # Memory of zeros is taken only where something else is written.
    np.copyto(lesions[box], inside, where=inside > 0)
    return lesions


def largest_component(mask: BoolArray, *, connectivity: int = LESION_CONNECTIVITY) -> BoolArray:
    """The connected component with the most voxels; of equal ones the first in z, y, x order.

    Args:
        mask: Shape (z, y, x).
        connectivity: 26 (corners touch), 18 (edges) or 6 (faces).

    Returns:
        Shape (z, y, x); all False for an empty mask.

    Raises:
        ValueError: If `connectivity` is none of 6, 18 and 26.
    """
    structure = _structure(connectivity)
    largest = np.zeros(mask.shape, dtype=np.bool_)
    box = bounding_box(mask)
    if box is None:
        return largest
    components, count = ndimage.label(mask[box], structure=structure)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    sizes[0] = 0
    best = np.flatnonzero(sizes == sizes.max())
    if best.size > 1:
        flat = components.ravel()
        best = flat[np.isin(flat, best).argmax()]
    largest[box] = components == best
    return largest


def _structure(connectivity: int) -> BoolArray:
    if connectivity not in _RANK:
        raise ValueError(f"connectivity must be 6, 18 or 26, not {connectivity}")
    structure: BoolArray = ndimage.generate_binary_structure(3, _RANK[connectivity])
    return structure


def _numbers_by_size(inside: NDArray[np.integer[Any]], count: int) -> InstanceArray:
    """New number of each component; index 0 is the background.

    Args:
        inside: Component of each voxel that has one, in z, y, x order.
        count: Components.
    """
    sizes = np.bincount(inside, minlength=count + 1)[1:]
    first = np.empty(count + 1, dtype=np.int64)
    # Of repeated indices NumPy keeps the value assigned last: reversed, that is the first voxel.
    first[inside[::-1]] = np.arange(inside.size - 1, -1, -1)
    order = np.lexsort((first[1:], -sizes))
    numbers = np.zeros(count + 1, dtype=np.uint16)
    numbers[order + 1] = np.arange(1, count + 1)
    return numbers
