from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bot.errors import DocumentError, ModelError, SettingsError
from bot.retrieval import reranker
from bot.retrieval.calibration import Calibrations, save_calibrations
from bot.retrieval.hybrid import HybridRetriever, build_or_load
from bot.types import LANGUAGES, Language
from tests.retrieval.shop import CALIBRATION, WordEncoder, WordReranker, write_documents, write_questions


class Shop:
    """The folders of a retriever, and the encoders that it was given."""

    def __init__(self, folder: Path) -> None:
        self.documents = write_documents(folder / "documents")
        self.index = folder / "data" / "index"
        self.questions = write_questions(folder / "questions.jsonl")
        self.calibration = folder / "calibration.json"
        save_calibrations(self.calibration, dict.fromkeys(LANGUAGES, Calibrations(CALIBRATION, CALIBRATION)))
        self.encoders: dict[Language, WordEncoder] = {}
        self.rerankers: dict[Language, WordReranker] = {}

    def open(self, *, questions: bool = True, name: str = "words") -> HybridRetriever:
        self.encoders = {"en": WordEncoder("en", name), "zh": WordEncoder("zh", name)}
        return build_or_load(
            self.documents, self.index, self.questions if questions else None, progress=False,
            encoder=self.encoders.__getitem__, reader=self._reader, calibration_file=self.calibration,
        )  # fmt: skip

    def _reader(self, language: Language, encoder: object) -> WordReranker:
        return self.rerankers.setdefault(language, WordReranker(language))

    def encoded(self) -> int:
        return sum(len(encoder.encoded) for encoder in self.encoders.values())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def ids(retriever: HybridRetriever, query: str, language: Language = "en", **more: object) -> list[str]:
    return [hit.passage.id for hit in retriever.search(query, language=language, top_k=3, **more)]  # type: ignore


@pytest.mark.parametrize(("query", "language", "passage"), [
    ("express delivery costs", "en", "en/policy/shipping#Costs"),
    ("items returned within 30 days", "en", "en/policy/returns#Return window"),
    ("顺丰几天送达", "zh", "zh/policy/shipping#配送时效"),
    ("how fast does my parcel get here", "en", "en/policy/shipping#Delivery times"),
])  # fmt: skip
def test_the_passage_that_answers_comes_first(shop: Shop, query: str, language: Language, passage: str) -> None:
    assert ids(shop.open(), query, language)[0] == passage


def test_scores_fall_and_are_probabilities(shop: Shop) -> None:
    hits = shop.open().search("delivery", language="en", top_k=9)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0 < hit.score < 1 for hit in hits)


def test_no_more_than_top_k_come_back(shop: Shop) -> None:
    assert len(shop.open().search("delivery", language="en", top_k=1)) == 1


def test_a_known_question_lifts_its_passage(shop: Shop) -> None:
    query = "what is the postage please"
    known, unknown = shop.open(), shop.open(questions=False)
    assert ids(known, query)[0] == "en/policy/shipping#Costs"
    best = known.search(query, language="en", top_k=1)[0].score
    assert best > max((hit.score for hit in unknown.search(query, language="en", top_k=1)), default=0.0)


def test_a_known_unanswerable_question_lowers_every_score(shop: Shop) -> None:
    query = "do you sell bicycles that can be returned"
    lowered = shop.open().search(query, language="en", top_k=1)[0].score
    rows = [json.loads(line) for line in shop.questions.read_text().splitlines()]
    shop.questions.write_text("".join(json.dumps(row) + "\n" for row in rows if row["passages"]))
    assert shop.open().search(query, language="en", top_k=1)[0].score > lowered + 0.1


def test_a_follow_up_is_understood_by_the_message_before_it(shop: Shop) -> None:
    retriever = shop.open()
    context = ["hello", "standard delivery costs"]
    assert ids(retriever, "and for express?", context=context)[0] == "en/policy/shipping#Costs"


def test_a_question_of_its_own_is_not_drowned_by_the_message_before_it(shop: Shop) -> None:
    query = "items returned within 30 days"
    assert ids(shop.open(), query, context=["standard delivery costs"])[0] == "en/policy/returns#Return window"


@pytest.mark.parametrize("query", ["", "  \n"])
def test_nothing_is_found_for_nothing(shop: Shop, query: str) -> None:
    assert shop.open().search(query, language="en", top_k=3, context=["delivery"]) == []


@pytest.mark.parametrize("query", ["?!", "\u200b", "🙂", "x" * 5000, "\ud800", "0"])
def test_odd_texts_are_searched_without_a_fuss(shop: Shop, query: str) -> None:
    for language in ("en", "zh"):
        assert all(0 <= hit.score <= 1 for hit in shop.open().search(query, language=language, top_k=3))


def test_a_language_without_documents_finds_nothing(shop: Shop) -> None:
    for path in (shop.documents / "zh").rglob("*.md"):
        path.unlink()
    assert shop.open().search("配送", language="zh", top_k=3) == []


