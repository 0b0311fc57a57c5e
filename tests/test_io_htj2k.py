"""High-throughput JPEG 2000 (HTJ2K), as another program's encoder wrote it: read bit by bit."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from scans import a_ct

from livertumor_cli.errors import PixelError
from livertumor_cli.io.dicom_ct import ct_datasets, write_datasets
from livertumor_cli.io.formats import read_volume
from livertumor_cli.volume import Volume

SLICE = 4
"""The slice of `scans.a_ct` that the code streams hold; it has the bright voxel."""

UNSIGNED = base64.b64decode(
    "/0//UQApQAAAAAAJAAAABwAAAAAAAAAAAAAACQAAAAcAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBE"
    "AB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAALsAAf+TwAAmt/oF"
    "B3QAAMAAEoDiAId0AMAAE0AAE8AAEoBu/AKHdADSs/4AgjQA4AIHdADAABVQAAV0AAFU0CnAP8H+AUa0ANwZGHsvAr"
    "7YAEQAf5YAemoc9tb0AMKUAMAALYgABbcAALUAAP0GgK0g4FyGb4FoAcAEgv4OLYxAEJcAAvllnZZmgoCjViC96YXb"
    "4AGC0sfIF4xASjsABABYay041hoIAAAGAZ8+MQAheAD/2Q=="
)
"""Its HU plus 1024 as unsigned 16 bit, reversible; encoded by OpenJPH."""

SIGNED = base64.b64decode(
    "/0//UQApQAAAAAAJAAAABwAAAAAAAAAAAAAACQAAAAcAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBE"
    "AB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAALsAAf+TwAAmt/4C"
    "B3QAAMAAEoDiAId0AMAAE0AAE8AAEoBu/AKHdADSs/4AgjQA4AIHdADAABVQAAV0AAFU0CnAP8H+AUa0ANwZGHsvAr"
    "7YAEQAf5YAemoc9tb0AMKUAMAALYgABbcAALUAAP0GgK0g4FyGb4FoAcAEgv4OLYxAEJcAAvllnZZmgoCjViC96YXb"
    "4AGC0sfIF4xASjsABABYay041hoIAAAGAZ8+MQAheAD/2Q=="
)
"""Its HU as signed 16 bit."""

LOSSLESS, RPCL, ANY = (f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))


def write(folder: Path, content: bytes, *, syntax: str, intercept: int = -1024) -> Volume:
    """A series whose slices all hold one code stream."""
    ct = a_ct()
    slices = ct_datasets(ct, seed="htj2k", intercept=intercept)
    for one in slices:
        one.PixelData = encapsulate([content])
        one["PixelData"].VR = "OB"
        one.file_meta.TransferSyntaxUID = syntax
    write_datasets(folder, slices)
    return ct


@pytest.mark.parametrize("syntax", [LOSSLESS, RPCL, ANY])
@pytest.mark.parametrize(("content", "intercept"), [(UNSIGNED, -1024), (SIGNED, 0)])
def test_values_come_back(tmp_path: Path, syntax: str, content: bytes, intercept: int) -> None:
    ct = write(tmp_path, content, syntax=syntax, intercept=intercept)
    volume = read_volume(tmp_path)
    assert all(np.array_equal(one, ct.hu[SLICE]) for one in volume.hu)
    # Only the third of these syntaxes may be lossy, and says nothing about it.
    assert bool(volume.source.notes) == (syntax == ANY)


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95, 0.98])
def test_a_stream_that_is_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    write(tmp_path, UNSIGNED[: int(kept * len(UNSIGNED))], syntax=LOSSLESS)
    with pytest.raises(PixelError, match="cut off or damaged"):
        read_volume(tmp_path)


def test_a_stream_of_another_size_is_refused(tmp_path: Path) -> None:
    wide = bytearray(UNSIGNED)
    wide[8:12] = (60000).to_bytes(4, "big")
    write(tmp_path, bytes(wide), syntax=LOSSLESS)
    with pytest.raises(PixelError):
        read_volume(tmp_path)
