"""Tokens: uses kept apart, time limits, one-time codes, and a key that stays with its owner."""

import base64
import resource
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest

from bot import tokens, wiring
from bot.errors import SettingsError
from bot.settings import Settings

KEY = "k" * 48


@pytest.fixture
def signer():
    return tokens.Tokens(KEY)


@pytest.fixture
def spend():
    """Marks an id as used, once."""
    spent = set()

    async def once(code_id):
        fresh = code_id not in spent
        spent.add(code_id)
        return fresh

    return once


def test_a_token_is_read_for_its_own_use_only(signer):
    made = {use: signer.mint(use, "anna", lifetime_s=60) for use in (tokens.SHOPPER, tokens.AGENT, tokens.CODE)}
    for use in made:
        assert [signer.read(use, token) for token in made.values()] == [
            "anna" if other == use else None for other in made
        ]


def test_a_shops_own_token_needs_no_audience(signer):
    token = jwt.encode({"sub": "shopper-1", "exp": time.time() + 60}, KEY, algorithm="HS256")
    assert signer.read(tokens.SHOPPER, token) == "shopper-1"
    assert signer.read(tokens.AGENT, token) is None
    assert signer.read(tokens.CODE, token) is None


def test_a_token_of_a_machine_whose_clock_is_ahead_is_read(signer):
    body = {"sub": "a", "exp": time.time() + 60, "iat": time.time() + 30}
    assert signer.read(tokens.SHOPPER, jwt.encode(body, KEY, algorithm="HS256")) == "a"


@pytest.mark.parametrize(
    "body",
    [
        {"sub": "a"},
        {"exp": 4_000_000_000},
        {"sub": "", "exp": 4_000_000_000},
        {"sub": "a" * 129, "exp": 4_000_000_000},
        {"sub": 5, "exp": 4_000_000_000},
        {"sub": "a", "exp": 1},
        {"sub": "a", "exp": 4_000_000_000, "nbf": 3_900_000_000},
        {"sub": "a", "exp": 4_000_000_000, "aud": ["shopper", "agent"]},
        {"sub": "a", "exp": 4_000_000_000, "aud": "elsewhere"},
    ],
)
def test_a_token_that_is_late_incomplete_or_for_another_use_is_nobody(signer, body):
    assert signer.read(tokens.SHOPPER, jwt.encode(body, KEY, algorithm="HS256")) is None


def test_another_key_another_algorithm_and_no_signature_are_refused(signer):
    body = {"sub": "a", "exp": 4_000_000_000}
    assert signer.read(tokens.SHOPPER, jwt.encode(body, "x" * 48, algorithm="HS256")) is None
    assert signer.read(tokens.SHOPPER, jwt.encode(body, KEY * 2, algorithm="HS512")) is None
    assert signer.read(tokens.SHOPPER, jwt.encode(body, None, algorithm="none")) is None
    assert signer.read(tokens.SHOPPER, "a.b.c") is None


async def test_a_code_signs_in_once(signer, spend):
    code = signer.code("anna")
    agent, token = await signer.sign_in(code, "Anna", spend)
    assert (agent, signer.agent(token)) == ("anna", ("anna", "Anna"))
    assert await signer.sign_in(code, "Anna", spend) is None
    assert await signer.sign_in(signer.code("anna"), "", spend) is not None


def test_two_codes_of_one_moment_are_two(signer):
    assert signer.code("anna") != signer.code("anna")


async def test_a_late_code_and_a_desk_token_do_not_sign_in(signer, spend):
    late = signer.mint(tokens.CODE, "anna", lifetime_s=-1)
    desk = signer.mint(tokens.AGENT, "anna", lifetime_s=60)
    nameless = signer.mint(tokens.CODE, "anna", lifetime_s=60)
    assert [await signer.sign_in(code, "", spend) for code in (late, desk, nameless, "", "x")] == [None] * 5


@pytest.mark.parametrize("text", ["\ud800", "é.é.é", base64.urlsafe_b64encode(b"[" * 3000).decode() + ".a.b"])
def test_text_that_only_looks_like_a_token_is_nobody(signer, text):
    assert signer.read(tokens.SHOPPER, text) is None
    assert signer.agent(text) is None


def test_a_shoppers_token_opens_no_desk(signer):
    assert signer.agent(signer.mint(tokens.SHOPPER, "anna", lifetime_s=60)) is None


async def test_fixed_keys_sign_in_again_and_again(spend):
    signer = tokens.Tokens(KEY, tokens.parse_agent_keys("anna:0123456789abcdef, ben:fedcba9876543210,"))
    assert [(await signer.sign_in("0123456789abcdef", "", spend))[0] for _ in range(2)] == ["anna"] * 2
    assert (await signer.sign_in("fedcba9876543210", "", spend))[0] == "ben"
    assert await signer.sign_in("0123456789abcdeX", "", spend) is None


@pytest.mark.parametrize("text", ["anna", "anna:", "anna:short", ":0123456789abcdef", "anna:0123456789abcde"])
def test_a_weak_or_nameless_agent_key_is_refused(text):
    with pytest.raises(SettingsError, match="`BOT_AGENT_KEYS` .* at least 16 characters"):
        tokens.parse_agent_keys(text)


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    key = tokens.load_key(tmp_path / "data")
    assert len(key) >= 48
    assert stat.S_IMODE((tmp_path / "data/key").stat().st_mode) == 0o600
    assert tokens.load_key(tmp_path / "data") == key
    assert tokens.load_key(tmp_path / "other") != key


def test_a_key_that_could_not_be_written_leaves_no_file_that_stops_the_next_start(tmp_path):
    """P17: as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(SettingsError, match="key cannot be used"):
            tokens.load_key(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(tokens.load_key(tmp_path)) >= 48
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_programs_that_start_together_have_one_whole_key(tmp_path):
    for n in range(20):
        with ThreadPoolExecutor(8) as pool:
            [key] = set(pool.map(tokens.load_key, [tmp_path / str(n)] * 8))
        assert len(key) >= 48


def test_a_folder_that_cannot_hold_the_key_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file/data/key cannot be used: .* Set `BOT_DATA`"):
        tokens.load_key(tmp_path / "file/data")


@pytest.mark.parametrize("secret", ["short", "x" * 31])
def test_a_weak_secret_is_refused(tmp_path, secret):
    with pytest.raises(SettingsError, match="`BOT_TOKEN_SECRET` needs at least 32 bytes"):
        wiring.signer(Settings(data=tmp_path, token_secret=secret))


def test_a_key_file_that_was_cut_short_is_refused(tmp_path):
    (tmp_path / "key").write_text("")
    with pytest.raises(SettingsError, match="32 bytes"):
        wiring.signer(Settings(data=tmp_path))


def test_a_secret_is_told_from_its_hash_only():
    token, stored = tokens.new_secret()
    assert tokens.same(token, stored)
    assert not tokens.same(token + "x", stored)
    assert token not in stored
