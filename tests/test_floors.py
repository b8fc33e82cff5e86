"""The floors of the house: imports point down only, and each outside library has its home."""

import ast
import re
import subprocess
import sys

import pytest

from bot.settings import ROOT

FLOORS = {
    4: "__main__ run websocket wiring settings",
    3: "server health drain chat desk desk_socket seats sockets refusals outbox limits live line news tokens demo",
    2: "turn engine retrieval sentiment store bus orders",
    1: "prompt claims evidence relevance escalation handoff wire wire_sent wire_desk asyncapi protocols history "
    "asked_orders parts reading models",
    0: "types errors",
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names.split()}
"""Modules of one floor may import each other, but on floor 2: parts know neither each other nor the story."""

HOMES = {
    "fastapi": "bot.server bot.chat bot.desk bot.desk_socket bot.sockets bot.demo",
    "starlette": "",
    "uvicorn": "bot.run bot.websocket",
    "torch": "bot.engine.local bot.sentiment bot.retrieval.dense bot.retrieval.reranker finetune",
    "transformers": "bot.engine.local bot.sentiment bot.retrieval.dense finetune",
    "peft": "bot.engine.local bot.sentiment bot.retrieval.dense finetune",
    "sentence_transformers": "bot.retrieval.dense finetune",
    "faiss": "bot.retrieval",
    "sqlalchemy": "bot.store",
    "alembic": "bot.store",
    "redis": "bot.bus",
    "jwt": "bot.tokens",
    "httpx": "bot.engine.http bot.orders.http",
    "pydantic_settings": "bot.settings",
}
FINETUNE_MAY = {"types", "errors", "retrieval.documents", *(n for n, f in FLOOR.items() if f == 1)}
STORY = {"wiring", "settings", "turn", "tokens"}
SEARCH = {
    "models",
    "retrieval.calibration",
    "retrieval.hybrid",
    "retrieval.questions",
    "retrieval.shelf",
    "retrieval.dense",
    "retrieval.reranker",
}
FINETUNE_ALSO = {
    "finetune.contest": STORY,
    "finetune.evaluate": STORY,
    "finetune.show": STORY,
    "finetune.calibration": SEARCH,
    "finetune.seeking": SEARCH,
    "finetune.encoder": SEARCH,
    "finetune.encoder_data": SEARCH,
    "finetune.encoder_en": SEARCH,
    "finetune.encoder_zh": SEARCH,
    "finetune.reranker": SEARCH,
    "finetune.reranker_data": SEARCH,
}
"""What is measured through the story, and what is fitted to the search that is served."""


def modules():
    """(dotted name, syntax tree) of every module of both packages."""
    for path in sorted([*(ROOT / "bot").rglob("*.py"), *(ROOT / "finetune").rglob("*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_bytes())


def imported(name, tree):
    """Every module that a module imports, also inside its functions; `from bot import x` is `bot.x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are absolute here"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


MODULES = dict(modules())
IMPORTS = {name: sorted(set(imported(name, tree))) for name, tree in MODULES.items()}
BOT = [name for name in IMPORTS if name.startswith("bot.")]


@pytest.mark.parametrize("name", BOT)
def test_imports_point_down(name):
    part = name.split(".")[1]
    assert part in FLOOR, f"{name} stands on no floor; give it one in FLOORS."
    for other in IMPORTS[name]:
        assert not other.startswith("finetune"), f"{name} imports {other}."
        if not other.startswith("bot.") or (below := other.split(".")[1]) == part:
            continue
        assert below in FLOOR, f"{below} stands on no floor; give it one in FLOORS."
        down = FLOOR[below] < FLOOR[part] or (FLOOR[below] == FLOOR[part] != 2)
        assert down, f"{name} on floor {FLOOR[part]} imports {other} on floor {FLOOR[below]}."


@pytest.mark.parametrize("name", [name for name in IMPORTS if name.startswith("finetune")])
def test_finetune_stands_on_the_lower_floors(name):
    may = FINETUNE_MAY | FINETUNE_ALSO.get(name, set())
    for other in IMPORTS[name]:
        assert not other.startswith("bot.") or other.removeprefix("bot.") in may, f"{name} imports {other}."


@pytest.mark.parametrize("name", IMPORTS)
def test_outside_libraries_are_at_home(name):
    for other in {other.split(".")[0] for other in IMPORTS[name]} & HOMES.keys():
        homes = HOMES[other].split()
        assert any(name == home or name.startswith(home + ".") for home in homes), f"{name} imports {other}."


@pytest.mark.parametrize("name", [name for name in BOT if name != "bot.settings"])
def test_only_settings_read_the_environment(name):
    touched = [line for line in ast.unparse(MODULES[name]).splitlines() if re.search(r"\b(environb?|getenv)\b", line)]
    if name == "bot.__main__":  # Sets what torch reads at its import, and reads nothing.
        touched = [line for line in touched if not line.startswith("os.environ.setdefault(")]
    assert not touched, f"{name} reads the environment: {touched}."


@pytest.mark.parametrize("name", ["bot.turn", "bot.live", "bot.wiring", "bot.__main__"])
def test_importing_the_story_loads_no_model_library(name):
    heavy = "torch transformers peft faiss sentence_transformers sqlalchemy fastapi".split()
    code = f"import sys, {name}; print(sorted(sys.modules.keys() & {set(heavy)}))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
