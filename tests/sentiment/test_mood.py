"""The built-in sentiment model on shop messages written for testing only."""

import json

import numpy as np
import pytest

from bot import wiring
from bot.escalation import ANGRY_AT_ONCE
from bot.settings import ROOT


@pytest.fixture(scope="module")
def model():
    return wiring.sentiment()


def rows_of(language):
    lines = (ROOT / f"tests/data/mood_{language}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_angry_is_told_from_calm(model, language):
    rows = [row for row in rows_of(language) if "kind" not in row and row["label"] != "unhappy"]
    moods = model.predict([row["text"] for row in rows])
    right = sum((mood.label == "angry") == (row["label"] == "angry") for row, mood in zip(rows, moods, strict=True))
    assert len(rows) == 100
    assert right >= 90
    calm = [mood.angry for row, mood in zip(rows, moods, strict=True) if row["label"] == "calm"]
    assert sum(angry >= 0.9 for angry in calm) <= 1, "one calm message alone may call a human agent"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_hard_lines_seldom_call_a_human_agent_for_nothing(model, language):
    """Swearing in delight, questions about complaints, sarcasm, icy politeness: 320 and more of each mood."""
    rows = rows_of(language)
    anger = np.array([mood.angry for mood in model.predict([row["text"] for row in rows])])
    angry = np.array([row["label"] == "angry" for row in rows])
    assert (anger[~angry] >= ANGRY_AT_ONCE).mean() <= 0.02
    assert (anger[angry] >= ANGRY_AT_ONCE).mean() >= 0.3
    assert (anger[angry][:, None] > anger[~angry][None]).mean() >= 0.93, "area under ROC"
