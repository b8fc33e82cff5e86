"""Steps that the queue's tests share."""

from __future__ import annotations

from bot.protocols import Store
from bot.types import Conversation, Handoff

SAID = {"en": "Back in the queue.", "zh": "已回到队列。"}


def handoff(conversation_id: str, *, since: float, priority: int = 0, locale: str = "en") -> Handoff:
    return Handoff(
        conversation_id, "asked_for_person", priority, since, "Wants a refund.\nOrder 1001.", "退款?\u0000",
        mood_trace=(0.1, 0.75), passage_ids=("en/policy/returns#Refunds",), locale=locale,
    )  # fmt: skip


async def queued(store: Store, clock, *, priority: int = 0, locale: str = "en", asked: str = "") -> str:
    """A conversation that waits; `asked` is the id of a message that the bot has not answered before."""
    made = await store.create(site="shop", locale=locale, shopper_id=None, resume_hash="ab")
    if asked:
        await store.append_message(made.id, client_id="k", message_id=asked, text="Hello?")
    waits = handoff(made.id, since=clock.now, priority=priority, locale=locale)
    await store.hand_off(made.id, epoch=1, handoff=waits, text="A person comes.", message_id=None)
    return made.id


async def claim(store: Store, conversation_id: str, agent: str = "ann", *, capacity: int = 5) -> Conversation:
    return await store.claim(
        conversation_id, agent_id=agent, name=agent.title(), capacity=capacity, lease_s=60, text="Here I am."
    )


async def release(store: Store, conversation_id: str, to: str, agent: str = "ann", **more) -> Conversation:
    return await store.release(conversation_id, agent_id=agent, to=to, text="Over.", **more)


async def told(store: Store, conversation_id: str, after: int = 0) -> list[tuple[int, str, dict]]:
    return [(e.epoch, e.type, e.data) for e in await store.events(conversation_id, after=after)]


async def waiting(store: Store) -> list[str]:
    return [h.conversation_id for h in await store.queue() if h.agent_id is None]
