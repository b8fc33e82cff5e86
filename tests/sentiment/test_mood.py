"""The built-in sentiment model on shop messages written for testing only."""

import json

import pytest

from bot import wiring
from bot.settings import ROOT


@pytest.fixture(scope="module")
def model():
    return wiring.sentiment()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_angry_is_told_from_calm(model, language):
    lines = (ROOT / f"tests/data/mood_{language}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["label"] != "unhappy"]
    moods = model.predict([row["text"] for row in rows])
    right = sum((mood.label == "angry") == (row["label"] == "angry") for row, mood in zip(rows, moods, strict=True))
    assert len(rows) == 100
    assert right >= 90
    calm = [mood.angry for row, mood in zip(rows, moods, strict=True) if row["label"] == "calm"]
    assert sum(angry >= 0.9 for angry in calm) <= 1, "one calm message alone may call a human agent"
