"""The training loop: Adam, mixed precision, averaged weights, resumable after a kill at any moment.

All papers train with Adam. Here a little weight decay, apart from its gradients (AdamW), and the
average of the weights over the steps stand against the few training patients.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from livertumor_cli.errors import BackendError, ModelError
from livertumor_cli.io.atomic import make_folder
from livertumor_cli.training.batch import Batch
from livertumor_cli.training.cache import TrainingCase
from livertumor_cli.training.checkpoint import (
    BestWeights,
    TrainingState,
    load_state,
    metadata_json,
    save_state,
    save_weights,
)
from livertumor_cli.training.curve import forget_after, note_step
from livertumor_cli.training.curve_picture import draw_curve
from livertumor_cli.training.losses import output_loss
from livertumor_cli.training.patches import PatchSampler, prefetch
from livertumor_cli.training.precision import autocast
from livertumor_cli.training.segment_patches import SegmentSampler
from livertumor_cli.training.tasks import Task
from livertumor_cli.training.validate import scored_structures, validate


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How long and how to train.

    Attributes:
        steps: Optimizer steps in all; the learning rate falls to nearly zero at the last.
        batch: Patches per step.
        learning_rate: Highest rate of Adam (the UCA-Net paper: 0.001).
        warmup: Steps in which the rate rises.
        average_decay: Decay of the averaged weights that are validated and exported.
        save_every: Steps between two saved states; each validation saves one too.
        validate_every: Steps between two validations.
        seed: Of weights and patches.
        device: "cpu" or "cuda".
    """

    steps: int = 1000
    batch: int = 2
    learning_rate: float = 1e-3
    warmup: int = 40
    average_decay: float = 0.99
    save_every: int = 50
    validate_every: int = 250
    seed: int = 1
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Progress:
    """What is told after each step; `dice` only after a validation."""

    step: int
    steps: int
    loss: float
    seconds_per_step: float
    dice: dict[str, float]


