"""The 48 ways to store the axes of one scan."""

from itertools import permutations, product

import numpy as np

from livertumor_cli.geometry import Geometry

ORDERS = list(product(permutations(range(3)), product((False, True), repeat=3)))


def stored(array, geometry, order, flips):
    """The same voxels with axes in `order` of z, y, x, then those in `flips` reversed."""
    axes = geometry.affine_lps[:3, :3][:, ::-1][:, list(order)]
    start = np.zeros(3)
    array = array.transpose(order)
    for axis, flip in enumerate(flips):
        if flip:
            start[order[axis]] = array.shape[axis] - 1
            axes[:, axis] *= -1
            array = np.flip(array, axis)
    affine = np.eye(4)
    affine[:3, :3] = axes[:, ::-1]
    affine[:3, 3] = geometry.index_to_lps(start)
    return np.ascontiguousarray(array), Geometry(array.shape, affine)
