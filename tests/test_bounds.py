"""The bounds of both doors, on a live server: readers that never read, floods, bombs, and too many at once."""

import asyncio
import resource
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bot import wire
from bot.limits import Limits
from bot.outbox import MOST_BYTES
from bot.types import Handoff
from tests.live import Client, house
from tests.raw_socket import CONTINUED, TEXT, frame, raw_socket
from tests.served import served

QUESTION = "How long does standard delivery take?"


@asynccontextmanager
async def at(server, address):
    """A socket of a shopper whom a proxy on this machine sees at this address."""
    url = server.url.replace("http", "ws") + "/v1/chat"
    async with connect(url, additional_headers={"X-Forwarded-For": address}) as ws:
        yield Client(ws)


async def closes(client):
    """The close code and reason, after whatever else comes."""
    with pytest.raises(ConnectionClosed) as closed:
        await client.until("never")
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def test_a_reader_that_never_reads_is_closed_at_the_bound_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr("bot.sockets.CLOSE_S", 0.05)
    async with house(tmp_path) as server, raw_socket(server.url, holds=4096) as slow:
        slow.send("hello")
        welcome = await slow.until("welcome")
        [sock] = server.door.open
        store, conversation, most = server.live.bot.store, welcome["conversation_id"], 0
        text = {"message_id": "m", "role": "human", "text": "x" * 20_000}
        async with server.chat() as other, asyncio.timeout(20):
            while sock in server.door.open:
                event = await store.append(conversation, "message.created", text)
                await server.live.news.announce(event)
                most = max(most, sock._outbox.bytes)
            await other.send("message.send", client_id="1", text=QUESTION)
            await other.until("message.completed")
        assert MOST_BYTES / 2 < most < MOST_BYTES + 25_000
        again = {key: welcome[key] for key in ("conversation_id", "resume_token")}
        async with server.chat(**again, last_seq=0) as shopper:
            while not shopper.got or shopper.got[-1].get("seq") != event.seq:
                await shopper.next()
        assert [f["seq"] for f in shopper.got if "seq" in f] == list(range(1, event.seq + 1))


async def test_a_long_queue_closes_no_human_agent_who_reads_it_a_little_later(tmp_path):
    """P14: what is asked, typed and pinged while the queue is on its way follows it."""
    async with house(tmp_path, ping_s=0.1) as server:
        store = server.live.bot.store
        for _ in range(60):
            made = await store.create(site="shop", locale="zh", shopper_id=None, resume_hash="ab")
            waits = Handoff(made.id, "angry", 2, time.time(), "", "退" * wire.MAX_TEXT_CHARACTERS)
            await store.hand_off(made.id, epoch=1, handoff=waits, text="", message_id=None)
        token = await server.sign_in()
        async with raw_socket(server.url, "/v1/agent", holds=4096) as agent, asyncio.timeout(20):
            agent.send("hello", token=token)
            await agent.until("welcome")
            [sock] = server.door.open
            while sock._outbox.bytes < MOST_BYTES:
                await asyncio.sleep(0.001)
            agent.send("claim", conversation_id="c_none")
            agent.send("claim", conversation_id=made.id)
            await asyncio.sleep(0.5)
            assert (await agent.until("error"))["code"] == "not_found"
            while (await store.conversation(made.id)).owner != "human:anna":
                await asyncio.sleep(0.001)
            await server.live.news.publish(made.id, "typing", {"on": True, "role": "shopper"})
            assert (await agent.until("claimed"))["owner"] == "human:anna"
            await agent.until("ping")


async def test_who_writes_and_never_reads_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr("bot.sockets.CLOSE_S", 0.05)
    async with house(tmp_path, per_minute=10_000) as server, raw_socket(server.url, holds=4096) as flood:
        flood.send("hello")
        await flood.until("welcome")
        [sock] = server.door.open
        async with asyncio.timeout(20):
            while sock in server.door.open:
                flood.write(frame(TEXT, '{"type": "from.the.future"}') * 100)
                assert sock._outbox.bytes < MOST_BYTES + 1000
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("door", ["/v1/chat", "/v1/agent"])
async def test_a_flood_of_frames_of_any_kind_closes_the_socket(tmp_path, door):
    async with house(tmp_path, per_minute=2) as server, raw_socket(server.url, door) as flood:
        flood.send("hello", **({"token": await server.sign_in()} if door == "/v1/agent" else {}))
        await flood.until("welcome")
        flood.write(*[frame(TEXT, '{"type": "pong"}')] * 100)
        assert await flood.closed() == wire.CLOSE["too_fast"]


