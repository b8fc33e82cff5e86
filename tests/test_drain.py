"""How a process goes: each clause of the drain, on `bot serve` in a process of its own."""

import asyncio
import signal

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bot import wire
from bot.engine.scripted import ScriptedEngine
from bot.store.sql import open_store
from tests.live import Client, house
from tests.parts import TEMPLATES
from tests.served import served

QUESTION = "How long does standard delivery take?"


async def closes(client):
    with pytest.raises(ConnectionClosed) as closed:
        await client.until("never")
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def opened(ws, **hello):
    client = Client(ws)
    await client.send("hello", **hello)
    return client, (await client.until("welcome"))["data"]


async def until_draining(server):
    async with asyncio.timeout(20):
        while (ready := await server.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.01)
    return ready.json()["why"]


async def test_answers_end_sockets_are_told_when_to_come_back_and_the_status_is_0(tmp_path):
    async with (
        served(tmp_path, SERVED_DELAY_S=0.05) as server,
        connect(server.chat) as writing,
        connect(server.chat) as idle,
    ):
        busy, _ = await opened(writing)
        still, _ = await opened(idle)
        await busy.send("message.send", client_id="1", text=QUESTION)
        await busy.until("message.started")
        server.process.send_signal(signal.SIGTERM)
        code, reason = await closes(still)
        assert code == wire.CLOSE["going_away"] and "retry_after_ms=" in reason
        assert "draining" in await until_draining(server)
        assert (await server.get("/healthz")).text == "ok"
        async with connect(server.chat) as late:
            code, reason = await closes(Client(late))
            assert code == wire.CLOSE["try_later"] and "retry_after_ms=" in reason
        done = await busy.until("message.completed")
        assert done["data"]["outcome"] == "answered"
        assert (await closes(busy))[0] == wire.CLOSE["going_away"]
        assert await server.status() == 0
    assert "Traceback" not in server.log.read_text()


async def test_a_message_that_comes_while_draining_is_not_written_and_its_sender_comes_back(tmp_path):
    async with served(tmp_path, SERVED_DELAY_S=0.05) as server, connect(server.chat) as ws:
        busy, welcome = await opened(ws)
        await busy.send("message.send", client_id="1", text=QUESTION)
        await busy.until("message.started")
        server.process.send_signal(signal.SIGTERM)
        await until_draining(server)
        await busy.send("message.send", client_id="2", text=QUESTION)
        assert (await closes(busy))[0] == wire.CLOSE["going_away"]
        assert [f["data"]["client_id"] for f in busy.got if f["type"] == "ack"] == ["1"]
        assert await server.status() == 0
    store = open_store(f"sqlite:///{tmp_path / 'bot.db'}")
    events = await store.events(welcome["conversation_id"])
    await store.aclose()
    assert [e.type for e in events] == ["message.created", "message.completed"]


async def test_a_second_signal_ends_at_once(tmp_path):
    async with served(tmp_path, SERVED_DELAY_S=5) as server, connect(server.chat) as ws:
        busy, _ = await opened(ws)
        await busy.send("message.send", client_id="1", text=QUESTION)
        await busy.until("message.started")
        server.process.send_signal(signal.SIGTERM)
        await until_draining(server)
        server.process.send_signal(signal.SIGTERM)
        assert await server.status() == -signal.SIGTERM


async def test_an_answer_that_takes_too_long_is_recorded_as_it_stands(tmp_path):
    engine = ScriptedEngine(TEMPLATES, lambda _: "Standard delivery takes 3 to 5 business days. [1]", delay_s=0.1)
    async with house(tmp_path, engine=engine) as server:
        async with connect(server.url.replace("http", "ws") + "/v1/chat") as ws:
            busy, welcome = await opened(ws)
            await busy.send("message.send", client_id="1", text=QUESTION)
            await busy.until("message.started")
            server.stop()
            done = await busy.until("message.completed")
            assert done["data"]["outcome"] == "truncated"
            assert (await closes(busy))[0] == wire.CLOSE["going_away"]
    store = open_store(f"sqlite:///{tmp_path / 'bot.db'}")
    assert await store.unfinished() == []
    await store.aclose()


async def test_the_desk_is_told_too(tmp_path):
    async with house(tmp_path) as server, server.agent() as anna:
        await anna.until("queue.snapshot")
        server.stop()
        assert (await closes(anna))[0] == wire.CLOSE["going_away"]
