"""Vectors: texts to unit vectors with sentence-transformers, and FAISS indexes over them.

Knows neither passages nor languages. The indexes are flat (exact): 10,000 vectors take 1 ms.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tqdm import tqdm

from bot.errors import ModelError

BATCH = 64
STATIC_LENGTH = 4.0
"""Length of a static word's vector where tokens are read one by one: about that of a contextual one's part."""


class Encoder:
    """One or two sentence-transformers models as one encoder; may be called from any thread."""

    def __init__(self, folder: Path, *, words: Path | None = None) -> None:
        """Load the model.

        Args:
            folder: A sentence-transformers model, or a transformers one that is pooled by its mean.
            words: A second model, trained beside it by `finetune encoder`, whose vectors stand next to the first's;
                its folder also holds `projection.safetensors`, which the first's are multiplied with.

        Raises:
            ModelError: a folder holds no model that can be read.
        """
        self._lock = threading.Lock()
        self._model = _load(folder)
        self._words = _load(words) if words else None
        self._projection, self._weight = _load_projection(words) if words else (None, 0.0)
        self.fingerprint = _fingerprint([folder, *([words] if words else [])])
        """Of the models' files, sixteen hex digits."""

    def encode(self, texts: Sequence[str], *, progress: str | None = None) -> np.ndarray:
        """Unit vectors, one a text.  # (N, D), float32

        Args:
            texts: Long ones are cut at the model's limit.
            progress: A label shows a progress bar.
        """
        by_length = sorted(range(len(texts)), key=lambda row: -len(texts[row]))  # batches without much padding
        found = np.zeros((len(texts), self.dimension), np.float32)
        for start in tqdm(range(0, len(texts), BATCH), desc=progress, disable=progress is None, unit="batch"):
            rows = by_length[start : start + BATCH]
            found[rows] = self._encode([_well_formed(texts[row]) for row in rows])
        return found

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """A vector for each token of each text, one at least; of the first model alone.  # (T, D) each, float32"""
        found: list[np.ndarray] = []
        for start in range(0, len(texts), BATCH):
            found += self._tokens([_well_formed(text) for text in texts[start : start + BATCH]])
        return found

    def _tokens(self, texts: list[str]) -> list[np.ndarray]:
        first = self._model[0]
        if isinstance(table := getattr(first, "embedding", None), torch.nn.EmbeddingBag):  # words without neighbours
            with self._lock:
                ids = [encoding.ids for encoding in first.tokenizer.encode_batch(texts, add_special_tokens=False)]
            rows = table.weight.detach().numpy()
            return [unit(rows[row or [0]]) * STATIC_LENGTH for row in ids]
        with self._lock:
            vectors = self._model.encode(
                texts, batch_size=BATCH, output_value="token_embeddings", show_progress_bar=False
            )
        # Without the marks of beginning and end.
        return [np.asarray(v.float())[1:-1] if len(v) > 2 else np.asarray(v.float()) for v in vectors]

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        size = int(self._model.get_embedding_dimension())
        return size + int(self._words.get_embedding_dimension()) if self._words else size

    def _encode(self, texts: list[str]) -> np.ndarray:
        with self._lock:  # the fast tokenizer must not be borrowed twice
            vectors = self._model.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
            if self._words is None:
                return vectors
            beside = self._words.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        return unit(np.concatenate([unit(vectors @ self._projection), self._weight * beside], axis=1))


def _load(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True).float()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        what = f"The encoder in {folder} cannot be read ({error}); install it or run `python -m finetune encoder`."
        raise ModelError(what) from error


def _load_projection(folder: Path) -> tuple[np.ndarray, float]:
    """The matrix  # (D, D), and the second model's weight against the first's."""
    try:
        tensors = load_file(folder / "projection.safetensors")
        return tensors["projection"].astype(np.float32), float(tensors["weight"][0])
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        what = f"{folder / 'projection.safetensors'} cannot be read ({error}); run `python -m finetune encoder`."
        raise ModelError(what) from error


def _well_formed(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def _fingerprint(folders: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".safetensors", ".json", ".txt"):
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1; zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def build_index(vectors: np.ndarray) -> faiss.Index:
    """A flat inner-product index."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index


def rows(index: Any) -> np.ndarray:
    """The vectors of a flat index, without a copy; valid as long as the index is.  # (N, D)"""
    if index.ntotal == 0:
        return np.zeros((0, index.d), np.float32)
    return faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)


def save_index(index: faiss.Index, path: Path) -> None:
    """Write an index to a file."""
    faiss.write_index(index, str(path))


def load_index(path: Path) -> faiss.Index:
    """Read an index from a file. Raises ModelError if it is missing or broken."""
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise ModelError(f"The index {path} cannot be read; delete it and it is built again.") from error