async def test_a_log_longer_than_the_bound_is_caught_up_with(tmp_path):
    async with house(tmp_path) as server:
        async with server.chat() as shopper:
            welcome = (await shopper.until("welcome"))["data"]
        text = {"message_id": "m", "role": "human", "text": "x" * 10_000}
        for _ in range(60):
            await server.live.bot.store.append(welcome["conversation_id"], "message.created", text)
        again = {key: welcome[key] for key in ("conversation_id", "resume_token")}
        async with server.chat(**again) as shopper:
            while not shopper.got or shopper.got[-1].get("seq") != 60:
                await shopper.next()
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("door", ["/v1/chat", "/v1/agent"])
@pytest.mark.parametrize(
    "bomb",
    [
        [frame(TEXT, length=1 << 40)],
        [frame(TEXT, b"x" * 71_000)],
        [frame(TEXT, b"x" * 40_000, fin=False), frame(CONTINUED, b"x" * 40_000)],
    ],
    ids=["claimed", "whole", "in pieces"],
)
async def test_a_message_beyond_the_bound_closes_with_too_big(tmp_path, door, bomb):
    async with house(tmp_path) as server, raw_socket(server.url, door) as ws:
        ws.write(*bomb)
        assert await ws.closed() == wire.CLOSE["too_big"]


async def test_messages_are_not_compressed(tmp_path):
    async with house(tmp_path) as server:
        async with connect(server.url.replace("http", "ws") + "/v1/chat", compression="deflate") as ws:
            assert ws.response.headers.get("Sec-WebSocket-Extensions") is None


async def test_one_shopper_has_one_limit_however_many_tabs_they_open(tmp_path):
    async with house(tmp_path, per_minute=2) as server, server.chat() as one:
        welcome = (await one.until("welcome"))["data"]
        again = {key: welcome[key] for key in ("conversation_id", "resume_token")}
        async with server.chat(**again) as two:
            await one.send("message.send", client_id="1", text=QUESTION)
            await one.until("ack")
            await two.send("message.send", client_id="2", text=QUESTION)
            await two.until("ack")
            for n, tab in enumerate((one, two)):
                await tab.send("message.send", client_id=f"more{n}", text=QUESTION)
                assert (await tab.until("error"))["data"]["code"] == "too_fast"


async def test_an_address_has_a_limit_for_messages_and_for_new_conversations(tmp_path):
    async with (
        house(tmp_path, limits=Limits(address_per_minute=3)) as server,
        at(server, "198.51.100.1") as one,
        at(server, "198.51.100.1") as two,
    ):
        for shopper in (one, two):
            await shopper.send("hello")
            await shopper.until("welcome")
        await one.send("message.send", client_id="1", text=QUESTION)
        await one.until("ack")
        await one.send("message.send", client_id="2", text=QUESTION)
        assert (await one.until("error"))["data"]["code"] == "too_fast"
        await one.send("handoff.request")  # the button is never refused
        await one.until("owner.changed")
        async with at(server, "198.51.100.1") as three:
            await three.send("hello")
            code, reason = await closes(three)
        assert code == wire.CLOSE["too_fast"] and "retry_after_ms=" in reason
        async with at(server, "198.51.100.2") as other:
            await other.send("hello")
            await other.until("welcome")


async def test_more_sockets_than_allowed_are_told_to_come_later(tmp_path):
    limits = Limits(connections=2, per_address=100)
    async with house(tmp_path, limits=limits) as server, server.chat() as one:
        await one.until("welcome")
        async with server.chat() as two:
            await two.until("welcome")
            async with connect(server.url.replace("http", "ws") + "/v1/chat") as ws:
                code, reason = await closes(Client(ws))
        assert code == wire.CLOSE["try_later"] and "retry_after_ms=" in reason
        async with asyncio.timeout(5):
            while len(server.door.open) > 1:
                await asyncio.sleep(0.005)
        async with server.chat() as four:
            await four.until("welcome")


async def test_more_sockets_are_held_than_files_that_a_program_may_open_unless_it_asks(tmp_path):
    few = 128  # 1024 on most systems; a server takes it over from who starts it
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with AsyncExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
        try:
            server = await stack.enter_async_context(served(tmp_path))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for _ in range(few):
            shopper = Client(await stack.enter_async_context(connect(server.chat)))
            await shopper.send("hello")
            await shopper.until("welcome")
        assert (await server.get("/readyz")).json()["connections"] == few


@pytest.mark.parametrize(("proxies", "opened"), [("127.0.0.1", 1), ("192.0.2.1", 2)])
async def test_only_a_trusted_proxy_says_where_a_shopper_is(tmp_path, proxies, opened):
    async with house(tmp_path, limits=Limits(per_address=1), trusted_proxies=proxies) as server:
        async with at(server, "198.51.100.1") as one, at(server, "198.51.100.1") as two:
            await one.send("hello")
            await one.until("welcome")
            if opened == 1:
                assert (await closes(two))[0] == wire.CLOSE["too_fast"]
            else:
                await two.send("hello")
                await two.until("welcome")
