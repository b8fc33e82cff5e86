"""A TCP proxy for faults: it slows, slices, swallows, resets and refuses what goes through it."""

from __future__ import annotations

import asyncio


class Proxy:
    """Between a program and what it talks to; its attributes may be changed at any time.

    Args:
        port: where the other side listens, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.delay_s = 0.0
        """Before each piece, in either direction."""
        self.slice_bytes = 65_536
        """Largest piece that is passed on at once."""
        self.hole = asyncio.Event()
        """While it is not set, everything is swallowed for later: a black hole."""
        self.hole.set()
        self.refusing = False
        """Whether new connections are closed at once."""
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None] | None] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Cut everything and stop listening."""
        self.refusing = True
        self.hole.set()
        self.reset()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*filter(None, self._serving))

    def reset(self) -> None:
        """Cut every connection in the middle of whatever it carries."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(task := asyncio.current_task())
        try:
            await self._join(reader, writer)
        finally:
            self._serving.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open |= both
        if self.refusing:
            self.reset()
        jobs = [
            asyncio.create_task(self._pass(reader, far_writer)),
            asyncio.create_task(self._pass(far_reader, writer)),
        ]
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= both
            for job in jobs:
                job.cancel()
            for one in both:
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                while data:
                    await asyncio.sleep(self.delay_s)
                    await self.hole.wait()
                    piece, data = (
                        data[: self.slice_bytes],
                        data[self.slice_bytes :],
                    )  # which may have changed meanwhile
                    writer.write(piece)
                    await writer.drain()
        except OSError:
            pass
