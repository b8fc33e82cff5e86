"""The oracle and the trace: what they must notice, on logs and traces written by hand."""

import random

import pytest

from tests.faults import powercut, trace
from tests.faults.oracle import Known, Oracle

ASKED = (1, "message.created", 1, {"message_id": "m_1", "role": "shopper", "text": "Hello"})
ANSWERED = (2, "message.completed", 1, {"message_id": "m_2", "reply_to": "m_1", "outcome": "answered"})
QUEUED = (2, "owner.changed", 2, {"owner": "queued"})


def found(*log):
    oracle = Oracle()
    oracle.conversations["c"] = Known("token", sent={"a": "Hello"}, acked={"a": ("m_1", 1)})
    oracle.check_log("c", list(log))
    return {line.split()[0] for line in oracle.broken}


def test_a_log_as_it_should_be_is_let_be():
    assert found(ASKED, ANSWERED) == set()
    assert found(ASKED, QUEUED) == set()


@pytest.mark.parametrize(
    ("promise", "log"),
    [
        ("P1", []),
        ("P1", [(1, "message.created", 1, {**ASKED[3], "text": "Hell"})]),
        ("P2", [ASKED, (2, *ASKED[1:])]),
        ("P3", [ASKED, (3, *ANSWERED[1:])]),
        ("P6", [ASKED, ANSWERED, (3, *ANSWERED[1:])]),
        ("P9", [ASKED, (2, "owner.changed", 3, {"owner": "queued"})]),
        ("P9", [ASKED, (2, "message.created", 1, {"message_id": "m_9", "role": "human", "text": "Hello", "author": "A"})]),
        ("P12", [ASKED, QUEUED, (3, "message.completed", 2, ANSWERED[3])]),
    ],
)  # fmt: skip
def test_a_log_that_breaks_a_promise_is_noticed(promise, log):
    assert promise in found(*log)


def test_an_ack_that_differs_from_the_first_is_noticed():
    oracle = Oracle()
    oracle.conversations["c"] = Known("token")
    oracle.acked("c", "a", "m_1", 1)
    oracle.acked("c", "a", "m_2", 2)
    assert oracle.broken


STRACE = r"""
7 openat(AT_FDCWD, "\x2f\x64\x2f\x62\x6f\x74\x2e\x64\x62", O_RDWR|O_CREAT, 0644) = 3<\x2f\x64\x2f\x62\x6f\x74\x2e\x64\x62>
7 pwrite64(3<\x2f\x64\x2f\x62\x6f\x74\x2e\x64\x62>, "\x41\x42", 2, 4) = 2
7 fdatasync(3<\x2f\x64\x2f\x62\x6f\x74\x2e\x64\x62> <unfinished ...>
8 sendto(9<\x73\x6f\x63\x6b\x65\x74\x3a\x5b\x31\x5d>, "\x78", 1, 0, NULL, 0) = 1
7 <... fdatasync resumed>)               = 0
7 fsync(4<\x2f\x64>)                      = 0
7 fdatasync(3<\x2f\x64\x2f\x62\x6f\x74\x2e\x64\x62>) = -1 EIO (Input/output error)
"""


def test_a_trace_is_read_as_what_was_written_and_synced():
    assert list(trace.parse(STRACE.splitlines(), "/d")) == [
        trace.Create("/d/bot.db"),
        trace.Write("/d/bot.db", 4, b"AB"),
        trace.SyncBegins("/d/bot.db", "7"),
        trace.SyncEnds("/d/bot.db", "7"),
        trace.SyncBegins("/d", "7"),
        trace.SyncEnds("/d", "7"),
        trace.SyncBegins("/d/bot.db", "7"),
        trace.SyncFails("/d/bot.db", "7"),
    ]


def test_only_what_was_synced_survives_a_power_cut():
    disk = powercut.Disk()
    for entry in (
        trace.Create("/d/f"), trace.Write("/d/f", 0, b"one"), trace.SyncBegins("/d/f", "7"),
        trace.Write("/d/f", 3, b"two"), trace.SyncEnds("/d/f", "7"),
    ):  # fmt: skip
        disk.take(entry)
    assert disk.after_a_cut("none", random.Random(0)) == {}, "its name is not safe yet"
    assert disk.after_a_cut("all", random.Random(0)) == {"f": b"onetwo"}
    for entry in (trace.SyncBegins("/d", "7"), trace.SyncEnds("/d", "7")):
        disk.take(entry)
    assert disk.after_a_cut("none", random.Random(0)) == {"f": b"one"}


def test_what_a_failed_sync_was_to_sync_is_lost_unless_it_is_written_anew():
    disk = powercut.Disk(safe={"/d/f": bytearray()}, waiting={"/d/f": []}, names={"/d/f"})
    sync = trace.SyncBegins("/d/f", "7"), trace.SyncEnds("/d/f", "7")
    for entry in (trace.Write("/d/f", 0, b"one"), sync[0], trace.SyncFails("/d/f", "7"), *sync):
        disk.take(entry)
    assert disk.after_a_cut("all", random.Random(0)) == {"f": b""}
    for entry in (trace.Write("/d/f", 0, b"two"), *sync):
        disk.take(entry)
    assert disk.after_a_cut("none", random.Random(0)) == {"f": b"two"}
