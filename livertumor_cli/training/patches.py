"""Batches of training patches: which case, which place, which change."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from livertumor_cli.anatomy import Label
from livertumor_cli.training.augment import (
    add_mass,
    add_table,
    change_intensity,
    sample,
    sampling_grid,
)
from livertumor_cli.training.batch import Batch, network_axes
from livertumor_cli.training.cache import OUTSIDE_HU, TrainingCase
from livertumor_cli.training.painted_tumors import paint_tumors
from livertumor_cli.training.surroundings import FARTHEST_MM, distance_to_liver, random_region
from livertumor_cli.training.tasks import Task

PHANTOM_SHARE = 0.1
TABLE_CHANCE = 0.3
MASS_CHANCE = 0.5
SLAB_CHANCE = 0.25

CROP_SHIFT = 0.1
LESION_REACH = 0.4
"""How far a crop lies beside its slice's liver, and a lesion from the crop's middle, as shares of
the crop."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """Where a training tumor lies.

    Attributes:
        center: Voxel index z, y, x.
        slices: First and last slice.
    """

    center: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    slices: tuple[int, int]


class PatchSampler:
    """Draws patches; the same seed and step give the same batch, so a resumed run goes on alike."""

    def __init__(self, cases: list[TrainingCase], *, task: Task, seed: int) -> None:
        self.task = task
        self.seed = seed
        self.cases = cases
        # Small kinds of numbers: whole scans in float32 would take gigabytes.
        self.images = [torch.from_numpy(case.hu) - int(OUTSIDE_HU) for case in cases]
        self.references = [torch.from_numpy(case.labels) for case in cases]
        self.lesions = [_lesions(case) for case in cases]
        # Shifted so that outside the array reads as far away, not as zero.
        self.nearness = (
            [
                (FARTHEST_MM - distance_to_liver(case, spacing_mm=task.spacing_mm)).half()
                for case in cases
            ]
            if task.surroundings_mm is not None
            else []
        )
        self.boxes = [_liver_box(case) for case in cases]
        real = [i for i, case in enumerate(cases) if not case.is_phantom]
        self.phantoms = [i for i, case in enumerate(cases) if case.is_phantom]
        self.real = real
        self.with_tumor = [i for i in real if self.lesions[i]]

    def batch(self, step: int, size: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, step))
        patches = [self._patch(rng) for _ in range(size)]
        images = torch.stack([image for image, _, _ in patches])[:, None]  # (B, 1, D, H, W)
        labels = torch.stack([labels for _, labels, _ in patches])  # (B, D, H, W)
        return Batch(
            network_axes(images, dimensions=self.task.dimensions),
            network_axes(labels, dimensions=self.task.dimensions),
            torch.tensor([vessels for _, _, vessels in patches]),
        )

    def _patch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, bool]:
        """Image (D, H, W) in 0..1, labels (D, H, W), whether vessels are labeled."""
        index, center = self._choose(rng)
        task = self.task
        grid = sampling_grid(
            rng, patch=task.patch, spacing_mm=task.spacing_mm, augmentation=task.augmentation
        )
        middle = torch.tensor(center, dtype=torch.float32)
        hu = sample(self.images[index], middle, grid, mode="bilinear") + OUTSIDE_HU
        labels = sample(self.references[index], middle, grid, mode="nearest").long()
        if task.wide and rng.random() < MASS_CHANCE:
            hu = add_mass(rng, hu, labels, spacing_mm=task.spacing_mm)
        if rng.random() < task.augmentation.painted_tumor_chance:
            hu, labels = paint_tumors(rng, hu, labels, spacing_mm=task.spacing_mm)
        hu = change_intensity(rng, hu, augmentation=task.augmentation)
        if task.wide and rng.random() < TABLE_CHANCE:
            hu = add_table(rng, hu)
        if task.wide and rng.random() < SLAB_CHANCE:
            hu, labels = _cut_slab(rng, hu, labels)
        if task.surroundings_mm is not None:
            hu, labels = self._blank_surroundings(rng, hu, labels, at=(index, middle, grid))
        low, high = task.hu_window
        image = (hu.clamp(low, high) - low) / (high - low)
        return image, labels, self.cases[index].has_vessels

    def _blank_surroundings(
        self,
        rng: np.random.Generator,
        hu: Tensor,
        labels: Tensor,
        *,
        at: tuple[int, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Keep what a first stage would have handed on; what is blank is background."""
        index, middle, grid = at
        near = sample(self.nearness[index], middle, grid, mode="bilinear")
        region = random_region(
            rng,
            FARTHEST_MM - near,
            reach_mm=self.task.surroundings_mm or 0.0,
            spacing_mm=self.task.spacing_mm,
        )
        return torch.where(region, hu, OUTSIDE_HU), torch.where(region, labels, 0)

    def _choose(self, rng: np.random.Generator) -> tuple[int, list[float]]:
        """A case and the voxel index of the patch's center."""
        if self.phantoms and rng.random() < PHANTOM_SHARE:
            pool = self.phantoms
        elif self.with_tumor and rng.random() < self.task.tumor_share:
            index = int(rng.choice(self.with_tumor))
            lesion = self.lesions[index][rng.integers(len(self.lesions[index]))]
            if self.task.dimensions == 2:
                # The middle slice alone would never show how tumors begin and end.
                z = int(rng.integers(lesion.slices[0], lesion.slices[1], endpoint=True))
                return index, self._crop_center(rng, index, z=z, lesion=lesion)
            jitter = rng.uniform(-0.3, 0.3, 3) * np.array(self.task.patch)
            return index, (lesion.center + jitter).tolist()
        else:
            pool = self.real
        index = int(rng.choice(pool))
        low, high = self.boxes[index]
        center = rng.uniform(low, high).tolist()
        if self.task.dimensions == 2:
            return index, self._crop_center(rng, index, z=int(center[0]), lesion=None)
        return index, center

    def _crop_center(
        self, rng: np.random.Generator, index: int, *, z: int, lesion: Lesion | None
    ) -> list[float]:
        """Where a slice is cropped: about its liver as in inference, but so that a lesion is seen.

        Gong et al. shift their crops at random too (section 3).
        """
        sizes = np.array(self.task.patch[1:])
        found = np.argwhere(self.cases[index].labels[z] > 0)
        if len(found):
            middle = 0.5 * (found.min(axis=0) + found.max(axis=0))
        else:
            middle = 0.5 * np.array(self.cases[index].labels.shape[1:])
        center = middle + rng.uniform(-CROP_SHIFT, CROP_SHIFT, 2) * sizes
        if lesion is not None:
            reach = LESION_REACH * sizes
            center = np.clip(center, lesion.center[1:] - reach, lesion.center[1:] + reach)
        return [float(z), *center.tolist()]


