"""What every store does with the queue, whichever database."""

from __future__ import annotations

import asyncio
import random

import pytest

from bot.errors import AlreadyClaimed, AtCapacity, NotFound, NotQueued, StaleEpoch
from bot.protocols import Store
from bot.types import Conversation, Event, Handoff

SAID = {"en": "Back in the queue.", "zh": "已回到队列。"}


def handoff(conversation_id: str, *, since: float, priority: int = 0, locale: str = "en") -> Handoff:
    return Handoff(
        conversation_id, "asked_for_person", priority, since, "Wants a refund.\nOrder 1001.", "退款?\u0000",
        mood_trace=(0.1, 0.75), passage_ids=("en/policy/returns#Refunds",), locale=locale,
    )  # fmt: skip


async def queued(store: Store, clock, *, priority: int = 0, locale: str = "en") -> str:
    made = await store.create(site="shop", locale=locale, shopper_id=None, resume_hash="ab")
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


async def test_handoff_queues_tells_and_ends_the_turn_that_caused_it(store, clock):
    made = await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    await store.append_message(made.id, client_id="k", message_id="m", text="A person!")
    waits = handoff(made.id, since=clock.now, priority=1)
    event, new = await store.hand_off(made.id, epoch=1, handoff=waits, text="A person comes.", message_id="m")
    data = {"owner": "queued", "epoch": 2, "reason": "asked_for_person", "text": "A person comes."}
    assert (event, new) == (Event(made.id, 2, 2, event.ts, "owner.changed", data), True)
    head = await store.conversation(made.id)
    assert (head.owner, head.epoch, head.seq) == ("queued", 2, 2)
    assert await store.queue() == [waits]
    assert await store.unfinished() == []
    assert await store.settle(made.id, message_id="m", outcome="relayed") is False


async def test_stale_handoff_writes_nothing(store, clock):
    made = await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    await store.append_message(made.id, client_id="k", message_id="m", text="Hi")
    with pytest.raises(StaleEpoch):
        waits = handoff(made.id, since=clock.now)
        await store.hand_off(made.id, epoch=2, handoff=waits, text="", message_id="m")
    assert await store.queue() == []
    assert await store.unfinished() == [(made.id, "m")]
    assert (await store.conversation(made.id)).seq == 1


async def test_second_handoff_finds_the_first(store, clock):
    id = await queued(store, clock)
    await store.append_message(id, client_id="k", message_id="m", text="Hello?")
    first = (await store.events(id))[0]
    again = await store.hand_off(
        id, epoch=1, handoff=handoff(id, since=clock.now + 9, priority=2), text="", message_id="m"
    )
    assert again == (first, False)
    assert await store.unfinished() == []
    assert [h.priority for h in await store.queue()] == [0]


async def test_sixteen_racing_handoffs_make_one(new_store, clock):
    """P8."""
    stores = [new_store(), new_store()]
    made = await stores[0].create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    results = await asyncio.gather(
        *(
            stores[n % 2].hand_off(
                made.id, epoch=1, handoff=handoff(made.id, since=clock.now), text="", message_id=None
            )
            for n in range(16)
        )
    )
    assert [new for _, new in results].count(True) == 1
    assert len({event.seq for event, _ in results}) == 1
    assert len(await stores[0].queue()) == 1
    assert (await stores[0].conversation(made.id)).seq == 1


async def test_queue_is_in_the_order_of_service_those_who_wait_first(store, clock):
    first = await queued(store, clock)
    clock.now += 10
    second, urgent = await queued(store, clock), await queued(store, clock, priority=2)
    clock.now += 10
    last = await queued(store, clock)
    assert await waiting(store) == [urgent, first, *sorted([second]), last]
    await claim(store, urgent)
    assert [h.conversation_id for h in await store.queue()] == [first, second, last, urgent]


async def test_claim_changes_the_owner_and_tells_who_came(store, clock):
    id = await queued(store, clock)
    head = await claim(store, id)
    assert (head.owner, head.epoch, head.seq) == ("human:ann", 3, 3)
    assert head == await store.conversation(id)
    assert await told(store, id, after=1) == [
        (3, "owner.changed", {"owner": "human:ann", "epoch": 3, "reason": "claimed", "text": "Here I am."}),
        (3, "agent.joined", {"name": "Ann"}),
    ]
    (held,) = await store.queue()
    assert (held.agent_id, held.lease_until) == ("ann", clock.now + 60)
    assert await store.conversations_held("ann") == [id]
    assert await store.conversations_held("bob") == []


