"""What is sent: the documents describe it, a frame that they do not describe is caught, and all that they describe comes."""

import json

import pytest

from bot import asyncapi, wire
from tests import told
from tests.live import house

QUESTION = "How long does standard delivery take?"
ACK = {"client_id": "1", "message_id": "m_1", "seq": 1}


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/agent"])
def test_a_frame_as_it_is_described_is_read(path):
    frame = wire.envelope("ack", "c_1", ACK)
    assert told.read(json.dumps(frame), path) == frame


@pytest.mark.parametrize(
    "frame",
    [
        wire.envelope("acknowledged", "c_1", ACK),
        wire.envelope("queue.snapshot", "c_1", {"waiting": [], "held": [], "now": 0.0}),
        wire.envelope("ack", None, ACK),
        wire.envelope("ack", "c_1", {**ACK, "seq": "1"}),
        wire.envelope("ack", "c_1", {**ACK, "seq": None}),
        wire.envelope("ack", "c_1", {**ACK, "more": 1}),
        wire.envelope("ack", "c_1", {"client_id": "1", "seq": 1}),
        wire.envelope("message.created", "c_1", {"message_id": "m_1", "role": "shopper", "text": "Hi"}),
        wire.envelope("error", "c_1", {"code": "closed", "message": "It is closed.", "retryable": False,
                                       "request_id": "1", "field": None}),
        {**wire.envelope("ack", "c_1", ACK), "seq": 1},
        {**wire.envelope("ack", "c_1", ACK), "ts": "2026-11-23T09:00:00Z"},
        {**wire.envelope("ack", "c_1", ACK), "v": 2},
    ],
)  # fmt: skip
def test_a_frame_that_is_not_described_is_caught(frame):
    with pytest.raises(ValueError):
        told.read(json.dumps(frame), "/v1/chat")


def test_shoppers_are_not_sent_what_only_the_desk_may_read():
    schema = asyncapi.json_schema()
    for name in ("message.created", "message.completed"):
        data = {socket: set(schema[socket]["send"][name]["properties"]["data"]["properties"]) for socket in schema}
        assert data["agent"] - data["chat"] <= set(wire.PRIVATE)
        assert not data["chat"] & set(wire.PRIVATE)


def test_the_documents_hold_every_frame_of_both_sockets_both_ways():
    schema, document = asyncapi.json_schema(), asyncapi.document("Shop", "1.0")
    named = set()
    for socket, both in asyncapi.FRAMES.items():
        for action, frames in both.items():
            for name, model in frames.items():
                assert schema[socket][action][name]["properties"]["type"]["const"] == name
                assert schema[socket][action][name]["description"] == model.__doc__
                assert (
                    document["components"]["messages"][f"{socket}.{action}.{name}"]["payload"]
                    == (schema[socket][action][name])
                )
                named.add(f"{socket}.{action}.{name}")
    assert set(document["components"]["messages"]) == named
    assert {operation["action"] for operation in document["operations"].values()} == {"receive", "send"}


def test_every_reference_of_the_documents_leads_somewhere():
    document = asyncapi.document("Shop", "1.0")

    def references(part):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            if key == "$ref":
                yield value
            elif isinstance(value, dict | list):
                yield from references(value)

    assert "$ref" not in json.dumps(asyncapi.json_schema())
    for reference in references(document):
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place


def test_a_newer_server_may_send_more():
    assert "additionalProperties" not in json.dumps(asyncapi.json_schema()["chat"]["send"])


def described(schema):
    """Every field of a frame's data, by its path."""
    for name, part in schema.get("properties", {}).items():
        yield name
        yield from (f"{name}.{inner}" for inner in described(part))
    if "items" in schema:
        yield from described(schema["items"])


def said(value):
    """The same of what was sent."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from (f"{name}.{inner}" for inner in said(part))
    elif isinstance(value, list):
        for part in value:
            yield from said(part)


async def hear(client, *types):
    """Read until all of these have come, in whatever order."""
    while not {*types} <= {frame["type"] for frame in client.got}:
        await client.next()


async def test_all_that_is_described_is_sent(tmp_path):
    got = {"chat": [], "agent": []}
    async with house(tmp_path, ping_s=0.05) as server, server.chat() as shopper, server.agent() as agent:
        await shopper.until("ping")
        await agent.until("ping")
        got["chat"] += shopper.got
        got["agent"] += agent.got
    async with house(tmp_path) as server, server.chat() as shopper:
        welcome = (await shopper.until("welcome"))["data"]
        this = {"conversation_id": welcome["conversation_id"]}
        async with (
            server.agent("li", last_seq={welcome["conversation_id"]: 99}) as li,
            server.agent("anna") as anna,
        ):
            await shopper.send("message.send", client_id="1", text=QUESTION)
            answer = (await shopper.until("message.completed"))["data"]["message_id"]
            await shopper.send("feedback", message_id=answer, rating="down", reason="wrong", text="It took 9.")
            await shopper.send("csat.submit", score=2, text="Hm.")
            await shopper.until("csat.given")
            await shopper.send("message.send", client_id="2")
            await shopper.until("error")
            await shopper.send("handoff.request")
            await shopper.until("queue.position")
            while not (await li.until("queue.snapshot"))["data"]["waiting"]:
                pass
            await li.send("claim", **this)
            await li.until("agent.joined")
            await anna.send("claim", **this)
            await anna.until("error", code="already_claimed")
            await shopper.send("typing", on=True)
            await li.until("typing")
            await li.send("typing", **this, on=True)
            await shopper.until("typing")
            await li.send("message.send", **this, client_id="1", text="I am here.")
            await li.until("ack")
            await li.send("message.send", client_id="2", text="Where?")
            await li.until("error")
            await li.send("queue.snapshot")
            while not (await li.until("queue.snapshot"))["data"]["held"]:
                pass
            await li.send("release", **this, to="bot")
            await li.until("released")
            await shopper.until("owner.changed", owner="bot")
            await shopper.send("handoff.request")
            await shopper.until("owner.changed", owner="queued")
            await anna.send("claim", **this)
            await hear(anna, "claimed", "agent.joined")
            await anna.send("close", **this, resolution="done")
            await hear(anna, "closed", "csat.requested")
            await shopper.until("csat.requested")
            async with server.chat(**this, resume_token=welcome["resume_token"], last_seq=99) as again:
                await again.until("resync_required")
            got["chat"] += [*shopper.got, *again.got]
            got["agent"] += [*li.got, *anna.got]
    for socket, both in asyncapi.json_schema().items():
        promised = {f"{t} {field}" for t, s in both["send"].items() for field in described(s["properties"]["data"])}
        assert {f"{frame['type']} {field}" for frame in got[socket] for field in said(frame["data"])} == promised
