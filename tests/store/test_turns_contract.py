"""What every store does with a turn: one process holds it for a time, and only who holds it ends it."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bot.errors import LeaseLost
from tests.store.steps import handoff

LEASE_S = 8.0


async def asked(store, *numbers, conversation=None):
    """A conversation with these messages of a shopper."""
    if conversation is None:
        made = await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
        conversation = made.id
    for n in numbers:
        await store.append_message(conversation, client_id=f"k{n}", message_id=f"m{n}", text="Where is it?")
    return conversation


async def take(store, conversation):
    return await store.take_turn(conversation, lease_s=LEASE_S)


async def hold(store, most=100):
    return await store.hold_turns(lease_s=LEASE_S, most=most)


async def complete(store, conversation, message="m1", outcome="answered"):
    return await store.complete(
        conversation, message_id=message, outcome=outcome, type="message.completed", data={}, epoch=1
    )


@pytest.fixture
def here(new_store):
    return new_store()


@pytest.fixture
def there(here, new_store):
    return new_store()


async def test_a_turn_is_held_by_one_process(here, there):
    conversation = await asked(here, 1)
    assert await take(here, conversation) == "m1"
    assert await take(there, conversation) is None
    assert await hold(there) == []
    assert await take(here, conversation) == "m1"


async def test_a_turn_that_is_left_may_be_taken_at_once_by_another_process(here, there):
    conversation = await asked(here, 1)
    assert await take(here, conversation) == "m1"
    await there.leave_turn(conversation, message_id="m1")  # not theirs
    assert await take(there, conversation) is None

    await here.leave_turn(conversation, message_id="m1")

    assert await take(there, conversation) == "m1"
    assert await take(here, conversation) is None


async def test_turns_of_a_conversation_are_taken_in_order_and_one_at_a_time(here, there):
    conversation = await asked(here, 1, 2)
    assert await take(here, conversation) == "m1"
    assert await take(there, conversation) is None
    assert await take(here, conversation) == "m1"
    await complete(here, conversation)
    assert await take(there, conversation) == "m2"
    assert await take(here, conversation) is None


async def test_nothing_is_taken_where_every_message_has_its_outcome(here):
    conversation = await asked(here, 1)
    await complete(here, conversation)
    assert await take(here, conversation) is None
    assert await take(here, "c_none") is None
    assert await hold(here) == []


async def test_a_lease_that_ran_out_lets_another_process_take_the_turn(here, there, clock):
    conversation = await asked(here, 1)
    await take(here, conversation)
    clock.now += LEASE_S - 0.1
    assert await hold(there) == []
    clock.now += 0.1
    assert await hold(there) == [(conversation, "m1")]
    assert await hold(here) == []


async def test_who_lost_the_lease_cannot_end_the_turn(here, there, clock):
    conversation = await asked(here, 1)
    await take(here, conversation)
    clock.now += LEASE_S
    await take(there, conversation)
    with pytest.raises(LeaseLost):
        await complete(here, conversation)
    with pytest.raises(LeaseLost):
        await here.settle(conversation, message_id="m1", outcome="cancelled")
    with pytest.raises(LeaseLost):
        waits = handoff(conversation, since=clock.now)
        await here.hand_off(conversation, epoch=1, handoff=waits, text="", message_id="m1")
    assert (await here.conversation(conversation)).owner == "bot"
    assert (await here.queue(), [e.type for e in await here.events(conversation)]) == ([], ["message.created"])
    assert (await complete(there, conversation)).seq == 2
    assert await complete(here, conversation) is None


async def test_a_lease_that_ran_out_unnoticed_still_ends_the_turn(here, clock):
    conversation = await asked(here, 1)
    await take(here, conversation)
    clock.now += 10 * LEASE_S
    assert (await complete(here, conversation)).seq == 2


async def test_a_renewed_lease_lasts(here, there, clock):
    conversations = sorted([await asked(here, 1), await asked(here, 2)])
    for conversation in conversations:
        await take(here, conversation)
    for _ in range(3):
        clock.now += LEASE_S / 2
        assert sorted(c for c, _ in await hold(here, most=0)) == conversations
    assert await hold(there) == []


async def test_a_lease_given_by_a_clock_that_was_set_back_a_day_is_over(here, there, clock):
    conversation = await asked(here, 1)
    await take(here, conversation)
    clock.now -= 86_400
    assert await take(there, conversation) == "m1"


async def test_what_nobody_took_is_taken_oldest_first_and_as_much_as_is_wanted(here, there, clock):
    conversations = []
    for n in range(3):
        conversations.append(await asked(here, n))
        clock.now += 1
    await asked(here, 9, conversation=conversations[0])
    assert await hold(there, most=0) == []
    assert await hold(there, most=2) == [(conversations[0], "m0"), (conversations[1], "m1")]
    assert await hold(here, most=2) == [(conversations[2], "m2")]


async def test_racing_processes_take_each_turn_once(new_store):
    stores = [new_store() for _ in range(4)]
    conversations = [await asked(stores[0], 1, 2) for _ in range(12)]
    took = Counter()

    async def race(store, n):
        for conversation in conversations[n:] + conversations[:n]:
            if await take(store, conversation):
                took[conversation] += 1

    await asyncio.gather(*(race(store, 3 * n) for n, store in enumerate(stores)))
    assert took == Counter(conversations)


async def test_racing_sweeps_take_each_turn_once(new_store):
    stores = [new_store() for _ in range(4)]
    conversations = {await asked(stores[0], 1, 2) for _ in range(12)}
    swept = await asyncio.gather(*(hold(store, most=4) for store in stores))
    rest = await asyncio.gather(*(hold(store) for store in stores))
    assert [len(set(sweep)) for sweep in swept] == [len(sweep) for sweep in swept]
    held = [place for sweep in rest for place in sweep]
    assert (len(held), {conversation for conversation, _ in held}) == (12, conversations)


async def test_racing_ends_of_a_turn_that_changed_hands_write_one(new_store, clock):
    stores = [new_store() for _ in range(4)]
    conversation = await asked(stores[0], 1)
    for store in stores:
        assert await take(store, conversation) == "m1"
        clock.now += LEASE_S
    ends = await asyncio.gather(*(complete(s, conversation) for s in stores * 2), return_exceptions=True)
    assert {type(end) for end in ends if isinstance(end, Exception)} <= {LeaseLost}
    assert len([end for end in ends if end is not None and not isinstance(end, Exception)]) == 1
    assert [e.type for e in await stores[0].events(conversation)] == ["message.created", "message.completed"]
