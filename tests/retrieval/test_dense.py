from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bot.errors import ModelError
from bot.retrieval import dense


def test_a_saved_index_comes_back_whole(tmp_path: Path) -> None:
    vectors = dense.unit(np.random.default_rng(0).normal(size=(5, 8))).astype(np.float32)
    dense.save_index(dense.build_index(vectors), tmp_path / "x.faiss")
    loaded = dense.load_index(tmp_path / "x.faiss")
    assert np.array_equal(dense.rows(loaded), vectors)
    assert loaded.search(vectors[3:4], 1)[1][0, 0] == 3


def test_an_empty_index_has_no_rows() -> None:
    assert dense.rows(dense.build_index(np.zeros((0, 8), np.float32))).shape == (0, 8)


@pytest.mark.parametrize("content", [None, b"", b"not an index at all"])
def test_a_broken_index_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.faiss").write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.faiss"):
        dense.load_index(tmp_path / "x.faiss")


def test_an_encoder_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        dense.Encoder(tmp_path / "none")
