"""Both doors alike, on a live server: hostile frames, and how a socket ends."""

import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bot import wire
from tests.live import Client, house

DOORS = ["/v1/chat", "/v1/agent"]


async def opened(server, door, ws):
    """Say hello as who belongs there."""
    client = Client(ws)
    await client.send("hello", **({"token": await server.sign_in()} if door == "/v1/agent" else {}))
    await client.until("welcome")
    return client


def address(server, door):
    return server.url.replace("http", "ws") + door


async def ends_with(client):
    """The close code, after whatever else comes."""
    with pytest.raises(ConnectionClosed) as closed:
        await client.until("never")
    return closed.value.rcvd.code


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("no json", "bad_json"),
        (b"\xff\x00", "bad_json"),
        ("", "bad_json"),
        ("[" * 60_000, "bad_json"),
        ('"hello"', "bad_frame"),
        ('{"type": "message.send", "client_id": "\\ud800"}', "bad_frame"),
        ('{"type": "message.send", "text": "x", "client_id": "' + "1" * 60_000 + '"}', "bad_frame"),
        (json.dumps({"type": "message.send", "client_id": "1", "text": "é" * 34_000}, ensure_ascii=False), "too_large"),
        ('{"type": "dance"}', "unknown_type"),
    ],
)  # fmt: skip
async def test_a_bad_frame_is_answered_and_the_socket_goes_on(tmp_path, door, raw, code):
    async with house(tmp_path) as server, connect(address(server, door)) as ws:
        client = await opened(server, door, ws)
        await ws.send(raw)
        told = (await client.until("error"))["data"]
        assert (told["code"], told["retryable"]) == (code, False)
        assert told["request_id"] and len(json.dumps(told)) < 1000
        await client.send("hello", token="t")
        assert (await client.until("error"))["data"]["field"] == "type"


@pytest.mark.parametrize("door", DOORS)
async def test_three_bad_frames_in_a_row_close_the_socket_and_a_good_one_begins_anew(tmp_path, door):
    async with house(tmp_path) as server, connect(address(server, door)) as ws:
        client = await opened(server, door, ws)
        for raw in ("x", "x", '{"type": "pong"}', "x", "x"):
            await ws.send(raw)
        for _ in range(4):
            await client.until("error")
        await ws.send("x")
        assert await ends_with(client) == wire.CLOSE["bad_frames"]


@pytest.mark.parametrize("door", DOORS)
async def test_types_that_are_unknown_here_never_close_the_socket(tmp_path, door):
    async with house(tmp_path) as server, connect(address(server, door)) as ws:
        client = await opened(server, door, ws)
        for _ in range(5):
            await client.send("from.the.future")
            assert (await client.until("error"))["data"]["code"] == "unknown_type"


@pytest.mark.parametrize("door", DOORS)
async def test_a_bad_first_frame_is_answered_and_the_third_closes(tmp_path, door):
    async with house(tmp_path) as server, connect(address(server, door)) as ws:
        client = Client(ws)
        for _ in range(2):
            await ws.send("{")
            assert (await client.until("error"))["data"]["code"] == "bad_json"
        await client.send("hello", **({"token": await server.sign_in()} if door == "/v1/agent" else {}))
        await client.until("welcome")
    async with house(tmp_path) as server, connect(address(server, door)) as ws:
        for _ in range(3):
            await ws.send("{")
        assert await ends_with(Client(ws)) == wire.CLOSE["bad_frames"]


@pytest.mark.parametrize("door", DOORS)
async def test_a_first_frame_that_is_no_hello_closes_the_socket(tmp_path, door):
    async with house(tmp_path) as server, connect(address(server, door)) as ws:
        client = Client(ws)
        await client.send("pong")
        await client.send("typing", on=True)
        assert await ends_with(client) == wire.CLOSE["no_hello"]


@pytest.mark.parametrize("door", DOORS)
async def test_silence_instead_of_a_hello_closes_the_socket(tmp_path, door, monkeypatch):
    monkeypatch.setattr("bot.sockets.HELLO_S", 0.05)
    async with house(tmp_path) as server, connect(address(server, door)) as ws:
        assert await ends_with(Client(ws)) == wire.CLOSE["no_hello"]


@pytest.mark.parametrize("door", DOORS)
async def test_a_token_that_is_none_is_refused(tmp_path, door):
    async with house(tmp_path) as server:
        for token in ("x", "é.é.é", "W" * 4000 + ".a.b", server.signer.mint("desk-code", "anna", lifetime_s=60)):
            async with connect(address(server, door)) as ws:
                client = Client(ws)
                await client.send("hello", token=token)
                assert await ends_with(client) == wire.CLOSE["token_refused"]


@pytest.mark.parametrize("door", DOORS)
async def test_a_database_that_is_away_closes_the_socket_until_later(tmp_path, door):
    async with house(tmp_path) as server:
        token = await server.sign_in()
        server.live.bot.store.failing |= {"create": 1, "conversations_held": 1}
        async with connect(address(server, door)) as ws:
            client = Client(ws)
            await client.send("hello", **({"token": token} if door == "/v1/agent" else {}))
            told = await client.until("error")
            assert (told["data"]["code"], told["data"]["retryable"]) == ("try_later", True)
            assert "database" not in told["data"]["message"]
            assert await ends_with(client) == wire.CLOSE["try_later"]


async def test_a_socket_at_no_door_is_refused(tmp_path):
    async with house(tmp_path) as server:
        with pytest.raises(InvalidStatus):
            async with connect(server.url.replace("http", "ws") + "/v1/elsewhere"):
                pass
