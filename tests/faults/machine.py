"""Drives two processes' stores over one database beside the model (model.py), with Hypothesis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from bot.errors import StoreError
from bot.store.sql import SqlStore, open_store
from tests.faults.model import Model, Talk
from tests.store.steps import SAID, handoff

START = 1_790_000_000.0
LEASE_S, CAPACITY = 60.0, 2
AGENTS = st.sampled_from(("ann", "bob"))
PROCESSES = st.sampled_from((0, 1))
NUMBERS = st.integers(0, 5)
EPOCHS = st.sampled_from((0, 0, 0, -1))
"""What a writer believes, beside the current epoch."""


class Stores(RuleBasedStateMachine):
    """Two processes over one database, and the model beside them."""

    stores: tuple[SqlStore, SqlStore]
    loop: asyncio.AbstractEventLoop

    @initialize()
    def begin(self) -> None:
        """An empty database, and three conversations."""
        tables = ("messages", "events", "handoffs", "conversations")
        self.run(self.stores[0]._database.write(lambda c: [c.execute(text(f"DELETE FROM {t}")) for t in tables]))
        self.model = Model(CAPACITY, LEASE_S)
        self.model.now = START
        for store in self.stores:
            store._now = lambda: self.model.now
        for _ in range(3):
            made = self.run(self.stores[0].create(site="s", locale="en", shopper_id=None, resume_hash="h"))
            self.model.talks[made.id] = Talk()
        self.written = 0

    def run(self, job: Any) -> Any:
        return self.loop.run_until_complete(job)

    def both(self, expected: Callable[[], Any], job: Any, cut: Callable[[Any], Any] = lambda found: found) -> None:
        """The same from the model and the store: a result, or a kind of error."""
        try:
            wanted: Any = expected()
        except StoreError as error:
            wanted = type(error)
        try:
            found = cut(self.run(job))
        except StoreError as error:
            found = type(error)
        assert found == wanted, f"the store says {found}, the model {wanted}"

    def id(self, n: int) -> str:
        return list(self.model.talks)[n % 3]

    def message(self, id: str, n: int) -> str | None:
        known = list(self.model.talks[id].messages)
        return known[n % len(known)] if known else None

    @rule(n=NUMBERS, client=NUMBERS, other=st.booleans(), process=PROCESSES)
    def append_message(self, n: int, client: int, other: bool, process: int) -> None:
        self.written += 1
        id, text, message_id = self.id(n), f"text {client}{' other' * other}", f"m{self.written}"
        self.both(
            lambda: self.model.append_message(id, f"k{client}", message_id, text),
            self.stores[process].append_message(id, client_id=f"k{client}", message_id=message_id, text=text),
            lambda found: (found[0].seq, found[1]),
        )

    @rule(n=NUMBERS, client=NUMBERS, other=st.booleans(), behind=EPOCHS, process=PROCESSES)
    def append_reply(self, n: int, client: int, other: bool, behind: int, process: int) -> None:
        self.written += 1
        id, text, message_id = self.id(n), f"reply {client}{' other' * other}", f"m{self.written}"
        epoch = self.model.talks[id].epoch + behind
        self.both(
            lambda: self.model.append_reply(id, f"ann {client}", message_id, text, epoch),
            self.stores[process].append_reply(
                id, client_id=f"ann {client}", data={"message_id": message_id, "text": text}, epoch=epoch
            ),
            lambda event: event.seq,
        )

    @rule(n=NUMBERS, behind=EPOCHS, nobody=st.booleans())
    def append(self, n: int, behind: int, nobody: bool) -> None:
        id = self.id(n)
        epoch = None if nobody else self.model.talks[id].epoch + behind
        self.both(
            lambda: self.model.append(id, "said", epoch),
            self.stores[0].append(id, "message.created", {"text": "said"}, epoch=epoch),
            lambda event: event.seq,
        )

    @rule(n=NUMBERS, process=PROCESSES)
    def take_turn(self, n: int, process: int) -> None:
        id = self.id(n)
        self.both(lambda: self.model.take_turn(str(process), id), self.stores[process].take_turn(id, lease_s=LEASE_S))

    @rule(process=PROCESSES)
    def hold_turns(self, process: int) -> None:
        self.both(
            lambda: self.model.hold_turns(str(process)),
            self.stores[process].hold_turns(lease_s=LEASE_S, most=100),
            set,
        )

    @rule(n=NUMBERS, m=NUMBERS, behind=EPOCHS, process=PROCESSES)
    def complete(self, n: int, m: int, behind: int, process: int) -> None:
        id = self.id(n)
        if (message_id := self.message(id, m)) is not None:
            epoch = self.model.talks[id].epoch + behind
            self.both(
                lambda: self.model.complete(str(process), id, message_id, epoch),
                self.stores[process].complete(
                    id, message_id=message_id, outcome="answered", type="message.completed",
                    data={"text": message_id}, epoch=epoch,
                ),
                lambda event: event and event.seq,
            )  # fmt: skip

    @rule(n=NUMBERS, m=NUMBERS, process=PROCESSES)
    def settle(self, n: int, m: int, process: int) -> None:
        id = self.id(n)
        if (message_id := self.message(id, m)) is not None:
            self.both(
                lambda: self.model.settle(str(process), id, message_id, "cancelled"),
                self.stores[process].settle(id, message_id=message_id, outcome="cancelled"),
            )

    @rule(n=NUMBERS, m=NUMBERS, alone=st.booleans(), behind=EPOCHS, process=PROCESSES)
    def hand_off(self, n: int, m: int, alone: bool, behind: int, process: int) -> None:
        id = self.id(n)
        message_id, epoch = None if alone else self.message(id, m), self.model.talks[id].epoch + behind
        waits = handoff(id, since=self.model.now)
        self.both(
            lambda: self.model.hand_off(str(process), id, message_id, epoch),
            self.stores[process].hand_off(id, epoch=epoch, handoff=waits, text="Wait.", message_id=message_id),
            lambda found: (found[0] and found[0].seq, found[1]),
        )

    @rule(n=NUMBERS, agent=AGENTS, process=PROCESSES)
    def claim(self, n: int, agent: str, process: int) -> None:
        id = self.id(n)
        self.both(
            lambda: self.model.claim(id, agent),
            self.stores[process].claim(
                id, agent_id=agent, name=agent, capacity=CAPACITY, lease_s=LEASE_S, text="Here."
            ),
            lambda head: (head.owner, head.epoch),
        )  # fmt: skip

    @rule(agent=AGENTS)
    def renew(self, agent: str) -> None:
        self.both(lambda: self.model.renew(agent), self.stores[0].renew(agent, lease_s=LEASE_S))

    @rule(n=NUMBERS, agent=AGENTS, to=st.sampled_from(("bot", "queue", "closed")), behind=EPOCHS)
    def release(self, n: int, agent: str, to: str, behind: int) -> None:
        id = self.id(n)
        epoch = self.model.talks[id].epoch + behind
        self.both(
            lambda: self.model.release(id, agent, to, epoch),
            self.stores[0].release(id, agent_id=agent, to=to, text="Bye.", epoch=epoch),
            lambda head: (head.owner, head.epoch),
        )

    @rule(process=PROCESSES)
    def expire(self, process: int) -> None:
        self.both(self.model.expire, self.stores[process].expire(text=SAID), set)

    @rule(seconds=st.sampled_from((1.0, LEASE_S / 2, LEASE_S, 86_400.0)))
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds

    @precondition(lambda self: hasattr(self, "model"))
    @invariant()
    def the_same_is_read(self) -> None:
        """Heads, logs, queue, what everyone holds, and what has not ended."""
        store, talks = self.stores[1], self.model.talks
        heads, logs, held, queue, unfinished = self.run(self.read(store))
        for head, log, talk in zip(heads, logs, talks.values(), strict=True):
            assert (head.owner, head.epoch, head.seq) == (talk.owner, talk.epoch, len(talk.log))
            assert [event.seq for event in log] == list(range(1, len(log) + 1))
            assert [(event.type, event.epoch, _what(event.data)) for event in log] == talk.log
        waits = {(h.conversation_id, h.agent_id, h.lease_until) for h in queue}
        assert waits == {(id, t.handoff.agent, t.handoff.until if t.handoff.agent else None)
                         for id, t in talks.items() if t.handoff}  # fmt: skip
        for agent, mine in zip(("ann", "bob"), held, strict=True):
            assert set(mine) == self.model.held(agent) and len(mine) <= CAPACITY
        open_ones = {(id, m) for id, talk in talks.items() for m, asked in talk.messages.items() if not asked.outcome}
        assert set(unfinished) == open_ones

    async def read(self, store: SqlStore) -> Any:
        """Everything at once."""
        ids, agents = self.model.talks, ("ann", "bob")
        return await asyncio.gather(
            asyncio.gather(*(store.conversation(id) for id in ids)),
            asyncio.gather(*(store.events(id) for id in ids)),
            asyncio.gather(*(store.conversations_held(agent) for agent in agents)),
            store.queue(),
            store.unfinished(),
        )


def _what(data: dict[str, Any]) -> str:
    return data.get("owner") or data.get("name") or data.get("about") or data["text"]


def explore(url: str, *, examples: int, steps: int = 30, shrink: bool = True, seed: int | None = None) -> None:
    """Try so many ways, each of so many steps.

    Args:
        shrink: whether the shortest way to a fault is looked for, which takes long.

    Raises:
        AssertionError: the store and the model differ; Hypothesis prints the shortest way there.
    """
    with asyncio.Runner() as runner:
        stores = open_store(url), open_store(url)
        try:
            machine = type("StoreAndModel", (Stores,), {"stores": stores, "loop": runner.get_loop()})
            if seed is not None:
                machine = hypothesis.seed(seed)(machine)
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples, stateful_step_count=steps, deadline=None, database=None,
                    phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
                    suppress_health_check=list(HealthCheck),
                ),
            )  # fmt: skip
        finally:
            for store in stores:
                runner.run(store.aclose())
