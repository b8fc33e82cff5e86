"""Frames: what is read, and what is refused and why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import wire
from bot.errors import FrameError
from bot.types import Event


def frame(type, **data):
    return json.dumps({"v": 1, "type": type, "data": data})


def test_fields_stand_under_data_or_beside_the_type():
    told = wire.MessageSend(client_id="1", text="Hi")
    assert wire.parse(frame("message.send", client_id="1", text="Hi")) == told
    assert wire.parse('{"type": "message.send", "client_id": "1", "text": "Hi"}') == told
    assert wire.parse(b'{"type": "message.send", "client_id": "1", "text": "Hi", "new": 1}') == told


def test_the_same_name_is_another_frame_for_a_human_agent():
    assert isinstance(wire.parse(frame("hello", token="t"), wire.AGENT_FRAMES), wire.AgentHello)
    assert isinstance(wire.parse(frame("hello", token="t")), wire.Hello)


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        ("", "bad_json", None),
        (b"\xff\xfe", "bad_json", None),
        ("[" * 60_000, "bad_json", None),
        ("null", "bad_frame", "type"),
        ('{"type": 5}', "bad_frame", "type"),
        ('{"v": 2, "type": "pong"}', "bad_frame", "v"),
        ('{"type": "dance"}', "unknown_type", "type"),
        ('{"type": "claim", "conversation_id": "c"}', "unknown_type", "type"),
        (frame("message.send", text="Hi"), "bad_frame", "client_id"),
        (frame("message.send", client_id="a b", text="Hi"), "bad_frame", "client_id"),
        (frame("message.send", client_id="1", text="a" * 2001), "bad_frame", "text"),
        (frame("message.send", client_id="1", text=" \u200b\u0000\ud800"), "bad_frame", "text"),
        (frame("hello", last_seq=-1), "bad_frame", "last_seq"),
        (frame("hello", delta_from={"message_id": "m", "index": -1}), "bad_frame", "delta_from.index"),
        (frame("feedback", message_id="m", rating="meh"), "bad_frame", "rating"),
        (frame("csat.submit", score=6), "bad_frame", "score"),
        (frame("message.send", client_id="1", text="é" * 40_000), "too_large", None),
    ],
)
def test_a_bad_frame_names_its_fault(raw, code, field):
    with pytest.raises(FrameError) as refused:
        wire.parse(raw)
    assert (refused.value.code, refused.value.field) == (code, field)


def test_data_cannot_change_the_type():
    read = wire.parse('{"type": "typing", "data": {"type": "message.cancel", "on": true, "message_id": "m"}}')
    assert isinstance(read, wire.Typing)


@given(
    st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
)
def test_whatever_comes_is_read_or_refused(raw):
    try:
        wire.parse(raw)
    except FrameError:
        pass


@given(st.sampled_from(sorted(wire.SHOPPER_FRAMES)), st.dictionaries(st.sampled_from(["text", "on", "seq", "v"]),
                                                                    st.none() | st.integers() | st.text()))  # fmt: skip
def test_whatever_fields_come_are_read_or_refused(type, data):
    try:
        assert wire.parse(json.dumps({"type": type, "data": data})).model_dump()["type"] == type
    except FrameError:
        pass


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cafe\u0301", "café"),
        (" a\r\nb\tc ", "a\nb\tc"),
        ("a\rb", "a\nb"),
        ("e\u0007\u0301", "é"),
        ("a\u202eb\u0007c\ufeffd", "abcd"),
        ("👩\u200d👧 שלום 你好", "👩\u200d👧 שלום 你好"),
        ("x\ue000y", "xy"),
    ],
)
def test_cleaning_keeps_what_can_be_read(text, kept):
    assert wire.clean(text) == kept


def test_half_an_emoji_is_dropped_and_the_rest_is_read():
    assert wire.parse(frame("message.send", client_id="1", text="Hi \ud83d there 👍")).text == "Hi  there 👍"


@pytest.mark.parametrize("client_id", ["\ud800", "a b", "x" * 65, 5, None])
def test_only_an_id_is_told_back(client_id):
    with pytest.raises(FrameError) as refused:
        wire.parse(frame("feedback", client_id=client_id))
    assert refused.value.client_id is None
    with pytest.raises(FrameError) as refused:
        wire.parse(frame("message.send", client_id="a-1", text=""))
    assert refused.value.client_id == "a-1"


@pytest.mark.parametrize("text", ["", " \n", "\u200b\u0000", "\u200d", "\u200d \u200d"])
def test_a_text_without_anything_to_read_is_refused(text):
    with pytest.raises(ValueError, match="empty"):
        wire.clean(text)


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text):
    try:
        once = wire.clean(text)
    except ValueError:
        return
    assert wire.clean(once) == once


@pytest.mark.parametrize(
    ("locale", "text", "language"),
    [
        ("zh-CN", "How long?", "en"), ("en-US", "多久到货？", "zh"), (None, "iPhone Pro Max 怎么退", "zh"),
        (None, "Do you have the 蕨岭 kettle in store?", "en"), ("zh-TW", "", "zh"), ("ZH", "123?", "zh"),
        (None, "", "en"), ("fr", "", "en"), ("zh", "👍", "zh"),
    ],
)  # fmt: skip
def test_the_language_is_the_texts_else_the_locales(locale, text, language):
    assert wire.language_of(locale, text) == language


def test_an_event_becomes_a_frame_and_the_shopper_reads_no_private_field():
    event = Event("c_1", 4, 2, "2026-11-23T09:00:00.000Z", "message.completed",
                  {"text": "Hi", "mood": {}, "note": "n", "passage_ids": []})  # fmt: skip
    told = wire.event_frame(event)
    assert (told["v"], told["seq"], told["epoch"], told["ts"]) == (1, 4, 2, event.ts)
    assert wire.for_shopper(told)["data"] == {"text": "Hi"}
    assert "note" in told["data"]


def test_a_frame_outside_the_log_has_no_seq_and_a_time_in_milliseconds():
    told = wire.envelope("status", "c_1", {"state": "typing"})
    assert "seq" not in told
    assert told["ts"].endswith("Z") and len(told["ts"]) == len("2026-11-23T09:00:00.000Z")
