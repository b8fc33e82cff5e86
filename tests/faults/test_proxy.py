"""The proxy does to a connection what it says."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.faults.proxy import Proxy


@asynccontextmanager
async def through():
    """A proxy before an echo."""

    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield proxy, reader, writer
    writer.close()
    await proxy.aclose()
    server.close()


async def test_what_is_said_comes_back_also_in_slices():
    async with through() as (proxy, reader, writer):
        proxy.slice_bytes = 3
        writer.write(b"hello there")
        assert await reader.readexactly(11) == b"hello there"


async def test_nothing_is_doubled_or_lost_while_the_slices_change():
    async with through() as (proxy, reader, writer):
        text = bytes(range(256)) * 3
        proxy.slice_bytes, proxy.delay_s = 10, 0.001
        writer.write(text)
        first = await reader.readexactly(200)
        proxy.slice_bytes, proxy.delay_s = 65_536, 0.0
        assert first + await reader.readexactly(len(text) - 200) == text
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)


async def test_a_hole_swallows_and_gives_back():
    async with through() as (proxy, reader, writer):
        proxy.hole.clear()
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(5), 0.05)
        proxy.hole.set()
        assert await reader.readexactly(5) == b"hello"


async def test_a_reset_cuts_and_a_refusal_lets_nobody_in():
    async with through() as (proxy, reader, writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        proxy.refusing = True
        proxy.reset()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        late, _ = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await late.readexactly(1)
