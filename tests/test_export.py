"""A network as ONNX: nothing of its builder inside, equal to torch, and only then in a recipe."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from training_cases import TINY_LESION, TINY_LIVER

from livertumor_cli.errors import (
    ConfigError,
    ModelContractError,
    ModelError,
    ModelNotFoundError,
    OutputError,
    RecipeError,
)
from livertumor_cli.export import stage_export
from livertumor_cli.export.onnx_export import Agreement, compare_with_torch, require_agreement
from livertumor_cli.export.stage_export import ExportedStage, export_stage
from livertumor_cli.export.to_recipe import put_stage, require_place, role_of, stage_of
from livertumor_cli.file_digest import sha256_of
from livertumor_cli.networks.uca_net import UCANet, UCANetConfig
from livertumor_cli.recipes.recipe import CpuPrecision, Scores, StageRole, load_recipe, to_toml
from livertumor_cli.recipes.store import verify_recipe
from livertumor_cli.training.checkpoint import save_weights
from livertumor_cli.training.tasks import TASKS, Task

TINY_UCA = replace(
    TINY_LESION,
    network="UCANet",
    build=lambda: UCANet(UCANetConfig(classes=4, widths=(2, 4))),
)


@pytest.fixture(autouse=True)
def _tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "tiny/lesion", TINY_UCA)
    monkeypatch.setitem(TASKS, "tiny/liver", TINY_LIVER)


def a_network(task: Task) -> torch.nn.Module:
    """Weights and norm statistics as after some training."""
    torch.manual_seed(2)
    network = task.build()
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(2, 1, *task.patch))
    return network.eval()


def a_checkpoint(folder: Path, task: Task) -> Path:
    path = folder / f"{task.name.replace('/', '-')}.safetensors"
    save_weights(path, a_network(task).state_dict(), metadata={"task": task.name, "step": "12"})
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportedStage:
    """A lesion stage alone in a recipe; the exporter takes seconds, so the tests share it."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "tiny/lesion", TINY_UCA)
        return export_stage(a_checkpoint(folder, TINY_UCA), folder / "weights" / "tiny")


