"""Batches of training patches: which case, which place, which change."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from livertumor_cli.anatomy import Label
from livertumor_cli.training.augment import (
    Augmentation,
    add_mass,
    add_table,
    change_intensity,
    sample,
    sampling_grid,
)
from livertumor_cli.training.cache import OUTSIDE_HU, TrainingCase
from livertumor_cli.training.surroundings import FARTHEST_MM, distance_to_liver, random_region
from livertumor_cli.training.tasks import Task

PHANTOM_SHARE = 0.1
TABLE_CHANCE = 0.3
MASS_CHANCE = 0.3
SLAB_CHANCE = 0.25


@dataclass(frozen=True, slots=True)
class Batch:
    """Network input and reference.

    Attributes:
        image: Shape (B, 1, D, H, W), 0..1.
        labels: int64, shape (B, D, H, W).
        has_vessels: bool, shape (B,).
    """

    image: Tensor
    labels: Tensor
    has_vessels: Tensor


class PatchSampler:
    """Draws patches; the same seed and step give the same batch, so a resumed run goes on alike."""

    def __init__(self, cases: list[TrainingCase], *, task: Task, seed: int) -> None:
        self.task = task
        self.seed = seed
        self.augmentation = Augmentation()
        self.cases = cases
        self.images = [torch.from_numpy(case.hu).float() - OUTSIDE_HU for case in cases]
        self.references = [torch.from_numpy(case.labels).float() for case in cases]
        self.lesions = [_lesion_centers(case) for case in cases]
        self.distances = (
            [distance_to_liver(case, spacing_mm=task.spacing_mm) for case in cases]
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
        return Batch(
            torch.stack([image for image, _, _ in patches])[:, None],
            torch.stack([labels for _, labels, _ in patches]),
            torch.tensor([vessels for _, _, vessels in patches]),
        )

    def _patch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, bool]:
        """Image (D, H, W) in 0..1, labels (D, H, W), whether vessels are labeled."""
        index, center = self._choose(rng)
        task = self.task
        grid = sampling_grid(
            rng, patch=task.patch, spacing_mm=task.spacing_mm, augmentation=self.augmentation
        )
        middle = torch.tensor(center, dtype=torch.float32)
        hu = sample(self.images[index], middle, grid, mode="bilinear") + OUTSIDE_HU
        labels = sample(self.references[index], middle, grid, mode="nearest").long()
        if task.wide and rng.random() < MASS_CHANCE:
            hu = add_mass(rng, hu, labels, spacing_mm=task.spacing_mm)
        hu = change_intensity(rng, hu, augmentation=self.augmentation)
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
        # Stored distances are shifted so that outside the array reads as far away, not as zero.
        near = sample(FARTHEST_MM - self.distances[index], middle, grid, mode="bilinear")
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
            center = self.lesions[index][rng.integers(len(self.lesions[index]))]
            jitter = rng.uniform(-0.3, 0.3, 3) * np.array(self.task.patch)
            return index, (center + jitter).tolist()
        else:
            pool = self.real
        index = int(rng.choice(pool))
        low, high = self.boxes[index]
        return index, rng.uniform(low, high).tolist()


def _lesion_centers(case: TrainingCase) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Centers of all tumor components; each lesion counts once, whatever its size."""
    numbered, count = ndimage.label(case.labels == Label.TUMOR, np.ones((3, 3, 3)))
    centers = ndimage.center_of_mass(numbered > 0, numbered, range(1, count + 1))
    return [np.asarray(center) for center in centers]


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


def prefetch(sampler: PatchSampler, *, steps: range, size: int) -> Generator[Batch, None, None]:
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
