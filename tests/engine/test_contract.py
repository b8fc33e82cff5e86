"""What every engine does alike."""

import asyncio
from contextlib import aclosing

import pytest

from bot.errors import EngineError
from bot.types import Message
from tests.small_model import RECITED

MESSAGES = [Message("system", "You help."), Message("user", "How long does delivery take? 多久？")]


async def text_of(engine, max_tokens=100):
    async with asyncio.timeout(10):
        return [piece async for piece in engine.stream(MESSAGES, max_tokens=max_tokens)]


async def test_text_is_streamed_in_pieces_and_complete(make):
    pieces = await text_of(await make())
    assert "".join(pieces) == RECITED
    assert len(pieces) > 3
    assert not any("\ufffd" in piece for piece in pieces)


async def test_the_same_prompt_gets_the_same_answer_again(make):
    engine = await make()
    assert await text_of(engine) == await text_of(engine)


async def test_the_longest_answer_is_kept_to_without_an_error(make):
    text = "".join(await text_of(await make(), max_tokens=2))
    assert text and text != RECITED and RECITED.startswith(text)


async def test_closing_the_iterator_frees_the_engine_for_the_next(make):
    engine = await make(for_ever=True)
    for _ in range(3):
        async with asyncio.timeout(5), aclosing(engine.stream(MESSAGES, max_tokens=1_000_000)) as stream:
            assert await anext(stream)


async def test_cancelling_whoever_reads_frees_the_engine_for_the_next(make):
    engine, begun = await make(for_ever=True), asyncio.Event()

    async def read():
        async with aclosing(engine.stream(MESSAGES, max_tokens=1_000_000)) as stream:
            async for _ in stream:
                begun.set()

    for _ in range(2):
        begun.clear()
        task = asyncio.create_task(read())
        async with asyncio.timeout(5):
            await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_two_who_ask_at_once_both_get_the_whole_answer(make):
    engine = await make()
    assert await asyncio.gather(text_of(engine), text_of(engine)) == [await text_of(engine)] * 2


async def test_a_failure_is_an_engine_error_and_nothing_hangs(make):
    engine = await make(broken=True)
    for _ in range(2):
        with pytest.raises(EngineError):
            await text_of(engine)


async def test_the_count_grows_with_the_messages(make):
    engine = await make()
    counts = [
        engine.count(MESSAGES[:1]),
        engine.count(MESSAGES),
        engine.count([*MESSAGES, Message("assistant", "三天。")]),
        engine.count([*MESSAGES, Message("assistant", "三天。" * 10)]),
    ]
    assert counts == sorted(set(counts))
    assert counts[0] > 0


async def test_an_engine_has_a_name_and_the_fingerprint_of_its_rendering(make):
    engine = await make()
    assert engine.name
    assert len(engine.fingerprint) == 16


async def test_closing_twice_does_no_harm(make):
    engine = await make()
    await engine.aclose()
    await engine.aclose()
