"""Random geometry and intensity of training patches.

Geometry as the papers ask (rotation, scaling, shear, elastic; shifts come from where a patch is
cut). Mirroring is off unless a paper asks for it, since a liver lies on the right, and then from
left to right only: such bodies exist, those that stand on their heads do not. Intensity covers what
the shared CTs cannot show: they are clipped to [-160, 240] HU, saturate above about 160, and fat is
only roughly known (their README).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from livertumor_cli.geometry import Spacing

AIR_HU = -160.0
SOFT_TISSUE_HU = -45.0
"""Below it the shared CTs know fat only to about 30 HU."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges of the random changes; every one is drawn anew for each patch."""

    rotation_z_deg: float = 20.0
    rotation_xy_deg: float = 8.0
    log_scale: float = 0.18
    shear: float = 0.06
    elastic_mm: float = 4.0
    elastic_chance: float = 0.3
    gain: float = 0.15
    offset_hu: float = 15.0
    noise_hu: float = 22.0
    noise_chance: float = 0.5
    blur_chance: float = 0.2
    thick_slice_chance: float = 0.15
    mirror_chance: float = 0.0
    painted_tumor_chance: float = 0.0


def sampling_grid(
    rng: np.random.Generator,
    *,
    patch: tuple[int, int, int],
    spacing_mm: Spacing,
    augmentation: Augmentation,
) -> Tensor:
    """Offsets in voxels (z, y, x) from a patch's center, shape (D, H, W, 3)."""
    axes = [
        (torch.arange(size, dtype=torch.float32) - 0.5 * (size - 1)) * step
        for size, step in zip(patch, spacing_mm, strict=True)
    ]
    offsets_mm = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (D, H, W, 3)
    matrix = torch.from_numpy(_random_matrix(rng, augmentation)).float()
    moved = offsets_mm @ matrix.T
    if rng.random() < augmentation.elastic_chance:
        coarse = rng.normal(0.0, augmentation.elastic_mm, (1, 3, 4, 5, 5)).astype(np.float32)
        field = functional.interpolate(
            torch.from_numpy(coarse), size=patch, mode="trilinear", align_corners=True
        )
        moved = moved + field[0].permute(1, 2, 3, 0)  # (D, H, W, 3)
    return moved / torch.tensor(spacing_mm)


def _random_matrix(
    rng: np.random.Generator, augmentation: Augmentation
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Rotation, scaling and shear about the patch's center, on (z, y, x) in mm."""
    a = np.deg2rad(rng.uniform(-1, 1) * augmentation.rotation_z_deg)
    b, c = np.deg2rad(rng.uniform(-1, 1, 2) * augmentation.rotation_xy_deg)
    about_z = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    shear = np.eye(3) + rng.uniform(-1, 1, (3, 3)) * augmentation.shear * (1 - np.eye(3))
    scale = np.exp(rng.uniform(-1, 1) * augmentation.log_scale + rng.uniform(-1, 1, 3) * 0.06)
    if augmentation.mirror_chance and rng.random() < augmentation.mirror_chance:
        scale[2] = -scale[2]
    return np.asarray(about_z @ about_y @ about_x @ shear * scale)


def sample(volume: Tensor, center: Tensor, grid: Tensor, *, mode: str) -> Tensor:
    """Values of a volume at a patch's positions; zero outside.

    Args:
        volume: Shape (z, y, x), of any kind of number; only the part around the patch is turned
            into float32.
        center: Voxel index z, y, x of the patch's center.
        grid: Offsets in voxels, shape (D, H, W, 3).
        mode: "bilinear" (trilinear here) or "nearest".

    Returns:
        float32, shape (D, H, W).
    """
    positions = grid + center
    box, first = _box_around(positions, volume.shape)
    part = volume[box].float()
    sizes = torch.tensor(part.shape, dtype=torch.float32)
    # Corners are not aligned: aligned ones would take a single slice for an endless one.
    normalized = (2.0 * (positions - first) + 1.0) / sizes - 1.0
    sampled = functional.grid_sample(
        part[None, None],
        normalized.flip(-1)[None],
        mode=mode,
        padding_mode="zeros",
        align_corners=False,
    )
    return sampled[0, 0]


def _box_around(positions: Tensor, shape: torch.Size) -> tuple[tuple[slice, ...], Tensor]:
    """The box of an array in which positions have their neighbors, and its first voxel."""
    flat = positions.reshape(-1, 3)
    low, high = flat.amin(0).floor().int().tolist(), flat.amax(0).ceil().int().tolist()
    starts = [min(max(one, 0), size - 1) for one, size in zip(low, shape, strict=True)]
    stops = [
        max(min(one + 1, size), start + 1)
        for one, size, start in zip(high, shape, starts, strict=True)
    ]
    box = tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))
    return box, torch.tensor(starts, dtype=torch.float32)


