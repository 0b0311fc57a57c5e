"""What changed between two reports, as numbers: no category of response is stated."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from livertumor_cli.report.json_report import DISCLAIMER
from livertumor_cli.report.tables import cell
from livertumor_cli.report.words import voxels

FORM_VERSION = "1.1"

DOUBTFUL_MM, DOUBTFUL_DEGREES = 5.0, 20.0
"""More is seldom left by breath and posture."""

LENGTH, VOLUME = "longest_axial_diameter_mm", "volume_ml"

COLUMNS = ("No.", "No. now", "mm", "mm now", "change", "%", "ml", "ml now", "change", "%", "~")

SAME = "~"
LEGEND = f"{SAME} the ranges of both volumes overlap: the masks alone do not prove a change."

_SMALL_ML = 0.1
"""Below it volumes have a third digit, as in the reports."""

METHOD = {
    "alignment": "rigid motion of the liver's surface; a liver also deforms with breath",
    "matching": (
        "lesions whose aligned surfaces come within 10 mm of each other, one to one, with the "
        "least distance of their centers for their size"
    ),
    "target_sum": (
        "longest axial diameters of the baseline's candidate targets, then and now; one that is "
        "not found counts 0 mm"
    ),
    "within_uncertainty": "the ranges of both volumes overlap",
}


def build_comparison(
    baseline: Mapping[str, Any],
    follow_up: Mapping[str, Any],
    *,
    pairs: Sequence[tuple[int, int]],
    residual_mm: float,
    rotation_degrees: float,
) -> dict[str, Any]:
    """The comparison as plain values.

    Args:
        baseline: A report from `build_report`.
        follow_up: The later one.
        pairs: Numbers of the lesions that are the same, baseline first.
        residual_mm: What the alignment of the livers left.
        rotation_degrees: By how much the liver was turned.
    """
    before = {lesion["id"]: lesion for lesion in baseline["lesions"]}
    after = {lesion["id"]: lesion for lesion in follow_up["lesions"]}
    matched = [_change(before[one], after[other]) for one, other in pairs]
    return {
        "form_version": FORM_VERSION,
        "program": {"name": "livertumor", "version": version("livertumor")},
        "disclaimer": DISCLAIMER,
        "alignment": {
            "residual_mm": round(residual_mm, 2),
            "rotation_degrees": round(rotation_degrees, 1),
        },
        "input": {"baseline": baseline.get("input"), "follow_up": follow_up.get("input")},
        "flags": [*_flags(residual_mm, rotation_degrees), *_carried(baseline, follow_up)],
        "method": dict(METHOD),
        "liver_volume_ml": _pair(baseline["liver"], follow_up["liver"], VOLUME),
        "tumor_volume_ml": _pair(baseline["tumor"], follow_up["tumor"], VOLUME),
        "lesion_count": _pair(baseline["tumor"], follow_up["tumor"], "count"),
        "target_sum_mm": _targets(baseline, dict(pairs), after),
        "matched": matched,
        "new": [after[number] for number in sorted(set(after) - {pair[1] for pair in pairs})],
        "vanished": [
            before[number] for number in sorted(set(before) - {pair[0] for pair in pairs})
        ],
    }


def _flags(residual_mm: float, rotation_degrees: float) -> list[str]:
    """When the livers do not fit, neither do the pairs."""
    flags = []
    if residual_mm > DOUBTFUL_MM:
        flags.append(
            f"The livers' surfaces stay {residual_mm:.1f} mm apart: check that both are whole "
            "livers of one patient, and check every pair."
        )
    if rotation_degrees > DOUBTFUL_DEGREES:
        flags.append(f"The liver was turned by {rotation_degrees:.0f}°: check every pair.")
    return flags


def _carried(baseline: Mapping[str, Any], follow_up: Mapping[str, Any]) -> list[str]:
    """The flags of both reports: another phase or a liver cut off changes what is compared."""
    before, after = (list(report.get("flags") or ()) for report in (baseline, follow_up))
    both = [flag for flag in before if flag in after]
    named = (
        ("Both scans", both),
        ("Baseline", [flag for flag in before if flag not in both]),
        ("Follow-up", [flag for flag in after if flag not in both]),
    )
    return [f"{name}: {flag}" for name, flags in named for flag in flags]


def _values(before: float, after: float) -> dict[str, float | None]:
    return {
        "baseline": before,
        "follow_up": after,
        "change": round(after - before, 3) + 0.0,
        "change_percent": round(100 * (after - before) / before, 1) + 0.0 if before else None,
    }


def _pair(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> dict[str, float | None]:
    return _values(before[key], after[key])


def _change(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    low, high = before["volume_range_ml"], after["volume_range_ml"]
    overlap = None
    if low is not None and high is not None:
        overlap = low[0] <= high[1] and high[0] <= low[1]
    return {
        "baseline_id": before["id"],
        "follow_up_id": after["id"],
        LENGTH: _pair(before, after, LENGTH),
        VOLUME: _pair(before, after, VOLUME),
        "within_uncertainty": overlap,
    }


def _targets(
    baseline: Mapping[str, Any], pairs: Mapping[int, int], after: Mapping[int, Mapping[str, Any]]
) -> dict[str, float | None]:
    targets = baseline["tumor"]["candidate_target_ids"]
    now = sum(after[pairs[number]][LENGTH] for number in targets if number in pairs)
    return _values(baseline["tumor"]["candidate_target_sum_mm"], round(now, 2))


def comparison_rows(comparison: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells of each lesion in the order of COLUMNS: matched, then new, then vanished.

    Args:
        comparison: From `build_comparison`.
    """
    rows = []
    for change in comparison["matched"]:
        numbers = (str(change["baseline_id"]), str(change["follow_up_id"]))
        volumes = change[VOLUME]
        digits = _volume_digits(min(volumes["baseline"], volumes["follow_up"]))
        mark = SAME if change["within_uncertainty"] else ""
        rows.append((*numbers, *_cells(change[LENGTH], 1), *_cells(volumes, digits), mark))
    for lesion in comparison["new"]:
        length, volume = _sizes(lesion)
        rows.append(("new", str(lesion["id"]), "-", length, "-", "-", "-", volume, "-", "-", ""))
    for lesion in comparison["vanished"]:
        length, volume = _sizes(lesion)
        rows.append((str(lesion["id"]), "none", length, "-", "-", "-", volume, "-", "-", "-", ""))
    return rows


