"""Two replicas on PostgreSQL and Redis behind nginx, in processes of their own."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from bot import wire
from tests.replicas.replica import QUESTION, STEPS


def resume(welcome, **more):
    """A hello that comes back to a conversation."""
    return {key: welcome["data"][key] for key in ("conversation_id", "resume_token")} | more


def deltas(client, answer):
    return [f["data"] for f in client.got if f["type"] == "message.delta" and f["data"]["message_id"] == answer]


def log_of(client):
    return [(f["seq"], f["type"]) for f in client.got if "seq" in f]


async def completed(shop, conversation):
    return [e.data for e in await shop.store.events(conversation) if e.type == "message.completed"]


async def test_a_message_sent_to_one_replica_is_heard_and_answered_on_both_once(shop):
    async with shop.a.chat() as here:
        welcome = await here.until("welcome")
        async with shop.b.chat(**resume(welcome)) as there:
            await there.until("welcome")
            shop.go()
            await here.send("message.send", client_id="1", text=QUESTION)
            done = await here.until("message.completed")
            assert await there.until("message.completed") == done
            for client in (here, there):
                assert log_of(client) == [(1, "message.created"), (2, "message.completed")]
                said = deltas(client, done["data"]["message_id"])
                assert [delta["index"] for delta in said] == list(range(len(STEPS)))
                assert "".join(delta["text"] for delta in said) == done["data"]["text"]
            await there.send("message.send", client_id="2", text=QUESTION)
            assert await there.until("message.completed") == await here.until("message.completed")
    assert len(await completed(shop, done["conversation_id"])) == 2


async def test_an_answer_in_flight_is_resumed_on_the_other_replica_at_each_index(shop):
    async with shop.a.chat() as here, AsyncExitStack() as others:
        welcome = await here.until("welcome")
        await here.send("message.send", client_id="1", text=QUESTION)
        answer = (await here.until("message.delta", index=3))["data"]["message_id"]
        there = []
        for index in range(4):
            seen = {"message_id": answer, "index": index}
            there.append(await others.enter_async_context(shop.b.chat(**resume(welcome, last_seq=1, delta_from=seen))))
            await there[-1].until("message.delta", index=3)
        shop.go()
        for client in (here, *there):
            await client.until("message.completed")
        for index, client in enumerate(there):
            assert [delta["index"] for delta in deltas(client, answer)] == list(range(index, len(STEPS)))
            assert log_of(client) == [(2, "message.completed")]


async def test_an_answer_is_cancelled_through_the_other_replica(shop):
    async with shop.a.chat() as here:
        welcome = await here.until("welcome")
        await here.send("message.send", client_id="1", text=QUESTION)
        answer = (await here.until("message.delta"))["data"]["message_id"]
        async with shop.b.chat(**resume(welcome, last_seq=1)) as there:
            await there.until("message.delta")
            await there.send("message.cancel", message_id=answer)
            assert (await there.until("message.completed"))["data"]["outcome"] == "truncated"
        done = (await here.until("message.completed"))["data"]
    assert (done["message_id"], done["outcome"]) == (answer, "truncated")
    assert len(deltas(here, answer)) < len(STEPS)


async def test_a_replica_killed_in_the_middle_of_an_answer_loses_nothing(shop):
    """P6: the other one answers, once; who comes back through nginx sees everything once and in order."""
    async with shop.front.chat() as shopper:
        welcome = await shopper.until("welcome")
        await shopper.send("message.send", client_id="1", text=QUESTION)
        first = (await shopper.until("message.delta", index=1))["data"]["message_id"]
        (await shop.who_answers(welcome["data"]["conversation_id"])).kill()
        with pytest.raises(ConnectionClosed):
            await shopper.until("never")
    shop.go()
    seen = {"message_id": first, "index": len(deltas(shopper, first))}
    async with shop.front.chat(**resume(welcome, last_seq=1, delta_from=seen)) as again:
        await again.send("message.send", client_id="1", text=QUESTION)  # as a browser that missed the ack
        assert (await again.until("ack"))["data"]["seq"] == 1
        await again.send("message.send", client_id="2", text=QUESTION)
        one = await again.until("message.completed")
        two = await again.until("message.completed")
    assert log_of(again) == [(2, "message.created"), (3, "message.completed"), (4, "message.completed")]
    assert deltas(again, first) == []
    for done in (one["data"], two["data"]):
        assert (done["outcome"], [d["index"] for d in deltas(again, done["message_id"])]) == (
            "answered",
            [*range(len(STEPS))],
        )
    created = [f["data"]["message_id"] for f in (*shopper.got, *again.got) if f["type"] == "message.created"]
    assert [done["reply_to"] for done in await completed(shop, one["conversation_id"])] == created


async def test_a_replica_that_drains_ends_its_answers_and_others_take_whoever_comes(shop):
    """P16, behind a proxy."""
    async with shop.front.chat() as shopper:
        welcome = await shopper.until("welcome")
        await shopper.send("message.send", client_id="1", text=QUESTION)
        await shopper.until("message.delta")
        going = await shop.who_answers(welcome["data"]["conversation_id"])
        going.process.terminate()
        async with asyncio.timeout(20), httpx.AsyncClient(base_url=going.url) as http:
            while (await http.get("/readyz")).status_code != 503:
                await asyncio.sleep(0.01)
        async with AsyncExitStack() as others:
            for _ in range(6):  # more than the one that goes holds by now
                other = await others.enter_async_context(shop.front.chat(**resume(welcome, last_seq=1)))
                await other.until("message.delta")
        shop.go()
        assert (await shopper.until("message.completed"))["data"]["outcome"] == "answered"
        with pytest.raises(ConnectionClosed) as closed:
            await shopper.until("never")
        assert closed.value.rcvd.code == wire.CLOSE["going_away"]
    assert await asyncio.to_thread(going.process.wait, 30) == 0
    assert len(await completed(shop, welcome["data"]["conversation_id"])) == 1


async def test_a_human_agent_serves_a_shopper_of_the_other_replica(shop):
    shop.go()
    async with shop.a.chat() as shopper, shop.b.agent("robin") as robin, shop.a.agent("li") as li:
        await shopper.until("welcome")
        for agent in (robin, li):
            await agent.until("queue.snapshot")
        await shopper.send("handoff.request")
        conversation = (await shopper.until("owner.changed", owner="queued"))["conversation_id"]
        position = await shopper.until("queue.position")
        assert (position["data"]["position"], position["data"]["eta_s"][0]) == (1, 0)
        for agent in (robin, li):
            while not (await agent.until("queue.snapshot"))["data"]["waiting"]:
                pass
        await robin.send("claim", conversation_id=conversation)
        await robin.until("claimed")
        await shopper.until("agent.joined", name="Robin")
        await shopper.send("typing", on=True)
        await robin.until("typing", role="shopper")
        await robin.send("message.send", conversation_id=conversation, client_id="1", text="Hello, this is Robin.")
        await shopper.until("message.created", role="human", text="Hello, this is Robin.")
        await shopper.send("message.send", client_id="1", text="Hello Robin")
        await robin.until("message.created", text="Hello Robin")
        while not (await li.until("queue.snapshot"))["data"]["held"]:
            pass
        await robin.send("release", conversation_id=conversation, to="bot")
        await shopper.until("owner.changed", owner="bot")
        await shopper.send("message.send", client_id="2", text=QUESTION)
        assert (await shopper.until("message.completed"))["data"]["outcome"] == "answered"
    assert [seq for seq, _ in log_of(shopper)] == [*range(1, len(log_of(shopper)) + 1)]


async def test_a_human_agent_sits_at_one_replica(shop):
    token = await shop.a.sign_in("anna")
    async with shop.a.agent(token=token) as older:
        await older.until("queue.snapshot")
        async with shop.b.agent(token=token) as newer:  # the other replica's token, too
            await newer.until("queue.snapshot")
            with pytest.raises(ConnectionClosed) as closed:
                await older.until("never")
            assert closed.value.rcvd.code == wire.CLOSE["replaced"]


@pytest.mark.parametrize("how", ["killed", "killed and back", "paused", "flushed"])
async def test_conversations_go_on_while_redis_is(shop, how):
    """P18."""
    async with shop.a.chat() as here:
        welcome = await here.until("welcome")
        async with shop.b.chat(**resume(welcome)) as there:
            await there.until("welcome")
            await here.send("message.send", client_id="1", text=QUESTION)
            await there.until("message.delta")
            match how:
                case "killed" | "killed and back":
                    shop.redis.kill()
                case "paused":
                    shop.redis.process.send_signal(signal.SIGSTOP)
                case "flushed":
                    process = await asyncio.create_subprocess_exec("redis-cli", "-p", str(shop.redis.port), "FLUSHALL")
                    await process.wait()
            shop.go()
            await there.send("message.send", client_id="2", text=QUESTION)
            if how == "killed and back":
                await asyncio.sleep(0.1)
                shop.redis.start()
            for client in (here, there):
                for _ in range(2):
                    await client.until("message.completed")
            if how == "paused":
                shop.redis.process.send_signal(signal.SIGCONT)
            await there.send("message.send", client_id="3", text=QUESTION)
            for client in (here, there):
                await client.until("message.completed")
                assert [seq for seq, _ in log_of(client)] == [1, 2, 3, 4, 5, 6]
    assert len(await completed(shop, welcome["data"]["conversation_id"])) == 3
