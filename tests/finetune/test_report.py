import json
import random

import pytest

from bot import prompt
from bot.retrieval.documents import load_documents
from bot.settings import ROOT
from bot.types import Message
from finetune.config import Config
from finetune.data import Library, Row
from finetune.grounding import read_splits
from finetune.report import NEAR, _terms, alike, duplicates, leaks, report, table, unheld
from finetune.tasks import Scribe
from tests.finetune.small import make_base, make_shop, write_rows


def row(text, answer="Yes.", where="train.jsonl:1", passages=(), history=()):
    return Row("x", "en", "answerable", history, text, passages, answer, where)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    rows = make_shop(folder)
    tokenizer, _ = make_base(folder / "base")
    templates = prompt.load_templates(ROOT / "prompts")
    return (
        folder,
        rows,
        Library(load_documents(folder / "knowledge")),
        Scribe(tokenizer, templates, tokenizer.eos_token),
    )


def test_case_spaces_and_punctuation_make_no_other_question():
    assert duplicates([row("How long?"), row("how  long"), row("how much")]) == (1, 0)


def test_a_question_after_another_is_another_question():
    later = row("how long?", history=(Message("user", "express"), Message("assistant", "Yes.")))
    assert duplicates([row("how long?"), later]) == (0, 0)


def test_nearly_the_same_question_is_counted_once():
    said = "please tell me how long the standard delivery takes now"
    assert duplicates([row(said), row(f"{said} then"), row("who are you")]) == (0, 1)
    assert duplicates([row("标准配送一般要几天才能送到呢"), row("标准配送一般要几天才能送到")]) == (0, 1)


def test_the_shortcut_finds_just_what_comparing_all_would():
    rng = random.Random(0)
    rows = [row(" ".join(rng.choices("abcdefgh", k=rng.randint(1, 7)))) for _ in range(120)]
    terms = [_terms(r) for r in rows]
    every = {
        (i, j) for i, a in enumerate(terms) for j, b in enumerate(terms) if len(a & b) >= NEAR * len(a | b)
    }  # fmt: skip

    assert set(alike(rows, rows)) == every and len(every) > len(rows)


def test_leaks_name_both_rows_and_whether_they_are_the_same():
    said = "please tell me how long the standard delivery takes now"
    train = [row("how long?", where="a:1"), row(said, where="a:2")]
    other = [row("HOW LONG", where="b:1"), row(f"{said} then", where="b:2"), row("who are you", where="b:3")]

    found = [(a.where, b.where, same) for a, b, same in leaks(train, other)]

    assert found == [("a:1", "b:1", True), ("a:2", "b:2", False)]


def test_a_fact_that_no_passage_of_the_row_holds_is_named(shop):
    library = shop[2]
    times = ("en/policy/shipping#Times",)

    assert unheld(row("?", "Standard delivery takes 3 days. [1]", passages=times), library) is None
    wrong = unheld(row("?", "Standard delivery takes 30 days. [1]", "data/train.jsonl:7", times), library)
    assert wrong == "train.jsonl:7: 30 day of 'Standard delivery takes 30 days. [1]'."


def test_the_report_counts_what_is_there(shop, tmp_path):
    _, rows, library, scribe = shop
    long = rows[3] | {"id": "long", "text": "how long " * 900}
    gone = rows[4] | {"id": "gone", "passages": ["en/policy/none#X"]}
    wrong = rows[5] | {"id": "wrong", "answer": "Standard delivery takes 77 days. [1]"}
    write_rows(tmp_path / "train.jsonl", [*rows[:3], long, gone, wrong, rows[-1]])
    write_rows(tmp_path / "valid.jsonl", [rows[7] | {"text": rows[0]["text"].upper()}])
    write_rows(tmp_path / "test.jsonl", [rows[8] | {"text": rows[1]["text"]}])

    splits = read_splits(tmp_path, library, scribe.templates)
    found = report(splits, library, scribe, Config())

    train = found["splits"]["train"]
    assert (train["rows"], train["languages"], train["kinds"]["unanswerable"]) == (6, {"en": 6}, 1)
    assert train["tokens"]["min"] <= train["tokens"]["median"] <= train["tokens"]["max"] <= 1536
    assert train["too_long"] == ["train.jsonl:4: more than 1536 tokens."]
    assert train["passages_gone"][0].startswith("train.jsonl:5: no passage has the id")
    assert [line.split(" of ")[0] for line in train["facts_not_held"]] == ["train.jsonl:6: 77 day"]
    assert found["leaks"] == [
        {"train": "train.jsonl:1", "valid": "valid.jsonl:1", "same": True},
        {"train": "train.jsonl:2", "test": "test.jsonl:1", "same": True},
    ]
    assert set(found["splits"]) == {"train", "valid"}
    assert json.loads(json.dumps(found)) == found
    told = table(found)
    for words in ("leaks between train and held-out rows: 2 same", "train.jsonl:6: 77 day", "too long, skipped: 1"):
        assert words in told
    assert str(tmp_path) not in told


def test_a_long_list_is_cut_on_the_screen_alone(shop):
    found = {"splits": {"train": {
        "rows": 1, "languages": {}, "kinds": {}, "tokens": {"min": 1}, "same_question": 0, "near_same_question": 0,
        "passages_found": 0, "abstaining": 0, "sentences_left_out": 0, "system_messages_left_out": 0, "passages_gone": [],
        "no_passage_holds": [f"a:{n}" for n in range(14)], "facts_not_held": [], "too_long": [],
    }}, "leaks": []}  # fmt: skip

    assert "a:9\n  and 4 more in report.json" in table(found)