def _lesions(case: TrainingCase) -> list[Lesion]:
    """All tumor components; each lesion counts once, whatever its size."""
    numbered, count = ndimage.label(case.labels == Label.TUMOR, np.ones((3, 3, 3)))
    centers = ndimage.center_of_mass(numbered > 0, numbered, range(1, count + 1))
    boxes = ndimage.find_objects(numbered)
    return [
        Lesion(np.asarray(center), (box[0].start, box[0].stop - 1))
        for center, box in zip(centers, boxes, strict=True)
    ]


def _liver_box(
    case: TrainingCase,
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], ...]:
    """First and last liver voxel (the whole scan where there is no liver), z, y, x."""
    found = ndimage.find_objects((case.labels > 0).astype(np.uint8))
    if not found:
        return np.zeros(3), np.array(case.labels.shape, dtype=float)
    box = found[0]
    return np.array([s.start for s in box], float), np.array([s.stop for s in box], float)


def _cut_slab(rng: np.random.Generator, hu: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Blank the slices above or below a random height: scans begin and end anywhere."""
    cut = int(rng.integers(4, max(5, hu.shape[0] // 2)))
    part = slice(0, cut) if rng.random() < 0.5 else slice(hu.shape[0] - cut, None)
    hu, labels = hu.clone(), labels.clone()
    hu[part], labels[part] = OUTSIDE_HU, 0
    return hu, labels


class Sampler(Protocol):
    """What draws batches; the same step gives the same batch."""

    def batch(self, step: int, size: int) -> Batch:
        """The batch of one step."""


def prefetch(sampler: Sampler, *, steps: range, size: int) -> Generator[Batch, None, None]:
    """Batches of the given steps in order, made ahead by a thread that ends with the generator."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=2)
    stopped = threading.Event()

    def offer(item: Batch | BaseException) -> None:
        """Wait for a free place, but not for a consumer that has left."""
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def produce() -> None:
        try:
            for step in steps:
                if stopped.is_set():
                    return
                offer(sampler.batch(step, size))
        except BaseException as error:  # handed to the consumer, which raises it
            offer(error)

    thread = threading.Thread(target=produce, name="patches", daemon=True)
    thread.start()
    try:
        for _ in steps:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        # A thread inside torch while the interpreter shuts down would crash it.
        thread.join()
