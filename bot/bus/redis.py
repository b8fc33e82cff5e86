"""The bus between processes, over Redis's publish and subscribe.

Listeners of the same process are served directly, so without Redis one process still hears itself.
Redis is never the truth: it may be away, be flushed or forget. Whenever items may have been missed,
listeners get `lagged` and read the log: once Redis confirms a subscription (what was published before
did not come), once a process that could not send can send again, and every second while Redis says nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bot.bus.memory import CAPACITY, LAGGED, Listener, MemoryBus
from bot.errors import SettingsError

logger = logging.getLogger(__name__)

OUTGOING = 10_000
"""Items that wait for Redis at most; more are dropped, and the others told so."""

BATCH = 100
"""Items sent in one round trip at most."""

PING_S = 0.5
"""How often an idle subscription is tried."""

POLL_S = 1.0
"""After so long without a word, not even to our ping, listeners read the log, and again after as long."""

SILENCE_S = 5.0
"""After so long without a word the connection is taken for dead."""

TIMEOUT_S = 5.0

_AWAY = (RedisError, OSError, TimeoutError)


class RedisBus:
    """Hands items to the listeners of every process that uses the same Redis.

    Args:
        url: `redis://host:6379/0`, `rediss://` for TLS.
        prefix: of channel names; shops that share a Redis need different ones.
        retry_s: pause after a failure.

    Raises:
        SettingsError: the address cannot be read.
    """

    def __init__(self, url: str, *, prefix: str = "bot:", capacity: int = CAPACITY, retry_s: float = 1.0) -> None:
        try:
            self._redis = Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        except ValueError:  # without the address, which may hold a password
            raise SettingsError("Redis's address cannot be read; write `redis://host:6379/0`.") from None
        self._prefix = prefix
        self._everyone = prefix + "\n"  # no topic holds a line's end
        self._retry_s = retry_s
        self._local = MemoryBus(capacity)
        self._me = secrets.token_hex(8)
        self._outgoing: asyncio.Queue[tuple[str, str]] = asyncio.Queue(OUTGOING)
        self._missed = False
        self._unsent_since = math.inf
        self._topics_changed = asyncio.Event()
        self._heard_at = self._polled_at = self._lost_at = -math.inf
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False  # looked at besides: redis-py may swallow a cancellation (`wait_for` in Python 3.11)

    @property
    def lost_at(self) -> float:
        """When an item may last have been lost; now, while Redis takes nothing or says nothing."""
        now = asyncio.get_running_loop().time()
        if self._missed or now - min(self._unsent_since, self._heard_at) > POLL_S:
            self._lost_at = now
        return self._lost_at

    async def publish(self, topic: str, item: dict[str, Any]) -> None:
        """Hand an item to this process's listeners, and leave it for Redis; never waits for Redis."""
        self._start()
        self._local.hand_out(topic, item)
        if self._outgoing.full():
            self._missed = True
        else:
            self._outgoing.put_nowait((self._prefix + topic, json.dumps({"from": self._me, "item": item})))

    def subscribe(self, topic: str) -> Listener:
        """Listen from now on, until closed; the first item from elsewhere may be preceded by `lagged`."""
        self._start()
        listener = self._local.subscribe(topic)
        self._topics_changed.set()
        return listener

    async def aclose(self) -> None:
        """End every subscription and close connections."""
        await self._local.aclose()
        self._closed = True
        self._topics_changed.set()
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=0.05)
        await self._redis.aclose()

    def _start(self) -> None:
        if not self._tasks and not self._closed:
            self._tasks = [asyncio.create_task(job) for job in (self._send(), self._listen(), self._poll())]

    async def _send(self) -> None:
        while not self._closed:
            batch = [] if self._missed else [await self._outgoing.get()]
            while len(batch) < BATCH and not self._outgoing.empty():
                batch.append(self._outgoing.get_nowait())
            missed, self._missed = self._missed, False
            self._unsent_since = min(self._unsent_since, asyncio.get_running_loop().time())
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for channel, text in batch:
                        pipeline.publish(channel, text)
                    if missed:
                        pipeline.publish(self._everyone, "")
                    await pipeline.execute()
                self._unsent_since = math.inf
            except _AWAY as error:
                self._missed = True
                logger.warning("Redis takes nothing (%s); other processes hear of it later.", type(error).__name__)
                await asyncio.sleep(self._retry_s)

    async def _listen(self) -> None:
        while not self._closed:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._everyone)
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._receive(pubsub))
                        group.create_task(self._keep_subscribed(pubsub))
            except* _AWAY as errors:
                name = type(errors.exceptions[0]).__name__
                logger.warning("Redis says nothing (%s); other processes are heard later.", name)
                self._heard_at = self._polled_at = -math.inf
            await asyncio.sleep(self._retry_s)

    async def _poll(self) -> None:
        """Let listeners read the log while Redis says nothing."""
        while not self._closed:
            await asyncio.sleep(POLL_S / 2)
            now = asyncio.get_running_loop().time()
            if now - max(self._heard_at, self._polled_at) > POLL_S:
                self._polled_at = now
                self._lagged()

    def _lagged(self) -> None:
        self._lost_at = asyncio.get_running_loop().time()
        for topic in self._local.topics:
            self._local.hand_out(topic, LAGGED)

    async def _receive(self, pubsub: PubSub) -> None:
        while not self._closed:
            message = await pubsub.get_message(timeout=SILENCE_S)
            if message is None:
                raise TimeoutError
            self._heard_at = asyncio.get_running_loop().time()
            channel = (message["channel"] or b"").decode()
            topic = channel.removeprefix(self._prefix)
            match message["type"]:
                case "subscribe":
                    self._local.hand_out(topic, LAGGED)
                case "message" if channel == self._everyone:
                    self._lagged()
                case "message":
                    self._hand_out(topic, message["data"])

    def _hand_out(self, topic: str, text: bytes) -> None:
        try:
            envelope = json.loads(text)
            sender, item = envelope["from"], envelope["item"]
        except (ValueError, TypeError, KeyError):
            logger.warning("Something else publishes on %s*; give this bot a prefix of its own.", self._prefix)
            return
        if sender != self._me:
            self._local.hand_out(topic, item)

    async def _keep_subscribed(self, pubsub: PubSub) -> None:
        """Follow the listeners as they come and go."""
        have: set[str] = set()
        while not self._closed:
            self._topics_changed.clear()
            want = self._local.topics
            if gone := have - want:
                await pubsub.unsubscribe(*(self._prefix + topic for topic in gone))
            if new := want - have:
                await pubsub.subscribe(*(self._prefix + topic for topic in new))
            have = want
            try:
                async with asyncio.timeout(PING_S):
                    await self._topics_changed.wait()
            except TimeoutError:
                await pubsub.ping()
