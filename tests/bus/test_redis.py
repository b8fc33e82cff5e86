"""Redis is never the truth: losing it delays, and loses nothing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from bot.bus import redis as redis_bus
from bot.bus.redis import RedisBus
from bot.errors import SettingsError
from bot.protocols import Subscription

LAGGED = {"type": "lagged"}


class Proxy:
    """A TCP proxy in front of Redis that can be cut, closed and opened again."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._pipes: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.flows = asyncio.Event()
        self.flows.set()
        self.sent = bytearray()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        for source, sink, seen in ((reader, up_writer, self.sent), (up_reader, writer, bytearray())):
            pipe = asyncio.create_task(self._pipe(source, sink, seen))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, seen: bytearray) -> None:
        with suppress(OSError):
            try:
                while data := await source.read(65536):
                    await self.flows.wait()
                    seen += data
                    sink.write(data)
                    await sink.drain()
            finally:
                sink.close()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(redis_url)
    proxy = Proxy(parts.hostname or "127.0.0.1", parts.port or 6379)
    await proxy.open()
    yield proxy
    await proxy.close()


@pytest.fixture
def poll_s() -> float:
    """Longer than any test, unless a test says otherwise: a busy machine is silent now and then."""
    return 1000.0


@pytest.fixture
async def processes(proxy: Proxy, poll_s: float, monkeypatch) -> AsyncIterator[tuple[RedisBus, RedisBus]]:
    """Two buses, as two processes would have them, that reach Redis through the proxy."""
    monkeypatch.setattr(redis_bus, "POLL_S", poll_s)
    prefix = f"test-{secrets.token_hex(6)}:"
    buses = [RedisBus(f"redis://127.0.0.1:{proxy.port}/0", prefix=prefix, retry_s=0.01) for _ in range(2)]
    async with aclosing(buses[0]), aclosing(buses[1]):
        yield buses[0], buses[1]


