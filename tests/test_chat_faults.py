"""The shopper's door when something goes wrong: writes that fail, sockets that go, frames that come too late or too fast."""

import asyncio
import gc

import pytest
from fastapi import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed

from bot import wire
from bot.engine.scripted import ScriptedEngine
from tests.live import house
from tests.parts import TEMPLATES, start

QUESTION = "How long does standard delivery take?"


async def test_a_message_that_cannot_be_written_is_not_acked_and_may_be_sent_again(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.until("welcome")
        server.live.bot.store.failing["append_message"] = 1
        await shopper.send("message.send", client_id="1", text=QUESTION)
        error = (await shopper.until("error"))["data"]
        assert (error["code"], error["retryable"], error["client_id"]) == ("try_later", True, "1")
        assert not [f for f in shopper.got if f["type"] == "ack"]
        await shopper.send("message.send", client_id="1", text=QUESTION)
        await shopper.until("ack")
        await shopper.until("message.completed")


async def test_what_fails_for_want_of_a_socket_leaves_no_traceback(tmp_path, caplog, monkeypatch):
    began, go_on, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def act(session, frame):
        began.set()
        await go_on.wait()
        gone.set()
        raise WebSocketDisconnect

    monkeypatch.setattr("bot.chat._Session._act", act)
    async with house(tmp_path) as server:
        async with server.chat() as shopper:
            await shopper.until("welcome")
            await shopper.send("typing", on=True)
            await asyncio.wait_for(began.wait(), 5)
        while server.door.open:  # until the server has noticed
            await asyncio.sleep(0.005)
        go_on.set()
        await asyncio.wait_for(gone.wait(), 5)
        await asyncio.sleep(0)
        gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_message_whose_sender_hung_up_while_it_was_written_is_answered(tmp_path):
    async with house(tmp_path) as server:
        written, go_on, store = asyncio.Event(), asyncio.Event(), server.live.bot.store
        write = store.store.append_message

        async def slow_write(*args, **named):
            event = await write(*args, **named)
            written.set()
            await go_on.wait()
            return event

        store.store.append_message = slow_write
        async with server.chat() as shopper:
            conversation = (await shopper.until("welcome"))["conversation_id"]
            await shopper.send("message.send", client_id="1", text=QUESTION)
            await asyncio.wait_for(written.wait(), 5)
        while server.door.open:  # until the server has noticed
            await asyncio.sleep(0.005)
        go_on.set()
        async with asyncio.timeout(5):
            while [e.type for e in await store.events(conversation)] != ["message.created", "message.completed"]:
                await asyncio.sleep(0.005)


async def test_a_message_that_is_written_once_its_sender_has_gone_has_the_grace_time_and_no_more(tmp_path):
    engine = ScriptedEngine(TEMPLATES, delay_s=100.0)
    async with house(tmp_path, engine=engine, grace_s=0.05) as server:
        writing, go_on, store = asyncio.Event(), asyncio.Event(), server.live.bot.store
        write = store.store.append_message

        async def slow_write(*args, **named):
            writing.set()
            await go_on.wait()
            return await write(*args, **named)

        store.store.append_message = slow_write
        async with server.chat() as shopper:
            conversation = (await shopper.until("welcome"))["conversation_id"]
            await shopper.send("message.send", client_id="1", text=QUESTION)
            await asyncio.wait_for(writing.wait(), 5)
        while server.door.open:  # until the server has noticed
            await server.live.news.publish(conversation, "typing", {"on": True, "role": "human", "name": "Anna"})
            await asyncio.sleep(0.005)
        go_on.set()
        async with asyncio.timeout(5):
            while [e.type for e in await store.events(conversation)] != ["message.created", "message.completed"]:
                await asyncio.sleep(0.005)
        assert (await store.events(conversation))[-1].data["outcome"] == "truncated"
        assert engine.running == 0


async def test_a_message_that_was_written_but_never_answered_is_answered_when_it_is_sent_again(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        conversation = (await shopper.until("welcome"))["conversation_id"]
        await server.live.bot.store.append_message(conversation, client_id="1", message_id="m_1", text=QUESTION)
        await shopper.send("message.send", client_id="1", text=QUESTION)
        assert (await shopper.until("ack"))["data"]["message_id"] == "m_1"
        assert (await shopper.until("message.completed"))["data"]["reply_to"] == "m_1"
        await shopper.send("message.send", client_id="1", text=QUESTION)
        await shopper.until("ack")
        await shopper.send("csat.submit", score=5)
        await shopper.until("csat.given")
        assert [f["type"] for f in shopper.got].count("message.started") == 1


async def passing(server, shopper, conversation, *frames):
    """What the shopper hears of these frames that are not in the log."""
    for type, data in (*frames, ("typing", {"on": True, "role": "human", "name": "Anna"})):
        await server.live.news.publish(conversation, type, data)
    before = len(shopper.got)
    await shopper.until("typing")
    return [f["type"] for f in shopper.got[before:-1]]


async def test_nothing_of_an_answer_follows_its_end_and_no_delta_comes_twice(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.send("message.send", client_id="1", text=QUESTION)
        done = await shopper.until("message.completed")
        late = {"message_id": done["data"]["message_id"]}
        delta = {"message_id": "m_next", "index": 0, "text": "Hi"}
        heard = await passing(
            server, shopper, done["conversation_id"], ("message.started", late),
            ("message.delta", {**late, "index": 9, "text": "x"}), ("message.delta", delta), ("message.delta", delta),
        )  # fmt: skip
    assert heard == ["message.delta"]


async def test_not_one_token_of_the_bot_follows_a_takeover(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.send("handoff.request")
        conversation = (await shopper.until("queue.position"))["conversation_id"]
        delta = {"message_id": "m_1", "index": 0, "text": "Hi"}
        heard = await passing(
            server, shopper, conversation, ("message.started", {"message_id": "m_1"}), ("message.delta", delta),
            ("status", {"state": "typing", "ttl_s": 30}),
        )  # fmt: skip
    assert heard == []


async def test_text_that_utf8_cannot_carry_is_sent_all_the_same(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        conversation = (await shopper.until("welcome"))["conversation_id"]
        store = server.live.bot.store
        data = {"message_id": "m_1", "role": "shopper", "text": "\ud800 你好"}
        await server.live.news.announce(await store.append(conversation, "message.created", data))
        assert (await shopper.until("message.created"))["data"]["text"] == "? 你好"


async def test_the_button_works_however_many_messages_came(tmp_path):
    async with house(tmp_path, per_minute=2) as server, server.chat() as shopper:
        for n in range(3):
            await shopper.send("message.send", client_id=str(n), text=QUESTION)
        await shopper.until("error", code="too_fast")
        await shopper.send("handoff.request")
        await shopper.until("owner.changed", owner="queued")


async def test_who_does_not_slow_down_is_closed(tmp_path):
    async with house(tmp_path, per_minute=2) as server, server.chat() as shopper:
        for _ in range(5):
            await shopper.send("feedback", message_id="m", rating="up")
        with pytest.raises(ConnectionClosed) as closed:
            await shopper.until("never")
        assert closed.value.rcvd.code == wire.CLOSE["too_fast"]
    assert [f["data"]["code"] for f in shopper.got if f["type"] == "error"] == ["bad_frame"] * 2 + ["too_fast"] * 2


async def test_feedback_is_about_an_answer(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.send("message.send", client_id="1", text=QUESTION)
        ack = await shopper.until("ack")
        await shopper.until("message.completed")
        await shopper.send("feedback", message_id=ack["data"]["message_id"], rating="up")
        assert (await shopper.until("error"))["data"]["field"] == "message_id"


async def test_a_human_agents_close_that_was_written_as_the_database_went_away_is_told(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.rest() as http:
        await shopper.send("handoff.request")
        conversation = (await shopper.until("owner.changed"))["conversation_id"]
        await http.post(f"/v1/queue/{conversation}/claim")
        server.live.bot.store.lost["release"] = 1
        closed = await http.post(f"/v1/queue/{conversation}/close")
        assert (closed.status_code, closed.json()["owner"]) == (200, "closed")
        await shopper.until("owner.changed", owner="closed")
        await shopper.until("csat.requested")


async def test_a_human_agents_close_that_was_not_written_is_refused(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.rest() as http:
        await shopper.send("handoff.request")
        conversation = (await shopper.until("owner.changed"))["conversation_id"]
        await http.post(f"/v1/queue/{conversation}/claim")
        server.live.bot.store.failing["release"] = 1
        assert (await http.post(f"/v1/queue/{conversation}/close")).json()["code"] == "try_later"
        assert (await http.post(f"/v1/queue/{conversation}/close")).json()["owner"] == "closed"


async def test_a_job_that_fails_as_nobody_foresaw_begins_anew_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("bot.live.SWEEP_S", 0.01)
    monkeypatch.setattr("bot.server.ANEW_S", 0.01)
    async with house(tmp_path) as server:
        store, failures = server.live.bot.store, 0

        async def hold_turns(*, do=store.store.hold_turns, **named):
            nonlocal failures
            failures += 1
            if failures < 3:
                raise KeyError("nobody foresaw this")
            return await do(**named)

        store.store.hold_turns = hold_turns
        await start(server.live.bot, QUESTION)  # nobody tells it but the sweep
        async with asyncio.timeout(20):
            while await store.unfinished():
                await asyncio.sleep(0.005)
    assert caplog.text.count("begun anew: Live.sweep") == 2
