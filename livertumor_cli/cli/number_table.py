"""Tables of numbers that are whole or not shown: a cut number would be read as another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from livertumor_cli.cli.console import stdout_console

if TYPE_CHECKING:
    from rich.table import Table

NAME_WIDTH = 16
"""What a column of names keeps; longer ones go on in the next line before a number is left out."""


def print_numbers(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, has_names: bool = False
) -> None:
    """Print right-aligned columns; those on the right that the terminal has no room for are named.

    Args:
        titles: One per column, the most important first.
        rows: Cells in their order.
        has_names: Whether the first column holds names, which are left-aligned and may wrap.
    """
    from rich.measure import Measurement

    console = stdout_console()
    wide = console.options.update(max_width=1000)
    shown = len(titles)
    kept = [[row[0][:NAME_WIDTH] if has_names else row[0], *row[1:]] for row in rows]
    while shown > 1:
        table = _table(titles[:shown], [row[:shown] for row in kept], has_names=has_names)
        if Measurement.get(console, wide, table).maximum <= console.width:
            break
        shown -= 1
    console.print(_table(titles[:shown], [row[:shown] for row in rows], has_names=has_names))
    if shown < len(titles):
        console.print(f"No room in this terminal for: {', '.join(titles[shown:])}.")


def _table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, has_names: bool = False
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for place, title in enumerate(titles):
        is_name = has_names and place == 0
        table.add_column(
            title,
            justify="left" if is_name else "right",
            no_wrap=not is_name,
            overflow="fold",
        )
    for row in rows:
        # Text, as brackets in the name of a case are no markup.
        table.add_row(*(Text(cell) for cell in row))
    return table
