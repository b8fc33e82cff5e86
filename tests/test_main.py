"""The command line: help, and one clear sentence with exit status 2 for whatever is wrong."""

import os
import socket
import subprocess
import sys

import pytest

from bot.__main__ import main
from bot.settings import ROOT
from bot.tokens import Tokens
from tests.parts import ExclamationMood, WordRetriever

COMMANDS = ["serve", "ask", "index", "search", "mood", "check", "agent"]


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.upper().startswith("BOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_DATA", str(tmp_path / "data"))


def run(capsys, *argv):
    """Exit status, output and errors of a command."""
    try:
        status = main(list(argv))
    except SystemExit as stopped:
        status = stopped.code
    told = capsys.readouterr()
    return status, told.out, told.err


def test_help_names_every_command(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert [command for command in COMMANDS if f"\n    {command} " not in out] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_that_describes_each_flag(capsys, command):
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    assert out.startswith(f"usage: bot {command}")
    flags = [line.split() for line in out.splitlines() if line.startswith("  -")]
    assert all(len(words) > 2 or words == ["--top-k", "TOP_K"] for words in flags), flags


@pytest.mark.parametrize(
    "argv", [[], ["dance"], ["ask"], ["search", "x", "--language", "fr"], ["serve", "--port", "x"]]
)
def test_a_wrong_command_line_is_answered_with_the_usage(capsys, argv):
    status, _, err = run(capsys, *argv)
    assert status == 2
    assert err.startswith("usage: bot")


async def unused(_):
    return True


def one_sentence(status, out, err):
    assert status == 2
    assert err.count("\n") == 1 and err.endswith(".\n"), err
    assert "Traceback" not in out + err
    return err


def test_a_port_in_use_is_told_before_anything_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, out, err = run(capsys, "serve", "--port", port)
    told = one_sentence(status, out, err)
    assert told.startswith(f"bot serve: 127.0.0.1:{port} cannot be listened on: ") and "`--port`" in told
    assert "Loading" not in out


def test_a_host_that_is_not_ours_is_told(capsys):
    told = one_sentence(*run(capsys, "serve", "--host", "192.0.2.1", "--port", "0"))
    assert "192.0.2.1:0 cannot be listened on" in told


def test_a_host_that_has_no_address_is_told(capsys):
    assert "no-such-host.invalid" in one_sentence(
        *run(capsys, "serve", "--host", "no-such-host.invalid", "--port", "0")
    )


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["agent", "anna"], ["check"]])
def test_a_data_folder_that_cannot_be_made_is_told(capsys, monkeypatch, tmp_path, command):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BOT_DATA", str(tmp_path / "file/data"))
    told = one_sentence(*run(capsys, *command))
    assert str(tmp_path / "file/data") in told and "`BOT_DATA`" in told


@pytest.mark.parametrize(("name", "value"), [("BOT_ENGINE", "magic"), ("BOT_PORT", "eighty"), ("BOT_TOP_K", "99")])
@pytest.mark.parametrize(
    "command", [["serve"], ["check"], ["index"], ["search", "x"], ["agent", "anna"], ["ask", "x"]]
)
def test_a_wrong_setting_is_told_by_name_and_value(capsys, monkeypatch, name, value, command):
    monkeypatch.setenv(name, value)
    told = one_sentence(*run(capsys, *command))
    assert told.startswith(f"bot {command[0]}: `{name}` is {value!r}: ")


def test_a_wrong_regular_expression_is_told(capsys, monkeypatch):
    monkeypatch.setenv("BOT_ORDER_PATTERN", "(")
    assert "`BOT_ORDER_PATTERN`" in one_sentence(*run(capsys, "check"))


def test_templates_that_are_missing_are_told(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("BOT_PROMPTS", str(tmp_path / "none"))
    assert "`BOT_PROMPTS`" in one_sentence(*run(capsys, "check"))


def test_documents_that_are_missing_are_told(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("BOT_KNOWLEDGE", str(tmp_path / "none"))
    assert str(tmp_path / "none") in one_sentence(*run(capsys, "index"))


def test_a_database_address_that_cannot_be_read_is_told(capsys, monkeypatch):
    monkeypatch.setenv("BOT_DATABASE_URL", "mongo://db")
    assert "mongo" in one_sentence(*run(capsys, "check"))


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["agent", "anna"]])
def test_replicas_without_a_shared_key_are_told(capsys, monkeypatch, command):
    monkeypatch.setenv("BOT_REDIS_URL", "redis://127.0.0.1:6379/0")
    assert "`BOT_TOKEN_SECRET`" in one_sentence(*run(capsys, *command))


@pytest.mark.parametrize("content", [None, b"no database at all, but long enough to be taken for one" * 40])
def test_a_database_file_that_is_none_is_told(capsys, tmp_path, content):
    (tmp_path / "data").mkdir()
    if content is None:
        (tmp_path / "data/bot.db").mkdir()
    else:
        (tmp_path / "data/bot.db").write_bytes(content)
    assert "bot.db" in one_sentence(*run(capsys, "check"))


def test_orders_that_are_missing_are_told(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("BOT_ENGINE", "scripted")
    monkeypatch.setenv("BOT_ORDERS", str(tmp_path / "none.json"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bot.wiring.retriever", lambda *_, **__: WordRetriever())
        patched.setattr("bot.wiring.sentiment", lambda: ExclamationMood())
        assert "none.json" in one_sentence(*run(capsys, "check"))


async def test_a_sign_in_code_works_with_the_key_in_the_data_folder(capsys, tmp_path):
    status, out, err = run(capsys, "agent", "anna")
    assert (status, err) == (0, "")
    agent, _ = await Tokens((tmp_path / "data/key").read_text()).sign_in(out.strip(), "Anna", unused)
    assert agent == "anna"


def test_the_program_starts_as_a_module_and_exits_with_its_status():
    ran = subprocess.run(
        [sys.executable, "-m", "bot", "serve"], cwd=ROOT, env={**os.environ, "BOT_PORT": "eighty"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    one_sentence(ran.returncode, ran.stdout, ran.stderr)
