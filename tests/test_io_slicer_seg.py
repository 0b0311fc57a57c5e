"""Segmentations of 3D Slicer: what a value means stands in the header, written here by hand."""

import gzip

import numpy as np
import pytest

from livertumor_cli.errors import UnsupportedFormatError
from livertumor_cli.geometry import Geometry
from livertumor_cli.io.mask_in import read_mask

SHAPE = (4, 5, 6)
SCAN = Geometry.from_spacing(SHAPE, spacing_mm=(2.5, 0.8, 0.7))
TISSUE = "SCT^85756007^Tissue"

LIVER, TUMOR, VESSEL = (np.zeros(SHAPE, bool) for _ in range(3))
LIVER[:, 1:, 1:] = True
TUMOR[1:3, 2:4, 2:4] = True
VESSEL[1, 3, 3:5] = True


def expected():
    labels = LIVER.astype(np.uint8)
    labels[VESSEL] = 3
    labels[TUMOR] = 2
    return labels


def term(kind):
    category = "SCT^123037004^Anatomical Structure"
    context = "Segmentation category and type - 3D Slicer General Anatomy list"
    region = "Anatomic codes - DICOM master list~^^~^^"
    return (
        f"Segmentation.Status:inprogress|TerminologyEntry:{context}~{category}~{kind}~^^~{region}|"
    )


def seg_nrrd(path, layers, segments):
    """A file as 3D Slicer saves it; segments are name, layer, value and type, None where old."""
    z, y, x = SHAPE
    step_z, step_y, step_x = SCAN.spacing_mm
    many = len(layers) > 1
    header = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {3 + many}",
        "space: left-posterior-superior",
        f"sizes: {f'{len(layers)} ' if many else ''}{x} {y} {z}",
        f"space directions: {'none ' if many else ''}({step_x},0,0) (0,{step_y},0) (0,0,{step_z})",
        f"kinds: {'list ' if many else ''}domain domain domain",
        "encoding: gzip",
        "space origin: (0,0,0)",
    ]
    for index, (name, layer, value, kind) in enumerate(segments):
        header += [f"Segment{index}_ID:=Segment_{index + 1}", f"Segment{index}_Name:={name}"]
        if layer is not None:
            header += [f"Segment{index}_Layer:={layer}", f"Segment{index}_LabelValue:={value}"]
        header += [f"Segment{index}_Tags:={term(kind)}"]
    header += ["Segmentation_MasterRepresentation:=Binary labelmap", "", ""]
    voxels = np.stack(layers, axis=-1).astype(np.uint8).tobytes()
    path.write_bytes("\n".join(header).encode() + gzip.compress(voxels))
    return path


def read(path):
    return read_mask(path, scan=SCAN).label_map.labels


def test_names_decide_not_values(tmp_path):
    """The tumor was drawn first and has the value 1, which is the liver's elsewhere."""
    values = np.array([0, 2, 1, 7], np.uint8)[expected()]
    segments = [("tumor", 0, 1, TISSUE), ("Liver", 0, 2, TISSUE), ("Portal vein", 0, 7, TISSUE)]
    found = read(seg_nrrd(tmp_path / "a.seg.nrrd", [values], segments))
    assert np.array_equal(found, expected())


def test_names_are_read_in_other_languages(tmp_path):
    values = np.array([0, 2, 1, 7], np.uint8)[expected()]
    segments = [("Läsion", 0, 1, TISSUE), ("Hígado", 0, 2, TISSUE), ("Gefäße", 0, 7, TISSUE)]
    found = read(seg_nrrd(tmp_path / "a.seg.nrrd", [values], segments))
    assert np.array_equal(found, expected())


def test_codes_decide_where_names_are_numbers(tmp_path):
    values = np.array([0, 2, 1, 0], np.uint8)[expected()]
    kinds = ("SCT^4147007^Mass", "SCT^10200004^Liver")
    segments = [(f"Segment_{1 + index}", 0, 1 + index, kind) for index, kind in enumerate(kinds)]
    found = read(seg_nrrd(tmp_path / "a.seg.nrrd", [values], segments))
    assert np.array_equal(found, np.where(expected() == 3, 0, expected()))


def test_segments_that_overlap_lie_in_layers(tmp_path):
    layers = [np.where(TUMOR, 1, 0), np.where(LIVER, 1, 0), np.where(VESSEL, 2, 0)]
    segments = [("lesions", 0, 1, TISSUE), ("liver", 1, 1, TISSUE), ("vessels", 2, 2, TISSUE)]
    found = read(seg_nrrd(tmp_path / "a.seg.nrrd", layers, segments))
    assert np.array_equal(found, expected())


def test_older_files_have_a_layer_for_each_segment(tmp_path):
    segments = [(name, None, None, TISSUE) for name in ("vessels", "tumor", "liver")]
    found = read(seg_nrrd(tmp_path / "a.seg.nrrd", [VESSEL, TUMOR, LIVER], segments))
    assert np.array_equal(found, expected())


@pytest.mark.parametrize("name", ["Segment_1", "kidney", "Vena cava inferior"])
def test_a_segment_that_does_not_say_what_it_is_is_refused(tmp_path, name):
    path = seg_nrrd(tmp_path / "a.seg.nrrd", [LIVER], [(name, 0, 1, TISSUE)])
    with pytest.raises(UnsupportedFormatError, match=f"segment 0 .{name}., which is neither"):
        read(path)


def test_a_layer_that_is_not_there_is_refused(tmp_path):
    path = seg_nrrd(tmp_path / "a.seg.nrrd", [LIVER], [("liver", 1, 1, TISSUE)])
    with pytest.raises(UnsupportedFormatError, match="layers that it does not hold"):
        read(path)
