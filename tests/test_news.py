"""Who is told what of the queue: all that changed together, with one reading of it."""

import asyncio
from contextlib import aclosing

import pytest

from bot import news as under_test
from bot.bus.memory import MemoryBus
from bot.news import DESK, News
from bot.types import Handoff
from tests.parts import make_bot


@pytest.fixture
async def store(tmp_path):
    store = make_bot(tmp_path).store
    yield store
    await store.aclose()


@pytest.fixture
async def news(store, monkeypatch):
    monkeypatch.setattr(under_test, "QUEUE_S", 0.01)
    monkeypatch.setattr(under_test, "AWAY_S", 0.01)
    news = News(store, MemoryBus())
    telling = asyncio.create_task(news.tell_queue())
    yield news
    telling.cancel()


async def queued(store, count):
    """Conversations in the queue, the first come first."""
    made = []
    for n in range(count):
        conversation = (await store.create(site="t", locale="en", shopper_id=None, resume_hash="h")).id
        handoff = Handoff(conversation, "asked_for_person", 1, float(n), "", "", (), (), locale="en")
        await store.hand_off(conversation, epoch=1, handoff=handoff, text="Wait.", message_id=None)
        made.append(conversation)
    return made


async def told(items):
    """The next place that a listener is told."""
    item = await asyncio.wait_for(anext(items), 20)
    assert item["type"] == "queue.position"
    return item["data"]["position"]


async def test_many_changes_of_a_long_queue_are_told_with_two_readings(store, news):
    waiting = await queued(store, 50)
    async with aclosing(news._bus.subscribe(DESK)) as desk, aclosing(news._bus.subscribe(waiting[-1])) as last:
        store.calls.clear()
        for _ in waiting:
            news.queue_changed()
        assert await told(last) == 50
        for _ in waiting:  # while the first ones are told
            news.queue_changed()
        assert await told(last) == 50
        assert store.calls == ["queue", "queue"]
        assert [(await anext(desk))["type"] for _ in range(2)] == ["queue.changed"] * 2


async def test_shoppers_who_come_back_together_are_told_their_places_with_one_reading(store, news):
    waiting = await queued(store, 20)
    async with aclosing(news._bus.subscribe(DESK)) as desk, aclosing(news._bus.subscribe(waiting[0])) as first:
        store.calls.clear()
        listening = [news._bus.subscribe(conversation) for conversation in waiting[1:]]
        for conversation in waiting[1:]:
            news.ask_place(conversation)
        assert [await told(items) for items in listening] == list(range(2, 21))
        assert store.calls == ["queue"]
        news.queue_changed()
        assert await told(first) == 1  # Nobody else's place was asked for before.
        assert len(desk._items) == 1


async def test_a_queue_that_cannot_be_read_is_told_once_it_can(store, news):
    [conversation] = await queued(store, 1)
    store.failing["queue"] = 2
    async with aclosing(news._bus.subscribe(conversation)) as items:
        news.ask_place(conversation)
        assert await told(items) == 1
