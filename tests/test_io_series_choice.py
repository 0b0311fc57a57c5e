"""Which series of a study is taken: one step of the rule after the other, and its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scans import a_ct, datasets

from livertumor_cli.errors import InputError, Reason, SeriesSelectionError
from livertumor_cli.io.dicom_ct import write_datasets
from livertumor_cli.io.dicom_phase import About, Kernel, Phase, kernel_of, phase_of
from livertumor_cli.io.formats import read_volume
from livertumor_cli.io.series_list import list_series
from livertumor_cli.volume import Volume


def uid(seed: str) -> str:
    """The series UID of a seed."""
    return str(datasets(a_ct(), seed=seed)[0].SeriesInstanceUID)


def add(folder: Path, seed: str, number: int, *, volume: Volume | None = None, **words: Any) -> str:
    """Write a series into a study, and give its UID."""
    slices = datasets(volume or a_ct(), seed=seed, SeriesNumber=number, **words)
    write_datasets(folder / seed, slices)
    return uid(seed)


def taken(folder: Path) -> str:
    """The series that is read, which must be the one that the list says."""
    found = [row.series.uid for row in list_series(folder).rows if row.taken]
    assert [read_volume(folder).source.series_uid] == found
    return found[0]


def why_not(folder: Path, series_uid: str) -> str:
    return next(row.why for row in list_series(folder).rows if row.series.uid == series_uid)


CORONAL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=float)
SAGITTAL = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], dtype=float)


def test_axial_before_reformats_of_other_planes(tmp_path: Path):
    best = add(tmp_path, "axial", 1)
    other = add(tmp_path, "cor", 2, volume=a_ct(rotation=CORONAL, spacing_mm=(9, 0.8, 0.7)))
    add(tmp_path, "sag", 3, volume=a_ct(rotation=SAGITTAL, spacing_mm=(9, 0.8, 0.7)))
    assert taken(tmp_path) == best
    assert why_not(tmp_path, other) == "its slices are coronal, not axial"


def test_bolus_monitoring_at_one_position_is_too_short(tmp_path: Path):
    best = add(tmp_path, "abdomen", 5)
    slices = datasets(a_ct(), seed="bolus", SeriesNumber=4, SeriesDescription="portal monitoring")
    for dataset in slices:
        dataset.ImagePositionPatient = slices[0].ImagePositionPatient
    write_datasets(tmp_path / "bolus", slices)
    assert taken(tmp_path) == best
    assert "covers" in why_not(tmp_path, uid("bolus"))


def test_portal_before_every_other_phase_of_the_same_length(tmp_path: Path):
    add(tmp_path, "native", 1, SeriesDescription="Abdomen nativ 5.0")
    late = add(tmp_path, "late", 2, SeriesDescription="Abd delayed")
    add(tmp_path, "artery", 3, SeriesDescription="LEBER ART. 1.25")
    best = add(tmp_path, "portal", 4, SeriesDescription="LEBER PORTALVENOES")
    add(tmp_path, "untold", 5)
    assert taken(tmp_path) == best
    assert why_not(tmp_path, late) == "its phase is delayed, that of another series portal"


def test_another_phase_is_noted(tmp_path: Path, ct: Volume):
    add(tmp_path, "artery", 1, SeriesDescription="arterial")
    assert "states the arterial phase" in read_volume(tmp_path).source.notes[0]


def test_longer_then_original_then_soft_then_thin(tmp_path: Path):
    def kind(kernel: str) -> dict[str, Any]:
        return {"SeriesDescription": "portal", "ConvolutionKernel": kernel}

    derived = ["DERIVED", "SECONDARY", "AXIAL"]
    add(tmp_path, "derived", 1, ImageType=derived, **kind("B30f"))
    assert taken(tmp_path) == uid("derived")
    sharp = add(tmp_path, "sharp", 2, **kind("B70f"))
    assert taken(tmp_path) == sharp
    add(tmp_path, "soft", 3, **kind("B30f"))
    assert taken(tmp_path) == uid("soft")
    assert "kernel B70f" in why_not(tmp_path, sharp)
    longer = a_ct(spacing_mm=(4.0, 0.8, 0.7))
    add(tmp_path, "long", 4, volume=longer, **kind("B70f"))
    assert taken(tmp_path) == uid("long")


def test_thin_before_thick(tmp_path: Path):
    thin = a_ct(spacing_mm=(2.4, 0.8, 0.7))
    thick = datasets(a_ct(spacing_mm=(4.0, 0.8, 0.7)), seed="thick", SeriesNumber=1)
    write_datasets(tmp_path / "thick", thick[:4])
    best = add(tmp_path, "thin", 2, volume=thin)
    assert taken(tmp_path) == best
    assert why_not(tmp_path, uid("thick")) == (
        "its slices lie 4.00 mm apart, those of another series 2.40 mm"
    )


def test_equals_need_a_choice_by_uid_or_number(tmp_path: Path):
    one = add(tmp_path, "one", 3, SeriesDescription="portal venous")
    other = add(tmp_path, "other", 7, SeriesDescription="portal venous")
    with pytest.raises(SeriesSelectionError) as caught:
        read_volume(tmp_path)
    assert caught.value.reason == Reason.SEVERAL_SERIES
    assert one in caught.value.hint
    assert other in caught.value.hint
    assert read_volume(tmp_path, series=one).source.series_uid == one
    assert read_volume(tmp_path, series="7").source.series_uid == other
    assert "as good as series 7" in why_not(tmp_path, one)
    with pytest.raises(SeriesSelectionError, match="no series 9"):
        read_volume(tmp_path, series="9")


def test_one_number_of_two_series_is_no_choice(tmp_path: Path):
    add(tmp_path, "one", 2, SeriesDescription="portal")
    add(tmp_path, "other", 2, SeriesDescription="portal")
    with pytest.raises(SeriesSelectionError):
        read_volume(tmp_path, series="2")


def test_a_faulty_best_series_is_refused_not_replaced(tmp_path: Path):
    slices = datasets(a_ct(), seed="portal", SeriesNumber=2, SeriesDescription="portal")
    write_datasets(tmp_path / "portal", slices[:2] + slices[3:])
    add(tmp_path, "artery", 1, SeriesDescription="arterial")
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    assert caught.value.reason == Reason.MISSING_SLICES
    found = list_series(tmp_path)
    assert not any(row.taken for row in found.rows)
    assert found.rows[1].reason == Reason.MISSING_SLICES
    assert read_volume(tmp_path, series="1").source.series_uid == uid("artery")


def test_series_without_uid_are_told_apart_by_number(tmp_path: Path):
    for number in (1, 2):
        slices = datasets(a_ct(), seed=str(number), SeriesNumber=number, SeriesInstanceUID="")
        write_datasets(tmp_path / str(number), slices)
    with pytest.raises(SeriesSelectionError):
        read_volume(tmp_path)
    assert read_volume(tmp_path, series="2").source.series_uid == ""


def test_localizers_in_the_series_are_set_aside_and_noted(tmp_path: Path, ct: Volume):
    slices = datasets(ct)
    scout = datasets(a_ct(rotation=CORONAL), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])[:2]
    write_datasets(tmp_path, slices + scout)
    volume = read_volume(tmp_path)
    assert volume.hu.shape == ct.hu.shape
    assert volume.source.notes == ("2 images of the series left out (localizer).",)


@pytest.mark.parametrize("plane", ["coronal", "axial"])
def test_a_localizer_in_a_series_changes_neither_its_plane_nor_its_length(
    tmp_path: Path, plane: str
):
    """A scout lies far from the slices, and often across them."""
    best = add(tmp_path, "portal", 2, SeriesDescription="portal")
    native = add(tmp_path, "native", 1, SeriesDescription="native")
    short = datasets(a_ct(spacing_mm=(1, 0.8, 0.7)), seed="short", SeriesNumber=3)
    for seed in ("portal", "short"):
        scout = datasets(
            a_ct(rotation=CORONAL if plane == "coronal" else None, origin_mm=(-120, 35.5, -2000.0)),
            seed=seed,
            SeriesDescription="portal",
            ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        )[0]
        slices = short if seed == "short" else []
        for dataset in (*slices, scout):
            dataset.SeriesDescription = "portal"
        scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = f"1.2.{len(slices)}"
        write_datasets(tmp_path / f"{seed} and scout", [*slices, scout])
    assert taken(tmp_path) == best
    assert "its phase is native" in why_not(tmp_path, native)
    assert why_not(tmp_path, uid("short")) == "it covers 6 mm, another series 15 mm"


@pytest.mark.parametrize(
    ("description", "phase"),
    [
        ("Abdomen portal venous 1.0 B30f", Phase.PORTAL),
        ("PV_5mm", Phase.PORTAL),
        ("THORAX/ABD VEN", Phase.PORTAL),
        ("late portal", Phase.PORTAL),
        ("porto-veineux", Phase.PORTAL),
        ("70s 2.0 B40", Phase.PORTAL),
        ("late arterial", Phase.ARTERIAL),
        ("ART 1.25", Phase.ARTERIAL),
        ("CTA 35 sec", Phase.ARTERIAL),
        ("delayed 5 min", Phase.DELAYED),
        ("180 s", Phase.DELAYED),
        ("W/O CONTRAST", Phase.NATIVE),
        ("non-contrast", Phase.NATIVE),
        ("NECT", Phase.NATIVE),
        ("ohne KM", Phase.NATIVE),
        ("arterial + portal", Phase.CONTRAST),
        ("Temps portal 70s", Phase.PORTAL),
        ("PORTAAL VENEUS", Phase.PORTAL),
        ("Oberbauch venös", Phase.PORTAL),
        ("faza żylna 1.5", Phase.PORTAL),
        ("венозная фаза", Phase.PORTAL),
        ("腹部門脈相 5mm", Phase.PORTAL),
        ("静脉期 1.0", Phase.PORTAL),
        ("Abdomen artériel", Phase.ARTERIAL),
        ("faza tętnicza", Phase.ARTERIAL),
        ("早期動脈相", Phase.ARTERIAL),
        ("fase tardía", Phase.DELAYED),
        ("Spätphase", Phase.DELAYED),
        ("平衡相", Phase.DELAYED),
        ("sem contraste", Phase.NATIVE),
        ("utan kontrast", Phase.NATIVE),
        ("单纯平扫", Phase.NATIVE),
        ("ABD C- 5.0", Phase.NATIVE),
        ("ABD C+ 5.0", Phase.CONTRAST),
        ("Abd +C", Phase.CONTRAST),
        ("Abd C+ portal", Phase.PORTAL),
        ("Abdomen mit KM", Phase.CONTRAST),
        ("造影 5mm", Phase.CONTRAST),
        ("Abd C-/C+", Phase.CONTRAST),
        ("Recon C - 2 mm", Phase.UNSTATED),
        ("T-C-Spine", Phase.UNSTATED),
        ("Abdomen C-spiral", Phase.UNSTATED),
        ("Portable chest", Phase.UNSTATED),
        ("Abdomen 5.0", Phase.UNSTATED),
    ],
)
def test_phase_words(description: str, phase: Phase):
    assert phase_of(About(description=description)) == phase


def test_phase_from_what_else_is_stated():
    assert phase_of(About(delay_s=72.0)) == Phase.PORTAL
    assert phase_of(About(description="arterial", delay_s=72.0)) == Phase.ARTERIAL
    assert phase_of(About(agent="Iomeron 350")) == Phase.CONTRAST
    assert phase_of(About(agent="none")) == Phase.NATIVE
    assert phase_of(About(agent="oral water")) == Phase.UNSTATED
    assert phase_of(About(protocol="Leber portalvenös")) == Phase.PORTAL
    assert phase_of(About(delay_s=20000.0)) == Phase.CONTRAST


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("B30f", Kernel.SOFT),
        ("I31f\\3", Kernel.SOFT),
        ("Br40d", Kernel.SOFT),
        ("B70f", Kernel.SHARP),
        ("Bl57", Kernel.SHARP),
        ("STANDARD", Kernel.SOFT),
        ("SOFT", Kernel.SOFT),
        ("BONEPLUS", Kernel.SHARP),
        ("LUNG", Kernel.SHARP),
        ("FC08", Kernel.SOFT),
        ("FC52", Kernel.SHARP),
        ("B", Kernel.SOFT),
        ("YA", Kernel.SHARP),
        ("", Kernel.UNKNOWN),
        ("whatever", Kernel.UNKNOWN),
    ],
)
def test_kernels(kernel: str, kind: Kernel):
    assert kernel_of(About(kernel=kernel)) == kind
    assert kernel_of(About(description="Lunge 1.0")) == Kernel.SHARP
