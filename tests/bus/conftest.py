"""Buses to test: each fixture value makes a bus of one process; those of one test hear each other."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from urllib.parse import urlsplit

import pytest

from bot.bus.memory import MemoryBus
from bot.bus.redis import RedisBus
from bot.protocols import Bus

REDIS = os.environ.get("SHOPTALK_TEST_REDIS", "redis://127.0.0.1:6379/0")

NewBus = Callable[..., Bus]


@pytest.fixture
def redis_url() -> str:
    """The address of a Redis that answers."""
    parts = urlsplit(REDIS)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), timeout=1).close()
    except OSError as error:
        pytest.skip(f"No Redis at {parts.hostname}:{parts.port} ({error}); set SHOPTALK_TEST_REDIS.")
    return REDIS


@pytest.fixture(params=["memory", "redis"])
async def new_bus(request: pytest.FixtureRequest) -> AsyncIterator[NewBus]:
    """Make a bus; `capacity` as in its class."""
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            url, prefix = request.getfixturevalue("redis_url"), f"test-{secrets.token_hex(6)}:"

        def new(**options: int) -> Bus:
            bus = MemoryBus(**options) if request.param == "memory" else RedisBus(url, prefix=prefix, **options)
            stack.push_async_exit(aclosing(bus))
            return bus

        yield new