def _sizes(lesion: Mapping[str, Any]) -> tuple[str, str]:
    """Length and volume of a lesion that only one scan has."""
    return cell(lesion[LENGTH], 1), cell(lesion[VOLUME], _volume_digits(lesion[VOLUME]))


def _volume_digits(smallest_ml: float) -> int:
    return 3 if smallest_ml < _SMALL_ML else 2


def _cells(values: Mapping[str, Any], digits: int) -> tuple[str, ...]:
    percent = values["change_percent"]
    return (
        cell(values["baseline"], digits),
        cell(values["follow_up"], digits),
        _signed(values["change"], digits),
        "-" if percent is None else _signed(percent, 0),
    )


def _signed(value: float, digits: int) -> str:
    """A change with its sign; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def comparison_summary(comparison: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of the facts on the whole liver.

    Args:
        comparison: From `build_comparison`.
    """
    named = (
        ("Liver volume", "liver_volume_ml", 1, "ml"),
        ("Tumor volume", "tumor_volume_ml", 1, "ml"),
        ("Lesions", "lesion_count", 0, ""),
        ("Sum of candidate targets", "target_sum_mm", 1, "mm"),
    )
    rows = []
    for name, key, digits, unit in named:
        before, after, change, percent = _cells(comparison[key], digits)
        text = f"{before} to {after} {unit}".rstrip()
        rows.append((name, f"{text} ({change}{'' if percent == '-' else f', {percent} %'})"))
    alignment = comparison["alignment"]
    text = f"{alignment['residual_mm']:.1f} mm, turned by {alignment['rotation_degrees']:.0f}°"
    return [*rows, ("Left between the livers' surfaces", text)]


def comparison_scans(comparison: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which scans were compared, as far as their reports tell it.

    Args:
        comparison: From `build_comparison`.
    """
    named = (("Baseline", "baseline"), ("Follow-up", "follow_up"))
    return [
        (name, _scan_words(comparison["input"][key]))
        for name, key in named
        if comparison["input"][key]
    ]


def _scan_words(scan: Mapping[str, Any]) -> str:
    """Name, series and voxels; a report that was written by hand may lack each."""
    series = scan.get("series_uid")
    parts = [scan.get("file_name"), f"series {series}" if series else None]
    if scan.get("shape_zyx") and scan.get("spacing_mm"):
        parts.append(f"voxels {voxels(scan)}")
    return ", ".join(part for part in parts if part)


def comparison_csv(comparison: Mapping[str, Any]) -> str:
    """One row per lesion with the numbers of the JSON, with commas and decimal dots.

    Args:
        comparison: From `build_comparison`.
    """
    columns = ["baseline_id", "follow_up_id"]
    for unit, kind in (("mm", "length"), ("ml", "volume")):
        columns += [f"{kind}_{part}_{unit}" for part in ("baseline", "follow_up", "change")]
        columns.append(f"{kind}_change_percent")
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, "volume_ranges_overlap"], lineterminator="\n")
    writer.writeheader()
    for change in comparison["matched"]:
        overlap = change["within_uncertainty"]
        row = {key: change[key] for key in ("baseline_id", "follow_up_id")}
        row |= {"volume_ranges_overlap": None if overlap is None else str(overlap).lower()}
        writer.writerow(row | _named("length", change[LENGTH]) | _named("volume", change[VOLUME]))
    for part, key in (("follow_up", "new"), ("baseline", "vanished")):
        for lesion in comparison[key]:
            sizes = {f"length_{part}_mm": lesion[LENGTH], f"volume_{part}_ml": lesion[VOLUME]}
            writer.writerow({f"{part}_id": lesion["id"]} | sizes)
    return text.getvalue()


def _named(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one pair by the names of their columns."""
    unit = "mm" if kind == "length" else "ml"
    named = {f"{kind}_{part}_{unit}": values[part] for part in ("baseline", "follow_up", "change")}
    return named | {f"{kind}_change_percent": values["change_percent"]}


def comparison_html(comparison: Mapping[str, Any]) -> str:
    """The comparison as one page.

    Args:
        comparison: From `build_comparison`.
    """
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    source = files("livertumor_cli.report").joinpath("compare.html.j2").read_text("utf-8")
    return environment.from_string(source).render(
        comparison=comparison,
        scans=comparison_scans(comparison),
        columns=COLUMNS,
        legend=LEGEND,
        rows=comparison_rows(comparison),
        summary=comparison_summary(comparison),
        method=[(name.replace("_", " ").capitalize(), text) for name, text in METHOD.items()],
    )
