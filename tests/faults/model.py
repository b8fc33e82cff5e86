"""A pure model of a conversation: what the store must answer, in plain dictionaries.

Knows no SQL and no transaction. Each verb returns what the store's method of that name returns,
cut down to what matters, or raises what it raises, and then changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bot.errors import (
    AlreadyClaimed,
    AtCapacity,
    ConversationClosed,
    IdempotencyConflict,
    LeaseLost,
    NotQueued,
    StaleEpoch,
)
from bot.types import Arrival


@dataclass
class Asked:
    """A shopper's message."""

    client_id: str
    text: str
    seq: int
    outcome: str | None = None
    holder: str | None = None
    until: float = 0.0


@dataclass
class Waiting:
    """An open handoff."""

    opened_seq: int
    agent: str | None = None
    until: float = 0.0


@dataclass
class Talk:
    """One conversation: its log as (type, epoch, what), its messages by id, its open handoff."""

    owner: str = "bot"
    epoch: int = 1
    log: list[tuple[str, int, str]] = field(default_factory=list)
    messages: dict[str, Asked] = field(default_factory=dict)
    handoff: Waiting | None = None

    def write(self, type: str, what: str) -> int:
        self.log.append((type, self.epoch, what))
        return len(self.log)

    def change_owner(self, owner: str, *, joined: str = "", left: str = "") -> None:
        self.owner, self.epoch = owner, self.epoch + 1
        if left:
            self.write("agent.left", left)
        self.write("owner.changed", owner)
        if joined:
            self.write("agent.joined", joined)
        if owner == "closed":
            self.write("csat.requested", "human")

    def must_be_at(self, epoch: int | None) -> None:
        if epoch not in (None, self.epoch):
            raise StaleEpoch

    def first(self, client_id: str, text: str) -> int | None:
        """The seq of what was written with this `client_id`."""
        for asked in self.messages.values():
            if asked.client_id == client_id:
                if asked.text != text:
                    raise IdempotencyConflict
                return asked.seq
        return None

    @property
    def next(self) -> tuple[str, Asked] | None:
        """The oldest message without an outcome."""
        return next(((id, asked) for id, asked in self.messages.items() if asked.outcome is None), None)


class Model:
    """All conversations, and the time."""

    def __init__(self, capacity: int, lease_s: float) -> None:
        self.talks: dict[str, Talk] = {}
        self.capacity, self.lease_s, self.now = capacity, lease_s, 0.0

    def held(self, agent: str) -> set[str]:
        return {id for id, talk in self.talks.items() if talk.handoff and talk.handoff.agent == agent}

    def append_message(self, id: str, client_id: str, message_id: str, text: str) -> tuple[int, Arrival]:
        talk = self.talks[id]
        if (first := talk.first(client_id, text)) is not None:
            return first, "known"
        if talk.owner == "closed":
            raise ConversationClosed
        seq = talk.write("message.created", text)
        outcome: Literal["relayed"] | None = None if talk.owner == "bot" else "relayed"
        talk.messages[message_id] = Asked(client_id, text, seq, outcome)
        return seq, outcome or "waits"

    def append_reply(self, id: str, client_id: str, message_id: str, text: str, epoch: int) -> int:
        talk = self.talks[id]
        if (first := talk.first(client_id, text)) is not None:
            return first
        talk.must_be_at(epoch)
        seq = talk.write("message.created", text)
        talk.messages[message_id] = Asked(client_id, text, seq, "relayed")
        return seq

    def append(self, id: str, what: str, epoch: int | None) -> int:
        talk = self.talks[id]
        talk.must_be_at(epoch)
        return talk.write("message.created", what)

    def take_turn(self, me: str, id: str) -> str | None:
        if (found := self.talks[id].next) is None:
            return None
        message_id, asked = found
        if asked.holder not in (None, me) and asked.until > self.now:
            return None
        asked.holder, asked.until = me, self.now + self.lease_s
        return message_id

    def hold_turns(self, me: str) -> set[tuple[str, str]]:
        mine = set()
        for id, talk in self.talks.items():
            for message_id, asked in talk.messages.items():
                if asked.outcome is None and asked.holder == me:
                    asked.until = self.now + self.lease_s
                    mine.add((id, message_id))
            if talk.next and self.take_turn(me, id):
                mine.add((id, talk.next[0]))
        return mine

    def settle(self, me: str, id: str, message_id: str, outcome: str) -> bool:
        asked = self.talks[id].messages[message_id]
        if asked.outcome is not None:
            return False
        if asked.holder not in (None, me):
            raise LeaseLost
        asked.outcome = outcome
        return True

    def complete(self, me: str, id: str, message_id: str, epoch: int) -> int | None:
        talk = self.talks[id]
        if not self.settle(me, id, message_id, "answered"):
            return None
        self._or_undo(talk, message_id, epoch)
        return talk.write("message.completed", message_id)

    def hand_off(self, me: str, id: str, message_id: str | None, epoch: int) -> tuple[int | None, bool]:
        talk = self.talks[id]
        ends = message_id is None or self.settle(me, id, message_id, "handed_off")
        if talk.handoff is not None:
            return talk.handoff.opened_seq, False
        if not ends:
            return None, False
        self._or_undo(talk, message_id, epoch)
        talk.change_owner("queued")
        talk.handoff = Waiting(len(talk.log))
        return len(talk.log), True

    def _or_undo(self, talk: Talk, message_id: str | None, epoch: int) -> None:
        try:
            talk.must_be_at(epoch)
        except StaleEpoch:
            if message_id is not None:
                talk.messages[message_id].outcome = None
            raise

    def claim(self, id: str, agent: str) -> tuple[str, int]:
        talk = self.talks[id]
        if talk.handoff is None:
            raise NotQueued
        if talk.handoff.agent != agent:
            if talk.handoff.agent is not None:
                raise AlreadyClaimed(talk.handoff.agent)
            if len(self.held(agent)) >= self.capacity:
                raise AtCapacity
            talk.handoff.agent = agent
            talk.change_owner(f"human:{agent}", joined=agent)
        talk.handoff.until = self.now + self.lease_s
        return talk.owner, talk.epoch

    def renew(self, agent: str) -> None:
        for id in self.held(agent):
            handoff = self.talks[id].handoff
            assert handoff is not None
            handoff.until = self.now + self.lease_s

    def release(self, id: str, agent: str, to: str, epoch: int | None) -> tuple[str, int]:
        talk = self.talks[id]
        if talk.handoff is None or talk.handoff.agent is None:
            raise NotQueued
        if talk.handoff.agent != agent:
            raise AlreadyClaimed(talk.handoff.agent)
        talk.must_be_at(epoch)
        if to == "queue":
            talk.handoff.agent = None
        else:
            talk.handoff = None
        talk.change_owner({"queue": "queued"}.get(to, to), left=agent)
        return talk.owner, talk.epoch

    def expire(self) -> set[str]:
        over = {
            id for id, talk in self.talks.items()
            if talk.handoff and talk.handoff.agent and talk.handoff.until <= self.now
        }  # fmt: skip
        for id in over:
            talk = self.talks[id]
            assert talk.handoff is not None and talk.handoff.agent is not None
            left, talk.handoff.agent = talk.handoff.agent, None
            talk.change_owner("queued", left=left)
        return over