async def until(listener: Subscription, found: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Items up to the one that is looked for."""
    items: list[dict[str, Any]] = []
    async with asyncio.timeout(8):
        while not items or not found(items[-1]):
            items.append(await anext(listener))
    return items


async def test_another_process_hears_each_item_once_and_in_order(processes):
    here, there = processes
    listener = there.subscribe("c_1")
    await until(listener, LAGGED.__eq__)
    own = here.subscribe("c_1")
    for n in range(300):
        await here.publish("c_1", {"n": n})
    last = {"n": 299}.__eq__
    assert await until(listener, last) == [{"n": n} for n in range(300)]
    assert [item for item in await until(own, last) if item != LAGGED] == [{"n": n} for n in range(300)]


async def test_subscription_is_announced_since_earlier_items_may_be_missed(processes):
    _, there = processes
    assert await until(there.subscribe("c_1"), LAGGED.__eq__) == [LAGGED]


async def test_process_hears_itself_without_redis(proxy, processes):
    here, _ = processes
    await proxy.close()
    listener = here.subscribe("c_1")
    await here.publish("c_1", {"n": 1})
    assert await until(listener, {"n": 1}.__eq__) == [{"n": 1}]


async def test_listener_is_told_when_redis_is_back(proxy, processes):
    here, there = processes
    listener = there.subscribe("c_1")
    await until(listener, LAGGED.__eq__)
    await proxy.close()
    await here.publish("c_1", {"n": 1})
    await proxy.open()
    await until(listener, LAGGED.__eq__)
    ask = asyncio.create_task(until(listener, {"n": 2}.__eq__))
    while not ask.done():
        await here.publish("c_1", {"n": 2})
        await asyncio.sleep(0.01)
    await ask


async def test_sender_that_lost_items_tells_every_listener(redis_url, proxy, processes):
    _, there = processes
    far = RedisBus(redis_url, prefix=there._prefix)
    async with aclosing(far):
        listener = far.subscribe("c_1")
        await until(listener, LAGGED.__eq__)
        await proxy.close()
        await there.publish("c_1", {"n": 1})
        await asyncio.sleep(0.05)
        await proxy.open()
        assert await until(listener, LAGGED.__eq__) == [LAGGED]


async def test_subscriptions_follow_the_listeners(processes):
    here, there = processes
    first = there.subscribe("c_1")
    await until(first, LAGGED.__eq__)
    await first.aclose()
    second = there.subscribe("c_1")
    third = there.subscribe("c_2")
    await until(third, LAGGED.__eq__)
    await here.publish("c_1", {"n": 1})
    assert {"n": 1} in await until(second, {"n": 1}.__eq__)


@pytest.mark.parametrize("poll_s", [0.05])
@pytest.mark.parametrize("how", ["away", "silent"])
async def test_listeners_read_the_log_every_moment_while_redis_says_nothing(proxy, processes, how):
    here, there = processes
    listener = there.subscribe("c_1")
    await until(listener, LAGGED.__eq__)
    if how == "away":
        await proxy.close()
    else:
        proxy.flows.clear()
    for _ in range(5):
        assert await until(listener, LAGGED.__eq__) == [LAGGED]
    if how == "away":
        await proxy.open()
    proxy.flows.set()
    ask = asyncio.create_task(until(listener, {"n": 1}.__eq__))
    while not ask.done():
        await here.publish("c_1", {"n": 1})
        await asyncio.sleep(0.01)
    await ask


async def test_silent_redis_is_taken_for_dead_and_called_again(proxy, processes, monkeypatch):
    monkeypatch.setattr(redis_bus, "SILENCE_S", 0.05)
    _, there = processes
    listener = there.subscribe("c_1")
    assert await until(listener, LAGGED.__eq__) == [LAGGED]
    assert await until(listener, LAGGED.__eq__) == [LAGGED]


async def test_idle_subscription_is_kept_by_pings(proxy, processes, monkeypatch):
    monkeypatch.setattr(redis_bus, "PING_S", 0.01)
    here, there = processes
    listener = there.subscribe("c_1")
    await until(listener, LAGGED.__eq__)
    async with asyncio.timeout(8):
        while proxy.sent.count(b"PING") < 3:
            await asyncio.sleep(0.01)
    await here.publish("c_1", {"n": 1})
    assert await until(listener, {"n": 1}.__eq__) == [{"n": 1}]


async def test_process_hears_its_own_items_once(processes):
    here, there = processes
    own, other = here.subscribe("c_1"), there.subscribe("c_1")
    await until(own, LAGGED.__eq__)
    await until(other, LAGGED.__eq__)
    await here.publish("c_1", {"n": 1})
    await until(other, {"n": 1}.__eq__)
    await there.publish("c_1", {"n": 2})  # reaches here after Redis's echo of the first
    assert await until(own, {"n": 2}.__eq__) == [{"n": 1}, {"n": 2}]


async def test_foreign_words_on_a_channel_are_ignored(processes):
    here, there = processes
    listener = there.subscribe("c_1")
    await until(listener, LAGGED.__eq__)
    for text in ("no json", "[]", '{"from": "x"}'):
        await here._redis.publish(here._prefix + "c_1", text)
    await here.publish("c_1", {"n": 1})
    assert await until(listener, {"n": 1}.__eq__) == [{"n": 1}]


def test_address_that_is_none_is_refused_without_printing_it():
    with pytest.raises(SettingsError) as refusal:
        RedisBus("http://user:secret@host")
    assert "secret" not in str(refusal.value)


async def test_a_process_knows_when_items_may_have_been_lost(proxy, processes):
    here, there = processes
    now = asyncio.get_running_loop().time
    for bus in processes:
        await until(bus.subscribe("c_1"), LAGGED.__eq__)
    at_peace = now()
    assert here.lost_at < at_peace
    await proxy.close()
    await here.publish("c_1", {"n": 1})
    async with asyncio.timeout(8):
        while here.lost_at < at_peace or there.lost_at < at_peace:
            await asyncio.sleep(0.01)
    await proxy.open()
    async with asyncio.timeout(8):
        while now() - here.lost_at < 0.2 or now() - there.lost_at < 0.2:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("poll_s", [0.3])
async def test_a_process_that_redis_says_nothing_to_knows_it(proxy, processes, poll_s):
    here, _ = processes
    await until(here.subscribe("c_1"), LAGGED.__eq__)
    proxy.flows.clear()
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(8):
        while here.lost_at <= began:
            await asyncio.sleep(0.01)
    proxy.flows.set()
    assert began < here.lost_at <= asyncio.get_running_loop().time()
