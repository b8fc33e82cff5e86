"""The retriever: finds the passages that answer a query, by vectors and keywords, and rates their rules.

Builds its index from the documents and the known questions, and keeps the vectors in a folder until either changes.
Run `python -m bot search "how long does delivery take"`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from bot.errors import ModelError, SettingsError
from bot.models import minilm_path
from bot.retrieval import calibration, dense, reranker
from bot.retrieval.calibration import Calibration
from bot.retrieval.documents import load_documents
from bot.retrieval.questions import Question, join, read_questions
from bot.retrieval.reranker import Reranker, rule_text
from bot.retrieval.shelf import Candidates, Shelf, asked_similarities, build_shelf, find, rule_similarities, views_of
from bot.types import LANGUAGES, Hit, Language, Passage

MODELS = Path(__file__).parents[1] / "models"
LAYOUT = 1
"""Grows when the files of an index, or what is indexed of a passage, change."""

log = logging.getLogger(__name__)


READ_PASSAGES = 8
"""Best passages whose rules may be reranked."""
READ_RULES = 24
"""Rules that are reranked: those nearest to the query."""


class Encodes(Protocol):
    """What is needed of an encoder; `bot.retrieval.dense.Encoder` is the one that is served."""

    fingerprint: str
    """Changes when its vectors do."""

    def encode(self, texts: Sequence[str], *, progress: str | None = None) -> np.ndarray:
        """Unit vectors, one a text.  # (N, D)"""
        ...

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """A vector for each token of each text, one at least.  # (T, D) each"""
        ...


@cache
def built_in(language: Language) -> Encodes:
    """The built-in encoder of a language, loaded once per process. Raises ModelError."""
    match language:
        case "en":
            return dense.Encoder(minilm_path(), words=MODELS / "encoder-en")
        case "zh":
            return dense.Encoder(MODELS / "encoder-zh")


def built_in_reranker(language: Language, encoder: Encodes) -> Reranker:
    """The built-in reranker of a language. Raises ModelError."""
    return reranker.load(MODELS / f"encoder-{language}" / reranker.FILE, encoder)


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that were read for a query, and what is known of each."""

    passages: np.ndarray  # (N,), the number of each one's passage
    places: np.ndarray  # (N,), its line there
    features: np.ndarray  # (N, len(RULE_FEATURES))


class HybridRetriever:
    """Implements `bot.protocols.Retriever`; immutable, may be called from any thread."""

    def __init__(
        self,
        shelves: Mapping[Language, Shelf],
        encoders: Mapping[Language, Encodes],
        rerankers: Mapping[Language, Reranker],
        calibrations: Mapping[Language, Calibration],
        generation: str,
    ) -> None:
        self._shelves = shelves
        self._encoders = encoders
        self._rerankers = rerankers
        self._calibrations = calibrations
        self.generation = generation
        """Id of documents, known questions, encoders, rerankers and calibration; sixteen hex digits."""

    def search(self, query: str, *, language: Language, top_k: int, context: Sequence[str] = ()) -> list[Hit]:
        """Best first; none if the language has no documents or the query no text.

        Args:
            context: The shopper's earlier messages, oldest first; the last one helps to understand a follow-up.
        """
        shelf = self._shelves.get(language)
        if shelf is None or not query.strip():
            return []
        weights = self._calibrations[language]
        texts = [query, join(context, query)] if context else [query]
        vectors = self._encoders[language].encode(texts)
        read = [find(shelf, text, vector) for text, vector in zip(texts, vectors, strict=True)]
        found = [scores(shelf, weights, candidates) for candidates in read]
        share = follow_share(query, language, weights, *found) if context else 0.0
        total = (1 - share) * found[0] + share * found[-1]
        meant = int(share > 0.5)  # alone, or with what came before
        rules = read_rules(shelf, self._rerankers[language], texts[meant], vectors[meant], total)
        features = calibration.query_features(read[meant], calibration.rank(read[meant], weights.rank))
        return rate(shelf, weights, total, features, rules)[:top_k] if rules else []


def read_rules(shelf: Shelf, reader: Reranker, text: str, vector: np.ndarray, total: np.ndarray) -> Rules | None:
    """Let the reranker read the nearest rules of the best passages; None if no passage was found.

    Args:
        total: Each passage's probability.  # (P,)
    """
    best = [int(n) for n in np.argsort(-total, kind="stable")[:READ_PASSAGES] if total[n] > 0]
    near = [(s, n, place) for n in best for place, s in enumerate(rule_similarities(shelf, n, vector))]
    near = sorted(near, key=lambda rule: -rule[0])[:READ_RULES]
    if not near:
        return None
    lines = [rule_text(shelf.passages[n].heading, shelf.passages[n].text.splitlines()[place]) for _, n, place in near]
    similarity, numbers, places = (np.array(column) for column in zip(*near, strict=True))
    asked = asked_similarities(shelf, vector)[shelf.rule_starts[numbers] + places]
    features = calibration.rule_features(reader.logits(text, lines), total[numbers], similarity, asked)
    return Rules(numbers, places, features)


def rate(shelf: Shelf, weights: Calibration, total: np.ndarray, query: np.ndarray, rules: Rules) -> list[Hit]:
    """The passages of the rules that were read, best first: the best one's score is the chance that any rule answers.

    Args:
        total: Each passage's probability.  # (P,)
        query: QUERY_FEATURES.  # (len(QUERY_FEATURES),)
    """
    chances, any_answers = calibration.rule_probabilities(rules.features, float(total.max()), query, weights)
    hits = []
    for n in dict.fromkeys(rules.passages[np.argsort(-chances, kind="stable")].tolist()):
        own = rules.passages == n
        lines = np.zeros(len(shelf.passages[n].text.splitlines()))
        lines[rules.places[own]] = chances[own]
        hits.append(Hit(shelf.passages[n], any_answers * float(lines.max() / chances.max()), tuple(lines.tolist())))
    return hits


def scores(shelf: Shelf, weights: Calibration, candidates: Candidates) -> np.ndarray:
    """The probability of each of the shelf's passages; 0 for those that are not even candidates.  # (P,)"""
    all_scores = np.zeros(len(shelf.passages))
    all_scores[candidates.numbers] = calibration.probabilities(candidates, weights)
    return all_scores


