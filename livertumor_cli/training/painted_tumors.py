"""Tumors painted into healthy liver: rare shapes, sizes and densities, as often as one likes.

After the idea of Hu et al., "Label-Free Liver Tumor Segmentation", CVPR 2023 (DOI
10.1109/CVPR52729.2023.00713): an ellipsoid, bent, with a soft edge and a density of its own, is
added to the liver. Here the scan's own noise and texture stay, since the painted density is added
to them; vessels inside a tumor fade into it.

Some tumors grow out of the liver and hang below or beside it. Their part outside is labeled tumor
too: it belongs to the liver, although a first stage may have left it out. Few training patients
have such tumors, and networks that never met them take them for gallbladder or bowel.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from livertumor_cli.anatomy import Label
from livertumor_cli.geometry import Spacing

MOST_TUMORS = 3
BULGING_CHANCE = 0.3
"""Share of the tumors that begin at the liver's edge and displace what lies beside it."""

DISPLACED_HU = (-150.0, 150.0)
"""What gives way to a tumor: fat, bowel and muscle, but neither lung nor bone."""
RADIUS_MM = (3.0, 30.0)
"""Smallest and largest mean semi-axis; drawn evenly on the logarithmic scale."""

DARKER_HU = (12.0, 70.0)
"""How much darker than the liver a tumor is in the portal phase; metastases mostly are."""

BRIGHTER_CHANCE = 0.1
BRIGHTER_HU = (15.0, 50.0)
CORE_CHANCE = 0.3
RIM_CHANCE = 0.2
EDGE_MM = (0.5, 3.0)
BEND = 0.25
"""Spread of the surface's distance from the center, as a share of the ellipsoid's."""


def paint_tumors(
    rng: np.random.Generator, hu: Tensor, labels: Tensor, *, spacing_mm: Spacing
) -> tuple[Tensor, Tensor]:
    """Paint one to three tumors into the liver of a patch.

    Args:
        rng: Decides number, places, shapes and densities.
        hu: Shape (D, H, W).
        labels: `anatomy.Label` values, same shape.
        spacing_mm: Grid of the patch.

    Returns:
        HU and labels with the tumors; as they were where the patch shows no healthy liver.
    """
    for _ in range(int(rng.integers(1, MOST_TUMORS + 1))):
        room = labels > 0
        places = torch.nonzero(labels == Label.LIVER)
        if not len(places):
            break
        if rng.random() < BULGING_CHANCE:
            edge = torch.nonzero((labels == Label.LIVER) & _beside(~room))
            places = edge if len(edge) else places
            room = room | ((hu > DISPLACED_HU[0]) & (hu < DISPLACED_HU[1]))
        center = places[int(rng.integers(len(places)))]
        depth_mm = _depth_mm(rng, center, tuple(hu.shape), spacing_mm=spacing_mm)
        hu, labels = _blend(rng, hu, labels, depth_mm, room=room)
    return hu, labels


def _beside(mask: Tensor) -> Tensor:
    """What touches a mask or belongs to it, shape (D, H, W)."""
    near = functional.max_pool3d(mask[None].float(), (3, 3, 3), stride=1, padding=1)
    return near[0] > 0


def _depth_mm(
    rng: np.random.Generator, center: Tensor, shape: tuple[int, ...], *, spacing_mm: Spacing
) -> Tensor:
    """About how deep every voxel lies inside a bent ellipsoid, negative outside; (D, H, W)."""
    radius_mm = float(np.exp(rng.uniform(*np.log(RADIUS_MM))))
    semi_axes_mm = radius_mm * rng.uniform(0.7, 1.3, 3)
    axes = [
        (torch.arange(size) - float(middle)) * step
        for size, middle, step in zip(shape, center, spacing_mm, strict=True)
    ]
    offsets_mm = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).float()  # (D, H, W, 3)
    turn = Rotation.random(rng=rng).as_matrix() / semi_axes_mm[:, None]
    from_center = (offsets_mm @ torch.from_numpy(turn).float().T).norm(dim=-1)
    bend = functional.interpolate(
        torch.from_numpy(rng.normal(0.0, BEND, (1, 1, 5, 6, 6)).astype(np.float32)),
        size=shape,
        mode="trilinear",
        align_corners=True,
    )[0, 0]
    depth_mm: Tensor = radius_mm * (1.0 + bend - from_center)
    return depth_mm


def _blend(
    rng: np.random.Generator, hu: Tensor, labels: Tensor, depth_mm: Tensor, *, room: Tensor
) -> tuple[Tensor, Tensor]:
    """Change density and labels where a tumor lies in the room that it may fill."""
    share = torch.sigmoid(2.0 * depth_mm / float(rng.uniform(*EDGE_MM))) * room
    bright = rng.random() < BRIGHTER_CHANCE
    change_hu = float(rng.uniform(*BRIGHTER_HU)) if bright else -float(rng.uniform(*DARKER_HU))
    density = torch.full_like(hu, change_hu)
    if rng.random() < CORE_CHANCE:  # necrosis
        core = depth_mm > float(rng.uniform(0.3, 0.7)) * depth_mm.max()
        density = torch.where(core, density - float(rng.uniform(10.0, 40.0)), density)
    if rng.random() < RIM_CHANCE:  # an enhancing rim
        rim = (depth_mm > 0) & (depth_mm < float(rng.uniform(2.0, 5.0)))
        density = torch.where(rim, density + float(rng.uniform(10.0, 50.0)), density)
    density = density + _mottle(rng, tuple(hu.shape)) * float(rng.uniform(0.0, 12.0))
    # A vessel would show through the tumor as it does through the liver, and so would bowel.
    healthy = hu[labels == Label.LIVER]
    ground = hu
    if len(healthy):
        noise = healthy[torch.from_numpy(rng.integers(len(healthy), size=tuple(hu.shape)))]
        ground = torch.where(labels == Label.VESSEL, healthy.mean(), hu)
        ground = torch.where(labels == 0, noise, ground)
    painted = hu + share * (ground + density - hu)
    return painted, torch.where(share > 0.5, int(Label.TUMOR), labels)


def _mottle(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Coarse noise of unit spread, (D, H, W)."""
    coarse = rng.standard_normal([1, 1, *(max(2, size // 4) for size in shape)], dtype=np.float32)
    fine = functional.interpolate(
        torch.from_numpy(coarse), size=shape, mode="trilinear", align_corners=True
    )[0, 0]
    return fine / fine.std().clamp(min=1e-3)