def test_an_unchanged_index_is_loaded_and_finds_the_same(shop: Shop) -> None:
    first = shop.open()
    expected = first.search("express delivery", language="en", top_k=3)
    again = shop.open()
    assert shop.encoded() == 0
    assert again.generation == first.generation
    assert again.search("express delivery", language="en", top_k=3) == expected


def edit_document(shop: Shop) -> None:
    path = shop.documents / "en/policy/returns.md"
    path.write_text(path.read_text().replace("30 days", "60 days"))


def edit_questions(shop: Shop) -> None:
    shop.questions.write_text(shop.questions.read_text().replace("parcel", "package"))


def edit_calibration(shop: Shop) -> None:
    shop.calibration.write_text(shop.calibration.read_text().replace('"bias": -2.0', '"bias": -1.5'))


@pytest.mark.parametrize("edit", [edit_document, edit_questions, edit_calibration])
def test_a_change_makes_a_new_generation_and_builds_again(shop: Shop, edit: Callable[[Shop], None]) -> None:
    before = shop.open().generation
    edit(shop)
    assert shop.open().generation != before
    assert shop.encoded() > 0


def test_another_encoder_makes_a_new_generation(shop: Shop) -> None:
    assert shop.open().generation != shop.open(name="others").generation
    assert shop.encoded() > 0


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_a_broken_index_is_built_again(shop: Shop, damage: str) -> None:
    expected = ids(shop.open(), "express delivery")
    path = shop.index / "en-passages.faiss"
    match damage:
        case "flip":
            content = bytearray(path.read_bytes())
            content[-1] ^= 255
            path.write_bytes(content)
        case "cut":
            path.write_bytes(path.read_bytes()[:40])
        case "remove":
            path.unlink()
        case "manifest":
            (shop.index / "index.json").write_text("{")
    retriever = shop.open()
    assert shop.encoded() > 0
    assert ids(retriever, "express delivery") == expected
    shop.open()
    assert shop.encoded() == 0, "the repaired index was kept"


def test_nothing_is_left_beside_the_index(shop: Shop) -> None:
    shop.open()
    edit_document(shop)
    shop.open()
    assert [path.name for path in shop.index.parent.iterdir()] == ["index"]


def test_many_threads_find_what_one_finds(shop: Shop) -> None:
    retriever = shop.open()
    queries = ["express delivery", "return window", "refund to my card", "costs"] * 8
    alone = [ids(retriever, query) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda query: ids(retriever, query), queries)) == alone


def test_a_broken_document_stops_the_start(shop: Shop) -> None:
    (shop.documents / "en/policy/returns.md").write_text("no front matter")
    with pytest.raises(DocumentError, match=r"returns\.md:1"):
        shop.open()


def test_a_missing_calibration_stops_the_start(shop: Shop) -> None:
    shop.calibration.unlink()
    with pytest.raises(ModelError, match="calibration"):
        shop.open()


def test_every_line_of_a_hit_has_a_probability_and_the_rule_asked_for_the_highest(shop: Shop) -> None:
    hits = shop.open().search("express delivery costs", language="en", top_k=3)
    assert all(len(hit.rules) == len(hit.passage.text.splitlines()) for hit in hits)
    assert all(0 <= p <= 1 for hit in hits for p in hit.rules)
    assert hits[0].rules[1] == max(p for hit in hits for p in hit.rules), "- Express delivery costs $14.95."


def test_rules_are_read_under_their_heading(shop: Shop) -> None:
    shop.open().search("express", language="en", top_k=1)
    assert "Costs: Express delivery costs $14.95." in shop.rerankers["en"].read


def test_a_rule_that_answers_lifts_its_passage_over_a_likelier_one(shop: Shop) -> None:
    retriever = shop.open()
    before = ids(retriever, "delivery")[0]
    other = next(p for p in ("Costs", "Delivery times") if not before.endswith(p))
    reader = shop.rerankers["en"]
    reader.logits = lambda query, rules: np.array([9.0 if rule.startswith(other) else -9.0 for rule in rules])
    assert ids(retriever, "delivery")[0].endswith(other)


def test_an_index_folder_that_cannot_be_made_is_named(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    shop.index = tmp_path / "file" / "index"
    with pytest.raises(SettingsError, match="BOT_DATA"):
        shop.open()


def test_a_broken_reranker_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "reranker.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"reranker\.safetensors.*finetune encoder"):
        reranker.load(tmp_path / "reranker.safetensors", WordEncoder("en"))


def test_rules_are_read_for_the_question_alone_unless_it_follows_the_message_before(shop: Shop) -> None:
    retriever, before = shop.open(), ["standard delivery costs"]
    for query in ("items returned within 30 days", "and for express?"):
        retriever.search(query, language="en", top_k=3, context=before)
    assert shop.rerankers["en"].asked == ["items returned within 30 days", f"{before[0]} and for express?"]
