"""One-time codes in every store."""

from __future__ import annotations

import asyncio


async def test_a_code_is_spent_once_also_after_a_restart(new_store):
    before = new_store()
    assert await before.spend_code("a", lifetime_s=60)
    assert not await before.spend_code("a", lifetime_s=60)
    await before.aclose()
    after = new_store()
    assert not await after.spend_code("a", lifetime_s=60)
    assert await after.spend_code("b", lifetime_s=60)


async def test_of_many_at_once_one_spends_it(new_store):
    stores = [new_store(), new_store()]
    spent = await asyncio.gather(*(stores[n % 2].spend_code("a", lifetime_s=60) for n in range(10)))
    assert sorted(spent) == [False] * 9 + [True]


async def test_a_code_is_forgotten_once_it_is_too_old_to_be_used(store, clock):
    await store.spend_code("a", lifetime_s=60)
    clock.now += 60
    assert not await store.spend_code("a", lifetime_s=60)
    clock.now += 1
    assert await store.spend_code("a", lifetime_s=60)
