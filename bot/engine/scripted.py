"""The engine's twin without a model: says what a script says, for tests, demos and load.

By default it reads the nearest rule aloud, or else the first one, with its citation: what a model reaches that only
repeats what the search brings.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence

from bot import prompt
from bot.errors import EngineError
from bot.types import Language, Message

Script = Callable[[Sequence[Message]], str]


def first_rule(messages: Sequence[Message], heads: Collection[str] = ()) -> str:
    """The rule under one of `heads`, else the first under the passage marked [1], cited; empty if there is none."""
    lines = messages[-1].content.splitlines()
    if (at := next((n for n, line in enumerate(lines) if line in heads), None)) is not None:
        return lines[at + 1]
    match = re.search(r"^\[1\] .*\n-? ?(.+)$", messages[-1].content, re.MULTILINE)
    return f"{match[1]} [1]" if match else ""


class ScriptedEngine:
    """Streams `script(messages)` a few characters at a time.

    Args:
        delay_s: between two pieces.
        fail_after: pieces after which EngineError is raised; None never fails.
    """

    def __init__(
        self,
        templates: Mapping[Language, prompt.Templates],
        script: Script | None = None,
        *,
        delay_s: float = 0.0,
        fail_after: int | None = None,
    ) -> None:
        self.name = "scripted"
        self.fingerprint = prompt.fingerprint(templates, None)
        self.running = 0
        """Streams that have begun and not ended."""
        heads = {t.texts["nearest"] for t in templates.values()}
        self._script = script or (lambda messages: first_rule(messages, heads))
        self._delay_s, self._fail_after = delay_s, fail_after

    def count(self, messages: Sequence[Message]) -> int:
        """Characters, as a bound on tokens."""
        return sum(len(m.content) for m in messages)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, only: Sequence[str] = ()
    ) -> AsyncGenerator[str, None]:
        """The script's text in pieces of four characters."""
        text = self._script(messages)
        self.running += 1
        try:
            for n, start in enumerate(range(0, len(text), 4)):
                if n == self._fail_after:
                    raise EngineError("The scripted engine fails here.")
                if n >= max_tokens:
                    return
                await asyncio.sleep(self._delay_s)
                yield text[start : start + 4]
            if self._fail_after is not None and not text:
                raise EngineError("The scripted engine fails here.")
        finally:
            self.running -= 1

    async def aclose(self) -> None:
        """Nothing to close."""
