"""The bound on what is generated at once."""

import asyncio
from contextlib import aclosing

from bot.engine.bounded import BoundedEngine
from bot.engine.scripted import ScriptedEngine
from bot.types import Message
from tests.parts import TEMPLATES

MESSAGES = [Message("user", "How long does delivery take?")]


async def test_no_more_are_generated_at_once_than_allowed_and_all_come_to_their_end():
    inner, most = ScriptedEngine(TEMPLATES, lambda _: "Delivery takes 3 days."), 0
    engine = BoundedEngine(inner, 2)

    async def read():
        nonlocal most
        text = ""
        async for piece in engine.stream(MESSAGES, max_tokens=100):
            most = max(most, inner.running)
            text += piece
        return text

    assert await asyncio.gather(*(read() for _ in range(9))) == ["Delivery takes 3 days."] * 9
    assert (most, inner.running) == (2, 0)


async def test_who_gives_up_waiting_holds_up_nobody():
    engine = BoundedEngine(ScriptedEngine(TEMPLATES, lambda _: "Delivery takes 3 days."), 1)
    async with aclosing(engine.stream(MESSAGES, max_tokens=100)) as first:
        await anext(first)
        waiting = asyncio.create_task(anext(engine.stream(MESSAGES, max_tokens=100)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert await asyncio.wait_for(anext(engine.stream(MESSAGES, max_tokens=100)), 5)
