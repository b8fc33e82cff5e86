"""What a listener of the bus is told, item by item."""

from __future__ import annotations

from bot.bus.memory import LAGGED, MemoryBus


async def test_nothing_comes_between_the_loss_and_the_word_of_it():
    bus = MemoryBus(capacity=3)
    slow = bus.subscribe("c_1")
    for n in range(4):
        await bus.publish("c_1", {"n": n})
    assert await anext(slow) == {"n": 0}
    await bus.publish("c_1", {"n": 4})  # there is room again, but what came before it was lost
    assert [await anext(slow) for _ in range(3)] == [{"n": 1}, {"n": 2}, LAGGED]
    await bus.publish("c_1", {"n": 5})
    assert await anext(slow) == {"n": 5}


async def test_topic_without_listeners_is_forgotten():
    bus = MemoryBus()
    one, two = bus.subscribe("c_1"), bus.subscribe("c_1")
    await one.aclose()
    assert bus.topics == {"c_1"}
    await two.aclose()
    assert bus.topics == set()


async def test_words_of_a_loss_that_wait_are_one():
    bus = MemoryBus()
    listener = bus.subscribe("c_1")
    for n in range(3):
        bus.hand_out("c_1", LAGGED)
        await bus.publish("c_1", {"n": n})
    assert [await anext(listener) for _ in range(4)] == [LAGGED, {"n": 0}, {"n": 1}, {"n": 2}]
    bus.hand_out("c_1", LAGGED)
    assert await anext(listener) == LAGGED
