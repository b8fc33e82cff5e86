"""The command: what is measured beside what, where it is written, and what it refuses."""

import json

import pytest

from bot import prompt, settings, wiring
from bot.engine.scripted import ScriptedEngine
from bot.errors import ModelError
from bot.types import LANGUAGES
from finetune import unseen
from finetune.__main__ import main
from finetune.evaluate import spread
from finetune.unseen_kinds import read_templates
from tests.finetune.small import write_rows
from tests.parts import RETURNS, SHIPPING, TEMPLATES, WordRetriever, make_bot


class MuteEngine(ScriptedEngine):
    """Says nothing, so that passages are quoted."""

    async def stream(self, messages, *, max_tokens, only=()):
        return
        yield


ROW = {"language": "en", "kind": "answerable", "history": [], "passages": [SHIPPING.id]}
DOCUMENT = "---\ntitle: {}\ncategory: policy\nlanguage: en\n---\n## {}\n{}\n"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Rows and a document, and a bot of twins: an adapter named `mute` says nothing, all else what the script says."""
    (tmp_path / "knowledge/en/policy").mkdir(parents=True)
    for passage in (SHIPPING, RETURNS):
        document = DOCUMENT.format(passage.title, passage.heading, passage.text)
        (tmp_path / f"knowledge/{passage.doc_id}.md").write_text(document)
    write_rows(
        tmp_path / "test.jsonl",
        [
            ROW | {"id": "1", "text": "How long does standard delivery take?", "answer": "3 to 5 business days [1]"},
            ROW | {"id": "2", "text": "Boats?", "answer": "Sorry.", "kind": "unanswerable", "passages": []},
        ],
    )
    for name in ("mute", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shoptalk.json").write_text("{}")
    monkeypatch.setenv("BOT_KNOWLEDGE", str(tmp_path / "knowledge"))
    monkeypatch.setenv("BOT_ADAPTER", str(tmp_path / "good"))

    def engine(config, templates):
        mute = config.adapter_folder and config.adapter_folder.name == "mute"
        return (MuteEngine if mute else ScriptedEngine)(TEMPLATES)

    monkeypatch.setattr(wiring, "engine", engine)
    monkeypatch.setattr(wiring, "retriever", lambda config, progress=False: WordRetriever())
    monkeypatch.setattr(wiring, "bot", lambda config, progress: make_bot(tmp_path, engine=engine(config, TEMPLATES)))
    return tmp_path


def evaluate(shop, *flags):
    return main(["evaluate", "--data", str(shop), *map(str, flags)])


def test_one_run_measures_adapter_and_base_side_by_side(shop, capsys):
    assert evaluate(shop, "--adapter", shop / "mute", "--compare", "none", "--html", shop / "page.html") == 0
    lines = {line[:38].strip(): line[38:].split() for line in capsys.readouterr().out.splitlines()}
    assert lines["rows"] == ["2", "2"]
    assert lines["quoted (answerable)"] == ["1.000", "0.000"]
    assert lines["answered (answerable)"] == ["0.000", "1.000"]
    assert "<th>mute</th><th>base alone</th>" in (shop / "page.html").read_text()


def test_turns_and_figures_are_written(shop, capsys):
    assert evaluate(shop, "--json", "--compare", "none", "--out", shop / "turns.jsonl") == 0
    saved = json.loads(capsys.readouterr().out)["contenders"]
    assert [one["name"] for one in saved] == ["good", "base alone"]
    turns = [json.loads(line) for line in (shop / "turns.jsonl").read_text().splitlines()]
    assert [(turn["contender"], turn["id"], turn["outcome"]) for turn in turns] == [
        ("good", "1", "answered"), ("good", "2", "abstained"),
        ("base alone", "1", "answered"), ("base alone", "2", "abstained"),
    ]  # fmt: skip


def test_the_gate_compares_with_saved_figures(shop, capsys):
    evaluate(shop, "--json")
    saved = json.loads(capsys.readouterr().out)
    (shop / "saved.json").write_text(json.dumps(saved))
    assert evaluate(shop, "--gate", shop / "saved.json") == 0
    saved["contenders"][0]["figures"]["en"]["abstention F1"] = 1.5
    (shop / "saved.json").write_text(json.dumps(saved))
    assert evaluate(shop, "--gate", shop / "saved.json") == 1
    assert "In English the F1 of abstaining is 1.000" in capsys.readouterr().err
    assert evaluate(shop, "--gate", shop / "saved.json", "--margin", "0.5") == 0


def test_the_gate_compares_with_the_adapter_in_service(shop, capsys):
    assert evaluate(shop, "--adapter", shop / "mute", "--gate") == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == "mute is no worse than good."
    assert captured.out.splitlines()[1].split() == ["mute", "good"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--split", "tset"], "tset.jsonl does not exist"),
        (["--language", "zh"], "has no rows in zh"),
        (["--limit", "0"], "`--limit` is 0"),
        (["--adapter", "nowhere"], "nowhere holds no adapter"),
        (["--compare", "nowhere"], "nowhere holds no adapter"),
        (["--shops", "nowhere"], "nowhere is no folder"),
        (["--gate"], "with itself"),
        (["--gate", "nowhere.json"], "nowhere.json cannot be read"),
        (["--gate", "{shop}/test.jsonl"], "holds no figures"),
        (["--out", "nowhere/turns.jsonl"], "the folder nowhere does not exist"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is(shop, capsys, monkeypatch, flags, words):
    monkeypatch.delattr(wiring, "bot")
    assert evaluate(shop, *(flag.format(shop=shop) for flag in flags)) == 2
    assert words in capsys.readouterr().err


def test_figures_of_other_rows_are_no_measure(shop, capsys):
    evaluate(shop, "--json")
    (shop / "saved.json").write_text(capsys.readouterr().out)
    rows = [json.loads(line) for line in (shop / "test.jsonl").read_text().splitlines()]
    write_rows(shop / "test.jsonl", [rows[0] | {"text": "Standard delivery?"}, rows[1]])
    assert evaluate(shop, "--gate", shop / "saved.json") == 2
    assert "was measured on other rows" in capsys.readouterr().err


def test_an_adapter_that_does_not_fit_is_refused_before_anything_is_told(shop, capsys, monkeypatch):
    made = wiring.engine

    def engine(config, templates):
        if config.adapter_folder.name == "mute":
            raise ModelError("mute was trained on another base")
        return made(config, templates)

    monkeypatch.setattr(wiring, "engine", engine)
    monkeypatch.delattr(wiring, "bot")
    assert evaluate(shop, "--compare", shop / "mute") == 2
    assert "trained on another base" in capsys.readouterr().err


def test_a_limit_takes_rows_from_all_over_the_file():
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread(range(3), 4) == spread(range(3), None) == range(3)


@pytest.fixture
def shops(tmp_path):
    templates = prompt.load_templates(settings.ROOT / "prompts")
    for language in LANGUAGES:
        for number in (0, 1):
            made = unseen.make_shop(language, number, 3, read_templates(language), templates[language].say("abstain"))
            unseen.write_shop(made, tmp_path / f"shops/{made.id}")
    return tmp_path / "shops"


def test_shops_never_seen_are_pooled_and_told_to_the_base_alone(shop, shops, capsys):
    flags = ("--shops", shops, "--limit", "2", "--json", "--compare", shop / "mute", "--out", shop / "turns.jsonl")
    assert evaluate(shop, *flags) == 0
    saved = json.loads(capsys.readouterr().out)["contenders"]
    assert [one["name"] for one in saved] == ["base alone", "mute"]
    assert [(saved[0]["figures"][x]["shops"], saved[0]["figures"][x]["rows"]) for x in LANGUAGES] == [(2, 4), (2, 4)]
    turns = [json.loads(line) for line in (shop / "turns.jsonl").read_text().splitlines()]
    assert [turn["shop"] for turn in turns[:8:2]] == ["en-00", "en-01", "zh-00", "zh-01"]


def test_one_language_of_the_shops_can_be_asked_for(shop, shops, capsys):
    assert evaluate(shop, "--shops", shops, "--language", "zh", "--limit", "1", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["contenders"][0]["figures"]) == ["zh"]


def test_a_broken_shop_is_named(shop, shops, capsys):
    (shops / "en-01/test.jsonl").unlink()
    assert evaluate(shop, "--shops", shops) == 2
    assert "en-01/test.jsonl is missing" in capsys.readouterr().err
