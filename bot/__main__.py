"""The command line: bot serve | ask | index | search | mood | check | agent.

Parses flags, wires the parts and prints; every error of ours becomes one sentence and exit status 2.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # Read when torch is imported: see wiring.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # Its notes are about weights that we leave out on purpose.

from bot import __version__, settings, wiring
from bot.errors import BotError


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "sentence_transformers", "faiss", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # It misses an optional kernel, which is no fault here.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    try:
        return args.run(args)
    except BotError as error:
        print(f"bot {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bot", description="A customer-service bot for shops.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        return sub

    serve = command("serve", _serve, "Serve the chat, the desk and the sample shop page.")
    serve.add_argument("--host", help="address to listen on (BOT_HOST)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 takes a free one (BOT_PORT)")
    ask = command("ask", _ask, "Ask one question and print the answer as a shopper would see it.")
    ask.add_argument("text", help="the question")
    ask.add_argument("--shopper", help="ask as this verified shopper, who may see their orders")
    ask.add_argument("--json", action="store_true", help="print the answer's event as JSON")
    index = command("index", _index, "Build the search index if the documents have changed.")
    index.add_argument("--json", action="store_true", help="print as JSON")
    search = command("search", _search, "Print the passages found for a query.")
    search.add_argument("query")
    search.add_argument("--top-k", type=int, default=3, help="passages to print (3)")
    search.add_argument("--language", choices=("en", "zh"), help="default: read off the query")
    search.add_argument("--json", action="store_true", help="print as JSON")
    mood = command("mood", _mood, "Read lines from standard input and print each one's mood.")
    mood.add_argument("--json", action="store_true", help="print the classes' probabilities as JSON lines")
    check = command("check", _check, "Build everything, render a prompt, and say what is wrong.")
    check.add_argument("--json", action="store_true", help="print as JSON")
    agent = command("agent", _agent, "Print a one-time sign-in code for a human agent.")
    agent.add_argument("name", help="the human agent's id")
    return parser


def _serve(args: argparse.Namespace) -> int:
    from bot import run

    config = settings.read(host=args.host, port=args.port)
    listening = run.listen(config.host, config.port)
    port = listening.getsockname()[1]
    print("Loading documents and models …", flush=True)
    serving = wiring.serving(config, progress=True)
    address = f"http://{'localhost' if config.host in ('0.0.0.0', '::') else config.host}:{port}"
    print(f"\n  Chat socket          {address.replace('http', 'ws')}/v1/chat")
    if serving.demo:
        print(f"  Shop page            {address}/")
    sign_in = f"{address}/desk#code={serving.code}" if serving.code else f"{address}/desk"
    print(f"  Human agents' desk   {sign_in}")
    print(f"  API documentation    {address}/docs\n", flush=True)
    for each_connection in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(each_connection).setLevel(logging.WARNING)
    run.settle()
    run.Server(serving.app, serving.drain, trusted_proxies=config.trusted_proxies).run(sockets=[listening])
    return 0


def _ask(args: argparse.Namespace) -> int:
    return asyncio.run(_ask_async(args))


async def _ask_async(args: argparse.Namespace) -> int:
    from bot import tokens, turn, wire

    config = settings.read(database_url="sqlite://")
    bot = wiring.bot(config)

    async def emit(type: str, data: Mapping[str, Any]) -> None:
        if type == "message.delta" and not args.json:
            print(data["text"], end="", flush=True)

    async def announce(event: Any) -> None:
        pass

    try:
        conversation = await bot.store.create(
            site="cli", locale=wire.language_of(None, args.text), shopper_id=args.shopper,
            resume_hash=tokens.new_secret()[1],
        )  # fmt: skip
        event, _ = await bot.store.append_message(conversation.id, client_id="1", message_id="m_1", text=args.text)
        outcome = await turn.answer(bot, conversation.id, "m_1", emit=emit, announce=announce)
        last = (await bot.store.events(conversation.id, after=event.seq))[-1]
    finally:
        await bot.engine.aclose()
        await bot.store.aclose()
    if args.json:
        print(json.dumps({"outcome": outcome, "type": last.type, **last.data}, ensure_ascii=False, indent=2))
        return 0
    if last.type == "owner.changed":
        print(last.data["text"], end="")
    print(f"\n({outcome})")
    for citation in last.data.get("citations", []):
        print(f"[{citation['n']}] {citation['title']}")
    return 0


def _index(args: argparse.Namespace) -> int:
    config = settings.read()
    found = wiring.retriever(config, progress=not args.json)
    if args.json:
        print(json.dumps({"generation": found.generation}))
    else:
        print(f"Index generation {found.generation} in {config.data / 'index'}.")
    return 0


def _search(args: argparse.Namespace) -> int:
    from bot import wire

    language = args.language or wire.language_of(None, args.query)
    hits = wiring.retriever(settings.read()).search(args.query, language=language, top_k=args.top_k)
    if args.json:
        rows = [{"id": h.passage.id, "score": round(h.score, 4), "text": h.passage.text} for h in hits]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        for hit in hits:
            print(f"{hit.score:.3f}  {hit.passage.id}\n{hit.passage.text}\n")
    return 0


def _mood(args: argparse.Namespace) -> int:
    model = wiring.sentiment()
    for line in sys.stdin:
        if not (text := line.strip()):
            continue
        mood = model.predict([text])[0]
        if args.json:
            row = {"calm": round(mood.calm, 4), "unhappy": round(mood.unhappy, 4), "angry": round(mood.angry, 4)}
            print(json.dumps({"text": text, "label": mood.label, **row}, ensure_ascii=False))
        else:
            print(f"{mood.label:8} {mood.calm:.2f} {mood.unhappy:.2f} {mood.angry:.2f}  {text}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from bot import prompt
    from bot.types import Passage

    config = settings.read()
    bot = wiring.bot(config, progress=not args.json)
    canary = Passage("en/check#canary", "en/check", "Check", "Canary", "- A canary weighs 20 g.", "en")
    messages = prompt.build(
        bot.templates["en"], shop=bot.shop_names["en"], history=[], text="How heavy is it?", passages=[canary]
    )
    count = bot.engine.count(messages)
    asyncio.run(_ping(bot))
    shown = {
        name: "********" if value is not None and "secret" in type(value).__name__.lower() else str(value)
        for name, value in config
    }
    if "@" in config.database:
        shown["database_url"] = "********"
    release = bot.release
    if args.json:
        print(json.dumps({"settings": shown, "release": vars_of(release), "prompt_tokens": count}, ensure_ascii=False))
        return 0
    for name, value in shown.items():
        print(f"BOT_{name.upper():22} {value}")
    print("\n" + "\n".join(f"{m.role}: {m.content}" for m in messages) + f"\n({count} tokens)\n")
    for name, value in vars_of(release).items():
        print(f"{name:12} {value}")
    print("\nEverything is in place.")
    return 0


async def _ping(bot: Any) -> None:
    await bot.store.ping()
    await bot.store.aclose()
    await bot.engine.aclose()


def vars_of(release: Any) -> dict[str, str]:
    """A release's fields by name."""
    from dataclasses import asdict

    return asdict(release)


def _agent(args: argparse.Namespace) -> int:
    config = settings.read()
    print(wiring.signer(config).code(args.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
