"""What every bus does, whichever backend."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from bot.protocols import Subscription

LAGGED = {"type": "lagged"}


async def heard(listener: Subscription, n: int) -> list[dict[str, Any]]:
    """The next n items, besides the word that others may have been missed."""
    items: list[dict[str, Any]] = []
    async with asyncio.timeout(5):
        while len(items) < n:
            item = await anext(listener)
            if item != LAGGED:
                items.append(item)
    return items


async def test_listener_hears_what_is_published_in_order(new_bus):
    bus = new_bus()
    async with aclosing(bus.subscribe("c_1")) as listener:
        for n in range(50):
            await bus.publish("c_1", {"n": n})
        assert await heard(listener, 50) == [{"n": n} for n in range(50)]


async def test_every_listener_hears_every_item(new_bus):
    bus = new_bus()
    async with aclosing(bus.subscribe("c_1")) as one, aclosing(bus.subscribe("c_1")) as two:
        await bus.publish("c_1", {"text": "你好\u0000\ud800"})
        assert await heard(one, 1) == await heard(two, 1) == [{"text": "你好\u0000\ud800"}]


async def test_listener_hears_its_topic_only(new_bus):
    bus = new_bus()
    async with aclosing(bus.subscribe("c_1")) as listener:
        await bus.publish("c_2", {"n": 1})
        await bus.publish("c_1", {"n": 2})
        assert await heard(listener, 1) == [{"n": 2}]


async def test_what_was_published_before_is_not_heard(new_bus):
    bus = new_bus()
    await bus.publish("c_1", {"n": 1})
    async with aclosing(bus.subscribe("c_1")) as listener:
        await bus.publish("c_1", {"n": 2})
        assert await heard(listener, 1) == [{"n": 2}]


async def test_slow_listener_is_skipped_then_told_then_hears_again(new_bus):
    bus = new_bus(capacity=3)
    slow, quick = bus.subscribe("c_1"), bus.subscribe("c_1")
    for n in range(5):
        await bus.publish("c_1", {"n": n})
        assert await heard(quick, 1) == [{"n": n}]
    items = []
    while not items or "again" not in items[-1]:
        await bus.publish("c_1", {"again": len(items)})
        items.append(await asyncio.wait_for(anext(slow), 5))
    assert items[-2] == LAGGED
    assert {"n": 0} in items
    assert {"n": 3} not in items


async def test_closing_ends_the_iteration_of_a_waiting_reader(new_bus):
    bus = new_bus()
    listener = bus.subscribe("c_1")

    async def read() -> list[dict[str, Any]]:
        return [item async for item in listener if item != LAGGED]

    reader = asyncio.create_task(read())
    await asyncio.sleep(0)
    await listener.aclose()
    assert await asyncio.wait_for(reader, 5) == []


async def test_closed_listener_hears_nothing_more(new_bus):
    bus = new_bus()
    listener = bus.subscribe("c_1")
    await bus.publish("c_1", {"n": 1})
    await listener.aclose()
    await bus.publish("c_1", {"n": 2})
    with pytest.raises(StopAsyncIteration):
        await anext(listener)


async def test_closing_the_bus_ends_every_subscription(new_bus):
    bus = new_bus()
    listeners = [bus.subscribe("c_1"), bus.subscribe("c_2")]
    await bus.aclose()
    for listener in listeners:
        with pytest.raises(StopAsyncIteration):
            await anext(listener)


async def test_bus_closes_at_any_moment_of_its_start(new_bus):
    for moment in range(40):
        bus = new_bus()
        bus.subscribe("c_1")
        await bus.publish("c_1", {"n": 1})
        for _ in range(moment):
            await asyncio.sleep(0)
        await asyncio.wait_for(bus.aclose(), 5)
