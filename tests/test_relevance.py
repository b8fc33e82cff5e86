"""What the search's probabilities say of rules, and whether a message asks two things."""

from dataclasses import replace

import pytest

from bot.evidence import cite
from bot.relevance import asks_twice, is_relevant, nearest, quotations
from bot.types import Hit, Passage
from tests.parts import RETURNS, SHIPPING

SMALL_TALK = replace(SHIPPING, text="Hello, and welcome!", cite=False)


def test_a_rule_that_hardly_answers_is_not_relevant():
    passage = Passage("p", "d", "Shipping", "Costs", "- Standard costs $5.95.\n- Express costs $14.95.", "en")
    standard, express = (cite(1, passage, line) for line in passage.text.splitlines())
    hits = [Hit(passage, 0.9, (0.8, 0.05))]
    assert is_relevant(standard, hits, 0.5)
    assert not is_relevant(express, hits, 0.5)
    assert not is_relevant(cite(1, passage, passage.text), hits, 0.5), "both rules may answer, or none is told"
    assert is_relevant(express, [Hit(passage, 0.9, (0.8, 0.2))], 0.5)
    assert not is_relevant(standard, [Hit(passage, 0.9, (0.4, 0.2))], 0.5), "not even the best one is likely"
    assert is_relevant(express, hits, 0.0), "a large model may choose"
    assert is_relevant(express, [Hit(passage, 0.9)], 0.5), "unrated"


def test_the_nearest_rules_of_all_hits_come_likeliest_first():
    one = Passage("p", "d", "T", "H", "- one\n- two", "en")
    two = Passage("q", "d", "T", "H", "- three", "en")
    hits = [Hit(one, 0.9, (0.2, 0.8)), Hit(two, 0.5, (0.4,))]
    assert nearest(hits, 2) == [(1, "- two"), (2, "- three")]
    assert nearest(hits, 4) == [(1, "- two"), (2, "- three"), (1, "- one")]
    assert nearest([Hit(one, 0.9, (0.1, 0.09))], 4) == [(1, "- one")]
    assert nearest([Hit(one, 0.9)], 3) == []


def test_the_likeliest_lines_are_quoted_in_their_passages_order():
    one = replace(SHIPPING, text="- one\n- two\n- three")
    two = replace(RETURNS, text="- four\n- five")
    hits = [Hit(one, 0.9, (0.3, 0.01, 0.4)), Hit(two, 0.5, (0.01, 0.2))]
    assert quotations(hits, 0.7, 8) == [(1, "- one\n- three")]
    assert quotations(hits, 0.9, 8) == [(1, "- one\n- three"), (2, "- five")]
    assert quotations(hits, 0.9, 1) == [(1, "- three")]


def test_what_was_not_rated_is_quoted_whole_and_small_talk_never():
    hits = [Hit(SMALL_TALK, 0.9, (0.9,)), Hit(SHIPPING, 0.5)]
    assert quotations(hits, 0.98, 8) == [(2, SHIPPING.text)]


@pytest.mark.parametrize(("text", "language", "twice"), [
    ("how long is express and what does it cost", "en", True), ("When do you open? Is parking free?", "en", True),
    ("how long is express delivery", "en", False), ("salt and pepper mill, is it ceramic", "en", False),
    ("运费多少，几天能到", "zh", True), ("怎么退货 还有运费谁出", "zh", True), ("亲，多久发货呀", "zh", False),
])  # fmt: skip
def test_two_questions_in_one_are_seen(text, language, twice):
    assert asks_twice(text, language) == twice
