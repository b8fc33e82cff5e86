"""Training the sentiment model: its rows, its tokenizer, and a very small run."""

import argparse
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from bot.errors import DocumentError
from bot.sentiment.classifier import load
from bot.settings import ROOT
from finetune import sentiment
from finetune.sentiment_data import (
    ANGRY,
    CALM,
    SHOP,
    Row,
    cold,
    glosses,
    go_emotions,
    read_rows,
    shop_rows,
    tweets,
)
from finetune.sentiment_model import SHOUT, adapted, extended_tokenizer, predict, save


def parsed(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    sentiment.add_arguments(parser)
    return parser.parse_args(flags)


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_small_run_writes_a_model_that_serving_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = sentiment.run(parsed("--out", str(tmp_path), "--limit", "12", "--epochs", "2", "--characters", "50"))

    assert status == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores == json.loads((tmp_path / "scores.json").read_text())
    assert set(scores["held_out"]) == {"en", "zh"}
    mood = load(tmp_path).predict(["Where is my order? 我的订单呢"])[0]
    assert mood.calm + mood.unhappy + mood.angry == pytest.approx(1, abs=1e-5)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 8_000_000


def test_the_stored_model_says_what_the_trained_one_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer, trained = extended_tokenizer(["退钱"], characters=2)
    model, head = adapted(tokenizer, trained, glosses()), nn.Linear(384, 4)
    rows = [Row("I want my money back", "en", ANGRY), Row("退钱！", "zh", ANGRY)]
    sentiment.fit(model, head, tokenizer, [rows], 1e-2)
    texts = [row.text for row in rows]
    learnt = (predict(model, head, tokenizer, texts) / 1.5).softmax(1)[:, 2].tolist()

    save(tmp_path, model, head, tokenizer, 1.5, {})

    assert [mood.angry for mood in load(tmp_path).predict(texts)] == pytest.approx(learnt, abs=0.01)


def test_shop_lines_are_many_distinct_and_balanced() -> None:
    rows = [*shop_rows(held_out=True), *shop_rows(held_out=False)]
    counts = Counter((row.language, row.mood) for row in rows)
    assert min(counts.values()) >= 350 and len(counts) == 6
    assert len({row.text for row in rows}) == len(rows)


def test_no_line_for_testing_is_trained_on() -> None:
    def plain(text: str) -> str:
        return re.sub(r"\W", "", text).lower() or text

    for language in ("en", "zh"):
        lines = (ROOT / f"tests/data/mood_{language}.jsonl").read_text(encoding="utf-8").splitlines()
        tested = {plain(json.loads(line)["text"]) for line in lines}
        learnt = {plain(row.text) for row in read_rows(None) if row.language == language}
        assert tested and tested.isdisjoint(learnt), tested & learnt


def test_a_fifth_of_the_shop_lines_is_never_trained_on() -> None:
    held_out = {row.text for row in shop_rows(held_out=True)}
    rows = read_rows(None)
    assert held_out.isdisjoint(row.text for row in rows)
    assert 0.15 < len(held_out) / (len(held_out) + len({row.text for row in rows})) < 0.25


def test_public_sets_are_read_for_what_they_can_say(tmp_path: Path) -> None:
    written(tmp_path / "en/goemotions/original/labels.txt", "anger\njoy\nannoyance\n")
    written(tmp_path / "en/goemotions/original/train.tsv", "grr [NAME]\t0\tx\nyay\t1\ty\nmeh\t1,2\tz\n")
    written(tmp_path / "en/tweeteval_emotion/emotion/train_text.txt", "@user so mad\nnice day\n")
    written(tmp_path / "en/tweeteval_emotion/emotion/train_labels.txt", "0\n1\n")
    written(tmp_path / "zh/coldataset/train.csv", "\ufeff,split,topic,label,TEXT\n1,train,race,1,滚 开\n")

    assert list(go_emotions(tmp_path)) == [
        Row("grr Sam", "en", ANGRY),
        Row("yay", "en", CALM),
        Row("meh", "en", (0.5, 0.25, 0.25)),
    ]
    assert list(tweets(tmp_path)) == [Row("so mad", "en", ANGRY), Row("nice day", "en", CALM)]
    assert list(cold(tmp_path)) == [Row("滚开", "zh", None, rude=1.0)]  # toxic is not angry


def test_a_missing_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="`--data` .*nowhere is not a folder"):
        read_rows(tmp_path / "nowhere")
    with pytest.raises(DocumentError, match=r"labels\.txt cannot be read"):
        read_rows(tmp_path)


def test_every_gloss_line_is_chinese_and_english() -> None:
    assert glosses()["骗"] == ["cheat"]
    for line in (SHOP / "glosses.txt").read_text(encoding="utf-8").splitlines():
        word, gloss = line.split(" ", 1)
        assert all("\u4e00" <= character <= "\u9fff" for character in word) and gloss.isascii()


def test_the_tokenizer_marks_capitals_and_knows_chinese_and_emoji() -> None:
    tokenizer, trained = extended_tokenizer(["退款退款一"], characters=3)

    assert tokenizer.encode("WHERE is it", add_special_tokens=False).tokens == ["where", SHOUT, "is", "it"]
    assert tokenizer.decode(tokenizer.encode("退款！😡").ids).split() == ["退", "款", "!", "😡"]
    assert {tokenizer.token_to_id(character) for character in "退款一"} <= set(trained)
    assert tokenizer.encode("字", add_special_tokens=False).tokens == ["[UNK]"]


def test_auc_is_the_chance_that_an_angry_one_ranks_higher() -> None:
    assert sentiment.auc(torch.tensor([0.9, 0.2, 0.4, 0.3]), torch.tensor([True, False, True, False])) == 1.0
    assert sentiment.auc(torch.tensor([0.9, 0.2, 0.4, 0.3]), torch.tensor([True, True, False, False])) == 0.5


def test_calibration_cools_what_is_too_sure() -> None:
    logits = torch.tensor([[4.0, 0, 0], [4.0, 0, 0], [4.0, 0, 0]])
    assert sentiment.calibrated(logits, torch.tensor([0, 0, 1])) > 1.5
