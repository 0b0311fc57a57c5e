"""Numbers in a terminal are whole or not shown."""

import pytest

from livertumor_cli.cli import console
from livertumor_cli.cli.number_table import print_numbers

TITLES = ("No.", "Longest", "Capsule", "Vessel", "Flags")
ROW = ("1", "123456.7", "98765.4", "11111.1", "sb")


@pytest.mark.parametrize(("width", "shown"), [(80, 5), (30, 3), (15, 2)])
def test_columns_are_left_out_whole_and_named(capsys, monkeypatch, width, shown):
    monkeypatch.setenv("COLUMNS", str(width))
    console.stdout_console.cache_clear()
    print_numbers(TITLES, [ROW])
    output = capsys.readouterr().out
    console.stdout_console.cache_clear()
    lines = [line.split() for line in output.splitlines() if line.strip()]
    assert tuple(lines[0]) == TITLES[:shown]
    assert tuple(lines[2]) == ROW[:shown]
    told = " ".join(word for line in lines[3:] for word in line)
    left_out = ", ".join(TITLES[shown:])
    assert told == (f"No room in this terminal for: {left_out}." if left_out else "")
    assert "…" not in output
