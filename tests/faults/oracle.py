"""The oracle: what the clients sent, were acknowledged and saw, kept outside the server.

Whatever contradicts a promise is noted in `broken`, with the promise's number. Nothing here does I/O.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

TOLD = ("answered", "quoted", "abstained")
"""Outcomes that come with a `message.completed` of the same name."""


@dataclass
class Known:
    """What the clients know of one conversation."""

    resume_token: str
    sent: dict[str, str] = field(default_factory=dict)
    """Text of each `client_id` that a shopper sent, acknowledged or not."""
    acked: dict[str, tuple[str, int]] = field(default_factory=dict)
    """(message id, seq) of each `client_id` that was acknowledged, shoppers' and human agents' alike."""
    said: dict[str, str] = field(default_factory=dict)
    """Text of each `client_id` that a human agent sent."""
    seen: dict[int, tuple[str, int, dict[str, Any]]] = field(default_factory=dict)
    """(type, epoch, data) of each event that anyone was told."""

    @property
    def owner(self) -> str:
        """The last that anyone was told of."""
        owners = [(seq, data["owner"]) for seq, (type, _, data) in self.seen.items() if type == "owner.changed"]
        return max(owners)[1] if owners else "bot"

    def answered(self, message_id: str) -> bool:
        """Whether anyone was told of an answer to this message."""
        return any(type == "message.completed" and data["reply_to"] == message_id
                   for type, _, data in self.seen.values())  # fmt: skip


class Oracle:
    """All that the clients know, of every conversation."""

    def __init__(self) -> None:
        self.conversations: dict[str, Known] = {}
        self.broken: list[str] = []
        self.claims: dict[tuple[str, int], str] = {}
        """Who holds which epoch of which conversation, as the winners were told."""

    @property
    def acks(self) -> int:
        return sum(len(known.acked) for known in self.conversations.values())

    def breaks(self, what: str) -> None:
        """Note what must not be."""
        self.broken.append(what)

    def acked(self, conversation_id: str, client_id: str, message_id: str, seq: int) -> None:
        """A message was acknowledged: again means in the same words."""
        before = self.conversations[conversation_id].acked.setdefault(client_id, (message_id, seq))
        if before != (message_id, seq):
            self.breaks(f"P2 {conversation_id} {client_id}: acked as {before}, then as {(message_id, seq)}")

    def saw(self, conversation_id: str, frame: dict[str, Any]) -> None:
        """Someone was told an event: everyone is told the same."""
        event = frame["type"], frame["epoch"], frame["data"]
        before = self.conversations[conversation_id].seen.setdefault(frame["seq"], event)
        if before != event:
            self.breaks(f"P3 {conversation_id} seq {frame['seq']}: told as {before[0]}, then as {event[0]}")

    def claimed(self, conversation_id: str, epoch: int, agent_id: str) -> None:
        """A human agent was told to have won a claim."""
        if self.claims.setdefault((conversation_id, epoch), agent_id) != agent_id:
            self.breaks(f"P9 {conversation_id}: two human agents hold epoch {epoch}")

    def check_log(self, conversation_id: str, log: list[tuple[int, str, int, dict[str, Any]]]) -> None:
        """One conversation's log (seq, type, epoch, data), from the API or the database, against what is known."""
        known = self.conversations[conversation_id]
        for fault in [*_order(log), *_acks(known, log), *_ownership(log)]:
            self.breaks(f"{fault} ({conversation_id})")
        for seq, type, epoch, data in log:
            if seq in known.seen:
                self.saw(conversation_id, {"seq": seq, "type": type, "epoch": epoch, "data": data})
        if lost := sorted(known.seen.keys() - {entry[0] for entry in log}):
            self.breaks(f"P1 {conversation_id}: told of seq {lost}, which are not in the log")


def _order(log: list[tuple[int, str, int, dict[str, Any]]]) -> list[str]:
    seqs = [entry[0] for entry in log]
    return [] if seqs == list(range(1, len(log) + 1)) else [f"P3 the log counts {seqs}"]


def _acks(known: Known, log: list[tuple[int, str, int, dict[str, Any]]]) -> list[str]:
    """Every acknowledged message stands where it was said to, none twice, none that nobody sent."""
    created = {seq: data for seq, type, _, data in log if type == "message.created"}
    texts = Counter(data["text"] for data in created.values())
    sent = {**known.sent, **known.said}
    faults = [f"P2 {text!r} stands {n} times" for text, n in texts.items() if n > 1]
    faults += [f"P2 {text!r} was never sent" for text in texts.keys() - set(sent.values())]
    for client_id, (message_id, seq) in known.acked.items():
        data = created.get(seq, {})
        if (data.get("message_id"), data.get("text")) != (message_id, sent[client_id]):
            faults.append(f"P1 {client_id} was acked at seq {seq} and is not there")
    return faults


def _ownership(log: list[tuple[int, str, int, dict[str, Any]]]) -> list[str]:
    """The bot speaks only while it is the owner, a human agent only while holding; epochs grow one by one."""
    owner, at, faults = "bot", 1, []
    answers = Counter(data["reply_to"] for _, type, _, data in log if type == "message.completed")
    faults += [f"P6 {message_id} was answered {n} times" for message_id, n in answers.items() if n > 1]
    for seq, type, epoch, data in log:
        if type == "owner.changed":
            owner, at = data["owner"], at + 1
        if epoch != at + (type == "agent.left"):  # the one who leaves is told first, under the new epoch
            faults.append(f"P9 seq {seq} ({type}) carries epoch {epoch} at epoch {at}")
        if type == "message.completed" and owner != "bot":
            faults.append(f"P12 seq {seq}: the bot speaks while {owner} is the owner")
        if type == "message.created" and data["role"] == "human" and not owner.startswith("human"):
            faults.append(f"P9 seq {seq}: a human agent speaks while {owner} is the owner")
        if data.get("author") and owner.startswith("human:") and owner != f"human:{data['author'].lower()}":
            faults.append(f"P9 seq {seq}: {data['author']} speaks while {owner} is the owner")
    return faults
