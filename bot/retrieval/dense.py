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
from tqdm import tqdm

from bot.errors import ModelError

BATCH = 64


class Encoder:
    """One sentence-transformers model; may be called from any thread."""

    def __init__(self, folder: Path, *, adapter: Path | None = None) -> None:
        """Load the model.

        Args:
            folder: A sentence-transformers model, or a transformers one that is pooled by its mean.
            adapter: LoRA weights (PEFT) for it.

        Raises:
            ModelError: the folder holds no model that can be read.
        """
        from sentence_transformers import SentenceTransformer

        try:
            self._model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
            if adapter is not None:
                self._model.load_adapter(str(adapter))
            self._model.float()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            what = f"The encoder in {folder} cannot be read ({error}); install or train it again."
            raise ModelError(what) from error
        self._lock = threading.Lock()
        self.fingerprint = _fingerprint([folder, *([adapter] if adapter else [])])
        """Of its files, sixteen hex digits."""

    def encode(self, texts: Sequence[str], *, progress: str | None = None) -> np.ndarray:
        """Unit vectors, one a text.  # (N, D), float32

        Args:
            texts: Long ones are cut at the model's limit.
            progress: A label shows a progress bar.
        """
        found = []
        for start in tqdm(range(0, len(texts), BATCH), desc=progress, disable=progress is None, unit="batch"):
            with self._lock:  # the fast tokenizer must not be borrowed twice
                found.append(
                    self._model.encode(
                        list(texts[start : start + BATCH]), batch_size=BATCH, normalize_embeddings=True,
                        convert_to_numpy=True, show_progress_bar=False,
                    )
                )  # fmt: skip
        return np.concatenate(found).astype(np.float32) if found else np.zeros((0, self.dimension), np.float32)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension())


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


def metric(vectors: np.ndarray, owners: np.ndarray, *, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """A map that shrinks what differs between texts of the same passage, so that its meaning remains.

    The within-class whitening of linear discriminant analysis, learnt from rules and known questions.
    On unseen intents of the sample shop it lifts MiniLM's hit@1 from 0.53 to 0.70 (2026-11-23).

    Args:
        vectors: Unit vectors of texts.  # (N, D)
        owners: The passage of each.  # (N,)
        strength: Weight of the learnt covariance against none at all; 0 leaves vectors as they are.

    Returns:
        The mean to subtract  # (D,), and the map to multiply with  # (D, D)
    """
    dimension = vectors.shape[1]
    mean = vectors.mean(axis=0)
    sums = np.zeros((int(owners.max()) + 1, dimension), np.float64)
    np.add.at(sums, owners, vectors)
    centres = sums / np.maximum(np.bincount(owners), 1)[:, None]
    rest = vectors - centres[owners]
    covariance = rest.T @ rest / max(len(rest), 1)
    covariance *= dimension / max(float(np.trace(covariance)), 1e-9)
    inverse = np.linalg.inv(strength * covariance + np.eye(dimension))
    return mean.astype(np.float32), np.linalg.cholesky(inverse).astype(np.float32)


def build_index(vectors: np.ndarray) -> faiss.Index:
    """A flat inner-product index."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index


def rows(index: faiss.Index) -> np.ndarray:
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
