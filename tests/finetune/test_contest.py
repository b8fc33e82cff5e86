"""Rows told as turns."""

from dataclasses import replace

import pytest

from bot.engine.scripted import ScriptedEngine
from bot.types import Message
from finetune import contest, measure
from finetune.data import Row
from tests.parts import PASSAGES, RETURNS, SHIPPING, TEMPLATES, make_bot


class WordsEngine(ScriptedEngine):
    """Each word costs a nat if it does not stand in what came before; the last text weighed is kept."""

    weighed = ""

    def loss(self, before, after):
        self.weighed = after
        text = before if isinstance(before, str) else before[-1].content
        return float(sum(word not in text for word in after.split())), len(after.split())


def row(text, **values):
    empty = {"kind": "answerable", "history": (), "passages": (SHIPPING.id,), "answer": "", "language": "en"}
    return Row(**{**empty, "id": text, "text": text, **values})


@pytest.fixture
async def bot(tmp_path):
    made = make_bot(tmp_path, min_score=0.6, engine=WordsEngine(TEMPLATES))
    yield made
    await made.store.aclose()


async def told(bot, *rows):
    passages = {p.id: p for p in PASSAGES}
    return [await contest.run_row(bot, one, passages) for one in rows]


async def test_a_row_is_told_as_a_turn_and_counted(bot):
    history = (Message("user", "express?"), Message("assistant", "It costs $14.95. [1]"))
    results = await told(
        bot,
        row("How long does standard delivery take?", answer="3 to 5 business days", history=history),
        row("Do you sell boats?", kind="unanswerable", passages=()),
    )
    figures = measure.figures(results)["en"]
    assert [r.outcome for r in results] == ["answered", "abstained"]
    assert results[0].history == ("express?", "It costs $14.95. [1]")
    [citation] = results[0].citations
    assert (citation.n, citation.passage_id, citation.quote) == (1, SHIPPING.id, SHIPPING.text.splitlines()[0])
    assert figures["key facts right (answerable)"] == 1
    assert figures["retrieval hit@1"] == 1
    assert figures["abstention F1"] == 1
    assert figures["unsupported claims shown"] == 0


async def test_the_rank_looks_deeper_than_the_prompt(bot):
    question = "Standard delivery costs and items returned?"
    [result] = await told(replace(bot, top_k=1), row(question, passages=(RETURNS.id,)))
    assert result.rank == 2


async def test_the_loss_is_that_of_the_answer_renumbered_under_the_served_prompt(bot):
    question = "Standard delivery costs and items returned?"
    own = row(question, passages=(RETURNS.id,), answer="Within 30 fortnights [1]")
    [result] = await told(bot, own)
    assert bot.engine.weighed == "Within 30 fortnights [2]"
    assert (result.loss, result.tokens) == (2.0, 4)
    [without] = await told(replace(bot, top_k=1), own)
    assert (without.loss, without.tokens) == (None, 0)


async def test_an_engine_that_cannot_weigh_has_no_losses(bot):
    [result] = await told(replace(bot, engine=ScriptedEngine(TEMPLATES)), row("Standard delivery?"))
    assert result.loss is None
    assert contest.general_loss(ScriptedEngine(TEMPLATES)) == {}


def test_the_general_set_has_thirty_continuations_a_language():
    class Counts:
        asked = []

        def loss(self, before, after):
            self.asked.append(before + after)
            return 6.0, 2

    assert contest.general_loss(Counts()) == {"en": 3.0, "zh": 3.0}
    assert len(set(Counts.asked)) == 60
