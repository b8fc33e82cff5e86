from __future__ import annotations

import numpy as np
import pytest

from bot.retrieval.keyword import build_bm25, content_terms, terms


@pytest.mark.parametrize(("left", "right"), [
    ("deliver", "delivered"), ("deliver", "delivering"), ("delivers", "deliver"), ("policies", "policy"),
    ("boxes", "box"), ("shipped", "shipping"), ("customer's", "customers"), ("returned", "return"),
])  # fmt: skip
def test_forms_of_an_english_word_are_one_term(left: str, right: str) -> None:
    assert terms(left, "en") == terms(right, "en")


@pytest.mark.parametrize(("left", "right"), [("glass", "glas"), ("press", "pres"), ("king", "k"), ("bed", "b")])
def test_different_english_words_stay_apart(left: str, right: str) -> None:
    assert terms(left, "en") != terms(right, "en")


def test_chinese_gives_characters_and_pairs_but_no_pair_across_punctuation() -> None:
    assert sorted(terms("包邮吗，UPS2", "zh")) == sorted(["包", "邮", "吗", "包邮", "邮吗", "ups2"])


def test_stop_words_are_no_content() -> None:
    assert content_terms("How do I get the kettle?", "en") == set(terms("kettle", "en"))
    assert "的吗" not in content_terms("你的吗壶", "zh")
    assert "壶" in content_terms("你的壶", "zh")


def test_bm25_prefers_the_text_with_the_rarer_term_and_stays_within_0_and_1() -> None:
    index = build_bm25([terms(t, "en") for t in ("red kettle", "red lamp", "red towel and red sheet")])
    found = index.scores(terms("kettle red", "en"))
    assert found.argmax() == 0
    assert found.min() >= 0 and found.max() <= 1


def test_bm25_counts_unknown_terms_against_every_text() -> None:
    index = build_bm25([["kettle"], ["lamp"]])
    assert index.scores(["kettle"])[0] > index.scores(["kettle", "bicycle"])[0] > 0


def test_bm25_over_nothing_and_for_nothing_is_zero() -> None:
    assert build_bm25([]).scores(["kettle"]).shape == (0,)
    assert np.array_equal(build_bm25([["kettle"], []]).scores([]), [0, 0])
    assert build_bm25([[], []]).scores(["kettle"]).tolist() == [0, 0]
