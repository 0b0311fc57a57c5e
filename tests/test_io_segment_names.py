"""What segments are called in the languages of those who draw them."""

from __future__ import annotations

import pytest

from livertumor_cli.anatomy import Label
from livertumor_cli.errors import UnsupportedFormatError
from livertumor_cli.io.segment_names import segment_label

NAMES = {
    Label.LIVER: """
        Liver, liver_1, WHOLE LIVER, Leber, Leber gesamt, foie, Foie entier, Hígado, higado, Fegato,
        Fígado, lever, Hepar
    """,
    Label.TUMOR: """
        Tumor, tumour 2, liver lesion, metastasis, Metastases, mass, liver cancer, HCC,
        Lebertumor, Tumoren, Läsion, LÄSIONEN, Laesion 3, Lebermetastase, Raumforderung, Leberherd,
        Leberkarzinom, tumeur, Tumeurs du foie, lésion, métastase hépatique, masse,
        tumores, lesión, lesiones, metástasis, masa hepática, neoplasia, nódulo,
        tumore, tumori, lesione, metastasi, massa, Cancro, tumor, lesão, lesões, metástases,
        levertumor, leverlaesie, laesies, metastasen, uitzaaiing, leverkanker
    """,
    Label.VESSEL: """
        Vessels, portal vein, Hepatic veins, hepatic artery, Gefäße, GEFÄSSE, Lebergefaess, Vene,
        Lebervenen, Pfortader, Leberarterie, vaisseaux, vaisseau, veine porte, artère hépatique,
        vasos, vena porta, venas hepáticas, arteria hepática, vasi epatici, vaso, vene epatiche,
        veia porta, Veias, artéria, vaten, bloedvaten, levervaten, poortader, leveraders, slagader
    """,
}
SPOKEN = [(label, name.strip()) for label, names in NAMES.items() for name in names.split(",")]


def label_of(*names: str) -> Label:
    return segment_label("", names, number=1, file_name="a.seg.nrrd")


@pytest.mark.parametrize(("label", "name"), SPOKEN)
def test_names_in_seven_languages(label: Label, name: str) -> None:
    assert label_of(name) is label


def test_letters_with_accents_of_their_own() -> None:
    """As macOS writes them: a letter, and its accent as a letter of its own."""
    assert label_of("Ho\u0301 Hi\u0301gado") is Label.LIVER
    assert label_of("Gefa\u0308ße") is Label.VESSEL


@pytest.mark.parametrize(
    "name",
    [
        *("liver without tumor", "Liver without lesions and vessels", "liver w/o tumor"),
        *("Leber ohne Tumor", "foie sans tumeur", "hígado sin tumores", "fegato senza lesioni"),
        *("fígado sem tumor", "lever zonder tumor"),
    ],
)
def test_what_a_segment_lacks_is_not_what_it_shows(name: str) -> None:
    assert label_of(name) is Label.LIVER


@pytest.mark.parametrize(
    "name",
    [
        *("inferior vena cava", "Vena cava inferior", "veine cave", "veia cava", "Hohlvene"),
        *("holle ader", "vene cave", "kidney", "Niere", "cadera", "invasion", "Segment_1", "Leder"),
        *("private", "Ravenna", "", "ohne Tumor"),
    ],
)
def test_other_structures_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedFormatError, match="neither liver"):
        label_of(name)


def test_the_first_name_that_tells_counts() -> None:
    assert label_of("Segment_1", "Lebervene") is Label.VESSEL
    assert label_of("Fegato", "Mass") is Label.LIVER


def test_a_code_counts_before_any_name() -> None:
    assert segment_label("10200004", ("Tumor",), number=1, file_name="a") is Label.LIVER
