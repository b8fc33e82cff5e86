"""What a server wrote, synced and sent, in order: read off strace.

Knows system calls only, neither SQLite nor the protocol beyond the `ack`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

CALLS = "openat,pwrite64,ftruncate,fsync,fdatasync,unlink,write,writev,sendto,sendmsg"
# The bytes in hex, whole, and each descriptor with its path; children (threads) too.
STRACE = ["strace", "-f", "-y", "-xx", "-s", "1000000", "--seccomp-bpf", "-e", f"trace={CALLS}", "-e", "signal=none"]

_ACK = re.compile(rb'"type":"ack".{0,200}?"message_id":"(m_\w+)","seq":(\d+)')
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_HEAD = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")
_FILE = re.compile(r"^\d+<([^>]*)>")


class Write(NamedTuple):
    """Bytes put into a file."""

    path: str
    offset: int
    data: bytes


class Truncate(NamedTuple):
    """A file cut (or grown with zeros) to a size."""

    path: str
    size: int


class Create(NamedTuple):
    """A file that may have been made; its name is safe once its folder is synced."""

    path: str


class Remove(NamedTuple):
    """A file taken away."""

    path: str


class SyncBegins(NamedTuple):
    """A file or folder is being synced by a thread: what was written before is on its way."""

    path: str
    thread: str


class SyncEnds(NamedTuple):
    """The sync that this thread began has succeeded."""

    path: str
    thread: str


class SyncFails(NamedTuple):
    """The sync that this thread began has failed: what was on its way may be lost, though the kernel keeps showing it."""

    path: str
    thread: str


class Ack(NamedTuple):
    """An acknowledgement has left for the network."""

    message_id: str
    seq: int


Entry = Write | Truncate | Create | Remove | SyncBegins | SyncEnds | SyncFails | Ack


def read(path: Path, folder: Path) -> list[Entry]:
    """The entries of a trace that concern files in a folder, and the acks."""
    with path.open(encoding="ascii", errors="replace") as lines:
        return list(parse(lines, str(folder)))


def parse(lines: Iterable[str], folder: str) -> Iterator[Entry]:
    """Read strace's lines; a call that two lines tell of writes on its first and succeeds on its last."""
    begun: dict[str, str] = {}
    for line in lines:
        if (head := _HEAD.match(line)) is None:
            continue
        thread, resumed, name, rest = head.groups()
        rest = _unhexed(rest)
        if resumed:
            name, rest = resumed, begun.pop(thread, "") + rest
        elif rest.endswith("<unfinished ...>"):
            begun[thread] = rest = rest.removesuffix(" <unfinished ...>")
        if not resumed:
            yield from _begins(thread, name, rest, folder)
        if thread not in begun:
            yield from _ends(thread, name, rest, folder)


def _unhexed(text: str) -> str:
    """strace writes the paths of descriptors in hex too."""
    return re.sub(r"<((?:\\x[0-9a-f]{2})+)>", lambda m: f"<{_bytes(m[1]).decode(errors='replace')}>", text)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _begins(thread: str, name: str, rest: str, folder: str) -> Iterator[Entry]:
    path = found[1] if (found := _FILE.match(rest)) else ""
    mine = path.startswith(folder) and not path.endswith("-shm")  # shared memory is rebuilt, never trusted
    match name:
        case "pwrite64" if mine:
            data = _STRING.search(rest)
            assert data is not None, rest[:200]
            offset = int(re.findall(r", (\d+)(?:\)|$)", rest)[-1])
            yield Write(path, offset, _bytes(data[1]))
        case "ftruncate" if mine:
            yield Truncate(path, int(re.findall(r", (\d+)", rest)[-1]))
        case "fsync" | "fdatasync" if mine:
            yield SyncBegins(path, thread)
        case "write" | "writev" | "sendto" | "sendmsg" if "socket:" in path or "TCP" in path:
            sent = b"".join(_bytes(part) for part in _STRING.findall(rest))
            yield from (Ack(id.decode(), int(seq)) for id, seq in _ACK.findall(sent))


def _ends(thread: str, name: str, rest: str, folder: str) -> Iterator[Entry]:
    if (result := re.search(r"= (-?)\d", rest)) is None:
        return
    failed = bool(result[1])
    match name:
        case "fsync" | "fdatasync" if (found := _FILE.match(rest)) and found[1].startswith(folder):
            yield SyncFails(found[1], thread) if failed else SyncEnds(found[1], thread)
        case "openat" | "unlink" if not failed and (found := _STRING.search(rest)) is not None:
            path = _bytes(found[1]).decode(errors="replace")
            if path.startswith(folder) and not path.endswith("-shm"):
                if name == "unlink":
                    yield Remove(path)
                elif "O_CREAT" in rest:
                    yield Create(path)
