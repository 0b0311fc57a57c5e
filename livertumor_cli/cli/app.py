"""The command group: `livertumor COMMAND`; errors become one sentence, a hint and an exit code."""

from __future__ import annotations

import io
import signal
import sys
from importlib import import_module
from typing import TextIO, cast

import click

from livertumor_cli.cli.result_stream import ResultStream
from livertumor_cli.errors import BackendError, LiverTumorError

EXIT_INTERRUPTED = 130

COMMANDS: dict[str, str] = {
    "segment": "Segment liver, tumors and vessels in one scan.",
    "batch": "Segment every scan in a folder, and go on where it stopped.",
    "watch": "Segment the scans that come into a folder.",
    "demo": "Make a phantom scan, segment it and compare with the truth.",
    "inspect": "Show what the program reads from a scan, or why it refuses it.",
    "series": "List the series of a DICOM study, and say which one is segmented.",
    "convert": "Write what is read from a scan as NIfTI.",
    "measure": "Measure a mask that was corrected by hand, with the same report.",
    "send": "Send DICOM results to a PACS (needs the extra 'node').",
    "listen": "Receive, segment and send studies on (needs the extra 'node').",
    "compare": "Compare two results of one patient: growth, new lesions.",
    "models": "List, show and verify the installed recipes and weights.",
    "doctor": "Check the installation: engines, devices, weights.",
    "evaluate": "Compare masks with reference masks.",
    "train": "Train a stage of a recipe (needs the extra 'train').",
    "export": "Turn a checkpoint into checked ONNX (needs the extra 'export').",
}
"""One file per command in this folder; the short texts stand here so that `--help` imports none."""


class CommandGroup(click.Group):
    """A group that imports a command's file only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"livertumor_cli.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"livertumor {version('livertumor')}")
        ctx.exit()


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and leave.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log what the program decides, on stderr.")
def app(verbose: bool) -> None:
    """Liver, liver tumors and intrahepatic vessels from a contrast-enhanced abdominal CT.

    Research use only: not a medical device, not for diagnosis.

    Exit codes: 0 done (also when no tumor was found), 1 other error, 2 usage, 3 input, 4 model,
    5 device or engine, 6 output, 7 batch finished with failed cases, 8 network, 130
    interrupted.
    """
    import logging

    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(name)s: %(message)s")
    # Libraries stay silent unless something breaks; the program's own warnings are for the user.
    logging.getLogger("livertumor_cli").setLevel(logging.INFO if verbose else logging.WARNING)


def report_error(error: LiverTumorError) -> int:
    """Print an error and its hint on stderr; returns the exit code."""
    # A path may have bytes that are no text, which no stream can print.
    message = error.message.encode("utf-8", "backslashreplace").decode("utf-8")
    click.echo(f"Error: {message}", err=True)
    if error.hint:
        click.echo(f"Hint: {error.hint}", err=True)
    return error.exit_code


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = app.main(args=arguments, prog_name="livertumor", standalone_mode=False)
    except LiverTumorError as error:
        return report_error(error)
    except MemoryError:
        return report_error(
            BackendError("the machine ran out of memory.", hint="Close other programs, then retry.")
        )
    except click.exceptions.Abort:
        click.echo("Interrupted; no half-written file is left.", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the console script."""
    # Batch systems end jobs with SIGTERM; like Ctrl-C it must leave nothing half-written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        # A letter that the terminal's encoding lacks must not end the run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is not None:  # as it is where a program starts this one without
        sys.stdout = cast(TextIO, ResultStream(sys.stdout))
    sys.exit(run(sys.argv[1:]))
