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


@pytest.mark.parametrize(("width", "shown"), [(80, 5), (60, 5), (38, 3), (30, 2)])
def test_a_long_name_goes_on_below_and_no_number_is_cut(capsys, monkeypatch, width, shown):
    monkeypatch.setenv("COLUMNS", str(width))
    console.stdout_console.cache_clear()
    name = "patient-with-a-long-[bold]name"
    print_numbers(("Case", *TITLES[1:]), [(name, *ROW[1:])], has_names=True)
    output = capsys.readouterr().out
    console.stdout_console.cache_clear()
    lines = [line.split() for line in output.splitlines() if line.strip()]
    assert tuple(lines[0]) == ("Case", *TITLES[1:shown])
    assert tuple(lines[2][1:]) == ROW[1:shown]
    names = [line for line in lines[2:] if line[0] != "No"]
    assert "".join(line[0] for line in names if line[0] in name) == name
    told = f"No room in this terminal for: {', '.join(TITLES[shown:])}."
    assert (told in " ".join(output.split())) is (shown < 5)
    assert "…" not in output
