"""The reranker in training: what it is shown, and that it learns which rule answers, and that none does."""

from __future__ import annotations

import numpy as np

from bot.retrieval.reranker import Reranker
from bot.types import Passage
from finetune import reranker
from finetune.reranker_data import Group, invented_groups, read_as, right_rules, shop_groups
from tests.retrieval.shop import WordEncoder

COSTS = Passage("en/x#Costs", "en/x", "Shipping", "Costs", "- Standard costs $5.\n- Express costs $14.", "en")
HELLO = Passage("en/y#Hello", "en/y", "Small talk", "Hello", "- Hello there!", "en", cite=False)
PASSAGES = [COSTS, HELLO, Passage("en/z#Care", "en/z", "Care", "Care", "- Wash at 40 degrees.", "en")]


def row(text: str, answer: str, *passages: str, kind: str = "answerable", history=()) -> dict:
    return {
        "language": "en", "kind": kind, "text": text, "answer": answer, "passages": list(passages),
        "history": [{"role": "user", "content": message} for message in history],
    }  # fmt: skip


def test_the_right_rules_are_those_that_the_answer_says() -> None:
    by_id = {p.id: p for p in PASSAGES}
    assert right_rules(row("?", "Express costs $14. [1]", COSTS.id), by_id) == [(COSTS.id, "- Express costs $14.")]
    assert right_rules(row("?", "Sorry, I do not know."), by_id) == []
    assert right_rules(row("hi", "Hello there!", HELLO.id), by_id) == [(HELLO.id, "- Hello there!")]


def test_a_follow_up_is_read_under_the_message_before() -> None:
    assert read_as(row("and express?", "", kind="follow_up", history=["standard"])) == "standard and express?"
    assert read_as(row("express?", "", history=["standard"])) == "express?"


def test_a_question_is_set_against_the_other_rules_and_those_beside_its_own() -> None:
    rows = [row("express", "Express costs $14. [1]", COSTS.id), row("weather", "I do not know.")]
    groups = shop_groups(rows, PASSAGES, WordEncoder("en").encode)
    assert groups[0].right == ("Costs: Express costs $14.",)
    assert groups[0].beside == ("Costs: Standard costs $5.",)
    assert set(groups[0].wrong) == {"Costs: Standard costs $5.", "Hello: Hello there!", "Care: Wash at 40 degrees."}
    assert groups[1].right == () and len(groups[1].wrong) == 4


def test_invented_shops_never_hold_the_right_rule_among_the_wrong() -> None:
    for language in ("en", "zh"):
        groups = invented_groups(language, 0)
        assert groups == invented_groups(language, 0)
        assert 0.7 < np.mean([bool(group.right) for group in groups]) < 0.9
        assert not any(set(group.right) & set(group.wrong) for group in groups)


def test_it_learns_which_rule_answers_and_that_none_does() -> None:
    things = (
        "lamp kettle chair table sofa rug mirror clock shelf fan heater teapot desk drill vase pan stove mug".split()
    )
    groups = []
    for n, thing in enumerate(things):
        others = [other for other in things if other != thing]
        price, weight = (f"Facts: The {thing} {rest}." for rest in (f"costs {n + 3} dollars", f"weighs {n + 2} kilos"))
        wrong = [f"Facts: The {other} costs {i} dollars." for i, other in enumerate(others[:6])]
        groups.append(Group(f"how much money costs the {thing}", (price,), (weight, *wrong), (weight,)))
        groups.append(Group(f"is the {thing} made of wood", (), (price, weight, *wrong)))
    encoder = WordEncoder("en")
    vectors = reranker.token_vectors(encoder, groups, "t")
    reader = Reranker([reranker.train([(1.0, groups)], vectors, steps=150, seed=0, label="t")], encoder, "f")
    right = none = 0
    for group in groups:
        logits = reader.logits(group.question, [*group.right, *group.wrong])
        right += bool(group.right) and logits.argmax() == 0 and logits[0] > 0
        none += not group.right and logits.max() < 0
    assert right >= 16 and none >= 16