async def test_bot_is_fenced_out_by_a_claim(store, clock):
    """P12."""
    id = await queued(store, clock)
    await store.append_message(id, client_id="k", message_id="m", text="Hello?")
    await claim(store, id)
    with pytest.raises(StaleEpoch):
        await store.complete(id, message_id="m", outcome="answered", type="message.completed", data={}, epoch=2)
    assert await store.unfinished() == [(id, "m")]


async def test_claim_needs_a_conversation_that_waits(store, clock):
    made = await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    with pytest.raises(NotQueued):
        await claim(store, made.id)
    with pytest.raises(NotFound):
        await claim(store, "c_none")
    id = await queued(store, clock)
    await claim(store, id)
    with pytest.raises(AlreadyClaimed) as lost:
        await claim(store, id, "bob")
    assert lost.value.agent_id == "ann"


async def test_claiming_again_renews_the_lease_and_writes_nothing(store, clock):
    id = await queued(store, clock)
    first = await claim(store, id, capacity=1)
    clock.now += 30
    assert await claim(store, id, capacity=1) == first
    assert [h.lease_until for h in await store.queue()] == [clock.now + 60]


@pytest.mark.parametrize("round", range(3))
async def test_exactly_one_of_32_simultaneous_claims_wins(new_store, clock, round):
    """P9."""
    stores = [new_store() for _ in range(4)]
    id = await queued(stores[0], clock)
    results = await asyncio.gather(*(claim(stores[n % 4], id, f"agent{n}") for n in range(32)), return_exceptions=True)
    winners = [result for result in results if isinstance(result, Conversation)]
    losers = [result for result in results if isinstance(result, AlreadyClaimed)]
    assert (len(winners), len(losers)) == (1, 31)
    assert {winners[0].owner} == {f"human:{lost.agent_id}" for lost in losers}
    assert (await stores[0].conversation(id)).seq == 3


async def test_full_agent_claims_no_more(store, clock):
    ids = [await queued(store, clock) for _ in range(3)]
    for id in ids[:2]:
        await claim(store, id, capacity=2)
    with pytest.raises(AtCapacity):
        await claim(store, ids[2], capacity=2)
    assert await waiting(store) == [ids[2]]
    await release(store, ids[0], "closed")
    assert (await claim(store, ids[2], capacity=2)).owner == "human:ann"


async def test_capacity_holds_when_one_agent_claims_everything_at_once(new_store, clock):
    """P11."""
    stores = [new_store() for _ in range(4)]
    ids = [await queued(stores[0], clock) for _ in range(16)]
    results = await asyncio.gather(
        *(claim(stores[n % 4], id, capacity=3) for n, id in enumerate(ids)), return_exceptions=True
    )
    assert [type(result) for result in results].count(Conversation) == 3
    assert [type(result) for result in results].count(AtCapacity) == 13
    assert len(await stores[0].conversations_held("ann")) == 3


async def test_agents_who_claim_each_others_conversations_at_once_never_deadlock(new_store, clock):
    stores = [new_store() for _ in range(4)]
    ids = [await queued(stores[0], clock) for _ in range(6)]
    chance = random.Random(3)

    async def work(n: int) -> None:
        agent, store = f"agent{n}", stores[n % 4]
        for _ in range(6):
            id = chance.choice(ids)
            try:
                await claim(store, id, agent, capacity=2)
                assert len(await store.conversations_held(agent)) <= 2
                await store.renew(agent, lease_s=1 + chance.random())
                await release(store, id, "queue", agent)
            except (AlreadyClaimed, AtCapacity, NotQueued):
                await store.expire(text=SAID)

    await asyncio.gather(*(work(n) for n in range(8)))
    for id in ids:
        events = await stores[0].events(id)
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        epochs = [e.data["epoch"] for e in events if e.type == "owner.changed"]
        assert epochs == list(range(2, len(epochs) + 2))


async def test_lease_that_runs_out_returns_the_conversation_to_its_place(store, clock):
    """P10."""
    first = await queued(store, clock, locale="zh")
    clock.now += 10
    second = await queued(store, clock)
    await claim(store, first)
    clock.now += 59
    assert await store.expire(text=SAID) == []
    third = await queued(store, clock)
    clock.now += 1
    assert await store.expire(text=SAID) == [first]
    assert await store.expire(text=SAID) == []
    assert await waiting(store) == [first, second, third]
    assert await told(store, first, after=3) == [
        (4, "agent.left", {"name": "Ann"}),
        (4, "owner.changed",
         {"owner": "queued", "epoch": 4, "reason": "returned_to_queue", "text": "已回到队列。"}),
    ]  # fmt: skip
    assert await store.conversations_held("ann") == []


