"""Write a volume as a CT series that PACS and viewers accept: for the phantom and for tests."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from livertumor_cli.arrays import DoubleArray, HuArray
from livertumor_cli.io.atomic import output_error, written_atomically
from livertumor_cli.volume import Volume


def write_ct_series(
    folder: Path,
    volume: Volume,
    *,
    patient_name: str = "Phantom^Liver",
    patient_id: str = "PHANTOM",
    description: str = "Phantom",
    seed: str = "",
) -> list[Path]:
    """Write one file per slice along z.

    Args:
        folder: Created if absent.
        volume: CT on a rectangular grid.
        patient_name: DICOM person name.
        patient_id: DICOM patient ID.
        description: Series description.
        seed: Makes the UIDs repeatable; an empty text gives new ones.

    Returns:
        The files in z order.

    Raises:
        ValueError: If the grid is sheared, which a CT series cannot state.
        OutputError: If the files cannot be written.
    """
    datasets = ct_datasets(
        volume,
        patient_name=patient_name,
        patient_id=patient_id,
        description=description,
        seed=seed,
    )
    return write_datasets(folder, datasets)


def write_datasets(folder: Path, datasets: list[Dataset]) -> list[Path]:
    """Write datasets as slice0001.dcm, slice0002.dcm, ...

    Raises:
        OutputError: If the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, path=folder) from error
    paths = []
    for number, dataset in enumerate(datasets, start=1):
        path = folder / f"slice{number:04d}.dcm"
        with written_atomically(path) as stream:
            dataset.save_as(stream, enforce_file_format=True)
        paths.append(path)
    return paths


def ct_datasets(
    volume: Volume,
    *,
    patient_name: str = "Phantom^Liver",
    patient_id: str = "PHANTOM",
    description: str = "Phantom",
    seed: str = "",
    intercept: int = -1024,
) -> list[Dataset]:
    """One CT Image Storage dataset per slice, in z order.

    Args:
        volume: CT on a rectangular grid; HU are rounded to integers.
        patient_name: DICOM person name.
        patient_id: DICOM patient ID.
        description: Series description.
        seed: Makes the UIDs repeatable; an empty text gives new ones.
        intercept: Rescale intercept; the slope is 1. Negative stores unsigned, 0 stores signed.

    Raises:
        ValueError: If the grid is sheared.
    """
    if not volume.geometry.is_rectangular:
        raise ValueError("a CT series cannot state a sheared grid")
    series = _series_attributes(volume, seed=seed)
    series.PatientName = patient_name
    series.PatientID = patient_id
    series.SeriesDescription = description
    series.RescaleIntercept = intercept
    datasets = []
    for index in range(volume.geometry.shape[0]):
        dataset = deepcopy(series)  # shared elements would change in all slices at once
        _add_slice(dataset, volume, index)
        dataset.SOPInstanceUID = _uid(seed, "slice", str(index))
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        datasets.append(dataset)
    return datasets


def _uid(seed: str, *parts: str) -> str:
    return str(generate_uid(entropy_srcs=[seed, *parts] if seed else None))


def _decimal(values: DoubleArray | list[float]) -> list[str]:
    """Decimal strings of at most 16 characters, as DICOM demands."""
    return [format_number_as_ds(float(value)) for value in values]


def _series_attributes(volume: Volume, *, seed: str) -> Dataset:
    spacing = volume.geometry.spacing_mm
    direction = volume.geometry.direction
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.StudyInstanceUID = _uid(seed, "study")
    dataset.SeriesInstanceUID = _uid(seed, "series")
    dataset.FrameOfReferenceUID = _uid(seed, "frame of reference")
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer = "livertumor"
    for empty in (
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "PositionReferenceIndicator",
        "AcquisitionNumber",
        "KVP",
        "PatientPosition",
    ):
        setattr(dataset, empty, None)
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.StudyID = "1"
    dataset.SeriesNumber = 1
    dataset.PixelSpacing = _decimal([spacing[1], spacing[2]])
    dataset.SliceThickness = _decimal([spacing[0]])[0]
    dataset.ImageOrientationPatient = _decimal(direction[:, :2].T.ravel())
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    return dataset


def _add_slice(dataset: Dataset, volume: Volume, index: int) -> None:
    position = volume.geometry.index_to_lps(np.array([index, 0.0, 0.0]))
    dataset.ImagePositionPatient = _decimal(position)
    dataset.InstanceNumber = index + 1
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = volume.geometry.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0 if dataset.RescaleIntercept < 0 else 1
    dataset.PixelData = _stored(volume.hu[index], intercept=int(dataset.RescaleIntercept))


def _stored(hu: HuArray, *, intercept: int) -> bytes:
    values = np.rint(hu.astype(np.float64)) - intercept
    low, high, dtype = (0, 65535, "<u2") if intercept < 0 else (-32768, 32767, "<i2")
    stored: bytes = np.clip(values, low, high).astype(dtype).tobytes()
    return stored
