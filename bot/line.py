"""One conversation's turns in one process: what is told, what was said so far, who listens.

Knows neither the log nor other processes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from bot.types import Outcome

STOPS = 100
"""Stops that are kept at most: more than a shopper's messages that wait."""


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
    grace: asyncio.Task[None] | None = None
    """Waits for somebody to come back."""
    given_up: bool = False
    """Nobody came back in time: no turn is told until somebody does."""
    stopped: tuple[str, ...] = ()
    """The messages that were stopped last, perhaps before their turns began."""

    def cancel(self, message_id: str | None) -> bool:
        """Stop the turn under way, if it is this one (by its answer's id or its question's), or keep the wish."""
        if message_id is not None:  # A turn that is told again has another answer: the wish is about its question.
            question = self.message_id if self.message_id and message_id == self.answer_id else message_id
            self.stopped = (*self.stopped, question)[-STOPS:]
        if self.story is None or message_id not in (None, self.answer_id, self.message_id):
            return False
        if not self.story.cancelling():  # A second time would stop it from recording its end.
            self.story.cancel()
        return True

    def wants(self, message_id: str) -> bool:
        """Whether anybody waits for this message's turn, which is about to begin."""
        return not self.given_up and message_id not in self.stopped

    def give_up(self) -> None:
        """Nobody came back."""
        self.given_up, self.grace = True, None
        self.cancel(None)

    def go_on(self) -> None:
        """Somebody listens."""
        self.given_up = False
        if self.grace is not None:
            self.grace.cancel()
            self.grace = None

    def rest(self) -> None:
        """No turn is told any more."""
        self.task = self.message_id = self.answer_id = None
        self.stopped, self.deltas = (), []
