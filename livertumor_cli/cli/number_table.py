"""Tables of numbers that are whole or not shown: a cut number would be read as another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from livertumor_cli.cli.console import stdout_console

if TYPE_CHECKING:
    from rich.table import Table


def print_numbers(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print right-aligned columns; those on the right that the terminal has no room for are named.

    Args:
        titles: One per column, the most important first.
        rows: Cells in their order.
    """
    from rich.measure import Measurement

    console = stdout_console()
    wide = console.options.update(max_width=1000)
    shown = len(titles)
    while shown > 1:
        table = _table(titles[:shown], [row[:shown] for row in rows])
        if Measurement.get(console, wide, table).maximum <= console.width:
            break
        shown -= 1
    console.print(_table(titles[:shown], [row[:shown] for row in rows]))
    if shown < len(titles):
        console.print(f"No room in this terminal for: {', '.join(titles[shown:])}.")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
