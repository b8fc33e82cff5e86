"""The queue's rules, against properties that hold whatever the queue."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import handoff as rules
from bot.types import Handoff

NOW = 1_790_000_000.0

handoffs = st.builds(
    Handoff,
    conversation_id=st.uuids().map(str),
    reason=st.just("angry"),
    priority=st.integers(0, 2),
    waiting_since=st.floats(NOW - 20_000, NOW),
    summary=st.just(""),
    last_question=st.just(""),
    agent_id=st.sampled_from([None, None, "ann"]),
)
waiters = st.builds(replace, handoffs, agent_id=st.none(), waiting_since=st.floats(NOW - 20_000, NOW - 10_000))
queues = st.lists(handoffs, max_size=12, unique_by=lambda h: h.conversation_id)


@given(queues, st.randoms())
def test_order_does_not_depend_on_how_the_queue_came(queue, chance):
    shuffled = list(queue)
    chance.shuffle(shuffled)
    assert rules.order(queue, NOW) == rules.order(shuffled, NOW)
    assert sorted(h.conversation_id for h in rules.order(queue, NOW)) == sorted(h.conversation_id for h in queue)


@given(queues)
def test_those_who_wait_stand_before_those_who_are_held(queue):
    held = [h.agent_id is not None for h in rules.order(queue, NOW)]
    assert held == sorted(held)


@given(queues)
def test_equals_are_served_first_come_first_served(queue):
    for priority in range(3):
        since = [h.waiting_since for h in rules.order(queue, NOW) if h.priority == priority and h.agent_id is None]
        assert since == sorted(since)


@given(waiters, waiters, st.integers(1, 2), st.floats(0, rules.PRIORITY_STEP_S - 1))
def test_higher_priority_is_served_first_unless_the_other_waited_a_step_longer(low, high, steps, later):
    low = replace(low, priority=2 - steps)
    high = replace(high, priority=2, waiting_since=low.waiting_since + later)
    assert rules.order([low, high], NOW) == [high, low]


@given(waiters, waiters, st.floats(2 * rules.PRIORITY_STEP_S + 1, 9000))
def test_nobody_is_overtaken_by_one_who_came_more_than_two_steps_later(one, two, later):
    two = replace(two, waiting_since=one.waiting_since + later)
    assert rules.order([one, two], NOW) == [one, two]


@given(queues, st.floats(0, 1e6))
def test_time_alone_changes_nobodys_place(queue, passed):
    assert rules.order(queue, NOW) == rules.order(queue, NOW + passed)


@given(queues, waiters)
def test_claim_and_lost_lease_change_nobodys_place(queue, lost):
    queue = [h for h in queue if h.conversation_id != lost.conversation_id]
    before = rules.order([*queue, lost], NOW)
    others = [h for h in before if h != lost]
    held = replace(lost, agent_id="ann", lease_until=NOW + 60)
    assert [h for h in rules.order([*queue, held], NOW) if h != held] == others
    assert rules.order([*queue, replace(held, agent_id=None, lease_until=None)], NOW + 600) == before


def test_waiting_since_a_later_time_counts_as_having_just_come():
    early = Handoff("c_2", "angry", 0, NOW - 1, "", "")
    future = Handoff("c_1", "angry", 0, NOW + 86_400, "", "")
    latest = Handoff("c_0", "angry", 0, NOW + 90_000, "", "")
    assert rules.order([latest, future, early], NOW)[0] == early


@given(queues)
def test_position_counts_those_who_wait_from_one(queue):
    ordered = rules.order(queue, NOW)
    places = [rules.position(ordered, h.conversation_id) for h in ordered]
    waiting = [h for h in ordered if h.agent_id is None]
    assert places == [*range(1, len(waiting) + 1), *[None] * (len(ordered) - len(waiting))]
    assert rules.position(ordered, "c_none") is None


etas = {"slots": st.integers(1, 50), "held": st.integers(0, 60), "handle_s": st.floats(1, 3600)}


@given(st.integers(1, 200), st.fixed_dictionaries(etas))
def test_eta_is_a_range_that_grows_with_the_position(position, desk):
    low, high = rules.eta_s(position, **desk)
    low_next, high_next = rules.eta_s(position + 1, **desk)
    assert 0 <= low < high
    assert low <= low_next
    assert high <= high_next


def test_eta_with_a_free_slot_is_the_time_to_pick_up():
    assert rules.eta_s(2, slots=3, held=1, handle_s=600) == (0, 60)


def test_eta_with_full_slots_waits_for_one_to_come_free():
    # 4 departures at 100 s each: 400 s, with a standard deviation of 200 s.
    assert rules.eta_s(4, slots=3, held=3, handle_s=300) == (200, 660)


def test_eta_with_nobody_at_the_desk_is_unknown():
    assert rules.eta_s(1, slots=0, held=0, handle_s=300) is None


@given(st.text(min_size=1))
def test_owner_names_its_human_agent(agent_id):
    assert rules.held_by(rules.owned_by(agent_id)) == agent_id


@pytest.mark.parametrize("owner", [rules.BOT, rules.QUEUED, rules.CLOSED])
def test_other_owners_are_nobody(owner):
    assert rules.held_by(owner) is None


def test_release_leads_to_three_owners_only():
    assert [rules.owner_after(to) for to in ("bot", "queue", "closed")] == ["bot", "queued", "closed"]
    with pytest.raises(ValueError, match="'human:bob'"):
        rules.owner_after("human:bob")


@given(st.floats(1, rules.MAX_LEASE_S), st.floats(0, 1e5))
def test_lease_lasts_its_time_and_no_longer(lease_s, passed):
    until = rules.lease_until(NOW, lease_s)
    assert rules.lease_over(until, NOW + passed) == (NOW + passed >= until)


@given(st.floats(1, rules.MAX_LEASE_S))
def test_lease_is_over_once_the_clock_is_set_back_a_day(lease_s):
    assert rules.lease_over(rules.lease_until(NOW, lease_s), NOW - 86_400)


@pytest.mark.parametrize("lease_s", [0, -1, rules.MAX_LEASE_S + 1, float("nan")])
def test_lease_out_of_bounds_is_refused(lease_s):
    with pytest.raises(ValueError, match="lease"):
        rules.lease_until(NOW, lease_s)


def test_capacity_is_how_many_may_be_held():
    assert [rules.has_room(held, 2) for held in range(4)] == [True, True, False, False]


def test_anger_is_more_urgent_than_a_wish():
    reasons = ["angry", "asked_for_person", "engine_failed", "abstained_twice", "returned_to_queue"]
    assert [rules.priority_of(reason) for reason in reasons] == [2, 1, 0, 0, 0]