class Trainer:
    """One run in one folder.

    `state.pt` is what a run goes on from, `model.safetensors` the averaged weights of the last
    saved step, `best.safetensors` those of the best validation, `curve.csv` and `curve.png` the
    learning curve.
    """

    def __init__(self, task: Task, *, options: TrainingOptions, out: Path) -> None:
        """Begin a run, or go on with the one whose state the folder holds.

        Raises:
            BackendError: If the device cannot be used.
            ModelError: If the saved state is damaged or belongs to another network.
            OutputError: If the folder cannot be made.
        """
        self.task, self.options, self.out = task, options, out
        if options.device == "cuda" and not torch.cuda.is_available():
            raise BackendError(
                "torch finds no CUDA device to train on.", hint="Train with --device cpu."
            )
        make_folder(out)
        torch.manual_seed(options.seed)
        device = torch.device(options.device)
        self._layout = torch.channels_last_3d if task.dimensions == 3 else torch.channels_last
        self.network = task.build().to(device).to(memory_format=self._layout)  # type: ignore[call-overload]
        self.average: dict[str, Tensor] = {
            key: value.detach().clone() for key, value in self.network.state_dict().items()
        }
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), options.learning_rate, weight_decay=1e-4
        )
        self.class_weights = torch.tensor(task.class_weights, device=device)
        self.step = 0
        self.trained_s = 0.0
        self._resume()
        self.best = BestWeights(out / "best.safetensors", step=self.step)

    def train(
        self,
        cases: list[TrainingCase],
        validation: list[TrainingCase],
        *,
        report: Callable[[Progress], None],
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the last step; call again after a kill or a stop and it goes on.

        Args:
            cases: Training cases, phantoms among them.
            validation: Cases for the validation Dice.
            report: Told after each step.
            stop: Asked after each step; if it says so, the state is saved and training ends.

        Returns:
            Whether the last step has been taken.

        Raises:
            ModelError: If the loss is no number any more; the saved state is from before.
            OutputError: If the folder cannot be written.
        """
        kind = SegmentSampler if self.task.is_of_segments else PatchSampler
        sampler = kind(cases, task=self.task, seed=self.options.seed)
        steps = range(self.step, self.options.steps)
        with closing(prefetch(sampler, steps=steps, size=self.options.batch)) as batches:
            for batch in batches:
                report(self._advance(batch, validation))
                if stop():
                    self._save()
                    break
        return self.step >= self.options.steps

    def _advance(self, batch: Batch, validation: list[TrainingCase]) -> Progress:
        """One step with the validation, the saving and the line of the curve that are due."""
        started = time.monotonic()
        loss = self._train_step(batch)
        self.step += 1
        seconds = time.monotonic() - started
        self.trained_s += seconds
        is_last = self.step == self.options.steps
        is_validated = is_last or self.step % self.options.validate_every == 0
        dice = self._validate(validation) if is_validated else {}
        # The curve first: a kill between the two leaves lines that the resumed run removes.
        curve = self.out / "curve.csv"
        note_step(
            curve,
            step=self.step,
            trained_s=self.trained_s,
            loss=loss,
            dice=dice,
            structures=scored_structures(self.task),
        )
        if is_validated:
            # And the best weights: a state ahead of its validation would never be validated again.
            self.best.offer(self._exportable(), dice=dice, metadata=self._metadata())
            draw_curve(curve, self.out / "curve.png")
        if is_validated or self.step % self.options.save_every == 0:
            self._save()
        return Progress(self.step, self.options.steps, loss, seconds, dice)

    def _train_step(self, batch: Batch) -> float:
        self.network.train()
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = self.options.device
        image = batch.image.to(device, memory_format=self._layout)
        moved = Batch(image, batch.labels.to(device), batch.has_vessels.to(device))
        with autocast(device):
            output = self.network(image)
        loss = output_loss(output, moved, loss=self.task.loss, class_weights=self.class_weights)
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss of step {self.step + 1} is no finite number.",
                hint="Run the command again with a lower --learning-rate: it goes on from the "
                "last saved state.",
            )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._average()
        return float(loss.detach())

    def _learning_rate(self) -> float:
        """Linear rise, then half a cosine down to a hundredth."""
        options = self.options
        if self.step < options.warmup:
            return options.learning_rate * (self.step + 1) / options.warmup
        share = (self.step - options.warmup) / max(1, options.steps - options.warmup)
        return options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))

    def _average(self) -> None:
        """Exponential average of weights and batch-norm statistics; faster while it is young."""
        decay = min(self.options.average_decay, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[key].lerp_(value.detach(), 1 - decay)
            else:
                self.average[key].copy_(value)

    def _validate(self, cases: list[TrainingCase]) -> dict[str, float]:
        """Dice of the averaged weights."""
        averaged = self.task.build()
        averaged.load_state_dict(self._exportable())
        averaged = averaged.to(self.options.device).eval()
        return validate(averaged, cases, task=self.task, device=self.options.device)

    def _save(self) -> None:
        # The state last: a run that is killed before it takes its last steps again, weights too.
        save_weights(self.out / "model.safetensors", self._exportable(), metadata=self._metadata())
        state = TrainingState(
            self.step,
            self.network.state_dict(),
            self.average,
            self.optimizer.state_dict(),
            self.trained_s,
        )
        save_state(self.out / "state.pt", state)

    def _exportable(self) -> dict[str, Tensor]:
        """The averaged weights, which are validated and exported."""
        return {key: value.cpu() for key, value in self.average.items()}

    def _metadata(self) -> dict[str, str]:
        return metadata_json(
            {
                "task": self.task.name,
                "step": self.step,
                "trained_s": round(self.trained_s),
                "seed": self.options.seed,
            }
        )

    def _resume(self) -> None:
        path = self.out / "state.pt"
        state = load_state(path)
        if state is not None:
            try:
                self.network.load_state_dict(state.network)
                self.optimizer.load_state_dict(state.optimizer)
            except (RuntimeError, ValueError, KeyError) as error:
                raise ModelError(
                    f"{path} belongs to another network than that of {self.task.name}.",
                    hint="Choose another folder for this run.",
                ) from error
            device = self.options.device
            self.average = {key: value.to(device) for key, value in state.average.items()}
            self.step, self.trained_s = state.step, state.trained_s
        forget_after(self.out / "curve.csv", self.step)
