"""The report as one HTML file that needs nothing else: pictures and style are in it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from livertumor_cli.report import words
from livertumor_cli.report.figures import OVERVIEWS, PROJECTIONS, lesion_file
from livertumor_cli.report.tables import SEGMENT_HEADINGS, segment_rows, summary_rows

PROJECTION_WORDS = {"front": "Liver from the front", "below": "Liver from below"}


def html_report(report: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        report: From `build_report`.
        figures: From `case_figures`.
    """
    # Names of files and recipes are the user's: everything is escaped.
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    cards = [_card(report, lesion, figures) for lesion in pictured(report, figures)]
    source = files("livertumor_cli.report").joinpath("report.html.j2").read_text("utf-8")
    columns, rows = words.lesion_table(report)
    return environment.from_string(source).render(
        report=report,
        summary=summary_rows(report),
        columns=columns,
        rows=rows,
        segment_heading=SEGMENT_HEADINGS.get(report["segments_by"]),
        segments=segment_rows(report),
        segment_note=words.SEGMENT_NOTES.get(report["segments_by"]),
        overviews=[_line(figures, kind) for kind in ("overview", "projection")],
        orientation=words.ORIENTATION,
        lesion_caption=words.lesion_caption(len(cards), count=len(report["lesions"])),
        cards=cards,
        method=words.method_rows(report),
        origin=words.origin_rows(report),
    )


def _line(figures: Mapping[str, bytes], kind: str) -> dict[str, Any]:
    """Pictures of one kind side by side: as high as each other, so as wide as their pixels."""
    pictures = [
        (_inline(figures[name]), text, _width(figures[name]))
        for name, text in overview_names(figures)
        if name.startswith(kind)
    ]
    return {"pictures": pictures, "width": sum(width for *_, width in pictures)}


def _width(png: bytes) -> int:
    """Width of a PNG in pixels, from its header."""
    return int.from_bytes(png[16:20], "big")


def overview_names(figures: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """File name and description of the pictures of the whole case, in their order."""
    named = [(f"overview_{name}.png", f"{name.capitalize()} section") for name in OVERVIEWS]
    named += [(f"projection_{name}.png", PROJECTION_WORDS[name]) for name in PROJECTIONS]
    return [(name, text) for name, text in named if name in figures]


def pictured(report: Mapping[str, Any], figures: Mapping[str, bytes]) -> list[Mapping[str, Any]]:
    """The lesions of the report that have a picture."""
    return [lesion for lesion in report["lesions"] if lesion_file(lesion["id"]) in figures]


def _card(
    report: Mapping[str, Any], lesion: Mapping[str, Any], figures: Mapping[str, bytes]
) -> dict[str, Any]:
    return {
        "id": lesion["id"],
        "picture": _inline(figures[lesion_file(lesion["id"])]),
        "size": words.diameters(lesion),
        "flags": [words.FLAG_WORDS[flag] for flag in lesion["flags"]],
        "facts": words.lesion_facts(lesion, segments_by=report["segments_by"]),
    }


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
