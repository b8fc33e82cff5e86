"""What is under way: turns are told to their end, whatever the database and the listeners do."""

import asyncio
from contextlib import aclosing

import pytest

from bot import live as under_test
from bot import turn
from bot.bus.memory import MemoryBus
from bot.engine.scripted import ScriptedEngine
from bot.history import read_log
from bot.live import Live
from tests.parts import TEMPLATES, make_bot, start

QUESTION = "How long does standard delivery take?"
ANSWER = "Standard delivery takes 3 to 5 business days and costs $5.95. [1]"


@pytest.fixture
async def live(tmp_path):
    live = Live(make_bot(tmp_path), MemoryBus(), grace_s=0.1, retry_s=0.01)
    yield live
    await live.aclose(0)
    await live.bot.store.aclose()


def slow(live):
    engine = ScriptedEngine(TEMPLATES, lambda _: ANSWER, delay_s=0.01)
    object.__setattr__(live.bot, "engine", engine)
    return engine


async def until(live, conversation, type, count=1):
    """The events of this type, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            found = [e for e in await live.bot.store.store.events(conversation) if e.type == type]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.005)


async def test_a_turn_whose_first_read_fails_is_told_again(live):
    conversation, message = await start(live.bot, QUESTION)
    live.bot.store.failing["read"] = 3
    async with aclosing(live.bus.subscribe(conversation)) as items:
        live.start(conversation)
        [done] = await until(live, conversation, "message.completed")
        first = await anext(items)
    assert (done.data["reply_to"], done.data["outcome"]) == (message, "answered")
    assert (first["type"], first["data"]["code"]) == ("error", "try_later")
    assert first["data"]["request_id"]
    assert await live.bot.store.unfinished() == []


async def test_a_turn_whose_last_write_fails_is_told_again_and_ends_once(live):
    conversation, message = await start(live.bot, QUESTION)
    live.bot.store.failing |= {"complete": 1, "hand_off": 1}
    live.start(conversation)
    [done] = await until(live, conversation, "message.completed")
    assert done.data["outcome"] == "answered"
    assert [e.type for e in await live.bot.store.events(conversation)] == ["message.created", "message.completed"]


async def test_a_turn_that_was_written_although_the_write_failed_is_not_told_again(live):
    conversation, message = await start(live.bot, QUESTION)
    live.bot.store.lost["complete"] = 1
    live.bot.store.failing["hand_off"] = 1
    async with aclosing(live.bus.subscribe(conversation)) as items:
        live.start(conversation)
        async with asyncio.timeout(20):
            async for item in items:
                assert "seq" not in item
                if item["type"] == "log.grown":
                    break
    assert live.bot.store.calls.count("complete") == 1


async def test_the_next_message_waits_until_the_one_before_is_answered(live):
    conversation, one = await start(live.bot, QUESTION)
    _, two = await start(live.bot, "And express delivery?", conversation=conversation)
    live.bot.store.failing["read"] = 2
    live.start(conversation)
    live.start(conversation)
    done = await until(live, conversation, "message.completed", 2)
    assert [event.data["reply_to"] for event in done] == [one, two]


async def test_a_conversation_in_which_nothing_waits_is_let_be(live):
    live.start("c_none")
    await asyncio.wait_for(live._lines["c_none"].task, 20)
    assert live.bot.store.calls == ["take_turn"]
    assert live._lines == {}


async def test_a_database_that_stays_away_does_not_hold_up_the_end(live):
    live.retry_s = 1000.0
    conversation, message = await start(live.bot, QUESTION)
    live.bot.store.failing["read"] = 1000
    live.start(conversation)
    while live.bot.store.failing["read"] == 1000:
        await asyncio.sleep(0)
    await asyncio.wait_for(live.aclose(), 20)
    assert await live.bot.store.unfinished() == [(conversation, message)]


async def test_a_turn_that_is_taken_while_the_end_comes_is_left_for_the_next_start(live):
    slow(live)
    conversation, message = await start(live.bot, QUESTION)
    taking, taken = asyncio.Event(), asyncio.Event()

    async def take_turn(*args, **named):
        taking.set()
        await taken.wait()
        return await live.bot.store.store.take_turn(*args, **named)

    live.bot.store.take_turn = take_turn
    live.start(conversation)
    await taking.wait()
    ending = asyncio.create_task(live.aclose(0))
    await asyncio.sleep(0.05)
    taken.set()
    await asyncio.wait_for(ending, 20)
    assert [e.type for e in await live.bot.store.events(conversation)] == ["message.created"]
    assert await live.bot.store.unfinished() == [(conversation, message)]
    live.bot.store.store._me = "another process"
    assert await live.bot.store.store.hold_turns(lease_s=10, most=1) == [(conversation, message)]


def test_the_pause_grows_up_to_a_limit():
    pauses = [under_test.retry_pause_s(attempt, 1.0) for attempt in (0, 1, 2, 3, 4, 5, 1000)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


async def test_stopping_an_answer_twice_loses_no_later_message(live):
    slow(live)
    conversation, one = await start(live.bot, QUESTION)
    _, two = await start(live.bot, "And express delivery?", conversation=conversation)
    live.start(conversation)
    live.start(conversation)
    while live.in_flight(conversation) is None:
        await asyncio.sleep(0)
    for _ in range(3):
        assert live.cancel(conversation, one)
        await asyncio.sleep(0)
    done = await until(live, conversation, "message.completed", 2)
    assert [(e.data["reply_to"], e.data["outcome"]) for e in done] == [(one, "truncated"), (two, "answered")]


async def test_of_many_turns_that_were_left_no_more_are_taken_up_than_can_be_told(live, monkeypatch):
    monkeypatch.setattr(under_test, "SWEPT", 2)
    engine = slow(live)
    engine._delay_s = 100.0
    for _ in range(3):
        await start(live.bot, QUESTION)
    held = []
    for _ in range(2):
        held.append(await live.recover())
        while engine.running < 2:
            await asyncio.sleep(0.005)
    assert held == [2, 2]
    [first, _] = live._lines
    live.cancel(first)
    while live.busy(first):
        await asyncio.sleep(0.005)
    assert await live.recover() == 2
    assert len(await live.bot.store.unfinished()) == 2


async def test_a_turn_reads_the_log_once(live):
    conversation, _ = await start(live.bot, QUESTION)
    live.bot.store.calls.clear()
    live.start(conversation)
    await asyncio.wait_for(live._lines[conversation].task, 20)
    assert live.bot.store.calls == ["take_turn", "read", "complete", "take_turn"]


async def test_a_turn_that_is_stopped_before_it_was_told_has_ended_too(live):
    conversation, message = await start(live.bot, QUESTION)
    live.start(conversation)
    while not live.cancel(conversation, message):
        await asyncio.sleep(0)
    await asyncio.wait_for(live._lines[conversation].task, 20)
    assert await live.bot.store.unfinished() == []
    assert (await live.bot.store.events(conversation))[-1].data["outcome"] == "truncated"


async def test_a_stopped_turn_of_a_conversation_that_a_human_has_taken_says_nothing(live):
    conversation, message = await start(live.bot, QUESTION)
    head, log = await turn.whole_log(live.bot.store, conversation)
    told = read_log(log, message)
    await turn.hand_off(live.bot, head, told, "asked_for_person", language="en", announce=live.news.announce)
    live.start(conversation)
    while not live.cancel(conversation, message):
        await asyncio.sleep(0)
    await asyncio.wait_for(live._lines[conversation].task, 20)
    assert await live.bot.store.unfinished() == []
    assert "message.completed" not in {e.type for e in await live.bot.store.events(conversation)}


async def test_the_time_left_to_an_old_answer_does_not_end_a_later_one(live):
    conversation, one = await start(live.bot, QUESTION)
    live.join(conversation)
    live.start(conversation)
    await live.leave(conversation)  # from here on the first answer has 0.1 s
    await until(live, conversation, "message.completed")
    slow(live)
    live.join(conversation)
    _, two = await start(live.bot, QUESTION + " Please.", conversation=conversation)
    live.start(conversation)
    done = await until(live, conversation, "message.completed", 2)
    assert done[1].data["outcome"] == "answered"


async def outcomes(live):
    """How many messages ended how, once all turns are told."""
    await asyncio.wait_for(asyncio.gather(*(line.task for line in live._lines.values() if line.task)), 20)
    assert await live.bot.store.unfinished() == []
    return live.outcomes


async def test_a_stop_that_comes_before_its_turn_begins_is_kept(live):
    engine = slow(live)
    conversation, one = await start(live.bot, QUESTION)
    _, two = await start(live.bot, "And express delivery?", conversation=conversation)
    live.join(conversation)
    live.start(conversation)
    await live.stop(conversation, one)
    assert await outcomes(live) == {"cancelled": 1, "answered": 1}
    done = [e.data for e in await live.bot.store.events(conversation) if e.type == "message.completed"]
    assert [(d["reply_to"], d["outcome"], d["text"] == "") for d in done] == [
        (one, "truncated", True), (two, "answered", False)
    ]  # fmt: skip
    assert engine.running == 0


async def test_once_the_time_is_over_nothing_more_is_told_to_nobody(live):
    slow(live)
    conversation, _ = await start(live.bot, QUESTION)
    await start(live.bot, "And express delivery?", conversation=conversation)
    live.join(conversation)
    live.start(conversation)
    await live.leave(conversation)
    assert await outcomes(live) == {"cancelled": 2}


async def test_who_comes_back_is_answered_what_still_waits(live):
    slow(live)
    conversation, _ = await start(live.bot, QUESTION)
    await start(live.bot, "And express delivery?", conversation=conversation)
    live.join(conversation)
    live.start(conversation)
    await live.leave(conversation)
    while not live.outcomes:  # the first one's time is over
        story = live._lines[conversation].story
        if story is not None and story.cancelling():
            live.join(conversation)
            break
        await asyncio.sleep(0)
    assert await outcomes(live) == {"cancelled": 1, "answered": 1}


async def test_a_stop_whose_first_write_fails_is_kept(live):
    slow(live)
    conversation, _ = await start(live.bot, QUESTION)
    live.join(conversation)
    live.start(conversation)
    while live.in_flight(conversation) is None:
        await asyncio.sleep(0)
    live.bot.store.failing["complete"] = 1
    await live.stop(conversation, live.in_flight(conversation)[0])
    assert await outcomes(live) == {"cancelled": 1}


async def test_each_of_several_stops_is_kept(live):
    slow(live)
    conversation, _ = await start(live.bot, QUESTION)
    waiting = [
        (await start(live.bot, text, conversation=conversation))[1] for text in ("And express?", "And returns?")
    ]
    live.join(conversation)
    live.start(conversation)
    for message in waiting:
        await live.stop(conversation, message)
    assert await outcomes(live) == {"answered": 1, "cancelled": 2}
