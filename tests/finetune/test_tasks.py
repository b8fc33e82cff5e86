import random

import pytest

from bot import prompt
from bot.settings import ROOT
from bot.types import Message, Passage
from finetune.tasks import Question, Scribe, blur, match_and_copy, nearest, sentences
from tests.finetune.small import make_base

TEXT = {
    "en": "The kettle holds two litres of water. A new filter costs nine dollars at the shop. "
          "Please call the desk before you send anything back.",
    "zh": "这款水壶可以装两升水，放在炉子上烧。新的滤芯在门店里卖九十九元一个。寄回商品之前请先打电话给客服。",
}  # fmt: skip


@pytest.fixture(scope="module")
def scribe(tmp_path_factory):
    tokenizer, _ = make_base(tmp_path_factory.mktemp("base"))
    return Scribe(tokenizer, prompt.load_templates(ROOT / "prompts"), tokenizer.eos_token)


def test_sentences_are_cut_in_both_languages_and_speakers_left_out():
    assert len(sentences(TEXT["en"], "en")) == len(sentences(TEXT["zh"], "zh")) == 3
    assert sentences("Customer: where is my order, it is late already?", "en") == [
        "where is my order, it is late already?"
    ]


def test_a_folded_item_unfolds_to_what_is_served(scribe):
    passages = [Passage("en/x/x#A", "x", "Help", "A", "- Delivery takes 3 days.", "en")]
    asked = [
        Question("how long", "Delivery takes 3 days. [1]"),
        Question(
            "and how long?", "Delivery takes 3 days. [1]", (Message("user", "hello"), Message("assistant", "Hi."))
        ),
    ]

    item = scribe.write("Shop", passages, asked, "en")

    for (ids, begin), question in zip(item.branches, asked, strict=True):
        messages = prompt.build(
            scribe.templates["en"],
            shop="Shop",
            history=question.history,
            text=question.text,
            passages=passages,
            nearest=nearest(random.Random(f" {question.text}"), question, passages),
        )
        whole, labels = prompt.example(scribe.tokenizer, messages, question.answer, "<|im_end|>")
        assert [*item.prefix, *ids] == whole
        assert len(item.prefix) + begin == sum(label == -100 for label in labels)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_answer_is_a_sentence_of_its_context(scribe, language):
    for seed in range(20):
        item = match_and_copy(random.Random(seed), scribe, [TEXT[language], "x"], language, 3)
        for ids, begin in item.branches:
            answer = scribe.tokenizer.decode(ids[begin:])
            first = answer.split(" [")[0] if language == "en" else answer.split("[")[0]
            assert first in scribe.tokenizer.decode(item.prefix)


def test_a_question_keeps_words_of_its_sentence():
    rng = random.Random(0)
    sentence = sentences(TEXT["en"], "en")[1]
    for _ in range(20):
        question = blur(rng, sentence, "en", lambda word: word).lower()
        assert any(word in question for word in ("filter", "costs", "nine", "dollars", "shop"))


def test_the_nearest_rules_are_mostly_those_of_the_answer():
    passages = [
        Passage(
            "en/x/x#A", "x", "Help", "A", "- Delivery takes 3 days.\n- Delivery costs $5.\n- Gifts are wrapped.", "en"
        ),
        Passage("en/x/x#B", "x", "Help", "B", "- Returns take 9 days.\n- Returns are free.", "en"),
    ]
    question = Question("how long do delivery and returns take", "Delivery takes 3 days. [1] Returns take 9 days. [2]")
    own = [(1, "- Delivery takes 3 days."), (2, "- Returns take 9 days.")]
    drawn = [nearest(random.Random(seed), question, passages) for seed in range(300)]
    assert 0.85 < sum(found == own for found in drawn) / 300 < 1
    assert any(found == [] for found in drawn) and any(len(found) == 3 for found in drawn)
    assert all(set(own) <= set(found) for found in drawn if found)


def test_without_an_answer_the_nearest_rules_are_others():
    passages = [Passage("en/x/x#A", "x", "Help", "A", "- Delivery takes 3 days.\n- Delivery costs $5.", "en")]
    question = Question("delivery?", "Sorry, I do not know.")
    found = {rule for seed in range(9) for rule in nearest(random.Random(seed), question, passages)}
    assert found == {(1, "- Delivery costs $5."), (1, "- Delivery takes 3 days.")}
