"""Two processes on one store and one bus: a turn is told by one, and each hears what the other's shoppers want."""

import asyncio
import math
from contextlib import aclosing

import pytest

from bot import live as under_test
from bot.bus.memory import CAPACITY, MemoryBus
from bot.engine.scripted import ScriptedEngine
from bot.live import Live
from tests.parts import TEMPLATES, make_bot, start

QUESTION = "How long does standard delivery take?"
ANSWER = "Standard delivery takes 3 to 5 business days and costs $5.95. [1] Express delivery costs $14.95. [1]"


@pytest.fixture
async def processes(tmp_path):
    """Two, whose answers take a while, and which hear each other."""
    bus, made, hearing = MemoryBus(), [], []
    for _ in range(2):
        engine = ScriptedEngine(TEMPLATES, lambda _: ANSWER, delay_s=0.01)
        made.append(Live(make_bot(tmp_path, engine=engine), bus, grace_s=0.05, retry_s=0.01))
        hearing.append(asyncio.create_task(made[-1].hear()))
    await asyncio.sleep(0)
    yield made
    for task in hearing:
        task.cancel()
    for live in made:
        await live.aclose(0)
        await live.bot.store.aclose()


async def told(live, conversation, count=1):
    """(message, outcome) of the answers in the log, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            log = await live.bot.store.store.events(conversation)
            done = [e.data for e in log if e.type == "message.completed"]
            if len(done) >= count:
                return [(data["reply_to"], data["outcome"]) for data in done]
            await asyncio.sleep(0.005)


async def rested(*processes):
    """Once no turn is told any more: its end stands in the log a moment before it is counted."""
    async with asyncio.timeout(20):
        while any(line.task for live in processes for line in live._lines.values()):
            await asyncio.sleep(0.005)


async def answering(live, conversation, deltas=0):
    """The answer's id, once it is being written and so many deltas have been told."""
    async with asyncio.timeout(20):
        while (found := live.in_flight(conversation)) is None or len(found[1]) < deltas:
            await asyncio.sleep(0.001)
    return found[0]


async def heard_by_both(here, there):
    """A conversation whose answer `here` has begun and does not end, and which both listen to."""
    conversation, _ = await start(here.bot, QUESTION)
    here.join(conversation)
    there.join(conversation)
    here.bot.engine._delay_s = 100.0
    here.start(conversation)
    await answering(here, conversation)
    return conversation


async def test_a_message_is_answered_by_one_process(processes):
    here, there = processes
    conversation, message = await start(here.bot, QUESTION)
    here.start(conversation)
    there.start(conversation)
    assert await told(here, conversation) == [(message, "answered")]
    await rested(here, there)
    assert sorted([here.outcomes, there.outcomes], key=len) == [{}, {"answered": 1}]
    assert "complete" not in (here if here.outcomes == {} else there).bot.store.calls


async def test_the_next_message_waits_for_the_one_before_whoever_tells_it(processes):
    here, there = processes
    conversation, one = await start(here.bot, QUESTION)
    here.start(conversation)
    await answering(here, conversation)
    _, two = await start(there.bot, "And express delivery?", conversation=conversation)
    there.start(conversation)
    assert await told(here, conversation, 2) == [(one, "answered"), (two, "answered")]
    await rested(here, there)
    assert there.outcomes == {}


async def test_a_turn_that_nobody_tells_is_taken_up(processes):
    here, there = processes
    conversation, message = await start(here.bot, QUESTION)
    assert await there.recover() == 1
    assert await told(there, conversation) == [(message, "answered")]
    assert await here.recover() == 0


async def test_a_process_that_slept_through_its_lease_stops_and_leaves_the_turn_to_the_other(processes, monkeypatch):
    here, there = processes
    conversation, message = await start(here.bot, QUESTION)
    monkeypatch.setattr(under_test, "LEASE_S", 0.0)
    here.bot.engine._delay_s = 100.0
    here.start(conversation)
    await answering(here, conversation)
    monkeypatch.setattr(under_test, "LEASE_S", 60.0)
    await there.recover()
    for _ in range(2):
        await here.recover()
    assert await told(there, conversation) == [(message, "answered")]
    async with asyncio.timeout(20):
        while here._lines or there._lines:
            await asyncio.sleep(0.005)
    assert (here.outcomes, there.outcomes) == ({}, {"answered": 1})


