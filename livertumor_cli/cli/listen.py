"""`livertumor listen`: a node that receives studies, segments them and sends the results on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from livertumor_cli.cli.extras import require_extra
from livertumor_cli.cli.options import PATH, dicom_options, irregular_option, network_options
from livertumor_cli.errors import ConfigError

if TYPE_CHECKING:
    from livertumor_cli.node.worker import NodeSettings
    from livertumor_cli.segment_setup import SegmentOptions


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=11112, show_default=True, help="TCP port."
)
@click.option(
    "--aet",
    default="LIVERTUMOR",
    show_default=True,
    metavar="AET",
    help="Title of this node; calls for another one are refused.",
)
@click.option(
    "--from",
    "callers",
    multiple=True,
    required=True,
    metavar="AET",
    help="Title of a node that may send; give it once for each.",
)
@click.option(
    "--forward",
    default=None,
    metavar="AET@HOST:PORT",
    help="Where the DICOM results go (default: they stay in the spool).",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 takes images from other machines.",
)
@click.option(
    "--spool",
    type=PATH,
    default=Path("livertumor_spool"),
    show_default=True,
    help="Folder of received studies and results.",
)
@click.option(
    "--quiet-time",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long nothing of a study must have come before it is segmented.",
)
@irregular_option
@dicom_options
@network_options
def listen(
    port: int,
    aet: str,
    callers: tuple[str, ...],
    forward: str | None,
    host: str,
    spool: Path,
    quiet_time: float,
    **options: Any,
) -> None:
    """Receive CT studies over the network, segment each, and send the results on.

    A study is segmented when the sender has closed its connection and nothing more has come for a
    while. Every image is on the disk before its sender is told so; after a power cut the same
    command goes on. Ctrl-C ends it after the study it is working on.

    Example: livertumor listen --host 0.0.0.0 --from PACS --forward PACS@10.0.0.5:104
    """
    require_extra("node")
    from livertumor_cli.io.dicom_net import parse_peer, require_ae_title
    from livertumor_cli.node.worker import NodeSettings

    settings = NodeSettings(
        options=_options(options),
        forward=None if forward is None else parse_peer(forward),
        aet=require_ae_title(aet),
        quiet_s=quiet_time,
    )
    allowed = tuple(require_ae_title(caller) for caller in callers)
    _serve(spool, settings, host=host, port=port, callers=allowed)


def _serve(
    folder: Path, settings: NodeSettings, *, host: str, port: int, callers: tuple[str, ...]
) -> None:
    from livertumor_cli.cli.progress import show_progress
    from livertumor_cli.cli.stopping import first_interrupt_asks
    from livertumor_cli.io.dicom_net_receive import receiving
    from livertumor_cli.node.service import open_spool, work_until
    from livertumor_cli.node.worker import Worker
    from livertumor_cli.segment_setup import open_networks

    networks = open_networks(settings.options)
    with open_spool(folder) as spool, show_progress(quiet=True) as silent:
        worker = Worker(spool, networks=networks, settings=settings, tell=_tell, progress=silent)
        with (
            receiving(spool, host=host, port=port, aet=settings.aet, callers=callers) as taken,
            first_interrupt_asks() as stopped,
        ):
            _tell(f"{settings.aet} listens on {host}:{taken} and takes from {', '.join(callers)}.")
            for study in spool.waiting():
                _tell(f"{study} was cut off in an earlier run; it waits until it is sent again.")
            work_until(stopped, worker, on_done=lambda results: click.echo(str(results)))


def _tell(sentence: str) -> None:
    """One line on stderr with the time, as in the log of a service."""
    click.echo(f"{datetime.now().isoformat(sep=' ', timespec='seconds')} {sentence}", err=True)


def _options(words: dict[str, Any]) -> SegmentOptions:
    """The pipeline's options: SEG and SR unless told otherwise, since results are to be sent."""
    from livertumor_cli.cli.segment import segment_options

    if words["dicom"] == ():
        raise ConfigError(
            "A node makes DICOM results; --dicom none leaves nothing to send.",
            hint="Leave out --dicom.",
        )
    return segment_options(**(words | {"dicom": words["dicom"] or ("seg", "sr")}))
