"""Options that several commands share, written once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

DEVICES = ["auto", "cuda", "cpu"]
ENGINES = ["auto", "onnxruntime", "openvino"]
PRECISIONS = ["auto", "f32", "bf16", "fp16"]
DICOM_OBJECTS = ["seg", "sr", "rtstruct"]
SEG_TYPES = ["binary", "labelmap"]


class _GivenPath(click.Path):
    """A path in words: whether something lies there is the library's to say, with its exit code.

    An empty one is refused, as it would mean the current folder. Mostly it is the value of a
    variable that a script did not set.
    """

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """The path.

        Raises:
            click.BadParameter: If it is empty.
        """
        if value == "":
            self.fail("the path is empty.", param, ctx)
        return Path(value)


PATH = _GivenPath()
"""Type of every file and folder that a command takes, there or not."""

MOST_SCALES = 8
SMALLEST_SCALE, LARGEST_SCALE = 0.25, 4.0


def parse_scales(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Read '0.5,1.0,1.5'.

    Raises:
        click.BadParameter: If a part is no number, out of range, or repeated.
    """
    if value is None:
        return None
    try:
        scales = tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter("give numbers with commas between, such as 0.5,1.0,1.5") from error
    if not all(SMALLEST_SCALE <= scale <= LARGEST_SCALE for scale in scales):
        raise click.BadParameter(f"scales lie between {SMALLEST_SCALE:g} and {LARGEST_SCALE:g}")
    if len(set(scales)) != len(scales) or len(scales) > MOST_SCALES:
        raise click.BadParameter(f"give each scale once, at most {MOST_SCALES}")
    return scales


def parse_dicom(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...] | None:
    """Read 'seg,sr': None for auto, nothing for none.

    Raises:
        click.BadParameter: If a part is no name of an object.
    """
    if value == "auto":
        return None
    if value == "none":
        return ()
    names = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    if not set(names) <= set(DICOM_OBJECTS):
        raise click.BadParameter(
            f"give auto, none, or one or more of {', '.join(DICOM_OBJECTS)} with commas between"
        )
    return names


def network_options(command: Command) -> Command:
    """Recipe, device, engine, precision, scales and threads."""
    for option in reversed(_NETWORK_OPTIONS):
        command = option(command)
    return command


def one_network_options(command: Command) -> Command:
    """The same without scales, of a command that runs one stage of a recipe."""
    for option in reversed(_NETWORK_OPTIONS):
        if option is not _SCALES_OPTION:
            command = option(command)
    return command


def scan_options(command: Command) -> Command:
    """Which DICOM series is read, and whether an irregular one is."""
    for option in reversed(_SCAN_OPTIONS):
        command = option(command)
    return command


def dicom_options(command: Command) -> Command:
    """Which DICOM objects are written, and how."""
    for option in reversed(_DICOM_OPTIONS):
        command = option(command)
    return command


def result_options(command: Command) -> Command:
    """Where results go and what is printed."""
    for option in reversed(_RESULT_OPTIONS):
        command = option(command)
    return command


irregular_option = click.option(
    "--resample-irregular",
    is_flag=True,
    help="Resample tilted, uneven or incomplete DICOM slices to a regular grid; flagged.",
)

identity_option = click.option(
    "--keep-identity",
    is_flag=True,
    help="Let results tell the name of a DICOM folder or zip, which may be the patient's.",
)

_SCAN_OPTIONS = (
    click.option(
        "--series",
        default="",
        metavar="UID|NUMBER",
        help="DICOM series to read (see 'livertumor series'; default: the best for a liver).",
    ),
    irregular_option,
)

_SCALES_OPTION = click.option(
    "--scales",
    callback=parse_scales,
    metavar="LIST",
    help="Zoom factors from 0.25 to 4 that are averaged, such as 0.5,1.0,1.5 (default: the "
    "recipe's).",
)

_NETWORK_OPTIONS = (
    click.option(
        "--recipe",
        default=None,
        metavar="NAME|FOLDER",
        help="Installed recipe (see 'livertumor models') or folder of one.",
    ),
    click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where the networks run; cuda is an error where it cannot be had.",
    ),
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default="auto",
        show_default=True,
        help="Program that runs the networks.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        help="auto takes the fastest that the recipe's validation allows; another is an error "
        "where it cannot be had.",
    ),
    _SCALES_OPTION,
    click.option(
        "--threads",
        type=click.IntRange(1, 256),
        default=None,
        help="CPU threads (default: the physical cores).",
    ),
)

_RESULT_OPTIONS = (
    click.option(
        "--output",
        "-o",
        type=PATH,
        default=None,
        help="Folder for the results.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an earlier result in that folder."),
    click.option("--pdf", is_flag=True, help="Also write report.pdf, the report as A4 pages."),
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, nothing else."),
    click.option("--quiet", "-q", is_flag=True, help="No progress and no table."),
)

_DICOM_OPTIONS = (
    click.option(
        "--dicom",
        callback=parse_dicom,
        default="auto",
        show_default=True,
        metavar="LIST",
        help="DICOM objects to write: seg, sr, rtstruct, or none; auto is seg,sr for a DICOM scan.",
    ),
    click.option(
        "--seg-type",
        type=click.Choice(SEG_TYPES),
        default="binary",
        show_default=True,
        help="How a DICOM SEG stores its segments; labelmap is smaller, binary opens in more.",
    ),
)
