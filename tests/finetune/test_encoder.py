from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bot.errors import ModelError
from bot.retrieval.dense import Encoder, unit
from bot.retrieval.documents import load_documents
from bot.types import Passage
from finetune import calibration, encoder_en, encoder_zh, seeking
from finetune.encoder_data import ShopTexts, shop_batch, shop_texts
from tests.retrieval.shop import WordEncoder, WordReranker, write_documents

PASSAGES = [
    Passage("a#x", "a", "运费", "包邮", "- 满99元包邮。\n- 不足99元收8元。", "zh"),
    Passage("a#y", "a", "退货", "退货期限", "- 七天内可以退货。", "zh"),
    Passage("a#z", "a", "发票", "电子发票", "- 发票三天内开好。", "zh"),
]


def row(text: str, *passages: str, kind: str = "answerable", history: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "language": "zh", "kind": kind, "text": text, "passages": list(passages), "answer": "",
        "history": [{"role": "user", "content": message} for message in history],
    }  # fmt: skip


ROWS = [
    row("要邮费吗", "a#x"), row("快递钱谁出", "a#x"), row("不想要了咋办", "a#y"), row("还能送回去不", "a#y"),
    row("报销要用的票", "a#z"), row("开票", "a#z"), row("几天", "a#y", kind="follow_up", history=("不想要了",)),
    row("今天天气", kind="unanswerable"),
]  # fmt: skip


@pytest.fixture
def shop() -> ShopTexts:
    return shop_texts(PASSAGES, ROWS)


def test_a_follow_up_is_learnt_under_the_message_before_it(shop: ShopTexts) -> None:
    assert shop.questions[-1] == "不想要了 几天"
    assert shop.owners.tolist() == [0, 0, 1, 1, 2, 2, 1]


def test_partners_of_a_batch_belong_to_the_same_passage(shop: ShopTexts) -> None:
    dice = random.Random(0)
    own = [{*views, *(q for q, o in zip(shop.questions, shop.owners, strict=True) if o == n)}
           for n, views in enumerate(shop.views)]  # fmt: skip
    for _ in range(50):
        questions, partners, owners = shop_batch(shop, 4, dice)
        assert len(questions) == len(partners) == len(owners) == 4
        for question, partner, owner in zip(questions, partners, owners, strict=True):
            assert {question, partner} <= own[owner]
            assert question != partner


def test_texts_of_the_same_passage_are_no_negatives() -> None:
    left = torch.nn.functional.normalize(torch.eye(4, 8) + 1, dim=1)
    apart = encoder_zh.contrast(left, left, np.array([0, 1, 2, 3]))
    together = encoder_zh.contrast(left, left, np.array([0, 0, 0, 0]))
    assert together < apart
    assert torch.equal(apart, encoder_zh.contrast(left, left, None))


def test_the_tokenizer_keeps_whole_words_and_falls_back_to_characters() -> None:
    counts = Counter({"包邮": 50, "运费": 40, "吗": 90, "包": 9, "邮": 9, "运": 9, "费": 9})
    words = encoder_zh.choose_words(counts, {"包邮"}, size=100)
    tokenizer = encoder_zh.build_tokenizer(words, counts)
    assert tokenizer.encode("包邮吗？费邮！UPS 99", add_special_tokens=False).tokens == [
        "包邮", "吗", "费", "邮", "u", "p", "s", "9", "9",
    ]  # fmt: skip
    assert tokenizer.encode("龘", add_special_tokens=False).ids == [0]


def test_the_shops_words_come_before_common_ones_when_room_is_short() -> None:
    counts = Counter({"常见": 1000, "蕨岭": 2, "见": 5})
    room = len(encoder_zh.choose_words(Counter({"常见": 1, "蕨岭": 1}), set(), size=1000)) - 1
    words = encoder_zh.choose_words(counts, {"蕨岭"}, size=room)
    assert "蕨岭" in words and "常见" not in words


def nearest(encoder: Encoder, shop: ShopTexts) -> list[int]:
    """The passage of the view that is nearest to each question."""
    owners = np.repeat(np.arange(len(shop.views)), [len(views) for views in shop.views])
    views = encoder.encode([view for views in shop.views for view in views])
    return owners[(encoder.encode(shop.questions) @ views.T).argmax(axis=1)].tolist()


