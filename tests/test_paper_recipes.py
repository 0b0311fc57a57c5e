"""Every paper's second stage on its whole way: training, ONNX, recipe, `livertumor segment`."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn
from toy_recipe import Patient, centered_grid, dice, toy_stage, write_model

from livertumor_cli.export.papers import PAPERS
from livertumor_cli.export.stage_export import export_stage
from livertumor_cli.export.to_recipe import put_stage
from livertumor_cli.io.formats import write_volume
from livertumor_cli.networks.darn import DARN, DARNConfig
from livertumor_cli.networks.dpc_net import DPCNet, DPCNetConfig
from livertumor_cli.networks.msff_unet import MSFFUNet, MSFFUNetConfig
from livertumor_cli.networks.sfan import SFAN, SFANConfig
from livertumor_cli.recipes.recipe import StageRole, load_recipe
from livertumor_cli.recipes.store import verify_recipe
from livertumor_cli.training.cache import TrainingCase
from livertumor_cli.training.tasks import TASKS, Task
from livertumor_cli.training.trainer import Trainer, TrainingOptions

TINY_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "sfan/lesion": lambda: SFAN(SFANConfig(classes=3, widths=(8, 16), aligned_channels=8)),
    "msff-unet/lesion": lambda: MSFFUNet(MSFFUNetConfig(classes=3, widths=(4, 8))),
    "dpc-net/lesion": lambda: DPCNet(DPCNetConfig(widths=(8, 16), pyramid_channels=8)),
    "darn/lesion": lambda: DARN(DARNConfig(widths=(8, 16), pyramid_channels=8)),
}

PATIENT = Patient(vessel=None)


def tiny(name: str) -> Task:
    """A paper's task with a small network, patch and grid; all else is the paper's.

    Patches show the whole liver: instance norm knows a tissue by what else it sees.
    """
    task = TASKS[name]
    patch, edge_mm = ((1, 64, 64), 2.0) if task.dimensions == 2 else ((16, 32, 32), 4.0)
    return replace(
        task,
        build=TINY_NETWORKS[name],
        spacing_mm=(edge_mm,) * 3,
        patch=patch,
        inference_patch=patch,
        divisor=2,
        # The toy's tumor is brighter than its liver, painted ones are darker; and a tumor of one
        # density is told from the liver by nothing but that.
        augmentation=replace(task.augmentation, painted_tumor_chance=0.0, offset_hu=15.0),
    )


def trained(task: Task, out: Path) -> Path:
    """Weights that know the toy patient."""
    edge = round(148 / task.spacing_mm[0])
    grid = centered_grid((edge, edge, edge), spacing_mm=task.spacing_mm)
    case = TrainingCase("toy", PATIENT.scan(grid).hu, PATIENT.truth(grid), False, False)
    options = TrainingOptions(
        steps=150, learning_rate=0.005, warmup=5, validate_every=50, save_every=150, batch=2
    )
    assert Trainer(task, options=options, out=out).train([case], [case], report=lambda _: None)
    return out / "best.safetensors"


def with_liver_stage(folder: Path, task: Task) -> None:
    """The toy's first stage, a threshold, joins the exported second one."""
    patch = (16, 16, 16)
    stage = toy_stage(
        name=StageRole.LIVER,
        file="liver.onnx",
        sha256=write_model(folder / "liver.onnx", patch, (60.5,)),
        spacing_mm=(4.0, 4.0, 4.0),
        patch=patch,
        classes=("background", "liver"),
    )
    put_stage(folder, stage, task=task)


@pytest.mark.parametrize("name", list(TINY_NETWORKS))
def test_from_training_to_a_mask(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment: Callable[..., int]
):
    task = tiny(name)
    monkeypatch.setitem(TASKS, name, task)
    folder = tmp_path / "weights" / name.partition("/")[0]
    exported = export_stage(trained(task, tmp_path / "run"), folder)
    assert exported.agreement.logit_difference < 1e-4
    with_liver_stage(folder, task)
    recipe = load_recipe(folder)
    verify_recipe(recipe)
    lesion = recipe.stage(StageRole.LESION)
    assert (lesion.network, lesion.dimensions) == (task.network, task.dimensions)
    assert (lesion.scales, lesion.classes) == (task.scales, ("background", "liver", "tumor"))

    scan = tmp_path / "scan.nii.gz"
    geometry = centered_grid((50, 92, 96), spacing_mm=(3.0, 1.7, 1.6))
    write_volume(scan, PATIENT.scan(geometry))
    out = tmp_path / "result"
    assert segment(scan, "--recipe", str(folder), "-o", str(out), "--quiet") == 0
    mask = np.asarray(nib.load(out / "mask.nii.gz").dataobj).T
    truth = PATIENT.truth(geometry)
    assert dice(mask > 0, truth > 0) > 0.85
    assert dice(mask == 2, truth == 2) > 0.6


@pytest.mark.parametrize("name", list(TASKS))
def test_patches_fit_the_network_of_their_task(name: str):
    task = TASKS[name]
    for patch in (task.patch, task.inference_patch):
        axes = patch[-task.dimensions :]
        assert all(size % task.divisor == 0 for size in axes)
        assert task.dimensions == 3 or patch[0] == 1
    assert len(task.classes) == len(task.class_weights)
    network = task.build().eval()
    assert type(network).__name__ == task.network
    smallest = [2 * task.divisor] * task.dimensions
    with torch.inference_mode():
        logits = network(torch.zeros(1, 1, *smallest))
    assert logits.shape == (1, len(task.classes), *smallest)


@pytest.mark.parametrize("name", list(TASKS))
def test_weights_are_small_enough_to_be_shipped(name: str):
    """All recipes are part of the installation: 60 MB each at the very most, in float32."""
    values = sum(tensor.numel() for tensor in TASKS[name].build().state_dict().values())
    assert 4 * values < 50e6


@pytest.mark.parametrize("name", sorted({name.partition("/")[0] for name in TASKS}))
def test_a_new_recipe_cites_the_paper_of_its_network(name: str):
    """DOI or address, as the network's own file has it."""
    module = import_module(f"livertumor_cli.networks.{name.replace('-', '_')}")
    assert PAPERS[name].citation.split()[-1] in (module.__doc__ or "")
