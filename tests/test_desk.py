"""The human agents' door, on a live server."""

import asyncio

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from bot import wire
from tests.live import house

QUESTION = "How long does standard delivery take?"


async def queued(shopper):
    """Bring a conversation into the queue; its id."""
    await shopper.send("handoff.request")
    return (await shopper.until("owner.changed"))["conversation_id"]


async def test_angry_queued_claimed_answered_released_and_the_bot_answers_again(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.rest() as http:
        await shopper.send("message.send", client_id="1", text="Where is my delivery!!!")
        changed = await shopper.until("owner.changed")
        assert (changed["data"]["owner"], changed["data"]["reason"]) == ("queued", "angry")
        conversation = changed["conversation_id"]
        [item] = (await http.get("/v1/queue")).json()["waiting"]
        assert (item["conversation_id"], item["reason"]) == (conversation, "angry")
        claimed = await http.post(f"/v1/queue/{conversation}/claim")
        assert claimed.status_code == 200
        assert (await shopper.until("owner.changed"))["data"]["owner"] == "human"
        assert (await shopper.until("agent.joined"))["data"]["name"] == "Anna"
        said = await http.post(f"/v1/conversations/{conversation}/messages", json={"text": "I am here."})
        message = await shopper.until("message.created", role="human")
        assert (message["data"]["text"], message["data"]["author"]) == ("I am here.", "Anna")
        assert message["seq"] == said.json()["seq"]
        await shopper.send("message.send", client_id="2", text=QUESTION)
        await shopper.until("message.created", text=QUESTION)
        await http.post(f"/v1/queue/{conversation}/release", json={"to": "bot", "note": "calmed"})
        back = await shopper.until("owner.changed", owner="bot")
        assert "note" not in back["data"]
        await shopper.send("message.send", client_id="3", text=QUESTION)
        assert (await shopper.until("message.completed"))["data"]["outcome"] == "answered"
        log = (await http.get(f"/v1/conversations/{conversation}/events")).json()
    assert [frame["seq"] for frame in log] == list(range(1, len(log) + 1))
    assert not [f for f in log if f["type"] == "message.completed"][:-1], "the bot spoke while it was not its turn"


async def test_the_same_story_over_the_socket(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.agent("li") as agent:
        assert (await agent.until("welcome"))["data"]["agent_id"] == "li"
        await shopper.send("message.send", client_id="1", text=QUESTION)
        await shopper.until("message.completed")
        conversation = await queued(shopper)
        while not (await agent.until("queue.snapshot"))["data"]["waiting"]:
            pass
        await agent.send("claim", conversation_id=conversation)
        first = await agent.until("message.created")
        assert first["data"]["text"] == QUESTION
        assert "mood" in (await agent.until("message.completed"))["data"]
        await shopper.until("agent.joined")
        await agent.send("message.send", conversation_id=conversation, client_id="a", text="Hello!")
        await agent.send("message.send", conversation_id=conversation, client_id="a", text="Hello!")
        acks = [await agent.until("ack") for _ in range(2)]
        assert acks[0]["data"] == acks[1]["data"]
        await shopper.until("message.created", role="human", text="Hello!")
        await shopper.send("typing", on=True)
        assert (await agent.until("typing"))["data"]["role"] == "shopper"
        await agent.send("release", conversation_id=conversation, to="bot")
        await shopper.until("owner.changed", owner="bot")
        events = await server.live.bot.store.events(conversation)
    assert [e.data.get("role") for e in events if e.type == "message.created"].count("human") == 1


async def test_a_human_agents_message_that_is_sent_again_and_again_at_once_is_one(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.rest() as http:
        conversation = await queued(shopper)
        await http.post(f"/v1/queue/{conversation}/claim")
        path = f"/v1/conversations/{conversation}/messages"
        bodies = [{"client_id": str(n), "text": f"Hello {n}!"} for n in range(4)]
        for body in bodies:  # the first opens the connections
            answers = await asyncio.gather(*(http.post(path, json=body) for _ in range(8)))
            assert [answer.json() for answer in answers] == [answers[0].json()] * 8
        events = await server.live.bot.store.events(conversation)
    said = [event.data["text"] for event in events if event.type == "message.created"]
    assert said == [body["text"] for body in bodies]


async def test_of_a_long_queue_the_first_are_shown_and_all_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("bot.desk.SHOWN", 2)
    async with house(tmp_path) as server, server.rest() as http:
        waiting = []
        for _ in range(3):
            async with server.chat() as shopper:
                waiting.append(await queued(shopper))
        found = (await http.get("/v1/queue")).json()
        assert ([item["conversation_id"] for item in found["waiting"]], found["in_all"]) == (waiting[:2], 3)
        await http.post(f"/v1/queue/{waiting[0]}/claim")
        found = (await http.get("/v1/queue")).json()
        assert ([item["conversation_id"] for item in found["waiting"]], found["in_all"]) == (waiting[1:], 2)


async def test_one_of_many_simultaneous_claims_wins_and_the_loser_is_told_who_won(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        conversation = await queued(shopper)
        tokens = [await server.sign_in(f"agent-{n}") for n in range(8)]

        async def claim(token):
            async with server.rest(token=token) as http:
                return await http.post(f"/v1/queue/{conversation}/claim")

        answers = await asyncio.gather(*(claim(token) for token in tokens))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 7
    winner = next(a.json()["owner"].removeprefix("human:") for a in answers if a.status_code == 200)
    assert {a.json()["agent_id"] for a in answers if a.status_code == 409} == {winner}


async def test_capacity_is_kept(tmp_path):
    async with house(tmp_path, capacity=1) as server, server.rest() as http:
        async with server.chat() as one, server.chat() as two:
            first, second = await queued(one), await queued(two)
        assert (await http.post(f"/v1/queue/{first}/claim")).status_code == 200
        refused = await http.post(f"/v1/queue/{second}/claim")
    assert (refused.status_code, refused.json()["code"]) == (409, "at_capacity")


async def test_a_human_agent_who_lost_the_conversation_cannot_speak_in_it(tmp_path):
    async with (
        house(tmp_path) as server,
        server.chat() as shopper,
        server.rest("anna") as anna,
        server.rest("li") as li,
    ):
        conversation = await queued(shopper)
        await anna.post(f"/v1/queue/{conversation}/claim")
        await anna.post(f"/v1/queue/{conversation}/release", json={"to": "queue"})
        await li.post(f"/v1/queue/{conversation}/claim")
        refused = await anna.post(f"/v1/conversations/{conversation}/messages", json={"text": "still me"})
        assert (refused.status_code, refused.json()["code"]) == (409, "stale_epoch")
        assert (await anna.post(f"/v1/queue/{conversation}/close")).status_code == 409
        assert (await li.post(f"/v1/queue/{conversation}/close", json={"resolution": "done"})).status_code == 200
        await shopper.until("owner.changed", owner="closed")
        await shopper.send("message.send", client_id="9", text="hello?")
        assert (await shopper.until("error"))["data"]["code"] == "closed"
        await shopper.send("handoff.request")
        assert (await shopper.until("error"))["data"]["code"] == "closed"


async def test_a_shopper_is_asked_for_a_rating_when_a_human_agent_closes(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.rest() as http:
        conversation = await queued(shopper)
        await http.post(f"/v1/queue/{conversation}/claim")
        [held] = (await http.get("/v1/queue")).json()["held"]
        assert held["agent_name"] == "Anna"
        await http.post(f"/v1/queue/{conversation}/close", json={"resolution": "solved"})
        assert (await shopper.until("csat.requested"))["data"] == {"about": "human"}
        await shopper.send("csat.submit", score=4)
        assert (await shopper.until("csat.given"))["data"]["score"] == 4


async def test_a_lease_that_runs_out_returns_the_conversation_to_the_queue(tmp_path):
    async with house(tmp_path, lease_s=1.0) as server, server.chat() as shopper, server.rest() as http:
        conversation = await queued(shopper)
        await http.post(f"/v1/queue/{conversation}/claim")
        await shopper.until("owner.changed", owner="human")
        back = await shopper.until("owner.changed", owner="queued")
        assert back["data"]["reason"] == "returned_to_queue"
        await shopper.until("queue.position", position=1)


async def test_an_open_socket_keeps_the_lease(tmp_path):
    async with house(tmp_path, lease_s=0.4) as server, server.chat() as shopper, server.agent() as agent:
        conversation = await queued(shopper)
        await agent.send("claim", conversation_id=conversation)
        await agent.until("claimed")
        with pytest.raises(TimeoutError):
            await shopper.until("owner.changed", timeout=1.0, owner="queued")


async def test_the_desk_is_closed_without_a_token_and_a_code_works_once(tmp_path):
    async with house(tmp_path) as server, httpx.AsyncClient(base_url=server.url) as http:
        code = server.signer.code("anna")
        assert (await http.post("/v1/agent/session", json={"code": code, "name": "Anna"})).status_code == 200
        assert (await http.post("/v1/agent/session", json={"code": code, "name": "Anna"})).status_code == 401
        for method, path in (
            ("GET", "/v1/queue"), ("POST", "/v1/queue/c/claim"), ("POST", "/v1/queue/c/release"),
            ("POST", "/v1/queue/c/close"), ("GET", "/v1/conversations/c/events"),
        ):  # fmt: skip
            assert (await http.request(method, path)).status_code == 401, path
        async with server.chat(token=None) as shopper:
            await shopper.until("welcome")
        shopper_token = server.signer.mint("shopper", "s", lifetime_s=60)
        assert (await http.get("/v1/queue", headers={"Authorization": f"Bearer {shopper_token}"})).status_code == 401
        async with server.agent(token=shopper_token) as agent:
            with pytest.raises(ConnectionClosed) as closed:
                await agent.next()
            assert closed.value.rcvd.code == wire.CLOSE["token_refused"]


async def test_a_message_sent_before_the_end_is_acked_again_after_it(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.rest() as http:
        await shopper.send("message.send", client_id="1", text=QUESTION)
        first = await shopper.until("ack")
        await shopper.until("message.completed")
        conversation = await queued(shopper)
        await http.post(f"/v1/queue/{conversation}/claim")
        await http.post(f"/v1/queue/{conversation}/close")
        await shopper.until("owner.changed", owner="closed")
        await shopper.send("message.send", client_id="1", text=QUESTION)
        assert (await shopper.until("ack"))["data"] == first["data"]


async def test_who_waits_is_told_when_the_desk_fills_and_empties(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await queued(shopper)
        assert (await shopper.until("queue.position"))["data"]["eta_s"] is None
        async with server.agent() as agent:
            await agent.until("welcome")
            assert (await shopper.until("queue.position"))["data"]["eta_s"] == [0, 60]
        assert (await shopper.until("queue.position"))["data"]["eta_s"] is None


async def test_a_human_agent_sits_at_one_place(tmp_path):
    async with house(tmp_path, capacity=3) as server:
        token = await server.sign_in("anna")
        async with server.agent(token=token) as older, server.agent("li") as colleague:
            await older.until("queue.snapshot")
            await colleague.until("queue.snapshot")
            async with server.agent(token=token) as newer:
                await newer.until("queue.snapshot")
                with pytest.raises(ConnectionClosed) as closed:
                    await older.until("never")
                assert closed.value.rcvd.code == wire.CLOSE["replaced"]
                assert server.live.news.slots() == 6
                await newer.send("queue.snapshot")
                await newer.until("queue.snapshot")
                await colleague.send("queue.snapshot")
                await colleague.until("queue.snapshot")


async def test_a_database_that_fails_as_a_human_agent_sits_down_leaves_no_seat_behind(tmp_path):
    async with house(tmp_path) as server:
        token = await server.sign_in("anna")
        server.live.bot.store.failing["queue"] = 2
        async with server.agent(token=token) as agent:
            with pytest.raises(ConnectionClosed) as closed:
                await agent.until("never")
            assert closed.value.rcvd.code == wire.CLOSE["try_later"]
        assert server.live.news.slots() == 0


async def test_a_human_agent_who_knows_more_than_the_log_starts_it_anew(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper:
        await shopper.send("message.send", client_id="1", text=QUESTION)
        await shopper.until("message.completed")
        conversation = await queued(shopper)
        token = await server.sign_in("anna")
        async with server.rest(token=token) as http:
            await http.post(f"/v1/queue/{conversation}/claim")
        async with server.agent(token=token, last_seq={conversation: 10**30}) as agent:
            assert (await agent.until("resync_required"))["conversation_id"] == conversation
            assert (await agent.until("message.created"))["seq"] == 1


async def test_a_conversation_that_cannot_be_followed_ends_the_human_agents_socket(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.agent() as agent:
        conversation = await queued(shopper)
        await agent.send("claim", conversation_id=conversation)
        await agent.until("agent.joined")
        server.live.bot.store.failing["events"] = 2  # the shopper's socket reads too
        await server.live.news.grown(conversation)
        with pytest.raises(ConnectionClosed) as closed:
            await agent.until("never")
        assert closed.value.rcvd.code == wire.CLOSE["try_later"]


async def test_a_message_to_no_conversation_names_the_field(tmp_path):
    async with house(tmp_path) as server, server.agent() as agent:
        await agent.send("message.send", client_id="1", text="Hi")
        told = (await agent.until("error"))["data"]
        assert (told["field"], told["client_id"]) == ("conversation_id", "1")


async def test_a_used_code_stays_used_after_a_restart(tmp_path):
    async with house(tmp_path) as server, httpx.AsyncClient(base_url=server.url) as http:
        code = {"code": server.signer.code("anna")}
        assert (await http.post("/v1/agent/session", json=code)).status_code == 200
    async with house(tmp_path) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.post("/v1/agent/session", json=code)).status_code == 401


async def test_long_poll_returns_as_soon_as_the_log_grows(tmp_path):
    async with house(tmp_path) as server, server.chat() as shopper, server.rest() as http:
        conversation = await queued(shopper)
        waiting = asyncio.create_task(
            http.get(f"/v1/conversations/{conversation}/events", params={"after": 1, "wait_s": 20})
        )
        await asyncio.sleep(0.05)
        await shopper.send("csat.submit", score=5)
        answer = await asyncio.wait_for(waiting, 5)
        assert [frame["type"] for frame in answer.json()] == ["csat.given"]
        assert (await http.get("/v1/conversations/c_none/events")).status_code == 404
        far = {"after": 2**31}
        assert (await http.get(f"/v1/conversations/{conversation}/events", params=far)).status_code == 422


async def test_health_metrics_and_schemas_are_served(tmp_path):
    async with house(tmp_path) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/healthz")).text == "ok"
        assert (await http.get("/readyz")).json()["ready"] is True
        assert "shoptalk_queue_waiting 0" in (await http.get("/metrics")).text
        assert "message.send" in (await http.get("/v1/schema.json")).json()["chat"]["receive"]
        assert (await http.get("/v1/asyncapi.json")).json()["asyncapi"] == "3.0.0"
        assert (await http.get("/demo/token", params={"shopper": "shopper-1001"})).status_code == 404