async def test_a_turn_keeps_its_lease_while_its_process_goes_down(processes, monkeypatch):
    here, there = processes
    conversation, message = await start(here.bot, QUESTION)
    here.start(conversation)
    await answering(here, conversation)
    closing = asyncio.create_task(here.aclose())
    await asyncio.sleep(0)
    await start(here.bot, QUESTION)
    assert await here.recover() == 1
    await closing
    assert await told(there, conversation) == [(message, "answered")]


async def test_an_answer_is_cancelled_from_elsewhere(processes):
    here, there = processes
    conversation, message = await start(here.bot, QUESTION)
    here.bot.engine._delay_s = 100.0
    here.start(conversation)
    await there.stop(conversation, "m_another")
    await there.stop(conversation, await answering(here, conversation))
    assert await told(here, conversation) == [(message, "truncated")]


async def test_an_answer_goes_on_while_somebody_listens_elsewhere(processes):
    here, there = processes
    here.grace_s = 0.2
    conversation, message = await start(here.bot, QUESTION)
    here.join(conversation)
    there.join(conversation)
    here.bot.engine._delay_s = 0.02
    here.start(conversation)
    await answering(here, conversation)
    await here.leave(conversation)
    assert await told(here, conversation) == [(message, "answered")]


async def test_an_answer_ends_after_the_last_listener_of_all_has_gone(processes):
    here, there = processes
    conversation, message = await start(here.bot, QUESTION)
    there.join(conversation)
    here.bot.engine._delay_s = 100.0
    here.start(conversation)
    await answering(here, conversation)
    await there.leave(conversation)
    assert await told(here, conversation) == [(message, "truncated")]


async def test_who_listens_elsewhere_within_the_grace_keeps_the_answer(processes):
    here, there = processes
    here.grace_s = 1000.0
    conversation, _ = await start(here.bot, QUESTION)
    here.join(conversation)
    here.bot.engine._delay_s = 100.0
    here.start(conversation)
    await answering(here, conversation)
    await here.leave(conversation)
    assert here._lines[conversation].grace is not None
    await there.ask(conversation)
    async with asyncio.timeout(20):
        while here._lines[conversation].grace is not None:
            await asyncio.sleep(0)


async def test_an_answer_in_flight_is_told_again_to_who_asks_elsewhere(processes):
    here, there = processes
    conversation, _ = await start(here.bot, QUESTION)
    here.start(conversation)
    answer = await answering(here, conversation, deltas=1)
    async with aclosing(there.bus.subscribe(conversation)) as items:
        await there.ask(conversation)
        async with asyncio.timeout(20):
            first, second = await anext(items), await anext(items)
    assert (first["type"], first["data"]) == ("message.started", {"message_id": answer})
    assert (second["type"], second["data"]["message_id"], second["data"]["index"]) == ("message.delta", answer, 0)


class LossyBus(MemoryBus):
    """Loses what is published while it is away, and knows it afterwards."""

    lost_at, asked, away = -math.inf, 0, False

    async def publish(self, topic, item):
        if self.away:
            self.lost_at, self.asked = asyncio.get_running_loop().time(), self.asked + (item["type"] == "left")
        else:
            await super().publish(topic, item)


async def test_while_the_bus_is_away_nobody_is_given_up_and_who_listens_is_asked_again_after(processes):
    here, there = processes
    here.bus.__class__ = LossyBus
    conversation = await heard_by_both(here, there)
    here.bus.away = True
    await here.leave(conversation)
    async with asyncio.timeout(20):
        while here.bus.asked < 3:
            await asyncio.sleep(0.005)
    here.bus.away = False
    line = here._lines[conversation]
    async with asyncio.timeout(20):
        while line.grace is not None:
            await asyncio.sleep(0.005)
    assert not line.given_up


async def test_who_may_not_have_been_heard_is_asked_again(processes):
    here, there = processes
    conversation = await heard_by_both(here, there)
    await here.leave(conversation)
    for _ in range(CAPACITY):  # in the same moment, so that no more fits
        await there.stop("c_another")
    line = here._lines[conversation]
    async with asyncio.timeout(20):
        while line.grace is not None:
            await asyncio.sleep(0.005)
    assert not line.given_up
