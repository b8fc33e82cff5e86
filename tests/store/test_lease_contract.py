"""What every store does with a claim: lease, fence, release, whichever database."""

from __future__ import annotations

import asyncio

import pytest

from bot.errors import AlreadyClaimed, IdempotencyConflict, NotQueued, StaleEpoch
from tests.store.steps import SAID, claim, handoff, queued, release, told, waiting


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


async def test_repeated_reply_is_one_the_first_and_the_claims(store, clock):
    id = await queued(store, clock)
    held = await claim(store, id)

    async def reply(text="Hi", epoch=held.epoch, client_id="ann 1"):
        data = {"message_id": f"m{clock.now}", "role": "human", "text": text}
        clock.now += 1
        return await store.append_reply(id, client_id=client_id, data=data, epoch=epoch)

    first = await reply()
    assert (first.seq, first.type, first.data["text"]) == (4, "message.created", "Hi")
    assert await asyncio.gather(*(reply() for _ in range(8))) == [first] * 8
    with pytest.raises(IdempotencyConflict):
        await reply("Bye")
    with pytest.raises(StaleEpoch):
        await reply(epoch=held.epoch - 1, client_id="ann 2")
    assert (await reply(client_id="ann 2")).seq == 5
    assert await store.unfinished() == []


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
    closed, asked = (await told(store, id))[-2:]
    assert (closed[2]["reason"], asked[1:]) == ("closed", ("csat.requested", {"about": "human"}))
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