def change_intensity(rng: np.random.Generator, hu: Tensor, *, augmentation: Augmentation) -> Tensor:
    """Scanner, phase and reconstruction differences; HU in and out, shape (D, H, W)."""
    if rng.random() < 0.5:
        # Undo the saturation of the shared CTs: bone and bright vessels reach further up elsewhere.
        bright = hu > 150
        hu = torch.where(bright, 150 + (hu - 150) * float(rng.uniform(1.0, 2.5)), hu)
    if rng.random() < 0.5:
        # Bend what lies between air and soft tissue; both ends stay, so that air remains air.
        share = ((SOFT_TISSUE_HU - hu) / (SOFT_TISSUE_HU - AIR_HU)).clamp(0, 1)
        bent = SOFT_TISSUE_HU - (SOFT_TISSUE_HU - AIR_HU) * share ** float(rng.uniform(0.7, 1.4))
        hu = torch.where(hu < SOFT_TISSUE_HU, bent, hu)
    gain = 1.0 + float(rng.uniform(-1, 1)) * augmentation.gain
    offset = float(rng.uniform(-1, 1)) * augmentation.offset_hu
    hu = torch.where(hu > AIR_HU, hu * gain + offset, hu)
    if rng.random() < augmentation.thick_slice_chance:
        hu = _thicken_slices(hu, factor=int(rng.integers(2, 4)))
    if rng.random() < augmentation.blur_chance:
        hu = _blur(hu)
    if rng.random() < augmentation.noise_chance:
        noise = torch.from_numpy(rng.standard_normal(hu.shape, dtype=np.float32))
        if rng.random() < 0.5:
            noise = 2.0 * _blur(noise)
        hu = hu + noise * float(rng.uniform(0, augmentation.noise_hu))
    return hu


def _blur(image: Tensor) -> Tensor:
    """Mean over 3 x 3 voxels in plane, shape (D, H, W)."""
    padded = functional.pad(image[None, None], (1, 1, 1, 1, 0, 0), mode="replicate")
    return functional.avg_pool3d(padded, (1, 3, 3), 1)[0, 0]


def _thicken_slices(hu: Tensor, *, factor: int) -> Tensor:
    """Average groups of slices and interpolate back, as a scan of thicker slices would look."""
    depth, height, width = hu.shape
    # Whole groups only: a cut one would shift the image against its labels.
    missing = -depth % factor
    padded = functional.pad(hu[None, None], (0, 0, 0, 0, 0, missing), mode="replicate")
    thick = functional.avg_pool3d(padded, (factor, 1, 1))
    size = (depth + missing, height, width)
    back = functional.interpolate(thick, size=size, mode="trilinear", align_corners=False)
    return back[0, 0, :depth]


def add_table(rng: np.random.Generator, hu: Tensor) -> Tensor:
    """A patient table in the air behind the body; the shared CTs show none."""
    height = hu.shape[1]
    row = int(rng.integers(height // 2, height))
    thickness = int(rng.integers(1, 4))
    band = hu[:, row : row + thickness]
    value = float(rng.uniform(-150, 250))
    hu = hu.clone()
    hu[:, row : row + thickness] = torch.where(band <= AIR_HU, value, band)
    return hu


def add_mass(
    rng: np.random.Generator, hu: Tensor, labels: Tensor, *, spacing_mm: Spacing
) -> Tensor:
    """A mass as bright as the liver in the organs around it: not all that looks like liver is it.

    Tumors of the kidney, the adrenal or the stomach reach sizes and densities that no training case
    shows; a first stage that knows the liver by its density takes them for it.

    Args:
        rng: Decides size, place and density.
        hu: Shape (D, H, W).
        labels: Same shape; what they mark keeps its HU.
        spacing_mm: Grid of the patch.

    Returns:
        HU, shape (D, H, W); as it was where the patch shows no liver.
    """
    liver = labels > 0
    around = torch.nonzero((hu > SOFT_TISSUE_HU) & ~liver)
    if not liver.any() or not len(around):
        return hu
    # Of a handful of places the one nearest to the liver: what touches it is harder to tell apart.
    middle = torch.nonzero(liver).float().mean(dim=0)
    places = around[torch.from_numpy(rng.integers(len(around), size=5))]
    steps_mm = torch.tensor(spacing_mm)
    center = places[((places - middle) * steps_mm).norm(dim=1).argmin()]
    squared = torch.zeros(())
    for axis, (size, step) in enumerate(zip(hu.shape, spacing_mm, strict=True)):
        radius_mm = float(rng.uniform(15.0, 60.0))
        offsets = (torch.arange(size) - center[axis]) * step / radius_mm
        shape = [-1 if other == axis else 1 for other in range(3)]
        squared = squared + (offsets**2).reshape(shape)  # (D, H, W) in the end
    inside = (squared < 1.0) & ~liver & (hu > SOFT_TISSUE_HU - 60.0)
    texture = torch.from_numpy(rng.standard_normal(hu.shape, dtype=np.float32))
    texture = texture * float(rng.uniform(3.0, 15.0))
    mass_hu = float(hu[liver].mean()) + float(rng.normal(0.0, 20.0)) + texture
    return torch.where(inside, mass_hu, hu)
