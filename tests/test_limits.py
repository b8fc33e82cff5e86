"""The limits count right, and forget."""

from bot.limits import Limits, Rate


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