@pytest.fixture
def recipe_folder(exported: ExportedStage, tmp_path: Path) -> Path:
    """A copy of that recipe, to be changed."""
    return Path(shutil.copytree(exported.file.parent, tmp_path / "tiny"))


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No exporter and no engine: for tests of what happens around them."""

    def write(_network: object, path: Path, **_: object) -> None:
        path.write_bytes(b"a model")

    monkeypatch.setattr(stage_export, "write_onnx", write)
    monkeypatch.setattr(stage_export, "compare_with_torch", lambda *_, **__: Agreement(0, 0))
    monkeypatch.setattr(stage_export, "proof_images", lambda *_, **__: [])


# The file


def test_export_agrees_with_torch(exported: ExportedStage):
    assert exported.agreement.logit_difference < 1e-4
    assert exported.agreement.changed_share == 0


def test_file_holds_its_metadata_and_fixed_shapes(exported: ExportedStage):
    model = onnx.load(exported.file)
    assert {prop.key: prop.value for prop in model.metadata_props} == {
        "livertumor": "tiny/lesion",
        "task": "tiny/lesion",
        "step": "12",
    }
    ports = {
        port.name: [axis.dim_value for axis in port.type.tensor_type.shape.dim]
        for port in (*model.graph.input, *model.graph.output)
    }
    assert ports == {"image": [1, 1, 8, 16, 16], "logits": [1, 4, 8, 16, 16]}
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [20]


def test_file_tells_nothing_of_where_it_was_built(exported: ExportedStage):
    content = exported.file.read_bytes()
    assert not re.search(rb"\.py\b|site-packages|File \"|forward", content)
    for place in (Path.home(), Path.cwd(), Path(__file__).parent.parent, exported.file.parent):
        if len(place.parts) > 1:
            assert str(place).encode() not in content
    model = onnx.load(exported.file)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_nothing_is_left_beside_the_recipe(exported: ExportedStage):
    assert sorted(path.name for path in exported.file.parent.iterdir()) == [
        "lesion.onnx",
        "recipe.toml",
    ]


def test_a_file_with_other_weights_is_caught(recipe_folder: Path):
    path = recipe_folder / "lesion.onnx"
    model = onnx.load(path)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    changed = onnx.numpy_helper.to_array(weights) * np.float32(1.5)
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, weights.name))
    onnx.save(model, path)
    image = np.random.default_rng(1).random(TINY_UCA.patch, dtype=np.float32)
    agreement = compare_with_torch(a_network(TINY_UCA), path, [image])
    with pytest.raises(ModelContractError, match=r"lesion\.onnx differs from its network"):
        require_agreement(agreement, path)


def test_logits_that_are_no_numbers_do_not_agree(recipe_folder: Path):
    network = a_network(TINY_UCA)
    with torch.no_grad():
        network.head.bias[1] = float("nan")
    images = [np.zeros(TINY_UCA.patch, np.float32)]
    agreement = compare_with_torch(network, recipe_folder / "lesion.onnx", images)
    with pytest.raises(ModelContractError):
        require_agreement(agreement, recipe_folder / "lesion.onnx")


def test_agreement_counts_over_all_images(recipe_folder: Path):
    network = a_network(TINY_UCA)
    with torch.no_grad():
        network.head.bias[0] += 1e3
    images = [np.zeros(TINY_UCA.patch, np.float32), np.ones(TINY_UCA.patch, np.float32)]
    agreement = compare_with_torch(network, recipe_folder / "lesion.onnx", images)
    assert agreement.logit_difference == pytest.approx(1e3, rel=1e-3)
    assert 0 < agreement.changed_share <= 1


# The recipe


def test_recipe_says_how_the_network_was_trained(exported: ExportedStage):
    recipe = load_recipe(exported.file.parent)
    verify_recipe(recipe)
    (stage,) = recipe.stages
    assert recipe.name == "tiny"
    assert (stage.name, stage.network, stage.file) == ("lesion", "UCANet", "lesion.onnx")
    assert stage.patch == TINY_UCA.inference_patch
    assert stage.spacing_mm == TINY_UCA.spacing_mm
    assert stage.hu_window == TINY_UCA.hu_window
    assert stage.classes == TINY_UCA.classes
    assert stage.overlap == TINY_UCA.overlap


@pytest.mark.usefixtures("_quick")
def test_a_liver_stage_joins_and_leaves_all_but_the_scores(recipe_folder: Path, tmp_path: Path):
    before = load_recipe(recipe_folder)
    (lesion,) = before.stages
    validated = replace(lesion, thresholds={"tumor": 0.4}, cpu_precision=CpuPrecision.BF16)
    texts = {"title": "A title", "citation": "A paper", "license": "CC-BY-4.0"}
    scores = Scores(on="six scans", values={"tumor_dice": 0.7})
    changed = replace(before, stages=(validated,), scores=scores, **texts)
    (recipe_folder / "recipe.toml").write_text(to_toml(changed), encoding="utf-8")

    export_stage(a_checkpoint(tmp_path, TINY_LIVER), recipe_folder)
    after = load_recipe(recipe_folder)
    assert [stage.name for stage in after.stages] == ["liver", "lesion"]
    assert after.stages[1] == validated
    # They were measured without that stage.
    assert replace(after, stages=()) == replace(changed, stages=(), scores=Scores())
    verify_recipe(after)


@pytest.mark.usefixtures("_quick")
def test_a_new_file_keeps_what_was_validated_for_its_stage(recipe_folder: Path, tmp_path: Path):
    recipe = load_recipe(recipe_folder)
    validated = replace(
        recipe.stages[0],
        thresholds={"tumor": 0.3},
        scales=(0.5, 1.0),
        cpu_precision=CpuPrecision.BF16,
    )
    (recipe_folder / "recipe.toml").write_text(to_toml(replace(recipe, stages=(validated,))))
    export_stage(a_checkpoint(tmp_path, TINY_UCA), recipe_folder, patch=(16, 16, 32))
    (stage,) = load_recipe(recipe_folder).stages
    assert stage.thresholds == {"tumor": 0.3}
    assert stage.scales == (0.5, 1.0)
    assert stage.cpu_precision is CpuPrecision.BF16
    assert stage.patch == (16, 16, 32)
    assert stage.sha256 != validated.sha256
    verify_recipe(load_recipe(recipe_folder))


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    "other",
    [
        replace(TINY_UCA, network="DARN", scales=(0.5, 1.0, 1.5)),
        replace(TINY_UCA, classes=("background", "liver", "vessel", "tumor"), scales=(0.5, 1.0)),
    ],
    ids=["network", "classes"],
)
def test_another_network_does_not_inherit_what_was_chosen_for_the_older(
    recipe_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Task
):
    recipe = load_recipe(recipe_folder)
    chosen = replace(recipe.stages[0], thresholds={"tumor": 0.3}, cpu_precision=CpuPrecision.BF16)
    (recipe_folder / "recipe.toml").write_text(to_toml(replace(recipe, stages=(chosen,))))
    monkeypatch.setitem(TASKS, "tiny/lesion", other)
    export_stage(a_checkpoint(tmp_path, TINY_UCA), recipe_folder)
    (stage,) = load_recipe(recipe_folder).stages
    assert (stage.network, stage.classes) == (other.network, other.classes)
    assert stage.thresholds == {}
    assert stage.cpu_precision is CpuPrecision.F32
    assert stage.scales == other.scales


def test_putting_the_same_stage_again_changes_nothing(recipe_folder: Path):
    measured = Scores(on="six scans", values={"tumor_dice": 0.7})
    recipe = replace(load_recipe(recipe_folder), scores=measured)
    (recipe_folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    text = (recipe_folder / "recipe.toml").read_bytes()
    (there,) = recipe.stages
    stage = stage_of(TINY_UCA, role=there.name, patch=there.patch, sha256=there.sha256)
    put_stage(recipe_folder, stage, task=TINY_UCA)
    assert (recipe_folder / "recipe.toml").read_bytes() == text


@pytest.mark.usefixtures("_quick")
def test_a_lesion_network_may_become_the_second_opinion(recipe_folder: Path, tmp_path: Path):
    (first,) = load_recipe(recipe_folder).stages
    second = StageRole.SECOND_OPINION
    exported = export_stage(a_checkpoint(tmp_path, TINY_UCA), recipe_folder, role=second)
    assert exported.file == recipe_folder / "second_opinion.onnx"
    recipe = load_recipe(recipe_folder)
    assert [stage.name for stage in recipe.stages] == [StageRole.LESION, second]
    assert recipe.stage(StageRole.LESION) == first
    assert recipe.stage(second).sha256 == sha256_of(exported.file)


# Refusals


def test_a_liver_network_is_no_second_opinion(recipe_folder: Path, tmp_path: Path):
    before = contents(recipe_folder)
    with pytest.raises(ConfigError, match="cannot become a second_opinion stage"):
        export_stage(
            a_checkpoint(tmp_path, TINY_LIVER), recipe_folder, role=StageRole.SECOND_OPINION
        )
    assert contents(recipe_folder) == before


def test_a_second_opinion_that_tells_more_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "tiny"
    folder.mkdir()
    first = replace(
        stage_of(TINY_UCA, role=StageRole.LESION, patch=TINY_UCA.inference_patch),
        classes=("background", "liver", "tumor"),
    )
    put_stage(folder, first, task=TINY_UCA)
    monkeypatch.setattr(stage_export, "write_onnx", None)
    with pytest.raises(RecipeError, match="the second opinion tells 'vessel'"):
        export_stage(a_checkpoint(tmp_path, TINY_UCA), folder, role=StageRole.SECOND_OPINION)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_liver_stage_alone_is_refused(tmp_path: Path):
    checkpoint = a_checkpoint(tmp_path, TINY_LIVER)
    with pytest.raises(ConfigError, match="liver stage") as caught:
        export_stage(checkpoint, tmp_path / "new")
    assert "lesion stage first" in caught.value.hint
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("_quick")
def test_a_file_that_fails_its_proof_leaves_the_recipe_as_it_was(
    recipe_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = contents(recipe_folder)
    monkeypatch.setattr(stage_export, "compare_with_torch", lambda *_, **__: Agreement(1, 0.5))
    with pytest.raises(ModelContractError):
        export_stage(a_checkpoint(tmp_path, TINY_UCA), recipe_folder)
    assert contents(recipe_folder) == before


def test_an_unreadable_recipe_is_refused_before_the_work(tmp_path: Path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "recipe.toml").write_text("schema = 1\nnonsense = 2\n")
    for task in (TINY_UCA, TINY_LIVER):
        with pytest.raises(RecipeError, match="nonsense"):
            require_place(folder, role_of(task))


def test_a_patch_that_the_network_cannot_halve_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="divisible by 2"):
        export_stage(a_checkpoint(tmp_path, TINY_UCA), tmp_path / "new", patch=(8, 15, 16))


def test_slices_are_one_voxel_thick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task = replace(TINY_UCA, dimensions=2, inference_patch=(1, 16, 16))
    monkeypatch.setitem(TASKS, "tiny/lesion", task)
    checkpoint = a_checkpoint(tmp_path, TINY_UCA)
    with pytest.raises(ConfigError, match="must be 1"):
        export_stage(checkpoint, tmp_path / "new", patch=(8, 16, 16))


def test_checkpoints_of_no_known_task_are_refused(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ModelNotFoundError):
        export_stage(path, tmp_path / "new")
    save_weights(path, TINY_UCA.build().state_dict(), metadata={"step": "3"})
    with pytest.raises(ModelError, match="which task"):
        export_stage(path, tmp_path / "new")
    save_weights(path, TINY_UCA.build().state_dict(), metadata={"task": "other/lesion"})
    with pytest.raises(ConfigError, match="other/lesion"):
        export_stage(path, tmp_path / "new")
    save_weights(path, TINY_LIVER.build().state_dict(), metadata={"task": "tiny/lesion"})
    with pytest.raises(ModelError, match="another network"):
        export_stage(path, tmp_path / "new")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        export_stage(a_checkpoint(tmp_path, TINY_UCA), tmp_path / "file" / "tiny")
