"""Every command and option is in the manual or the README, and has help with an example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from livertumor_cli.cli.app import COMMANDS, app
from livertumor_cli.errors import LiverTumorError, Reason
from livertumor_cli.report.json_report import load_schema
from livertumor_cli.segment_setup import SegmentOptions

ROOT = Path(__file__).resolve().parent.parent
MANUAL = (ROOT / "docs" / "manual.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def all_commands() -> dict[str, click.Command]:
    """Every command by its words, such as 'models list'."""

    def walk(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                yield from walk(inner, f"{words} {name}".strip())
        else:
            yield words, command

    return dict(walk(app, ""))


ALL = all_commands()


def options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def section(name: str) -> str:
    """The manual's part on a command."""
    found = re.search(rf"^## {name}$(.*?)^## ", MANUAL, re.MULTILINE | re.DOTALL)
    assert found, f"the manual has no section {name}"
    return found[1]


def test_the_commands_listed_are_the_commands_there_are() -> None:
    assert {words.split()[0] for words in ALL} == set(COMMANDS)


@pytest.mark.parametrize("words", list(ALL))
def test_every_command_has_help_with_an_example(words: str) -> None:
    text = ALL[words].help or ""
    assert f"Example: livertumor {words}" in " ".join(text.split())
    for option in options(ALL[words]):
        assert option.help, f"{words} {option.opts[0]} has no help"


@pytest.mark.parametrize("words", list(ALL))
def test_every_command_and_option_is_in_the_manual(words: str) -> None:
    text = section(words.split(maxsplit=1)[0])
    assert f"livertumor {words}" in text
    for option in options(ALL[words]):
        for name in option.opts:
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), f"{words} {name}"


def test_the_manual_names_no_option_that_is_not_there() -> None:
    known = {
        name for command in ALL.values() for option in options(command) for name in option.opts
    }
    known |= {"--help", *(name for option in options(app) for name in option.opts)}
    ours = [line for line in README.splitlines() if "livertumor " in line and "pip" not in line]
    for text in (MANUAL, *ours):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)) <= known


@pytest.mark.parametrize("words", list(ALL))
def test_defaults_in_the_manual_are_those_of_the_command(words: str) -> None:
    text = section(words.split(maxsplit=1)[0])
    for option in options(ALL[words]):
        if isinstance(option.default, bool) or not isinstance(option.default, str | int | float):
            continue
        rows = [
            line for line in text.splitlines() if line.startswith("|") and option.opts[0] in line
        ]
        for row in rows:
            assert str(option.default) in row.split("|")[-2], row


def test_the_default_recipe_is_the_one_named() -> None:
    assert f"| `{SegmentOptions().recipe}` |" in section("segment")


def test_every_command_is_in_the_readme() -> None:
    for name in COMMANDS:
        assert f"livertumor {name}" in README, name


def test_every_reason_is_explained() -> None:
    text = MANUAL.partition("## Why a scan is refused")[2]
    assert set(re.findall(r"`([a-z_]+)`", text)) == {str(reason) for reason in Reason}


def error_classes(base: type[LiverTumorError] = LiverTumorError) -> Iterator[type[LiverTumorError]]:
    yield base
    for inner in base.__subclasses__():
        yield from error_classes(inner)


def test_every_exit_code_is_explained() -> None:
    text = MANUAL.partition("## Exit codes")[2].partition("\n## ")[0]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert codes == {0, 130} | {error.exit_code for error in error_classes()}


def test_every_key_of_the_report_is_explained() -> None:
    text = section("What is written")
    explained = set(re.findall(r"`([a-z_\d.\[\]]+)`", text.partition("### report.json")[2]))
    for key in report_keys(load_schema()):
        assert key in explained, key


def report_keys(schema: dict[str, Any]) -> Iterator[str]:
    """Dotted names of what the schema requires; a table of free names is one key."""
    for name in schema["required"]:
        part = resolved(schema["properties"][name])
        items = resolved(part.get("items", {}))
        if "properties" in items:
            yield from (f"{name}[].{key}" for key in items["required"])
        elif name in ("input", "recipe", "liver", "tumor", "vessel", "program"):
            yield from (f"{name}.{key}" for key in part["required"])
        else:
            yield name


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema, or the definition that it refers to."""
    if "$ref" not in part:
        return part
    definition: dict[str, Any] = load_schema()["$defs"][part["$ref"].rpartition("/")[2]]
    return definition


def test_links_inside_the_manual_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", MANUAL, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", MANUAL)) <= anchors


def test_files_named_by_the_readme_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    missing = [link for link in links if not (ROOT / link).exists()]
    if missing and not list((ROOT / "weights").glob("*/recipe.toml")):
        assert all(link.startswith("weights/") for link in missing)
        pytest.skip("this copy of the sources has no weights")
    assert not missing


def test_the_schema_named_by_the_manual_exists() -> None:
    path = ROOT / "livertumor_cli" / "report" / "report.schema.json"
    assert json.loads(path.read_text(encoding="utf-8"))["$schema"].endswith("2020-12/schema")
    assert "livertumor_cli/report/report.schema.json" in MANUAL
