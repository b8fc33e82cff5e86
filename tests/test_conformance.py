"""The WebSocket protocol's sharp edges, byte by byte against a live server: the right close code, and no traceback.

Autobahn's 247 cases were run by hand (tests/bench/README.md); these are the ones that servers get wrong.
"""

import json
import logging
import struct

import pytest

from tests.live import house
from tests.raw_socket import BINARY, CLOSE, CONTINUED, PING, PONG, TEXT, frame, raw_socket

HELLO = json.dumps({"type": "hello", "data": {}})
HALF = "你".encode()[:2]


def close(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


ENDS = {
    "a reserved bit": (1002, [frame(TEXT, HELLO, reserved=2)]),
    "a compressed frame, which nobody agreed on": (1002, [frame(TEXT, HELLO, reserved=4)]),
    "a reserved opcode": (1002, [frame(3, HELLO)]),
    "a reserved control opcode": (1002, [frame(11)]),
    "a frame without a mask": (1002, [frame(TEXT, HELLO, mask=False)]),
    "a ping too long": (1002, [frame(PING, b"x" * 126)]),
    "a ping in pieces": (1002, [frame(PING, b"x", fin=False), frame(CONTINUED, b"y")]),
    "an end without a beginning": (1002, [frame(CONTINUED, HELLO)]),
    "a beginning within a beginning": (1002, [frame(TEXT, "{", fin=False), frame(TEXT, "}")]),
    "bytes that are no UTF-8": (1007, [frame(TEXT, b"\xff\xfe")]),
    "half a character at the end": (1007, [frame(TEXT, HALF)]),
    "half a character, then something else": (1007, [frame(TEXT, HALF, fin=False), frame(CONTINUED, b"x")]),
    "a surrogate": (1007, [frame(TEXT, b"\xed\xa0\x80")]),
    "a close of one byte": (1002, [frame(CLOSE, b"\x03")]),
    "a close with a code that is not sent": (1002, [close(1005)]),
    "a close with a code that is none": (1002, [close(999)]),
    "a close whose reason is no UTF-8": (1007, [close(1000, b"\xff")]),
    "a close": (1000, [close(1000, b"done")]),
    "a close with a code of ours": (4000, [close(4000)]),
    "a close without a code": ((1000, 1005), [frame(CLOSE)]),
    "a close within a message": (1000, [frame(TEXT, "{", fin=False), close(1000)]),
    "a close within a message that goes on": (1000, [frame(TEXT, "{", fin=False), close(1000), frame(CONTINUED, "}")]),
    "a message in countless empty pieces": (
        1009,
        [frame(TEXT, "{", fin=False), *[frame(CONTINUED, fin=False)] * 2000],
    ),
    "a message after the close": (1000, [close(1000), frame(TEXT, HELLO)]),
}


@pytest.fixture
def tracebacks(caplog):
    """What was logged with a traceback."""
    caplog.set_level(logging.INFO)
    return lambda: [record.message for record in caplog.records if record.exc_info]


async def test_every_breach_ends_with_its_code_and_without_a_traceback(tmp_path, tracebacks):
    wrong = {}
    async with house(tmp_path) as server:
        for greeted in (False, True):
            for name, (code, pieces) in ENDS.items():
                async with raw_socket(server.url) as ws:
                    if greeted:
                        ws.write(frame(TEXT, HELLO))
                        await ws.until("welcome")
                    ws.write(*pieces)
                    got = await ws.closed()
                    if got not in (code if isinstance(code, tuple) else (code,)):
                        wrong[name, greeted] = got
        async with server.chat() as shopper:  # and others are served
            await shopper.until("welcome")
    assert (wrong, tracebacks()) == ({}, [])


async def test_messages_in_pieces_with_pings_between_are_whole(tmp_path, tracebacks):
    text = {"type": "message.send", "data": {"client_id": "1", "text": "delivery 你好"}}
    raw = json.dumps(text, ensure_ascii=False).encode()
    cut = raw.index("你".encode()) + 1  # within a character
    async with house(tmp_path) as server, raw_socket(server.url) as ws:
        ws.write(*(frame(TEXT if not n else CONTINUED, HELLO[n], fin=n == len(HELLO) - 1) for n in range(len(HELLO))))
        await ws.until("welcome")
        ws.write(frame(TEXT, raw[:cut], fin=False), frame(PING, b"still there?"), frame(CONTINUED, b"", fin=False))
        while (got := await ws.read())[0] != PONG:
            pass
        assert got[1] == b"still there?"
        ws.write(frame(PONG, b"unasked"), frame(CONTINUED, raw[cut:]))
        assert (await ws.until("ack"))["client_id"] == "1"
        assert (await ws.until("message.created"))["text"] == "delivery 你好"
        ws.write(frame(BINARY, b"\xff"))
        assert (await ws.until("error"))["code"] == "bad_json"
    assert tracebacks() == []


async def test_one_byte_at_a_time_is_read(tmp_path, tracebacks):
    async with house(tmp_path) as server, raw_socket(server.url) as ws:
        for byte in frame(TEXT, HELLO):
            ws.write(bytes([byte]))
            await ws.writer.drain()
        await ws.until("welcome")
    assert tracebacks() == []


async def test_a_connection_cut_anywhere_leaves_no_traceback(tmp_path, tracebacks):
    whole = frame(TEXT, HELLO) + frame(TEXT, json.dumps({"type": "handoff.request"}))
    async with house(tmp_path) as server:
        for end in range(0, len(whole), 3):
            async with raw_socket(server.url) as ws:
                ws.write(whole[:end])
        async with server.chat() as shopper:
            await shopper.until("welcome")
    assert tracebacks() == []
