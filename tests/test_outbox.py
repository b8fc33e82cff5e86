"""The outbox: in order, bounded, and without a task while nothing waits."""

import asyncio

import pytest

from bot.outbox import Full, Outbox


class Reader:
    """Takes texts while it may."""

    def __init__(self, error=None):
        self.took, self.error = [], error
        self.may = asyncio.Event()

    async def take(self, text):
        await self.may.wait()
        if self.error:
            raise self.error
        self.took.append(text)


async def test_texts_are_sent_in_order_and_the_sender_goes():
    reader = Reader()
    reader.may.set()
    outbox = Outbox(reader.take)
    for n in range(50):
        outbox.put(str(n))
    await outbox.empty()
    await asyncio.sleep(0)
    assert reader.took == [str(n) for n in range(50)]
    assert (outbox.bytes, outbox._sender) == (0, None)


async def test_a_reader_that_takes_nothing_is_given_up_at_the_bound_and_nothing_is_kept():
    outbox = Outbox(Reader().take, most_bytes=1000)
    most = 0
    with pytest.raises(Full):
        while True:
            outbox.put("你" * 30)
            most = max(most, outbox.bytes)
            await asyncio.sleep(0)
    assert 1000 <= most < 1090
    assert outbox.bytes <= 90  # what is being sent
    await outbox.aclose()
    assert (outbox.bytes, outbox._sender) == (0, None)


async def test_who_has_much_to_say_waits_for_room():
    reader = Reader()
    outbox = Outbox(reader.take, most_bytes=1000)

    async def speak():
        for _ in range(100):
            await outbox.room()
            outbox.put("x" * 100)

    speaking = asyncio.create_task(speak())
    for _ in range(20):
        await asyncio.sleep(0)
    assert outbox.bytes == 600 and not speaking.done()
    reader.may.set()
    await asyncio.wait_for(speaking, 5)
    await outbox.empty()
    assert len(reader.took) == 100


async def test_once_sending_failed_nothing_waits_and_the_next_text_is_told_why():
    reader = Reader(RuntimeError("gone"))
    outbox = Outbox(reader.take)
    outbox.put("1")
    outbox.put("2")
    reader.may.set()
    await asyncio.wait_for(outbox.empty(), 5)
    with pytest.raises(RuntimeError, match="gone"):
        outbox.put("3")
    assert outbox.bytes == 0
