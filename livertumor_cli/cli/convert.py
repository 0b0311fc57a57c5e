"""`livertumor convert PATH OUT.nii.gz`: what was read, as a file that other programs open."""

from __future__ import annotations

from pathlib import Path

import click

from livertumor_cli.cli.console import warn
from livertumor_cli.cli.options import PATH, scan_options
from livertumor_cli.errors import ConfigError, OutputError


@click.command()
@click.argument("path", type=PATH)
@click.argument("out", type=PATH)
@scan_options
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
def convert(path: Path, out: Path, series: str, resample_irregular: bool, overwrite: bool) -> None:
    """Write the scan at PATH to OUT (.nii or .nii.gz) in Hounsfield units, on its own grid.

    PATH is whatever 'segment' takes. The file is read back by a second library and compared voxel
    by voxel before the command ends.

    Example: livertumor convert study/ scan.nii.gz --series 4
    """
    from livertumor_cli.io.atomic import has_utf8_name, make_folder
    from livertumor_cli.io.formats import read_volume, write_proved_volume

    if not out.name.lower().endswith((".nii", ".nii.gz")):
        raise ConfigError(f"{out.name} must end in .nii or .nii.gz.")
    if not has_utf8_name(out.absolute()):
        raise OutputError(
            f"{out} cannot be written: its name has bytes that are no UTF-8.",
            hint="Give a name that is plain text.",
        )
    if out.exists() and path.exists() and out.samefile(path):
        raise OutputError(
            f"{out} is the scan itself and is not replaced.", hint="Choose another name."
        )
    if out.exists() and not overwrite:
        raise OutputError(
            f"{out} exists already.", hint="Choose another name, or replace it with --overwrite."
        )
    volume = read_volume(path, series=series, resample_irregular=resample_irregular)
    for note in volume.source.notes:
        warn(note)
    make_folder(out.absolute().parent)
    write_proved_volume(out, volume)
    click.echo(str(out))
