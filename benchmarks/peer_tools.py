"""One program of the comparison in `peers.py`: `python peer_tools.py PROGRAM JOB.json`.

Each takes a scan's file and leaves a mask's file on the scan's own grid, in a process of its own.
Times of its steps and its peak memory go to the job's `result` file.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from livertumor_cli.process_memory import peak_memory_mb
from livertumor_cli.stopwatch import StopWatch

Job = dict[str, Any]


def main() -> None:
    program, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    watch = StopWatch()
    # nnU-Net talks on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        PROGRAMS[program](job, watch)
    result = {"steps_s": watch.timings_s, "peak_mb": peak_memory_mb()}
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")


def run_livertumor(job: Job, watch: StopWatch) -> None:
    """The whole command: besides the mask it measures, and writes report, pictures and tables."""
    from livertumor_cli.cli.app import run

    more = ["--quiet", "--recipe", job["recipe"], "--precision", job["precision"]]
    more += ["--threads", str(job["threads"]), "--device", job["device"]]
    mask = Path(job["mask"])
    with tempfile.TemporaryDirectory(dir=mask.parent) as folder:
        out = Path(folder) / "out"
        if run(["segment", job["scan"], "-o", str(out), *more]):
            raise SystemExit("livertumor failed")
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        watch.timings_s.update(report["timings_s"])
        (out / "mask.nii.gz").replace(mask)


def run_monai(job: Job, watch: StopWatch) -> None:
    """The transforms of MONAI's own bundles for CT: probabilities go back to the scan's grid."""
    import numpy as np
    import torch
    from monai.inferers import sliding_window_inference
    from monai.transforms import (
        AsDiscreted,
        Compose,
        EnsureChannelFirstd,
        Invertd,
        KeepLargestConnectedComponentd,
        LoadImaged,
        Orientationd,
        SaveImage,
        ScaleIntensityRanged,
        Spacingd,
    )

    device, network, autocast = torch_network(job)
    watch.lap("import and load")
    low, high = job["hu_window"]
    # Axes S, P, L are z, y, x as the network has them, without a transposed copy.
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="SPL", labels=None),
            # Its default, float64, makes the way back slower and doubles the memory.
            Spacingd("image", pixdim=job["spacing_mm"], mode="bilinear", dtype=np.float32),
            ScaleIntensityRanged("image", a_min=low, a_max=high, b_min=0, b_max=1, clip=True),
        ]
    )
    data = before({"image": job["scan"]})
    watch.lap("read and resample")
    with torch.inference_mode(), autocast:
        logits = sliding_window_inference(
            data["image"][None].to(device),
            roi_size=job["patch"],
            sw_batch_size=job["batch"],
            predictor=network,
            overlap=job["overlap"],
            mode="gaussian",
            sigma_scale=0.125,
        )
    data["pred"] = torch.softmax(logits[0].float(), dim=0)
    watch.lap("network")
    after = Compose(
        [
            Invertd("pred", before, orig_keys="image", nearest_interp=False, device=device),
            AsDiscreted("pred", argmax=True),
        ]
    )
    data = after(data)
    watch.lap("back to scan")
    labels = list(range(1, len(job["classes"])))
    one_liver = KeepLargestConnectedComponentd("pred", applied_labels=labels, independent=False)
    mask = one_liver(data)["pred"]
    watch.lap("largest component")
    path = Path(job["mask"])
    save = SaveImage(output_dtype="uint8", resample=False, print_log=False, separate_folder=False)
    save(mask, filename=str(path).removesuffix(".nii.gz"))
    watch.lap("write")


def run_nnunet(job: Job, watch: StopWatch) -> None:
    """nnU-Net's predictor as `-npp 0 -nps 0 --disable_tta` runs it, without worker processes."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    device, network, _ = torch_network(job)
    predictor = nnUNetPredictor(
        tile_step_size=1 - job["overlap"],
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=job["device"] == "cuda",
        device=torch.device(device),
        allow_tqdm=False,
    )
    plans = PlansManager(nnunet_plans(job))
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {name: value for value, name in enumerate(job["classes"])},
        "file_ending": ".nii.gz",
    }
    configuration = plans.get_configuration("3d_fullres")
    weights = [network.state_dict()]
    predictor.manual_initialization(
        network, plans, configuration, weights, dataset, "nnUNetTrainer", None
    )
    watch.lap("import and load")
    with timed(predictor, "predict_logits_from_preprocessed_data", watch):
        predictor.predict_from_files_sequential(
            [[job["scan"]]], [job["mask"].removesuffix(".nii.gz")]
        )
    watch.lap("back to scan, write")


@contextlib.contextmanager
def timed(owner: Any, name: str, watch: StopWatch) -> Any:
    """Book what comes before a method and the method itself."""
    method = getattr(owner, name)

    def call(*args: Any) -> Any:
        watch.lap("read and resample")
        result = method(*args)
        watch.lap("network")
        return result

    setattr(owner, name, call)
    yield
    delattr(owner, name)


def nnunet_plans(job: Job) -> dict[str, Any]:
    """Plans that ask for the comparison's grid, intensities and interpolation.

    nnU-Net's defaults are splines of third order by scikit-image; these are its own, much faster
    linear functions in torch, so that all programs interpolate alike.
    """
    low, high = job["hu_window"]
    resampling: dict[str, Any] = {}
    for what in ("data", "seg", "probabilities"):
        resampling[f"resampling_fn_{what}"] = "resample_torch_fornnunet"
        resampling[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": what == "seg",
            "force_separate_z": False,
            "num_threads": job["threads"],
            "memefficient_seg_resampling": False,
        }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": job["patch"],
        "spacing": job["spacing_mm"],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **resampling,
        # Not read here, as the network is built already; old plans lack it and are converted.
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
        "batch_dice": True,
    }
    # Mean and deviation that turn the clipped window into 0..1.
    intensity = {"mean": low, "std": high - low, "percentile_00_5": low, "percentile_99_5": high}
    return {
        "dataset_name": "Dataset001_Peers",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "foreground_intensity_properties_per_channel": {"0": intensity},
    }


def torch_network(job: Job) -> tuple[str, Any, Any]:
    """Device, network on it, and the context that it runs in."""
    import torch
    from peer_networks import Setup, load_network

    device = job["device"]
    torch.set_num_threads(job["threads"])
    setup = Setup(job["network"], job["width"], job["spacing_mm"], job["patch"])
    network = load_network(setup, Path(job["weights"])).to(device)
    low_precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(job["precision"])
    autocast = torch.autocast(device, low_precision or torch.bfloat16, low_precision is not None)
    return device, network, autocast


PROGRAMS = {
    "livertumor": run_livertumor,
    "livertumor-cascade": run_livertumor,
    "monai": run_monai,
    "nnunet": run_nnunet,
}

if __name__ == "__main__":
    main()
