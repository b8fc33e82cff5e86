"""Golden conversations, told over the sample shop's own documents, orders and words.

Each file in conversations/ is one conversation: `locale`, `shopper` if signed in, and `turns` with what the shopper
says, the outcome, the reason of a handoff, and what the answer contains and does not contain. `desk` in a turn is what
a human agent does first; `model_says` is what the model writes instead of reading out the best rule.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from bot import turn
from bot.engine.scripted import ScriptedEngine
from bot.evidence import overlap
from bot.orders.sample import SampleOrders
from bot.retrieval.documents import load_documents
from bot.retrieval.keyword import build_bm25, content_terms, terms
from bot.settings import ROOT
from bot.types import LANGUAGES, Hit
from tests.parts import TEMPLATES, make_bot, start

FILES = sorted((Path(__file__).parent / "conversations").glob("*.toml"))
PASSAGES = load_documents(ROOT / "knowledge")


class KeywordRetriever:
    """BM25 over the sample shop's passages; the share of the best possible score, doubled, is the score."""

    generation = "keywords"

    def __init__(self):
        self.shelves = {}
        for language in LANGUAGES:
            passages = [p for p in PASSAGES if p.language == language]
            texts = [terms(f"{p.title} {p.heading} {p.heading} {p.text}", language) for p in passages]
            self.shelves[language] = passages, build_bm25(texts)

    def search(self, query, *, language, top_k, context=()):
        passages, index = self.shelves[language]

        def scores_of(text):
            return index.scores(sorted(content_terms(text, language)) or terms(text, language))

        scores = 2 * scores_of(query)
        if context:
            scores += 0.25 * scores_of(context[-1])
        best = sorted(range(len(passages)), key=lambda n: -scores[n])[:top_k]
        return [Hit(passages[n], min(1.0, float(scores[n]))) for n in best]


RETRIEVER = KeywordRetriever()


def best_rule(messages):
    """The rule of the shown passages that shares most words with the question, cited."""
    shown, _, question = messages[-1].content.rpartition("\n")
    question, rules, head = re.split("[:：]", question, maxsplit=1)[1], [], None
    for line in shown.splitlines():
        if mark := re.match(r"\[(\d+)\] ", line):
            head, n = line, int(mark[1])
        else:
            rules.append(
                (overlap(question, f"{head} {line}"), -n, overlap(question, line), f"{line.removeprefix('- ')} [{n}]")
            )
    return max(rules)[3]


def test_there_are_conversations_in_both_languages():
    assert {file.stem[-2:] for file in FILES} == set(LANGUAGES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_a_conversation_goes_as_written(tmp_path, file):
    written = tomllib.loads(file.read_text(encoding="utf-8"))
    says = []
    engine = ScriptedEngine(TEMPLATES, lambda messages: says[-1] or best_rule(messages))
    bot = make_bot(tmp_path, engine=engine, min_score=0.4)
    bot = dataclasses.replace(bot, retriever=RETRIEVER, orders=SampleOrders(ROOT / "knowledge/orders.json"))
    conversation = None
    try:
        for number, expected in enumerate(written["turns"], 1):
            match expected.get("desk"):
                case "claims":
                    await bot.store.claim(conversation, agent_id="a", name="A", capacity=5, lease_s=60, text="t")
                case "gives back":
                    await bot.store.release(conversation, agent_id="a", to="bot", text="t")
            says.append(expected.get("model_says"))
            conversation, message_id = await start(
                bot, expected["say"], shopper=written.get("shopper"), conversation=conversation
            )
            shown, announced = [], []

            async def emit(type, data, shown=shown):
                shown.extend([data["text"]] if type == "message.delta" else [])

            async def announce(event, announced=announced):
                announced.append(event)

            outcome = await turn.answer(bot, conversation, message_id, emit=emit, announce=announce)
            data = announced[-1].data if announced else {}
            text, where = data.get("text", ""), f"turn {number}: {data}"
            assert outcome == expected["outcome"], where
            assert data.get("reason") == expected.get("reason"), where
            cited = [c["passage_id"] for c in data.get("citations", [])]
            wanted = expected.get("cites", [])
            # A quotation may add the second passage, where the search finds it nearly as good.
            assert cited == wanted or (outcome == "quoted" and cited[: len(wanted)] == wanted), where
            assert all(part in text for part in expected.get("contains", [])), where
            assert not any(part in text for part in expected.get("not_contains", [])), where
            assert "".join(shown) == (text if outcome not in ("handed_off", "relayed") else ""), where
        assert await bot.store.unfinished() == []
    finally:
        await bot.store.aclose()
