"""A WebSocket client that may break every rule: each byte it sends is the caller's."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from contextlib import asynccontextmanager

from tests import told

TEXT, BINARY, CLOSE, PING, PONG, CONTINUED = 1, 2, 8, 9, 10, 0


def frame(opcode, payload=b"", *, fin=True, mask=True, reserved=0, length=None):
    """One frame's bytes; `length` is what its header claims."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if length is None else length
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if length < 126:
        head += bytes([mask << 7 | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", mask << 7 | 126, length)
    else:
        head += struct.pack("!BQ", mask << 7 | 127, length)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))


class RawSocket:
    """An open connection after its handshake."""

    def __init__(self, reader, writer, path):
        self.reader, self.writer, self.path = reader, writer, path

    def write(self, *pieces):
        self.writer.write(b"".join(pieces))

    def send(self, type, **data):
        self.write(frame(TEXT, json.dumps({"type": type, "data": data})))

    async def read(self):
        """The next frame: (opcode, payload). Raises IncompleteReadError at the end."""
        head = await self.reader.readexactly(2)
        size = head[1] & 127
        if size == 126:
            [size] = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            [size] = struct.unpack("!Q", await self.reader.readexactly(8))
        return head[0] & 15, await self.reader.readexactly(size)

    async def until(self, type, timeout=20):
        """The data of the next frame of this type."""
        async with asyncio.timeout(timeout):
            while True:
                opcode, payload = await self.read()
                if opcode == TEXT and (frame := told.read(payload, self.path))["type"] == type:
                    return frame["data"]

    async def closed(self, timeout=20):
        """The close code that comes; None if the connection ends without one."""
        async with asyncio.timeout(timeout):
            try:
                while True:
                    opcode, payload = await self.read()
                    if opcode == CLOSE:
                        return struct.unpack("!H", payload[:2])[0] if payload else 1005
            except (asyncio.IncompleteReadError, ConnectionError):
                return None


@asynccontextmanager
async def raw_socket(url, path="/v1/chat", *, holds=1 << 16):
    """A connection to a house's address; `holds` bounds what waits on this side unread."""
    host, port = url.removeprefix("http://").split(":")
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, holds)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=own, limit=holds)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    try:
        yield RawSocket(reader, writer, path)
    finally:
        writer.transport.abort()
