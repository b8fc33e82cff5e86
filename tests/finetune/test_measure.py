"""What the evaluation counts, and what keeps the gate shut."""

import pytest

from finetune import measure
from tests.finetune.results import result
from tests.parts import SHIPPING


def test_key_facts_are_all_claims_of_the_reference():
    assert measure.facts_right("It takes 3 to 5 days. [1]", "Delivery: 3-5 days, $5.95. [2]")
    assert not measure.facts_right("It takes 3 to 5 days.", "It takes 3 days.")


def test_a_claim_that_no_cited_passage_holds_is_counted():
    assert measure.unsupported("It costs $5.95 and $7. [1]", [SHIPPING]) == ("7 USD",)
    assert measure.unsupported("It costs $5.95.", []) == ("5.95 USD",)


def none(outcome):
    return result(kind="unanswerable", outcome=outcome)


def test_abstention_is_right_where_the_documents_hold_no_answer():
    rows = [none("abstained"), none("handed_off"), none("quoted"), none("answered"), result(outcome="abstained"),
            *[result()] * 5]  # fmt: skip
    assert measure.abstention(rows) == pytest.approx((2 / 3, 2 / 4, 4 / 7))


def test_abstention_of_nothing_is_no_figure():
    assert measure.abstention([result()]) == (None, None, None)
    assert measure.abstention([result(outcome="abstained")]) == (0, None, None)
    assert measure.abstention([none("answered")]) == (None, 0, 0)


def test_figures_are_shares_of_the_rows_that_they_speak_of():
    rows = [
        result(rank=1), result(rank=3, outcome="quoted", facts_right=False), result(rank=None, outcome="abstained"),
        none("quoted"), result(kind="small_talk", rank=None),
    ]  # fmt: skip
    found = measure.figures(rows)["en"]
    assert (found["rows"], found["answerable"], found["unanswerable"]) == (5, 3, 1)
    assert (found["retrieval hit@1"], found["retrieval hit@3"]) == pytest.approx((1 / 3, 2 / 3))
    assert found["quoted (answerable)"] == pytest.approx(1 / 3)
    assert found["key facts right (answerable)"] == pytest.approx(2 / 3)
    assert found["key facts right (where answered)"] == 1


def test_losses_are_means_over_tokens_not_over_answers():
    rows = [result(loss=2.0, tokens=1), result(loss=2.0, tokens=3), result()]
    found = measure.figures(rows, {"en": 7.5})["en"]
    assert (found["held-out loss a token"], found["answers in the held-out loss"]) == (1.0, 2)
    assert found["general text, loss a token"] == 7.5
    assert measure.figures([result()])["en"]["held-out loss a token"] is None


def test_shops_are_pooled_per_language():
    rows = [*[result(shop="en-00")] * 3, result(shop="en-01", facts_right=False), result(shop="zh-00", language="zh")]
    found = measure.figures(rows)
    assert list(found) == ["en", "zh"]
    assert (found["en"]["shops"], found["en"]["key facts right (answerable)"]) == (2, 0.75)
    assert (found["zh"]["shops"], found["zh"]["rows"]) == (1, 1)
    assert "shops" not in measure.figures([result()])["en"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ()),
        ({"facts_right": False}, ("facts missing",)),
        ({"outcome": "abstained", "facts_right": False}, ("the documents answer this",)),
        ({"kind": "unanswerable", "outcome": "handed_off"}, ()),
        ({"kind": "unanswerable", "outcome": "quoted"}, ("the documents do not answer this",)),
        ({"unsupported": ("7 USD",), "right_language": False}, ("unsupported: 7 USD", "wrong language")),
    ],
)
def test_a_turn_is_held_against_by_what_a_reader_would_see(values, expected):
    assert measure.faults(result(**values)) == expected


FAIR = {
    "key facts right (answerable)": 0.9,
    "abstention F1": 0.8,
    "right language": 1.0,
    "unsupported claims shown": 0,
}


def reasons(**values):
    mine = {"en": FAIR | {name.replace("_", " "): value for name, value in values.items()}}
    return measure.reasons(mine, {"en": FAIR}, than="the old one", margin=0.02)


def test_the_gate_is_open_for_what_is_as_good_within_the_margin():
    assert reasons() == reasons(abstention_F1=0.78) == reasons(right_language=0.98) == []


def test_the_gate_says_each_reason_as_a_sentence():
    assert reasons(abstention_F1=0.779, right_language=0.9, unsupported_claims_shown=2) == [
        "In English the F1 of abstaining is 0.779; the old one has 0.800, and the margin is 0.02.",
        "In English the language is right in 0.900 of the turns; the old one has 1.000, and the margin is 0.02.",
        "In English 2 claims were shown that nothing cited holds; none may be.",
    ]
    mine = {"en": FAIR | {"key facts right (answerable)": None}}
    assert len(measure.reasons(mine, {"en": FAIR}, than="x", margin=0.02)) == 1


def test_an_unsupported_claim_keeps_the_gate_shut_even_where_the_other_had_more():
    theirs = {"en": FAIR | {"unsupported claims shown": 5}}
    [reason] = measure.reasons({"en": FAIR | {"unsupported claims shown": 1}}, theirs, than="the old one", margin=0.02)
    assert reason.startswith("In English 1 claim was shown")
