"""Train the compact base model from scratch: it learns to read a rule off a passage and say it with its citation.

Writes a Hugging Face folder (weights in bf16, tokenizer with chat template, config) and, while it runs,
`checkpoint.pt`, `log.jsonl` and `meaning.pt` beside it in `<out>/run`.

    python -m finetune base --text data/train --out bot/models/base --minutes 40
    python -m finetune base --text data/train --out bot/models/base --minutes 60 --resume
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.errors import SettingsError
from finetune.batching import batches
from finetune.compact import collate, embeddings, exact, loss_of, new_model, states
from finetune.corpus import read_prose
from finetune.practice import Practice
from finetune.tasks import Item
from finetune.tokenizer import END, PAD, meaning_vectors, train_tokenizer

POOL = 120
"""Items made at a time: enough to put like lengths together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m finetune base`."""
    add = parser.add_argument
    add("--text", type=Path, required=True, help="folder of public texts, laid out as finetune/corpus.py says")
    add("--out", type=Path, default=Path("bot/models/base"), help="where the model goes")
    add("--knowledge", type=Path, default=Path("knowledge"), help="documents whose words the tokenizer should know")
    add(
        "--rows",
        type=Path,
        help="question-answer rows to practise on as well, their numbers shaken; such as finetune/data/train.jsonl",
    )
    add("--prompts", type=Path, default=Path("prompts"), help="the templates of service")
    add("--minutes", type=float, default=40, help="wall-clock time in all, earlier runs of --resume included")
    add("--threads", type=int, default=2, help="CPU threads of the training process")
    add("--seed", type=int, default=0, help="decides weights and practice")
    add("--resume", action="store_true", help="go on from <out>/run/checkpoint.pt")
    add("--start", type=Path, help="begin with the weights and the tokenizer of this model, which was made here")
    add("--vocabulary", type=int, default=10_240, help="tokens in all")
    add("--layers", default="cacaaa", help="c is a short convolution, a is attention")
    add("--width", type=int, default=192, help="numbers per token; a multiple of 192")
    add("--feed-forward", type=int, default=384, help="inner width of the feed-forward layers")
    add("--context", type=int, default=2048, help="tokens that the model may read")
    add("--batch-tokens", type=int, default=2048, help="tokens per step, padding included")
    add("--longest", type=int, default=1200, help="items with more tokens are not practised")
    add("--rate", type=float, default=4e-3, help="peak learning rate of the matrices")
    add("--word-rate", type=float, default=4e-3, help="peak learning rate of embeddings and norms")
    add("--probe-minutes", type=float, default=3, help="time between probes")
    add("--compile", action="store_true", help="compile the model: minutes to begin, then 1.4 times as fast")
    add("--plain-adamw", action="store_true", help="AdamW for all weights; by default Muon takes the matrices")


def run(args: argparse.Namespace) -> int:
    """Train, probe, save; SIGINT saves and ends early.

    Raises:
        SettingsError: a shape that cannot be wired for copying.
    """
    if not re.fullmatch("c[ca]*a", args.layers) or args.width % 192:
        raise SettingsError("`--layers` must begin with c and end with a, and `--width` be a multiple of 192.")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    folder = args.out / "run"
    folder.mkdir(parents=True, exist_ok=True)
    if args.start:
        model = AutoModelForCausalLM.from_pretrained(args.start, dtype=torch.float32)
        AutoTokenizer.from_pretrained(args.start).save_pretrained(args.out)
    else:
        model = _fresh(args, folder)
    optimizers = _optimizers(model, args)
    done = {"pool": 0, "step": 0, "tokens": 0, "seconds": 0.0}
    if args.resume:
        done = _load(folder / "checkpoint.pt", model, optimizers)
    probes = Practice(args.text, args.out, args.prompts, held_out=True).probes(40)
    stop: list[bool] = []
    signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log, _workers(args) as workers:
        _train(args, model, optimizers, done, probes, workers, log, stop)
    _save(folder / "checkpoint.pt", model, optimizers, done)
    export(model, args.out)
    (args.out / "README.md").write_text(card(model, folder / "log.jsonl"), encoding="utf-8")
    return 0


def _fresh(args: argparse.Namespace, folder: Path) -> Any:
    """A model that has read nothing, and its tokenizer."""
    if not (args.out / "tokenizer.json").is_file():
        _prepare(args, folder)
    tokenizer = AutoTokenizer.from_pretrained(args.out)
    model = new_model(
        len(tokenizer), width=args.width, layers=args.layers, feed_forward=args.feed_forward, context=args.context,
        pad=tokenizer.convert_tokens_to_ids(PAD), end=tokenizer.convert_tokens_to_ids(END),
    )  # fmt: skip
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(embeddings(torch.load(folder / "meaning.pt"), args.width))
    return model


def _prepare(args: argparse.Namespace, folder: Path) -> None:
    """Train the tokenizer and find where embeddings begin."""
    rng = random.Random(args.seed)
    texts = [text for documents in read_prose(args.text).values() for text in documents]
    documents = [path.read_text(encoding="utf-8") for path in sorted(args.knowledge.rglob("*.md"))]
    rng.shuffle(texts)
    tokenizer = train_tokenizer([*texts, *documents * 5], args.vocabulary, args.context)
    tokenizer.save_pretrained(args.out)
    sample = tokenizer([text[:6000] for text in [*texts[:10_000], *documents]], add_special_tokens=False)["input_ids"]
    torch.save(meaning_vectors(sample, len(tokenizer), args.width // 3 - 1), folder / "meaning.pt")


def _optimizers(model: Any, args: argparse.Namespace) -> list[Any]:
    matrices = [p for n, p in model.model.layers.named_parameters() if p.ndim == 2 and not args.plain_adamw]
    taken = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in taken]
    found: list[Any] = [torch.optim.AdamW(rest, lr=args.word_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)]
    if matrices:
        muon = torch.optim.Muon(matrices, lr=args.rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        found.append(muon)
    return found


def _workers(args: argparse.Namespace) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        1,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(args.text, args.out, args.prompts, args.knowledge, args.rows),
    )


_practice: list[Practice] = []


def _start_worker(*places: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _practice.append(Practice(*places))


def _make_pool(seed: int, number: int, progress: float, longest: int) -> list[Item]:
    return _practice[0].pool(seed, number, progress, POOL, longest)


def _train(args, model, optimizers, done, probes, workers, log, stop) -> None:
    pad = model.config.pad_token_id
    limit = args.minutes * 60
    began = time.monotonic() - done["seconds"]
    ahead = [workers.submit(_make_pool, args.seed, done["pool"] + i, done["seconds"] / limit, args.longest)
             for i in range(2)]  # fmt: skip
    next_probe = done["seconds"] + args.probe_minutes * 60
    losses: list[float] = []
    read = torch.compile(states, dynamic=True) if args.compile else states
    bar = tqdm(total=int(limit), initial=int(done["seconds"]), unit="s", desc="base")
    while not stop and done["seconds"] < limit:
        items = ahead.pop(0).result()
        ahead.append(workers.submit(_make_pool, args.seed, done["pool"] + 2, done["seconds"] / limit, args.longest))
        for group in batches(items, args.batch_tokens, random.Random(done["pool"])):
            progress = done["seconds"] / limit
            share = min(1.0, (done["step"] + 1) / 50) * max(0.02, min(1.0, (1 - progress) / 0.5))
            for optimizer, peak in zip(optimizers, (args.word_rate, args.rate), strict=False):
                optimizer.param_groups[0]["lr"] = peak * share
            batch = collate(group, pad)
            loss = loss_of(model, batch, read)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
            done["step"] += 1
            done["tokens"] += sum(map(len, group))
            bar.update(int(time.monotonic() - began) - bar.n)
            done["seconds"] = time.monotonic() - began
            bar.set_postfix(loss=f"{sum(losses[-20:]) / len(losses[-20:]):.2f}", tokens=done["tokens"])
            if stop:
                break
        done["pool"] += 1
        if done["seconds"] > next_probe or stop or done["seconds"] >= limit:
            next_probe = done["seconds"] + args.probe_minutes * 60
            line = {**done, "loss": round(sum(losses) / len(losses), 4), **probe(model, probes, pad)}
            log.write(json.dumps(line) + "\n")
            log.flush()
            tqdm.write(json.dumps(line))
            losses.clear()
            _save(args.out / "run/checkpoint.pt", model, optimizers, done)
    for future in ahead:
        future.cancel()
    bar.close()


def probe(model: Any, probes: dict[str, list[Item]], pad: int) -> dict[str, float]:
    """Shares of held-out answers that the model gives word for word, and whose first four tokens it gives."""
    found: dict[str, float] = {}
    for name, items in probes.items():
        found[name], found[f"{name}_first"] = exact(model, items, pad)
    return found


def _save(path: Path, model: Any, optimizers: list[Any], done: dict[str, float]) -> None:
    state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "done": done}
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def _load(path: Path, model: Any, optimizers: list[Any]) -> dict[str, float]:
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["done"]


def export(model: Any, out: Path) -> None:
    """Write weights in bf16 and the config; the tokenizer already lies there."""
    model.generation_config.eos_token_id = model.config.eos_token_id
    model.generation_config.pad_token_id = model.config.pad_token_id
    weights = {name: p.detach().clone() for name, p in model.state_dict().items()}
    model.to(torch.bfloat16).save_pretrained(out)
    model.to(torch.float32).load_state_dict(weights)


def card(model: Any, log: Path) -> str:
    """The model card, with the last line of the log."""
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    config = model.config
    return f"""# The compact base model

A bilingual language model, English and Chinese, that reads passages and says in their own words what answers a question.
It knows little else: it is the base under the shop's adapter, not a chat model.

| | |
|---|---|
| architecture | `Lfm2ForCausalLM`, {config.num_hidden_layers} layers (`{"".join("c" if t == "conv" else "a" for t in config.layer_types)}`: c short convolution, a attention), width {config.hidden_size} |
| parameters | {model.num_parameters() / 1e6:.1f} million, bfloat16 |
| vocabulary | {config.vocab_size:,} tokens: byte-level BPE; digits and Chinese characters stand alone |
| context | {config.max_position_embeddings:,} tokens |
| trained | from scratch by `python -m finetune base` on two CPU cores: {last["tokens"] / 1e6:.1f} million tokens in {last["seconds"] / 60:.0f} minutes |

**Held-out answers given word for word** (greedy; about eight rules to a context):
invented shops with kinds of rules never asked about in training {last["shops"]:.0%}, natural sentences {last["prose"]:.0%}, people's questions {last["people"]:.0%}.
The first four tokens are right in {last["shops_first"]:.0%}, {last["prose_first"]:.0%} and {last["people_first"]:.0%}: what is left is mostly the wrong rule, said exactly.

**Use.** Behind the bot's evidence gate, and with an adapter. Alone it will say a wrong rule fluently.

**Trained on** invented shops (`finetune/data/shops`) and public texts (with `--rows`, on those rows too, their numbers changed):
Microsoft documentation and OpenSource.guide (CC-BY-4.0), Tatoeba (CC-BY-2.0-FR), login.gov, VA.gov, COVIDtests.gov and GitHub site policy (CC0),
Bagisto, Basecamp policies and Customer-Chatbot (MIT and CC-BY), CrossWOZ, KdConv, DSTC9 track 1 and cucom (Apache-2.0), HowToCook (Unlicense),
Python and React documentation (PSF, CC0, CC-BY-4.0), Taskmaster and the African Storybook (CC-BY-4.0), official Chinese laws,
hetPQA, DSTC11 track 5 and Bitext customer support (CDLA-Sharing-1.0).
"""
