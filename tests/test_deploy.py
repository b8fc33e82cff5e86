"""The deployment files, as far as they can be read without a container engine."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bot import settings, wire
from bot.__main__ import _parser
from bot.drain import ANSWERS_S, SOCKETS_S
from bot.run import UVICORN_S
from bot.settings import ROOT, Settings
from bot.sockets import PING_S

DEPLOY = ROOT / "deploy"
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]
[SERVICE] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
REPLICAS = yaml.safe_load((DEPLOY / "compose.replicas.yaml").read_text(encoding="utf-8"))
BOTS = [service for name, service in REPLICAS["services"].items() if name.startswith("bot-")]
NGINX = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
PROGRAM = shutil.which("nginx") or "/usr/sbin/nginx"
EXAMPLE = (DEPLOY / "bot.env.example").read_text(encoding="utf-8")


def told(instruction):
    """What follows each of these instructions."""
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def variables():
    """What the image sets."""
    return dict(pair.split("=", 1) for rest in told("ENV") for pair in rest.split())


def copied():
    """(source, target) of what is copied out of the project."""
    for rest in told("COPY"):
        *sources, target = rest.split()
        if not sources[0].startswith("--from="):
            yield from ((source, target) for source in sources)


def test_every_copied_source_is_there_and_not_ignored():
    ignored = [line.rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    sources = [source for source, _ in copied()]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not [pattern for pattern in ignored if fnmatch.fnmatch(source, pattern)], source


def test_everything_that_the_settings_point_to_is_copied():
    there = {source for source, _ in copied()}
    for name, field in Settings.model_fields.items():
        path = str(field.default)
        if path.startswith(f"{ROOT}/"):
            assert path.removeprefix(f"{ROOT}/").split("/")[0] in there, name


def test_no_state_and_no_secret_is_copied():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", ".data", ".env", "deploy/bot.env", "bot/models/*/run"} <= set(ignored)


def test_every_variable_is_a_setting():
    named = [name for name in variables() if name.startswith("BOT_")]
    named += re.findall(r"^#?(BOT_\w+)=", EXAMPLE, re.MULTILINE)
    named += [
        name for service in (SERVICE, *BOTS) for name in service.get("environment", {}) if name.startswith("BOT_")
    ]
    assert {name.removeprefix("BOT_").lower() for name in named} <= set(Settings.model_fields)


@pytest.mark.parametrize("comments", [False, True], ids=["as it is", "with what is commented out"])
def test_the_example_can_be_served(monkeypatch, tmp_path, comments):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("BOT_")]:
        monkeypatch.delenv(name)
    text = re.sub(r"^#(BOT_)", r"\1", EXAMPLE, flags=re.MULTILINE) if comments else EXAMPLE
    for name, value in re.findall(r"^(BOT_\w+)=(.*)$", text, re.MULTILINE):
        monkeypatch.setenv(name, value)
    found = settings.read()
    assert not found.token_secret and not found.agent_keys and not found.orders
    assert found.engine == ("http" if comments else "local")


def test_the_state_lies_in_the_volume_and_all_else_can_be_read_only():
    folder = variables()["BOT_DATA"]
    assert told("VOLUME") == [folder]
    volumes = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["volumes"]
    [mounted] = SERVICE["volumes"]
    name, target = mounted.split(":")
    assert (name in volumes, target) == (True, folder)
    assert SERVICE["read_only"] is True
    assert variables()["HF_HOME"].startswith(f"{folder}/")  # downloads of hub models


def test_the_port_is_the_same_everywhere():
    port = str(Settings.model_fields["port"].default)
    assert told("EXPOSE") == [port]
    assert all(mapped.rsplit(":", 1)[1] == port for mapped in SERVICE["ports"])
    [check] = told("HEALTHCHECK")
    assert f"http://127.0.0.1:{port}/readyz" in check
    program = json.loads(check[check.index("[") :])
    compile(program[-1], "HEALTHCHECK", "exec")


def test_nothing_of_the_service_is_open_to_the_network_by_default():
    assert all(mapped.startswith("127.0.0.1:") for mapped in SERVICE["ports"])
    assert told("USER") and told("USER")[-1] != "root"


def test_the_image_is_built_from_the_project_and_runs_a_command_that_there_is():
    assert (DEPLOY / SERVICE["build"]["context"]).resolve() == ROOT
    assert (ROOT / SERVICE["build"]["dockerfile"]).is_file()
    assert SERVICE["env_file"] == "bot.env"
    program, *arguments = json.loads(told("CMD")[0])
    assert program == "bot"
    assert _parser().parse_args(arguments).command == "serve"


def test_running_answers_have_time_to_finish():
    for service in (SERVICE, *BOTS):
        assert int(service["stop_grace_period"].removesuffix("s")) > ANSWERS_S + SOCKETS_S + UVICORN_S


def test_replicas_are_the_same_service_with_an_index_each():
    assert len(BOTS) == 2
    assert all({**bot, "volumes": None} == {**BOTS[0], "volumes": None} for bot in BOTS)
    shared = {name: SERVICE[name] for name in ("build", "env_file", "read_only", "tmpfs", "security_opt", "cap_drop")}
    assert {name: BOTS[0][name] for name in shared} == shared
    mounted = [volume.split(":") for bot in BOTS for volume in bot["volumes"]]
    assert len({name for name, _ in mounted} & set(REPLICAS["volumes"])) == 2
    assert {target for _, target in mounted} == {variables()["BOT_DATA"]}


def test_replicas_share_what_the_services_beside_them_offer():
    services, environment = REPLICAS["services"], BOTS[0]["environment"]
    database, redis = services["postgres"]["environment"], environment["BOT_REDIS_URL"]
    assert environment[
        "BOT_DATABASE_URL"
    ] == "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@postgres/{POSTGRES_DB}".format(**database)
    assert "${POSTGRES_PASSWORD:?" in database["POSTGRES_PASSWORD"]
    assert redis.startswith("redis://redis:6379/")
    assert (
        set(BOTS[0]["depends_on"]) == {"postgres", "redis"} == {n for n, s in services.items() if "healthcheck" in s}
    )


def test_only_nginx_can_be_reached_and_it_knows_every_replica():
    published = {name: service["ports"] for name, service in REPLICAS["services"].items() if "ports" in service}
    assert set(published) == {"nginx"}
    [mapped] = published["nginx"]
    assert mapped.startswith("127.0.0.1:")
    assert f"listen {mapped.rsplit(':', 1)[1]};" in NGINX
    port = Settings.model_fields["port"].default
    upstream = re.findall(r"server (\S+):(\d+) ", NGINX)
    assert upstream == [(name, str(port)) for name in REPLICAS["services"] if name.startswith("bot-")]
    assert REPLICAS["services"]["nginx"]["volumes"] == ["./nginx.conf:/etc/nginx/nginx.conf:ro"]


def test_nginx_may_open_a_file_for_each_connection(tmp_path):
    """Most systems let a program open 1024 unless it asks for more."""
    if not Path(PROGRAM).exists():
        pytest.skip("No nginx; install Debian's package nginx.")
    (tmp_path / "nginx.conf").write_text(re.sub(r"server bot-\d:", "server 127.0.0.1:", NGINX), encoding="utf-8")
    checked = subprocess.run(
        ["prlimit", "--nofile=1024:", PROGRAM, "-t", "-p", f"{tmp_path}/", "-c", "nginx.conf", "-e", "stderr"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (checked.returncode, "[warn]" in checked.stderr) == (0, False), checked.stderr


def test_nginx_alone_says_whose_address_it_is():
    """The replicas believe the first address that stands there, which must not be one that a shopper wrote."""
    assert all(bot["environment"]["BOT_TRUSTED_PROXIES"] == "*" for bot in BOTS)
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in NGINX
    assert "$proxy_add_x_forwarded_for" not in NGINX


def test_nginx_passes_upgrades_and_outlasts_the_heartbeat():
    assert "proxy_set_header Upgrade $http_upgrade;" in NGINX
    assert "proxy_set_header Host $http_host;" in NGINX
    for direction in ("read", "send"):
        assert int(re.search(rf"proxy_{direction}_timeout (\d+)s;", NGINX)[1]) > 2 * PING_S
    assert int(re.search(r"client_max_body_size (\d+)k;", NGINX)[1]) * 1024 >= wire.MAX_FRAME_BYTES
