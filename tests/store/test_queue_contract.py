"""What every store does with the queue: hand off and claim, whichever database."""

from __future__ import annotations

import asyncio
import random

import pytest

from bot.errors import AlreadyClaimed, AtCapacity, NotFound, NotQueued, StaleEpoch
from bot.types import Conversation, Event
from tests.store.steps import SAID, claim, handoff, queued, release, told, waiting


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


async def test_a_turn_that_has_ended_opens_no_handoff(store, clock):
    """P6: who slept while another process answered hands nobody off on waking."""
    made = await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    await store.append_message(made.id, client_id="k", message_id="m", text="Hi")
    await store.complete(made.id, message_id="m", outcome="answered", type="message.completed", data={}, epoch=1)
    waits = handoff(made.id, since=clock.now)
    assert await store.hand_off(made.id, epoch=1, handoff=waits, text="", message_id="m") == (None, False)
    assert await store.queue() == []
    assert (await store.conversation(made.id)).owner == "bot"


async def test_second_handoff_finds_the_first(store, clock):
    id = await queued(store, clock, asked="m")
    first = (await store.events(id))[1]
    again = await store.hand_off(
        id, epoch=1, handoff=handoff(id, since=clock.now + 9, priority=2), text="", message_id="m"
    )
    assert again == (first, False)
    assert await store.unfinished() == []
    assert [h.priority for h in await store.queue()] == [0]


async def test_message_that_is_not_for_the_bot_ends_as_it_is_written(store, clock):
    """P6: in its own transaction, so that no turn has to."""
    id = await queued(store, clock)
    written, arrival = await store.append_message(id, client_id="1", message_id="m1", text="Hello?")
    again, arrival_again = await store.append_message(id, client_id="1", message_id="m1", text="Hello?")
    assert (arrival, arrival_again, again) == ("relayed", "known", written)
    await claim(store, id)
    assert (await store.append_message(id, client_id="2", message_id="m2", text="There?"))[1] == "relayed"
    assert await store.take_turn(id, lease_s=8) is None
    assert await store.unfinished() == []
    await release(store, id, "bot")
    assert (await store.append_message(id, client_id="3", message_id="m3", text="And now?"))[1] == "waits"
    assert await store.unfinished() == [(id, "m3")]


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
    id = await queued(store, clock, asked="m")
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
