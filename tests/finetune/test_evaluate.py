"""What the evaluation counts."""

from finetune import evaluate
from tests.parts import PASSAGES, SHIPPING, make_bot


def test_key_facts_are_all_claims_of_the_reference():
    assert evaluate.facts_right("It takes 3 to 5 days. [1]", "Delivery: 3-5 days, $5.95. [2]")
    assert not evaluate.facts_right("It takes 3 to 5 days.", "It takes 3 days.")


def test_a_claim_that_no_cited_passage_holds_is_counted():
    assert evaluate.unsupported("It costs $5.95 and $7. [1]", [SHIPPING]) == ("7 USD",)
    assert evaluate.unsupported("It costs $5.95.", []) == ("5.95 USD",)


def row(text, **values):
    empty = {
        "id": text,
        "language": "en",
        "kind": "answerable",
        "history": [],
        "passages": [SHIPPING.id],
        "answer": "",
    }
    return {**empty, "text": text, **values}


async def test_a_row_is_told_as_a_turn_and_counted(tmp_path):
    bot = make_bot(tmp_path, min_score=0.6)
    passages = {p.id: p for p in PASSAGES}
    history = [{"role": "user", "content": "express?"}, {"role": "assistant", "content": "It costs $14.95. [1]"}]
    results = [
        await evaluate.run_row(
            bot, row("How long does standard delivery take?", answer="3 to 5 business days", history=history), passages
        ),
        await evaluate.run_row(bot, row("Do you sell boats?", kind="unanswerable", passages=[]), passages),
    ]
    await bot.store.aclose()
    figures = evaluate.table(results)["en"]
    assert [r.outcome for r in results] == ["answered", "abstained"]
    assert figures["key facts right (answerable)"] == 1
    assert figures["retrieval hit@1"] == 1
    assert figures["abstained or handed off (unanswerable)"] == 1
    assert figures["unsupported claims shown"] == 0
