"""What every store does with the log, whichever database."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from bot.errors import ConversationClosed, IdempotencyConflict, NotFound, StaleEpoch, StoreError
from bot.protocols import Store
from bot.types import Conversation, Event
from tests.store.steps import claim, queued, release


async def created(store: Store, **changes) -> Conversation:
    values = {"site": "shop", "locale": "en", "shopper_id": "s_1", "resume_hash": "ab" * 32} | changes
    return await store.create(**values)


async def said(store: Store, conversation_id: str, n: int = 1, text: str = "Where is it?") -> Event:
    event, _ = await store.append_message(conversation_id, client_id=f"k{n}", message_id=f"m{n}", text=text)
    return event


async def answer(store: Store, conversation_id: str, n: int = 1, *, epoch: int = 1, outcome: str = "answered"):
    return await store.complete(
        conversation_id, message_id=f"m{n}", outcome=outcome, type="message.completed", data={"n": n}, epoch=epoch
    )


async def test_new_conversation_belongs_to_the_bot_and_has_an_empty_log(store):
    made = await created(store, locale="zh", shopper_id=None)
    assert made == Conversation(made.id, "shop", "zh", None, "bot", 1, 0, "ab" * 32)
    assert await store.conversation(made.id) == made
    assert await store.events(made.id) == []


async def test_conversations_have_ids_of_their_own(store):
    ids = {made.id for made in await asyncio.gather(*(created(store) for _ in range(50)))}
    assert len(ids) == 50


async def test_unknown_conversation_is_not_found(store):
    nowhere = "c_none"
    for call in (
        store.conversation(nowhere), store.read(nowhere), store.append(nowhere, "read", {}), said(store, nowhere),
        answer(store, nowhere), store.settle(nowhere, message_id="m1", outcome="relayed"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await call
    assert await store.events(nowhere) == []


async def test_events_come_back_as_they_were_written(store, clock):
    clock.now = 1_790_000_000.25
    made = await created(store)
    data = {"text": "退货\u0000 \ud800 \"'\\", "n": [1, 2.5, None, True], "empty": {}}
    event = await store.append(made.id, "feedback", data)
    assert event == Event(made.id, 1, 1, "2026-09-21T14:13:20.250Z", "feedback", data)
    assert await store.events(made.id) == [event]


async def test_events_after_a_seq_up_to_a_limit(store):
    made = await created(store)
    for n in range(6):
        await store.append(made.id, "read", {"n": n})
    assert [e.seq for e in await store.events(made.id, after=2)] == [3, 4, 5, 6]
    assert [e.seq for e in await store.events(made.id, after=2, limit=2)] == [3, 4]
    assert await store.events(made.id, after=6) == []
    found, page = await store.read(made.id, after=2, limit=2)
    assert (found, [e.seq for e in page]) == (await store.conversation(made.id), [3, 4])


async def test_log_of_one_conversation_holds_nothing_of_another(store):
    one, two = await created(store), await created(store)
    await store.append(one.id, "read", {"n": 1})
    await store.append(two.id, "read", {"n": 2})
    assert [e.data for e in await store.events(one.id)] == [{"n": 1}]


async def test_stale_epoch_writes_nothing(store):
    made = await created(store)
    await said(store, made.id)
    for epoch in (0, 2):
        with pytest.raises(StaleEpoch):
            await store.append(made.id, "message.created", {}, epoch=epoch)
        with pytest.raises(StaleEpoch):
            await answer(store, made.id, epoch=epoch)
    assert (await store.conversation(made.id)).seq == 1
    assert await store.unfinished() == [(made.id, "m1")]


async def test_repeated_message_is_one_and_the_first(store):
    made = await created(store)
    first, arrival = await store.append_message(made.id, client_id="k", message_id="m1", text="Hi")
    again, arrival_again = await store.append_message(made.id, client_id="k", message_id="m2", text="Hi")
    assert first.data == {"message_id": "m1", "role": "shopper", "text": "Hi"}
    assert (arrival, arrival_again, again) == ("waits", "known", first)
    assert await store.events(made.id) == [first]


async def test_client_id_with_another_text_is_a_conflict(store):
    made = await created(store)
    await said(store, made.id, text="Hi")
    with pytest.raises(IdempotencyConflict):
        await said(store, made.id, text="Bye")
    assert (await store.conversation(made.id)).seq == 1


async def test_closed_conversation_takes_no_new_message_and_knows_the_old_ones(store, clock):
    made = await queued(store, clock)
    first = await said(store, made, 1, text="Hi")
    await claim(store, made)
    await release(store, made, "closed")
    with pytest.raises(ConversationClosed):
        await said(store, made, 2, text="Still there?")
    assert await said(store, made, 1, text="Hi") == first
    assert await store.unfinished() == []


async def test_client_id_belongs_to_its_conversation(store):
    one, two = await created(store), await created(store)
    await said(store, one.id, text="Hi")
    assert (await said(store, two.id, text="Bye")).data["text"] == "Bye"


async def test_messages_sent_again_and_again_at_once_are_written_once(new_store):
    """P2: one to five times each, racing, over two connections."""
    stores = [new_store(), new_store()]
    made = await created(stores[0])
    sends = [n for n in range(20) for _ in range(1 + n % 5)]
    random.Random(7).shuffle(sends)
    tries = itertools.count()

    async def send(n: int) -> tuple[int, int, str]:
        store = stores[next(tries) % 2]
        event, arrival = await store.append_message(
            made.id, client_id=f"k{n}", message_id=f"m{n}-{next(tries)}", text=str(n)
        )
        return n, event.seq, arrival

    answers = await asyncio.gather(*(send(n) for n in sends))
    assert sorted(n for n, _, arrival in answers if arrival == "waits") == list(range(20))
    assert len({(n, seq) for n, seq, _ in answers}) == 20
    assert (await stores[0].conversation(made.id)).seq == 20


async def test_seq_has_no_gaps_under_eight_writers(new_store):
    """P3: two processes' worth of connections; the same history for everyone who looks."""
    stores = [new_store(), new_store()]
    made = await created(stores[0])

    async def write(writer: int) -> list[Event]:
        return [await stores[writer % 2].append(made.id, "read", {"by": writer, "n": n}) for n in range(15)]

    written = [event for events in await asyncio.gather(*map(write, range(8))) for event in events]
    history = await stores[0].events(made.id)
    assert [e.seq for e in history] == list(range(1, 121))
    assert sorted(written, key=lambda e: e.seq) == history == await stores[1].events(made.id)
    for writer in range(8):
        assert [e.data["n"] for e in history if e.data["by"] == writer] == list(range(15))


