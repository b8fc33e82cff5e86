"""What a small model is let say: whole sentences of those given, each once."""

import random

import pytest
import torch

from bot.engine import local
from bot.engine.guide import Guide
from tests.engine.test_local import MESSAGES
from tests.parts import TEMPLATES
from tests.small_model import END, save_model, tokenizer

SENTENCES = ["It is ten days. [1]", "It is ten euros. [2]", "No. [1]"]


def walk(guide: Guide, start: list[int], dice: random.Random) -> list[int]:
    """Some way that the guide allows, to its end."""
    ids = list(start)
    while True:
        allowed = guide(0, torch.tensor(ids))
        assert allowed, "there is always a way on"
        ids.append(dice.choice(allowed))
        if ids[-1] == guide._end:
            return ids[len(start) : -1]


@pytest.mark.parametrize("seed", range(30))
def test_every_way_says_whole_sentences_each_once(seed: int) -> None:
    words = tokenizer()
    start = words.encode("What is it?", add_special_tokens=False)
    text = words.decode(walk(Guide(words, SENTENCES, len(start)), start, random.Random(seed)))
    assert text
    for sentence in SENTENCES:
        assert text.count(sentence) <= 1
        text = text.replace(sentence, "")
    assert not text.strip()


def test_it_may_end_after_a_sentence_and_not_before() -> None:
    words = tokenizer()
    end = words.convert_tokens_to_ids(END)
    guide = Guide(words, ["No. [1]"], 0)
    said = words.encode("No. [1]", add_special_tokens=False)
    assert end not in guide(0, torch.tensor([], dtype=torch.long))
    assert guide(0, torch.tensor(said[:-1])) == [said[-1]]
    assert guide(0, torch.tensor(said)) == [end], "nothing is left to say"


async def test_a_model_says_nothing_else(tmp_path) -> None:
    engine = local.load(str(save_model(tmp_path / "recites")), None, TEMPLATES, device="cpu")
    text = "".join([piece async for piece in engine.stream(MESSAGES, max_tokens=50, only=SENTENCES)])
    await engine.aclose()
    assert any(text.startswith(sentence) for sentence in SENTENCES)
