"""The swappable parts, as Protocols; every backend has the same contract test.

Synchronous methods may take long: the story calls them in threads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Protocol

from bot.types import Arrival, Conversation, Event, Handoff, Hit, Language, Message, Mood, Order


class Engine(Protocol):
    """Generates the answer to a prompt."""

    name: str
    """Base model and adapter, as they stand on an answer's release."""
    fingerprint: str
    """Of the rendering in use: templates and chat template."""

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt."""
        ...

    def stream(
        self, messages: Sequence[Message], *, max_tokens: int, only: Sequence[str] = ()
    ) -> AsyncGenerator[str, None]:
        """Text as it is generated; closing the iterator stops the generation. Raises EngineError.

        Args:
            only: sentences of which alone a small model may make its answer; an engine that cannot heed that need not.
        """
        ...

    async def aclose(self) -> None:
        """Stop what runs and free what is held."""
        ...


class Retriever(Protocol):
    """Finds passages."""

    generation: str
    """Id of the index: changes when the documents, the encoder or the known questions change."""

    def search(self, query: str, *, language: Language, top_k: int, context: Sequence[str] = ()) -> list[Hit]:
        """Best first. `context` holds the shopper's earlier messages, oldest first."""
        ...


class SentimentModel(Protocol):
    """Reads the mood of messages."""

    def predict(self, texts: Sequence[str]) -> list[Mood]:
        """One mood a text, in order."""
        ...


class Orders(Protocol):
    """The shop's orders."""

    def lookup(self, number: str, shopper_id: str) -> Order | None:
        """The order if it is this shopper's; None alike for another's and for none at all."""
        ...

    def recent(self, shopper_id: str, limit: int = 3) -> list[Order]:
        """The shopper's orders, newest first."""
        ...


class Subscription(Protocol):
    """What a listener holds: `async with aclosing(bus.subscribe(topic)) as items: async for item in items`."""

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """Itself."""
        ...

    async def __anext__(self) -> dict[str, Any]:
        """The next item; waits for it."""
        ...

    async def aclose(self) -> None:
        """Stop listening; the iteration ends."""
        ...


class Bus(Protocol):
    """Tells listeners in this and other processes that something was published; never the truth."""

    @property
    def lost_at(self) -> float:
        """When an item from or to another process may last have been lost, on the event loop's clock; -inf: never."""
        ...

    async def publish(self, topic: str, item: dict[str, Any]) -> None:
        """Hand an item to whoever listens; a full listener is skipped, never waited for."""
        ...

    def subscribe(self, topic: str) -> Subscription:
        """Items published after the call, until closed; `{"type": "lagged"}` if some may be lost: read the log."""
        ...

    async def aclose(self) -> None:
        """End every subscription and close connections."""
        ...


class Store(Protocol):
    """The log and the queue. Every method is one transaction; StoreError if the database fails.

    An `epoch` that is not the conversation's current one raises StaleEpoch and writes nothing.
    """

    async def create(self, *, site: str, locale: Language, shopper_id: str | None, resume_hash: str) -> Conversation:
        """A new conversation, owned by the bot, epoch 1, with an empty log."""
        ...

    async def conversation(self, conversation_id: str) -> Conversation:
        """Raises NotFound."""
        ...

    async def events(self, conversation_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Events with a greater `seq`, in order."""
        ...

    async def read(
        self, conversation_id: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[Conversation, list[Event]]:
        """Both in one go; the events may be younger than the conversation, never older. Raises NotFound."""
        ...

    async def append(
        self, conversation_id: str, type: str, data: dict[str, Any], *, epoch: int | None = None
    ) -> Event:
        """Write one event. `epoch` None writes on nobody's behalf (feedback, joined, left)."""
        ...

    async def append_message(
        self, conversation_id: str, *, client_id: str, message_id: str, text: str
    ) -> tuple[Event, Arrival]:
        """A shopper's message as `message.created`, or the one that was written first with this `client_id`.

        One that is not for the bot has its outcome at once, `relayed`.
        Raises IdempotencyConflict if the known one has another text, ConversationClosed if a new one comes too late.
        """
        ...

    async def append_reply(self, conversation_id: str, *, client_id: str, data: dict[str, Any], epoch: int) -> Event:
        """A human agent's message as `message.created`, or the one that was written first with this `client_id`.

        Raises IdempotencyConflict if the known one has another text. The conversation's shopper must not be able
        to choose the same id.
        """
        ...

    async def complete(
        self, conversation_id: str, *, message_id: str, outcome: str, type: str, data: dict[str, Any], epoch: int
    ) -> Event | None:
        """End the turn of shopper message `message_id` with its one outcome and one event.

        None if the turn has ended already. Raises LeaseLost if another process holds it.
        """
        ...

    async def settle(self, conversation_id: str, *, message_id: str, outcome: str) -> bool:
        """End a turn that needs no event (relayed, cancelled); False if it has ended already. Raises LeaseLost."""
        ...

    async def take_turn(self, conversation_id: str, *, lease_s: float) -> str | None:
        """Hold the turn of the conversation's oldest message without an outcome for so long; the message's id.

        None if there is none, or another process holds it. What this one holds already it holds for longer.
        """
        ...

    async def leave_turn(self, conversation_id: str, *, message_id: str) -> None:
        """Hold a turn no longer that this process took and has told nothing of: another may take it at once."""
        ...

    async def hold_turns(self, *, lease_s: float, most: int) -> list[tuple[str, str]]:
        """Hold for longer what this process holds, and take at most `most` turns that nobody does (any more).

        Returns (conversation id, message id) of all that it holds now.
        """
        ...

    async def unfinished(self) -> list[tuple[str, str]]:
        """(conversation id, message id) of shopper messages without an outcome, oldest first."""
        ...

    async def hand_off(
        self, conversation_id: str, *, epoch: int, handoff: Handoff, text: str, message_id: str | None
    ) -> tuple[Event | None, bool]:
        """Owner becomes `queued` in the transaction of its cause: handoff row, `owner.changed`, outcome.

        At most one handoff is open: a second call returns the event of the first, and False. None and False,
        and nothing is written, if the turn of `message_id` has ended already. Raises LeaseLost.
        """
        ...

    async def queue(self) -> list[Handoff]:
        """Who waits and who is held, in the order of service (bot.handoff.order)."""
        ...

    async def claim(
        self, conversation_id: str, *, agent_id: str, name: str, capacity: int, lease_s: float, text: str
    ) -> Conversation:
        """Exactly one of any simultaneous claims wins. Claiming what one holds renews the lease.

        Raises NotQueued, AlreadyClaimed, AtCapacity.
        """
        ...

    async def renew(self, agent_id: str, *, lease_s: float) -> None:
        """Lengthen every lease of this human agent."""
        ...

    async def release(
        self, conversation_id: str, *, agent_id: str, to: str, text: str, note: str = "", epoch: int | None = None
    ) -> Conversation:
        """Give a held conversation to `bot`, `queue` (same place as before) or `closed`.

        Raises NotQueued if nobody holds it, AlreadyClaimed if another does, StaleEpoch.
        """
        ...

    async def expire(self, *, text: dict[Language, str]) -> list[str]:
        """Return conversations whose lease has run out to their place in the queue; their ids."""
        ...

    async def conversations_held(self, agent_id: str) -> list[str]:
        """Ids of what this human agent holds."""
        ...

    async def spend_code(self, code_id: str, *, lifetime_s: float) -> bool:
        """Mark a one-time code as used; False if it was already. Forgotten after `lifetime_s`."""
        ...

    async def ping(self) -> None:
        """Write and read, to know that the database answers."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
