"""One conversation's turns in one process: what is told, what was said so far, who listens.

Knows neither the log nor other processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bot.types import Outcome


@dataclass(slots=True)
class Line:
    """Turns that are told one after another."""

    more: bool = False
    """Whether a message may wait that was not looked for yet."""
    task: asyncio.Task[None] | None = None
    """Tells the turns."""
    story: asyncio.Task[Outcome] | None = None
    """The turn under way."""
    message_id: str | None = None
    """The shopper's message that is being answered."""
    answer_id: str | None = None
    deltas: list[dict[str, Any]] = field(default_factory=list)
    listeners: int = 0
    """Sockets of this process."""
    grace: asyncio.TimerHandle | None = None

    def cancel(self, message_id: str | None) -> bool:
        """Stop the turn under way, if it is this one (by its answer's id or its question's)."""
        if self.story is None or message_id not in (None, self.answer_id, self.message_id):
            return False
        if not self.story.cancelling():  # A second time would stop it from recording its end.
            self.story.cancel()
        return True

    def give_grace(self, grace_s: float, stop: Callable[[], object]) -> None:
        """Nobody listens: stop after so long, unless somebody comes."""
        if self.grace is None:
            self.grace = asyncio.get_running_loop().call_later(grace_s, stop)

    def go_on(self) -> None:
        """Somebody listens."""
        if self.grace is not None:
            self.grace.cancel()
            self.grace = None

    def rest(self) -> None:
        """No turn is told any more."""
        self.task = self.message_id = self.answer_id = None
        self.deltas = []