def test_a_trained_chinese_encoder_finds_the_passages_and_is_served_from_its_folder(
    shop: ShopTexts, tmp_path: Path
) -> None:
    text = "".join(shop.questions) + "".join(view for views in shop.views for view in views)
    counts = Counter(character for character in text if "\u4e00" <= character <= "\u9fff")
    words = encoder_zh.choose_words(counts, set())
    vectors, weights = encoder_zh.first_vectors(words, counts)
    start = encoder_zh.Start(encoder_zh.build_tokenizer(words, counts), tuple(words), vectors, weights)
    table = encoder_zh.train(start, shop, steps=60, seed=0)
    encoder_zh.save(start.tokenizer, table, tmp_path)
    served = Encoder(tmp_path)
    assert nearest(served, shop) == shop.owners.tolist()
    assert np.allclose(np.linalg.norm(served.encode(["要邮费吗"]), axis=1), 1, atol=1e-3)
    assert not served.encode([""]).any(), "no words, no direction"


def test_the_english_half_learns_what_the_vectors_beside_it_do_not_tell(shop: ShopTexts) -> None:
    dice = np.random.default_rng(0)
    english = ShopTexts(
        (("Shipping: Costs", "Costs we charge five dollars"), ("Returns: Window", "Window of thirty days")),
        ("postage fee please", "postage price please", "send back please", "give back please"),
        np.array([0, 0, 1, 1]),
    )
    texts = [*english.questions, *(view for views in english.views for view in views)]
    vectors = {text: unit(dice.normal(size=16)).astype(np.float32) for text in texts}
    half = encoder_en.train(english, vectors, steps=60, seed=0)
    words = {word for word in half.tokenizer.get_vocab() if word != "[UNK]"}
    assert {"postage", "please", "back", "costs"} <= words and "fee" not in words
    assert not half.table[0].any()
    assert 0.1 < half.weight < 2


def test_calibration_learns_to_rank_and_to_refuse(tmp_path: Path) -> None:
    passages = [p for p in load_documents(write_documents(tmp_path)) if p.language == "en"]
    questions = {
        "en/policy/shipping#Delivery times": ["how many days does standard delivery take", "express takes how long"],
        "en/policy/shipping#Costs": ["what does standard delivery cost", "express costs"],
        "en/policy/returns#Return window": ["can items be returned", "returned within how many days"],
        "en/policy/returns#Refunds": ["when does the money come back", "is it back on my card in a week"],
    }
    answers = {p.id: " ".join(f"{line[2:]} [1]" for line in p.text.splitlines()) for p in passages}
    rows = [
        {**row(text, id), "language": "en", "answer": answers[id]} for id, texts in questions.items() for text in texts
    ]
    rows += [{**row(text, kind="unanswerable"), "language": "en"} for text in
             ("who won the football game", "tell me a joke about cats", "weather tomorrow", "sing a song")]  # fmt: skip
    encoder = WordEncoder("en")
    known = seeking.encode(rows[::2], encoder, with_strange=False)
    shelf = seeking.shelf_of("en", passages, seeking.encode_views(passages, encoder), known)
    asked = [(shelf, seeking.seek(shelf, seeking.encode(rows, encoder, with_strange=True)))]
    reader = WordReranker("en")
    scores = calibration.measure(asked, reader, calibration.fit(asked, reader))
    assert scores["all hit@1"] > 0.8
    assert scores["area under ROC"] > 0.9


def test_the_english_half_is_served_beside_another_model(shop: ShopTexts, tmp_path: Path) -> None:
    counts = Counter("abc")
    first = encoder_zh.build_tokenizer(["a", "b", "c"], counts)
    encoder_zh.save(first, np.eye(4, dtype=np.float32)[:, 1:], tmp_path / "first")
    tokenizer = encoder_en.build_tokenizer(["a b", "a b"])
    half = encoder_en.Half(
        tokenizer, np.array([[0, 0], [1, 0], [0, 1]], np.float32), -np.eye(3, dtype=np.float32), 0.5
    )
    encoder_en.write(half, tmp_path / "words")
    served = Encoder(tmp_path / "first", words=tmp_path / "words")
    vector = served.encode(["a"])[0]
    assert served.dimension == 5
    assert np.allclose(vector, np.array([-1, 0, 0, 0.5, 0]) / np.sqrt(1.25), atol=1e-3)
    assert np.allclose(served.encode(["c", "a"])[0], [0, 0, -1, 0, 0], atol=1e-3), "unknown words weigh nothing"
    (tmp_path / "words" / "projection.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="projection"):
        Encoder(tmp_path / "first", words=tmp_path / "words")
