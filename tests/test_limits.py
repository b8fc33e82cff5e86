"""The limits count right, and forget."""

import pytest

from bot.limits import Limits, Rate, address_of


def test_a_key_may_so_much_in_any_minute_and_others_are_not_touched():
    now = [0.0]
    rate = Rate(2, now=lambda: now[0])
    assert [rate.room("a") for _ in range(3)] == [True, True, False]
    assert rate.room("b")
    now[0] = 59.0
    assert not rate.room("a")
    now[0] = 60.5
    assert [rate.room("a") for _ in range(3)] == [True, True, False]


def test_what_was_long_ago_is_forgotten():
    now = [0.0]
    rate = Rate(2, now=lambda: now[0])
    for n in range(1000):
        rate.room(str(n))
    now[0] = 61.0
    rate.room("again")
    assert len(rate) == 1


def test_sockets_are_counted_by_address_and_together():
    limits = Limits(connections=3, per_address=2)
    assert [limits.enter("a") for _ in range(3)] == [None, None, "too_fast"]
    assert [limits.enter(address) for address in "bc"] == [None, "try_later"]
    limits.leave("a")
    assert [limits.enter(address) for address in "aa"] == [None, "try_later"]
    for address in "aab":
        limits.leave(address)
    assert not limits._open


@pytest.mark.parametrize(
    ("host", "counted"),
    [("127.0.0.1", None), ("::1", None), ("", None), ("198.51.100.7", "198.51.100.7"), ("unix", "unix")],
)
def test_who_is_on_this_machine_counts_for_no_address(host, counted):
    assert address_of(host) == counted
    limits = Limits(per_address=1, address_per_minute=1)
    assert (limits.enter(address_of(host)), limits.address.room(address_of(host))) == (None, True)
    assert (limits.enter(address_of(host)) is None) == limits.address.room(address_of(host)) == (counted is None)
