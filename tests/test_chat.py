"""The shopper's door, on a live server: what a socket is told, and what it may not do."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bot import tokens, wire
from bot.engine.scripted import ScriptedEngine
from tests.live import Client, house
from tests.parts import TEMPLATES

QUESTION = "How long does standard delivery take?"


def slow(text="Standard delivery takes 3 to 5 business days and costs $5.95. [1] " * 1, delay_s=0.02):
    return ScriptedEngine(TEMPLATES, lambda _: text + "Express delivery costs $14.95. [1]", delay_s=delay_s)


async def test_a_question_is_acked_streamed_and_completed(tmp_path):
    async with house(tmp_path) as server, server.chat(locale="en-US") as shopper:
        welcome = await shopper.until("welcome")
        assert welcome["data"]["owner"] == "bot"
        await shopper.send("message.send", client_id="1", text=QUESTION)
        ack = await shopper.until("ack")
        done = await shopper.until("message.completed")
    assert ack["data"]["client_id"] == "1"
    assert done["data"]["outcome"] == "answered"
    deltas = [f["data"]["text"] for f in shopper.got if f["type"] == "message.delta"]
    assert "".join(deltas) == done["data"]["text"]
    assert [f["seq"] for f in shopper.got if "seq" in f] == [1, 2]


async def test_the_shopper_never_reads_mood_or_notes(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.send("message.send", client_id="1", text=QUESTION)
        done = await shopper.until("message.completed")
        events = await server.live.bot.store.events(done["conversation_id"])
    assert "mood" in events[-1].data
    assert not {"mood", "note", "passage_ids"} & set(done["data"])


async def test_a_message_sent_twice_is_one_message_and_one_answer(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        for _ in range(3):
            await shopper.send("message.send", client_id="1", text=QUESTION)
        acks = [await shopper.until("ack") for _ in range(3)]
        await shopper.send("message.send", client_id="1", text="Another text")
        conflict = await shopper.until("error")
        conversation = acks[0]["conversation_id"]
        events = await server.live.bot.store.events(conversation)
    assert len({(a["data"]["message_id"], a["data"]["seq"]) for a in acks}) == 1
    assert conflict["data"]["code"] == "idempotency_conflict"
    assert [e.type for e in events].count("message.created") == 1


async def test_coming_back_takes_two_readings(tmp_path):
    async with house(tmp_path) as server:
        async with server.chat() as shopper:
            welcome = await shopper.until("welcome")
            await shopper.send("message.send", client_id="1", text=QUESTION)
            await shopper.until("message.completed")
        again = {key: welcome["data"][key] for key in ("conversation_id", "resume_token")}
        while server.live._lines:
            await asyncio.sleep(0.005)
        calls = server.live.bot.store.calls
        calls.clear()
        async with server.chat(**again) as shopper:
            await shopper.until("message.completed")
            assert [call for call in calls if call in ("conversation", "events", "read")] == ["read"]


@pytest.mark.parametrize("events", [2, 3, 4, 5])
async def test_a_log_of_some_pages_is_sent_whole(tmp_path, monkeypatch, events):
    monkeypatch.setattr("bot.sockets.PAGE", 2)
    async with house(tmp_path) as server:
        async with server.chat() as shopper:
            welcome = await shopper.until("welcome")
        again = {key: welcome["data"][key] for key in ("conversation_id", "resume_token")}
        for _ in range(events):
            await server.live.bot.store.append(
                again["conversation_id"], "feedback.given", {"message_id": "m", "rating": "up"}
            )
        async with server.chat(**again) as shopper:
            seqs = [(await shopper.until("feedback.given"))["seq"] for _ in range(events)]
    assert seqs == list(range(1, events + 1))


async def test_resume_brings_every_later_event_once_and_in_order(tmp_path):
    async with house(tmp_path) as server:
        async with server.chat() as shopper:
            welcome = (await shopper.until("welcome"))["data"]
            await shopper.send("message.send", client_id="1", text=QUESTION)
            await shopper.until("message.completed")
        again = {key: welcome[key] for key in ("conversation_id", "resume_token")}
        async with server.chat(**again, last_seq=1) as shopper:
            await shopper.until("message.completed")
            assert [f["seq"] for f in shopper.got if "seq" in f] == [2]
        async with server.chat(**again, last_seq=99) as shopper:
            assert (await shopper.until("resync_required"))["data"]["from_seq"] == 0
            await shopper.until("message.completed")
            assert [f["seq"] for f in shopper.got if "seq" in f] == [1, 2]


async def test_an_answer_in_flight_is_resumed_from_the_delta_named(tmp_path):
    async with house(tmp_path, engine=slow()) as server:
        async with server.chat() as shopper:
            welcome = (await shopper.until("welcome"))["data"]
            await shopper.send("message.send", client_id="1", text=QUESTION)
            delta = await shopper.until("message.delta")
        seen = {"message_id": delta["data"]["message_id"], "index": 1}
        async with server.chat(
            conversation_id=welcome["conversation_id"], resume_token=welcome["resume_token"], last_seq=1,
            delta_from=seen,
        ) as shopper:  # fmt: skip
            done = await shopper.until("message.completed")
    indexes = [f["data"]["index"] for f in shopper.got if f["type"] == "message.delta"]
    assert 0 not in indexes
    assert done["data"]["outcome"] == "answered"


async def test_an_answer_that_was_given_up_is_not_told_again(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        conversation = (await shopper.until("welcome"))["conversation_id"]
        for answer in ("m_1", "m_2", "m_1"):  # the last one late, from another process
            delta = {"message_id": answer, "index": 0, "text": "-"}
            await server.live.news.publish(conversation, "message.delta", delta)
        await server.live.news.publish(conversation, "queue.position", {"position": 1, "eta_s": None})
        await shopper.until("queue.position")
    assert [f["data"]["message_id"] for f in shopper.got if f["type"] == "message.delta"] == ["m_1", "m_2"]


async def test_hanging_up_before_the_first_delta_cancels_after_the_grace(tmp_path):
    engine = slow(delay_s=0.05)
    async with house(tmp_path, engine=engine, grace_s=0.05) as server:
        async with server.chat() as shopper:
            await shopper.send("message.send", client_id="1", text=QUESTION)
            ack = await shopper.until("ack")
            async with asyncio.timeout(20):
                while not engine.running:  # Stopped before, a turn ends without a word.
                    await asyncio.sleep(0.001)
        async with asyncio.timeout(20):
            while await server.live.bot.store.unfinished():
                await asyncio.sleep(0.01)
        last = (await server.live.bot.store.events(ack["conversation_id"]))[-1]
        assert last.data["outcome"] == "truncated"
        assert engine.running == 0


async def test_cancel_stops_the_answer_and_keeps_what_was_shown(tmp_path):
    async with house(tmp_path, engine=slow()) as server, server.chat() as shopper:
        await shopper.send("message.send", client_id="1", text=QUESTION)
        delta = await shopper.until("message.delta")
        await shopper.send("message.cancel", message_id=delta["data"]["message_id"])
        done = await shopper.until("message.completed")
        assert done["data"]["outcome"] == "truncated"
        assert done["data"]["text"] == delta["data"]["text"]
        await shopper.send("message.send", client_id="2", text="And express delivery?")
        assert (await shopper.until("message.completed"))["data"]["outcome"] in ("answered", "quoted")


async def test_an_unfinished_turn_is_taken_up_at_the_next_start(tmp_path):
    async with house(tmp_path) as server:
        store = server.live.bot.store
        token, resume_hash = tokens.new_secret()
        conversation = await store.create(site="t", locale="en", shopper_id=None, resume_hash=resume_hash)
        await store.append_message(conversation.id, client_id="1", message_id="m_1", text=QUESTION)
    async with house(tmp_path) as server, server.chat(conversation_id=conversation.id, resume_token=token) as shopper:
        done = await shopper.until("message.completed")
    assert done["data"]["reply_to"] == "m_1"


async def test_asking_for_a_person_by_button_queues_once_and_tells_the_position(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.send("handoff.request")
        changed = await shopper.until("owner.changed")
        position = await shopper.until("queue.position")
        await shopper.send("handoff.request")
        await shopper.until("queue.position")
        assert len(await server.live.bot.store.queue()) == 1
    assert (changed["data"]["owner"], changed["data"]["reason"]) == ("queued", "asked_for_person")
    assert position["data"]["position"] == 1


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        ("no json", "bad_json", None),
        ("[1]", "bad_frame", "type"),
        ('{"type": "dance"}', "unknown_type", "type"),
        ('{"type": "message.send", "data": {"client_id": "1"}}', "bad_frame", "text"),
        ('{"type": "message.send", "data": {"client_id": "1", "text": " \\u0000 \\u200b"}}', "bad_frame", "text"),
        ('{"type": "message.send", "data": {"client_id": "1", "text": "' + "a" * 2001 + '"}}', "bad_frame", "text"),
        ('{"type": "hello", "data": {}}', "bad_frame", "type"),
        ('{"v": 2, "type": "pong"}', "bad_frame", "v"),
        ("[" * 60_000, "bad_json", None),
    ],
)
async def test_a_bad_frame_is_answered_with_its_fault(tmp_path, raw, code, field):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.until("welcome")
        await shopper.ws.send(raw)
        error = await shopper.until("error")
        assert (error["data"]["code"], error["data"].get("field")) == (code, field)
        await shopper.send("message.send", client_id="1", text=QUESTION)
        await shopper.until("message.completed")


async def test_three_bad_frames_in_a_row_close_the_socket(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.until("welcome")
        for _ in range(3):
            await shopper.ws.send("no json")
        with pytest.raises(ConnectionClosed) as closed:
            await shopper.until("never")
        assert closed.value.rcvd.code == wire.CLOSE["bad_frames"]


async def closes_with(server, code, **hello):
    async with server.chat(**hello) as shopper:
        with pytest.raises(ConnectionClosed) as closed:
            await shopper.until("welcome")
        assert closed.value.rcvd.code == wire.CLOSE[code]


async def test_a_wrong_token_and_anothers_conversation_are_refused(tmp_path):
    async with house(tmp_path) as server:
        one = server.signer.mint(tokens.SHOPPER, "shopper-1", lifetime_s=60)
        two = server.signer.mint(tokens.SHOPPER, "shopper-2", lifetime_s=60)
        late = server.signer.mint(tokens.SHOPPER, "shopper-1", lifetime_s=-1)
        desk = server.signer.mint(tokens.AGENT, "anna", lifetime_s=60)
        async with server.chat(token=one) as shopper:
            conversation = (await shopper.until("welcome"))["conversation_id"]
        async with server.chat(token=one, conversation_id=conversation) as shopper:
            await shopper.until("welcome")
        for token in (late, desk, one + "x"):
            await closes_with(server, "token_refused", token=token)
        await closes_with(server, "no_conversation", token=two, conversation_id=conversation)
        await closes_with(server, "no_conversation", conversation_id=conversation, resume_token="guess")
        await closes_with(server, "no_conversation", conversation_id=conversation)
        await closes_with(server, "no_conversation", conversation_id="c_none")


async def test_another_sites_page_may_not_open_the_chat(tmp_path):
    async with house(tmp_path) as server:
        address = server.url.replace("http", "ws") + "/v1/chat"
        async with connect(address, origin="https://elsewhere.example") as ws:
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd.code == wire.CLOSE["origin_refused"]
        async with connect(address, origin=server.url) as ws:
            shopper = Client(ws)
            await shopper.send("hello")
            await shopper.until("welcome")


async def test_a_first_frame_that_is_no_hello_closes_the_socket(tmp_path):
    async with house(tmp_path) as server, connect(server.url.replace("http", "ws") + "/v1/chat") as ws:
        await ws.send(json.dumps({"type": "typing", "data": {"on": True}}))
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd.code == wire.CLOSE["no_hello"]


async def test_too_many_messages_are_refused_and_nothing_is_lost_later(tmp_path):
    async with house(tmp_path, per_minute=2) as server, server.chat() as shopper:
        for n in range(3):
            await shopper.send("message.send", client_id=str(n), text=QUESTION)
        error = await shopper.until("error")
    assert (error["data"]["code"], error["data"]["client_id"]) == ("too_fast", "2")


async def test_a_silent_socket_is_pinged_and_closed(tmp_path):
    async with house(tmp_path, ping_s=0.03) as server, server.chat() as shopper:
        await shopper.until("ping")
        with pytest.raises(ConnectionClosed) as closed:
            await shopper.until("never")
        assert closed.value.rcvd.code == wire.CLOSE["going_away"]


async def test_mixed_scripts_emoji_and_right_to_left_text_are_kept_and_control_characters_dropped(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.send("message.send", client_id="1", text="שלום 你好 👩‍👧 café\u202e\u0007 delivery?")
        created = await shopper.until("message.created")
        await shopper.until("message.completed")
    assert created["data"]["text"] == "שלום 你好 👩‍👧 café delivery?"


async def test_feedback_is_kept_in_the_log(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.send("message.send", client_id="1", text=QUESTION)
        done = await shopper.until("message.completed")
        await shopper.send("feedback", message_id=done["data"]["message_id"], rating="down", reason="wrong")
        given = await shopper.until("feedback.given")
    assert (given["data"]["rating"], given["data"]["reason"]) == ("down", "wrong")