async def test_refused_write_leaves_no_gap(store):
    made = await created(store)
    await asyncio.gather(
        *(store.append(made.id, "read", {"n": n}, epoch=1 + n % 2) for n in range(20)), return_exceptions=True
    )
    assert [e.seq for e in await store.events(made.id)] == list(range(1, 11))


async def test_turn_ends_once(store):
    made = await created(store)
    await said(store, made.id)
    event = await answer(store, made.id)
    assert event == Event(made.id, 2, 1, event.ts, "message.completed", {"n": 1})
    assert await answer(store, made.id) is None
    assert await answer(store, made.id, epoch=9) is None
    assert await store.settle(made.id, message_id="m1", outcome="relayed") is False
    assert (await store.conversation(made.id)).seq == 2


async def test_racing_ends_of_one_turn_give_one_event(new_store):
    stores = [new_store(), new_store()]
    made = await created(stores[0])
    await said(stores[0], made.id)
    ends = await asyncio.gather(
        *(answer(stores[n % 2], made.id) for n in range(8)),
        *(stores[n % 2].settle(made.id, message_id="m1", outcome="cancelled") for n in range(8)),
    )
    assert len([end for end in ends if end]) == 1
    assert (await stores[0].conversation(made.id)).seq == (2 if any(ends[:8]) else 1)


async def test_unfinished_are_the_messages_without_an_outcome_oldest_first(store, clock):
    one, two = await created(store), await created(store)
    for n, made in enumerate((two, one, two, one)):
        await said(store, made.id, n)
        clock.now += 1
    await answer(store, one.id, 1)
    assert await store.unfinished() == [(two.id, "m0"), (two.id, "m2"), (one.id, "m3")]
    assert await store.settle(two.id, message_id="m0", outcome="relayed") is True
    assert await store.unfinished() == [(two.id, "m2"), (one.id, "m3")]


async def test_what_is_committed_is_seen_by_another_process_at_once(new_store):
    here, there = new_store(), new_store()
    made = await created(here)
    for n in range(10):
        event = await here.append(made.id, "read", {"n": n})
        assert (await there.events(made.id))[-1] == event


async def test_cancelled_caller_leaves_the_store_working(store):
    made = await created(store)
    tasks = [asyncio.create_task(store.append(made.id, "read", {"n": n})) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.append(made.id, "read", {"n": 20})
    history = await store.events(made.id)
    assert [e.seq for e in history] == list(range(1, len(history) + 1))
    assert {n for n in range(20) if n % 2} | {20} <= {e.data["n"] for e in history}


async def test_data_that_is_no_json_fails_alone(store):
    made = await created(store)
    good, bad, good_too = await asyncio.gather(
        store.append(made.id, "read", {"n": 1}),
        store.append(made.id, "read", {"n": object()}),
        store.append(made.id, "read", {"n": 2}),
        return_exceptions=True,
    )
    assert isinstance(bad, TypeError)
    assert [e.data["n"] for e in await store.events(made.id)] == [good.data["n"], good_too.data["n"]]


async def test_ping_answers(store):
    await store.ping()
    await store.ping()


async def test_closed_store_says_so(store):
    await store.aclose()
    await store.aclose()
    for call in (store.ping(), store.unfinished()):
        with pytest.raises(StoreError, match="closed"):
            await call
