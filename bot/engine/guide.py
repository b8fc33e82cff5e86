"""Keeps a model's words to some sentences, each said once: a small model chooses well what it cannot write well.

Knows token ids; `transformers` asks it before every token what may come next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Guide:
    """For one generation.

    Args:
        tokenizer: of the model.
        sentences: what may be said, in the order that the model likes; at least one.
        start: tokens of the prompt.
    """

    def __init__(self, tokenizer: Any, sentences: Sequence[str], start: int) -> None:
        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False))

        self._end: int = tokenizer.eos_token_id
        self._openings = [{encode(sentence)} for sentence in sentences]
        self._left = [{encode(sentence), encode(f" {sentence}")} for sentence in sentences]
        self._read, self._begun, self._said = start, (), False

    def __call__(self, _batch: int, ids: Any) -> list[int]:
        """The tokens that may follow.

        Args:
            ids: prompt and what was generated.  # (T,)
        """
        for token in ids[self._read :].tolist():
            self._begun += (token,)
            ended = [n for n, forms in enumerate(self._left) if self._begun in forms]
            if ended:
                del self._left[ended[0]]
                self._begun, self._said = (), True
        self._read = len(ids)
        forms = {form for each in (self._left if self._said else self._openings) for form in each}
        size = len(self._begun)
        follow = {form[size] for form in forms if form[:size] == self._begun}
        if self._said and not self._begun:
            follow.add(self._end)
        return sorted(follow)
