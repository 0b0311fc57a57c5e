"""How a scan is segmented: the user's options, and the recipe's networks that follow from them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from livertumor_cli.engine.contract import ModelContract
from livertumor_cli.engine.engine import Device, Engine, EngineKind, EngineRequest, Precision
from livertumor_cli.engine.open_engine import open_engine, resolve_device
from livertumor_cli.io.dicom_results import DicomObject
from livertumor_cli.recipes.recipe import Recipe, Stage, StageRole
from livertumor_cli.recipes.store import DEFAULT_RECIPE, find_recipe, verify_stage
from livertumor_cli.report.run_record import RecipeIdentity, RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOptions:
    """How to segment.

    Attributes:
        recipe: Name of an installed recipe or folder of one.
        device: Where to run.
        engine: Which program runs the networks.
        precision: "auto" takes what the recipe's validation allows; any other must be had.
        scales: Zoom factors of the second stage; the recipe's own where None.
        threads: CPU threads; the engine's choice where None.
        series: UID or number of the DICOM series to read; the best for a liver where empty.
        resample_irregular: Whether DICOM slices that form no regular grid are resampled to one.
        dicom: DICOM objects to write; where None the usual ones of a DICOM scan, none of others.
        seg_type: "binary" or "labelmap": how a DICOM SEG stores its segments.
        keep_identity: Whether results may tell the name of a DICOM folder or zip.
    """

    recipe: str = DEFAULT_RECIPE
    device: Device = Device.AUTO
    engine: EngineKind = EngineKind.AUTO
    precision: str = "auto"
    scales: tuple[float, ...] | None = None
    threads: int | None = None
    series: str = ""
    resample_irregular: bool = False
    dicom: tuple[DicomObject, ...] | None = None
    seg_type: str = "binary"
    keep_identity: bool = False


@dataclass(frozen=True, slots=True)
class Networks:
    """A recipe whose files were verified and whose networks are open."""

    recipe: Recipe
    engines: dict[StageRole, Engine] = field(default_factory=dict)

    def describe(self, scales: tuple[float, ...] | None) -> RunRecord:
        """What report and user must know about how they run.

        Args:
            scales: As asked for; the recipe's own where None.
        """
        recipe = self.recipe
        infos = [engine.info for engine in self.engines.values()]
        identity = RecipeIdentity(
            recipe.name,
            recipe.version,
            recipe.title,
            recipe.license,
            {stage.file: stage.sha256 for stage in recipe.stages},
        )
        return RunRecord(
            recipe=identity,
            device=", ".join(dict.fromkeys(str(info.device) for info in infos)),
            engine=", ".join(dict.fromkeys(info.engine for info in infos)),
            precision=", ".join(dict.fromkeys(str(info.precision) for info in infos)),
            scales=scales or recipe.stage(StageRole.LESION).scales,
            flags=tuple(dict.fromkeys(info.note for info in infos if info.note)),
        )


@dataclass(frozen=True, slots=True)
class ChosenNetworks:
    """A recipe and a device that are there; nothing is opened yet.

    Attributes:
        options: The user's.
        recipe: Whose networks will run.
        device: Where they will.
    """

    options: SegmentOptions
    recipe: Recipe
    device: Device

    def open(
        self, only: Collection[StageRole] = tuple(StageRole), *, goes_on_cpu: bool = False
    ) -> Networks:
        """Verify the recipe's files and open its networks.

        Args:
            only: The stages that will run.
            goes_on_cpu: Whether networks of a GPU that the user did not insist on may go on on the
                CPU when its memory runs out: right for one scan, not for all that follow it.

        Raises:
            ModelError: If a file is missing, altered or unfit.
            BackendError: If the engine or precision asked for cannot be had.
        """
        options, engines = self.options, dict[StageRole, Engine]()
        for stage in (stage for stage in self.recipe.stages if stage.name in only):
            request = EngineRequest(
                file=verify_stage(self.recipe, stage),
                device=self.device,
                kind=options.engine,
                precision=_precision(stage, self.device, options.precision),
                requires_precision=options.precision != "auto",
                threads=options.threads,
                goes_on_cpu=goes_on_cpu and options.device is Device.AUTO,
            )
            contract = ModelContract(patch=stage.network_patch, classes=len(stage.classes))
            engines[stage.name] = open_engine(request, contract=contract)
        return Networks(self.recipe, engines)


def choose_networks(options: SegmentOptions) -> ChosenNetworks:
    """Find recipe and device, which takes no time: before a scan that may take minutes to read.

    Raises:
        ModelError: If the recipe is missing or damaged.
        BackendError: If the device asked for cannot be had.
    """
    recipe = find_recipe(options.recipe)
    return ChosenNetworks(options, recipe, resolve_device(options.device, kind=options.engine))


def open_networks(options: SegmentOptions) -> Networks:
    """Choose the networks and open them; see `choose_networks` and `ChosenNetworks.open`."""
    return choose_networks(options).open()


def _precision(stage: Stage, device: Device, wish: str) -> Precision:
    """The lowest precision that recipe and user allow."""
    if wish != "auto":
        return Precision(wish)
    allowed = stage.cuda_precision if device is Device.CUDA else stage.cpu_precision
    return Precision(str(allowed))
