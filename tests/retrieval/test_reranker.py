"""The reranker: what it reads of a pair, what it keeps in memory, and that it comes back from its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bot.retrieval import reranker
from bot.retrieval.reranker import Matcher, Reranker, rule_text
from tests.retrieval.shop import WordEncoder

RULES = ["Costs: Express delivery costs $14.95.", "Costs: Standard delivery costs $5.95.", "Window: 30 days."]


class CountingEncoder(WordEncoder):
    """Counts the texts whose tokens were asked for."""

    def __init__(self) -> None:
        super().__init__("en")
        self.asked: list[str] = []

    def tokens(self, texts):
        self.asked += texts
        return super().tokens(texts)


def fresh(encoder: WordEncoder | None = None) -> Reranker:
    torch.manual_seed(0)
    return Reranker([Matcher(64, 32)], encoder or WordEncoder("en"), "f")


def test_a_rule_is_judged_alike_alone_and_among_longer_ones() -> None:
    reader = fresh()
    among = reader.logits("express costs", RULES)
    assert np.allclose(among, [reader.logits("express costs", [rule])[0] for rule in RULES], atol=1e-5)
    assert len(set(among.round(6).tolist())) == 3


def test_no_rules_no_logits() -> None:
    assert fresh().logits("express", []).shape == (0,)


def test_a_rules_tokens_are_made_once_and_the_oldest_are_forgotten(monkeypatch) -> None:
    encoder = CountingEncoder()
    reader = fresh(encoder)
    reader.logits("a", RULES)
    reader.logits("b", RULES)
    assert encoder.asked == ["a", *RULES, "b"]
    monkeypatch.setattr(reranker, "KEPT", 2)
    reader.logits("c", RULES)
    reader.logits("d", RULES)
    assert encoder.asked[-2:] == ["d", RULES[0]]


def test_a_saved_network_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    networks = [Matcher(64, 32), Matcher(64, 32)]
    reranker.save(networks, tmp_path / reranker.FILE)
    served = reranker.load(tmp_path / reranker.FILE, WordEncoder("en"))
    expected = Reranker(networks, WordEncoder("en"), "f").logits("express", RULES)
    assert np.allclose(served.logits("express", RULES), expected, atol=1e-2)
    assert len(served.fingerprint) == 16


def test_a_rule_stands_under_its_heading_without_its_dash() -> None:
    assert rule_text("Costs", "- Free.") == "Costs: Free."