def follow_share(text: str, language: Language, weights: Calibration, alone: np.ndarray, joined: np.ndarray) -> float:
    """How probably a text is a follow-up: the share of what is found for it together with the message before.

    Args:
        alone, joined: Each passage's probability for the text, and for both messages.  # (P,)
    """
    features = calibration.follow_features(text, language, float(alone.max()), float(joined.max()))
    return float(calibration.sigmoid(weights.follows.logits(features[None]))[0])


def build_or_load(
    documents_folder: Path,
    index_folder: Path,
    questions: Path | None,
    *,
    progress: bool,
    encoder: Callable[[Language], Encodes] = built_in,
    reader: Callable[[Language, Encodes], Reranker] = built_in_reranker,
    calibration_file: Path = MODELS / "retrieval.json",
) -> HybridRetriever:
    """The retriever over a folder's documents; vectors are computed only if something has changed.

    Args:
        index_folder: Where vectors are kept; made if missing. A broken one is built again.
        questions: Known questions as JSON Lines; None or a missing file means none.
        progress: Show a bar while building.
        encoder: Gives the encoder of a language.
        reader: Gives the reranker over an encoder.

    Raises:
        DocumentError: a document or a known question cannot be read.
        ModelError: an encoder, a reranker or the calibration is missing.
    """
    passages = load_documents(documents_folder)
    asked = read_questions(questions, {passage.id for passage in passages})
    calibrations = calibration.load_calibrations(calibration_file)
    encoders: dict[Language, Encodes] = {
        language: encoder(language) for language in LANGUAGES if any(p.language == language for p in passages)
    }
    rerankers: dict[Language, Reranker] = {language: reader(language, found) for language, found in encoders.items()}
    prints = [calibration_file.read_text("utf-8")]
    prints += [part.fingerprint for parts in (encoders, rerankers) for part in parts.values()]
    generation = _generation(passages, asked, prints)
    vectors: dict[Language, tuple[np.ndarray, np.ndarray]] | None = _load(index_folder, generation, list(encoders))
    if vectors is None:
        vectors = {
            language: _encode(language, passages, asked, found, progress=progress)
            for language, found in encoders.items()
        }
        _save(index_folder, generation, vectors)
    shelves: dict[Language, Shelf] = {
        language: build_shelf(
            language,
            [passage for passage in passages if passage.language == language],
            vectors[language][0],
            [question for question in asked if question.language == language],
            vectors[language][1],
        )
        for language in encoders
    }
    chosen: dict[Language, Calibration] = {
        language: calibrations[language].of(len(shelf.passages), shelf.known.ntotal)
        for language, shelf in shelves.items()
    }
    return HybridRetriever(shelves, encoders, rerankers, chosen, generation)


def _encode(
    language: Language, passages: Sequence[Passage], asked: Sequence[Question], encoder: Encodes, *, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the passages' views, and of the known questions."""
    views = [view for passage in passages if passage.language == language for view in views_of(passage)]
    texts = [question.full_text for question in asked if question.language == language]
    made = encoder.encode([*views, *texts], progress=f"Indexing {language}" if progress else None)
    return made[: len(views)], made[len(views) :]


def _generation(passages: Sequence[Passage], asked: Sequence[Question], prints: Sequence[str]) -> str:
    digest = hashlib.sha256(f"{LAYOUT}\n".encode())
    for item in (*passages, *asked, *prints):
        digest.update(repr(item).encode())
    return digest.hexdigest()[:16]


def _save(folder: Path, generation: str, vectors: dict[Language, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write beside the old index, then take its place, so that a crash leaves the old or none.

    Of several processes that build at once, one wins; their files are the same.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise SettingsError(
            f"The index cannot be kept in {folder.parent}: {error.strerror}. Set `BOT_DATA` to a folder of yours."
        ) from None
    files = {}
    for language, (views, questions) in vectors.items():
        for kind, rows in (("passages", views), ("questions", questions)):
            name = f"{language}-{kind}.faiss"
            dense.save_index(dense.build_index(rows), fresh / name)
            files[name] = hashlib.sha256((fresh / name).read_bytes()).hexdigest()
    (fresh / "index.json").write_text(json.dumps({"generation": generation, "files": files}, indent=1), "utf-8")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except OSError as error:
        log.warning("The index could not be kept in %s (%s); it is built again at the next start.", folder, error)
        shutil.rmtree(fresh, ignore_errors=True)


def _load(
    folder: Path, generation: str, languages: Sequence[Language]
) -> dict[Language, tuple[np.ndarray, np.ndarray]] | None:
    """The saved vectors; None if there are none, or others, or broken ones."""
    try:
        manifest = json.loads((folder / "index.json").read_text("utf-8"))
        if manifest["generation"] != generation:
            return None
        for name, digest in manifest["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise ModelError(f"{folder / name} has changed since it was written")

        def read(language: Language, kind: str) -> np.ndarray:
            index = dense.load_index(folder / f"{language}-{kind}.faiss")
            return index.reconstruct_n(0, index.ntotal)

        return {language: (read(language, "passages"), read(language, "questions")) for language in languages}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ModelError) as error:
        log.warning("The index in %s is broken (%s); it is built again.", folder, error)
        return None
