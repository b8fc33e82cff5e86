"""The built-in sentiment model reads what no list of words could."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from bot.errors import ModelError
from bot.sentiment.classifier import BUILT_IN, SentimentClassifier, load


@pytest.fixture(scope="module")
def model() -> SentimentClassifier:
    return load()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Where can I see my past orders?", "calm"),
        ("How do I file a complaint?", "calm"),
        ("Can I talk to a human please", "calm"),
        ("I'm a bit disappointed, the lamp arrived with a crack", "unhappy"),
        ("You are thieves! Give me my money back right now or I call my lawyer!", "angry"),
        ("请问支持七天无理由退货吗", "calm"),
        ("转人工", "calm"),
        ("我要投诉，找谁？", "calm"),
        ("等了一个星期还没收到，有点失望", "unhappy"),
        ("骗子！再不退钱我就打12315举报你们！", "angry"),
    ],
)
def test_asking_grieving_and_raging_are_told_apart(model: SentimentClassifier, text: str, label: str) -> None:
    assert model.predict([text])[0].label == label


def test_capitals_and_full_width_signs_are_read(model: SentimentClassifier) -> None:
    quiet, loud = model.predict(["where is my order", "WHERE IS MY ORDER???!!!"])
    assert loud.angry > quiet.angry

    wide, narrow = model.predict(["还钱！！", "还钱!!"])
    assert wide == narrow


def test_probabilities_sum_to_one(model: SentimentClassifier) -> None:
    for mood in model.predict(["hello", "", "你好", "😡", "🦄" * 9, "\x00"]):
        assert mood.calm + mood.unhappy + mood.angry == pytest.approx(1, abs=1e-5)


def test_no_texts_give_no_moods(model: SentimentClassifier) -> None:
    assert model.predict([]) == []


def test_a_text_reads_the_same_alone_and_among_others(model: SentimentClassifier) -> None:
    texts = ["Thanks!", "你们这是诈骗", *["a long message about a lamp " * 9] * 40]
    together = model.predict(texts)
    for text, mood in zip(texts[:3], together, strict=False):
        assert model.predict([text])[0].angry == pytest.approx(mood.angry, abs=1e-4)


def test_what_stands_after_the_limit_is_not_read(model: SentimentClassifier) -> None:
    start = "a " * 200
    assert model.predict([start + "you filthy liars"]) == model.predict([start])


def test_threads_may_share_a_model(model: SentimentClassifier) -> None:
    found: list[float] = []
    threads = [threading.Thread(target=lambda: found.append(model.predict(["还我钱！"])[0].angry)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == pytest.approx([model.predict(["还我钱！"])[0].angry] * 4, abs=1e-5)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no sentiment model in .*nowhere.*finetune sentiment"):
        load(tmp_path / "nowhere")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    shutil.copytree(BUILT_IN, tmp_path / "model")
    (tmp_path / "model" / "head.safetensors").unlink()
    with pytest.raises(ModelError, match="head.safetensors"):
        load(tmp_path / "model")


def test_a_model_for_another_encoder_is_refused(tmp_path: Path) -> None:
    shutil.copytree(BUILT_IN, tmp_path / "model")
    config = json.loads((BUILT_IN / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"base_sha256": "0" * 64}))
    with pytest.raises(ModelError, match="sha256 000000000000…"):
        load(tmp_path / "model")


def test_no_file_names_the_machine_it_was_trained_on() -> None:
    config = json.loads((BUILT_IN / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