async def test_agent_who_slept_through_the_lease_is_fenced_out(store, clock):
    id = await queued(store, clock)
    slept = await claim(store, id)
    clock.now += 61
    await store.expire(text=SAID)
    await claim(store, id, "bob")
    with pytest.raises(StaleEpoch):
        await store.append(id, "message.created", {"role": "human", "text": "Hi"}, epoch=slept.epoch)
    with pytest.raises(AlreadyClaimed):
        await release(store, id, "closed")
    assert (await store.conversation(id)).owner == "human:bob"


async def test_renewed_lease_lasts(store, clock):
    mine = [await queued(store, clock), await queued(store, clock)]
    other = await queued(store, clock)
    for id in mine:
        await claim(store, id)
    await claim(store, other, "bob")
    clock.now += 50
    await store.renew("ann", lease_s=60)
    clock.now += 50
    assert await store.expire(text=SAID) == [other]
    assert sorted(await store.conversations_held("ann")) == sorted(mine)


async def test_lease_given_by_a_clock_that_was_set_back_a_day_is_over(store, clock):
    id = await queued(store, clock)
    await claim(store, id)
    clock.now -= 86_400
    assert await store.expire(text=SAID) == [id]


async def test_racing_sweeps_return_a_conversation_once(new_store, clock):
    stores = [new_store() for _ in range(4)]
    ids = [await queued(stores[0], clock) for _ in range(4)]
    for id in ids:
        await claim(stores[0], id)
    clock.now += 61
    swept = await asyncio.gather(*(stores[n % 4].expire(text=SAID) for n in range(12)))
    assert sorted(id for sweep in swept for id in sweep) == sorted(ids)
    assert {(await stores[0].conversation(id)).seq for id in ids} == {5}


async def test_release_to_the_bot_lets_it_speak_again(store, clock):
    id = await queued(store, clock)
    held = await claim(store, id)
    head = await release(store, id, "bot", epoch=held.epoch)
    assert (head.owner, head.epoch) == ("bot", 4)
    assert await told(store, id, after=3) == [
        (4, "agent.left", {"name": "Ann"}),
        (4, "owner.changed", {"owner": "bot", "epoch": 4, "reason": "released", "text": "Over."}),
    ]
    assert await store.queue() == []
    await store.append(id, "message.created", {}, epoch=4)
    again, new = await store.hand_off(id, epoch=4, handoff=handoff(id, since=clock.now), text="", message_id=None)
    assert (again.epoch, new) == (5, True)


async def test_release_to_the_queue_keeps_the_place_and_the_note(store, clock):
    first = await queued(store, clock)
    clock.now += 10
    second = await queued(store, clock)
    await claim(store, first)
    await release(store, first, "queue", note="Needs a refund.")
    assert [(h.conversation_id, h.note) for h in await store.queue()] == [(first, "Needs a refund."), (second, "")]
    assert (await store.conversation(first)).owner == "queued"
    assert (await claim(store, first, "bob")).epoch == 5


async def test_closed_conversation_is_out_of_the_queue(store, clock):
    id = await queued(store, clock)
    await claim(store, id)
    head = await release(store, id, "closed")
    assert head.owner == "closed"
    assert (await told(store, id))[-1][2]["reason"] == "closed"
    assert await store.queue() == []
    with pytest.raises(NotQueued):
        await release(store, id, "bot")


async def test_release_is_for_the_holder_and_its_epoch(store, clock):
    id = await queued(store, clock)
    with pytest.raises(NotQueued):
        await release(store, id, "bot")
    await claim(store, id)
    with pytest.raises(AlreadyClaimed) as refused:
        await release(store, id, "bot", "bob")
    assert refused.value.agent_id == "ann"
    with pytest.raises(StaleEpoch):
        await release(store, id, "bot", epoch=2)
    with pytest.raises(ValueError, match="bob"):
        await release(store, id, "bob")
    assert (await store.conversation(id)).seq == 3


async def test_lease_longer_than_allowed_is_refused(store, clock):
    id = await queued(store, clock)
    with pytest.raises(ValueError, match="3600"):
        await store.claim(id, agent_id="ann", name="Ann", capacity=1, lease_s=7200, text="")
