"""The documents tell the truth: settings, commands, trees and files."""

import re
import tomllib

import pytest

from bot import __main__ as bot_main
from bot.settings import ROOT, Settings

README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings_table() -> str:
    """The table that README must hold."""
    lines = ["| variable | default | what |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        default = default.replace(f"{ROOT}/", "")
        lines.append(f"| `BOT_{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |")
    return "\n".join(lines).replace("| `\\b", "| `\\b")


def test_readme_lists_every_setting_with_its_default():
    table = README.split("tests/test_docs.py -->\n")[1].split("\n<!-- /settings")[0]
    assert table == settings_table()


def test_readme_names_every_command(capsys):
    with pytest.raises(SystemExit):
        bot_main.main(["--help"])
    help_text = capsys.readouterr().out
    commands = re.search(r"^bot (serve .*)$", README, re.MULTILINE)[1].split(" | ")
    for command in commands:
        assert re.search(rf"^\s+{command}\s", help_text, re.MULTILINE), command
    assert len(re.findall(r"^    \w+\s{2,}", help_text, re.MULTILINE)) == len(commands)


def test_the_map_shows_every_module_of_the_bot():
    tree = (ROOT / "bot/README.md").read_text(encoding="utf-8").split("## The tree")[1].split("## Floors")[0]
    named = set(re.findall(r"^(\w+\.py|\w+/)", tree, re.MULTILINE))
    there = {p.name for p in (ROOT / "bot").glob("*.py")} - {"__init__.py"}
    there |= {f"{p.name}/" for p in (ROOT / "bot").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert named == there


@pytest.mark.parametrize(
    "path", ["README.md", "bot/README.md", "deploy/README.md", "knowledge/README.md", "prompts/README.md",
             "finetune/README.md"],
)  # fmt: skip
def test_links_lead_to_files(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / path).parent / target).exists(), target


def test_the_environment_example_names_known_settings():
    names = re.findall(r"^#?(BOT_\w+)=", (ROOT / "deploy/bot.env.example").read_text(encoding="utf-8"), re.MULTILINE)
    assert names
    assert {name.removeprefix("BOT_").lower() for name in names} <= set(Settings.model_fields)


def test_the_constraints_pin_what_the_project_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").open()}
    for need in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        assert re.match(r"[\w-]+", need)[0].lower() in pinned, need
