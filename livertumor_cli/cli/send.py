"""`livertumor send OUT --to AET@HOST:PORT`: DICOM results to an archive."""

from __future__ import annotations

from pathlib import Path

import click

from livertumor_cli.cli.extras import require_extra
from livertumor_cli.cli.options import PATH


@click.command()
@click.argument("out", type=PATH)
@click.option("--to", "peer", required=True, metavar="AET@HOST:PORT", help="Where to send.")
@click.option(
    "--aet",
    default="LIVERTUMOR",
    show_default=True,
    metavar="AET",
    help="Title under which this program calls.",
)
def send(out: Path, peer: str, aet: str) -> None:
    """Send the DICOM objects in OUT to a PACS (C-STORE).

    OUT is a folder of results of 'segment' or 'measure', any folder of DICOM files, or one file.
    Nothing else in it is sent. Objects that the PACS has already stay one there.

    Example: livertumor send results/patient1 --to PACS@10.0.0.5:104
    """
    require_extra("node")
    from livertumor_cli.io.dicom_net import parse_peer, require_ae_title
    from livertumor_cli.io.dicom_net_send import find_objects, send_files

    target = parse_peer(peer)
    files = find_objects(out)
    send_files(files, peer=target, aet=require_ae_title(aet))
    for path in files:
        click.echo(str(path))
