"""Who sits at the desk, whichever process they sit in."""

import asyncio

import pytest

from bot import seats as under_test
from bot.bus.memory import MemoryBus
from bot.seats import Seats


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
async def processes(clock):
    """Two that hear each other."""
    bus = MemoryBus()
    made = [Seats(bus, now=lambda: clock[0]) for _ in range(2)]
    keeping = [asyncio.create_task(seats.keep()) for seats in made]
    await settled()
    yield made
    for task in keeping:
        task.cancel()


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_seats_of_all_processes_count_and_each_human_agent_once(processes):
    here, there = processes
    async with here.take("anna"), there.take("li"), there.take("bo"):
        await settled()
        assert (here.taken(), there.taken()) == (3, 3)
    await settled()
    assert (here.taken(), there.taken()) == (0, 0)


async def test_who_sits_down_in_another_process_loses_the_seat_in_the_first(processes):
    here, there = processes
    async with here.take("anna") as older, here.take("li") as colleague:
        await settled()
        async with there.take("anna") as newer:
            await settled()
            assert (older.is_set(), newer.is_set(), colleague.is_set()) == (True, False, False)
            assert (here.taken(), there.taken()) == (2, 2)
        async with here.take("anna") as again:
            await settled()
            assert not again.is_set()
            assert (here.taken(), there.taken()) == (2, 2)


async def test_a_process_that_is_heard_no_more_has_no_seats(processes, clock):
    here, there = processes
    async with there.take("anna"):
        await settled()
        clock[0] += under_test.GONE_S
        assert (here.taken(), there.taken()) == (0, 1)
