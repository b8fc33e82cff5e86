"""Fine-tune a LoRA adapter: `python -m finetune train finetune/configs/lora.toml --data finetune/data --out DIR`.

CPU and fp32 without a GPU; bf16, and 4-bit if asked for, with one; several with `accelerate launch -m finetune train`.
Knows rows, documents and templates through `finetune.data`; what is saved, `finetune.adapter` decides.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.errors import ModelError
from bot.prompt import load_templates
from bot.retrieval.documents import load_documents
from finetune import adapter, compact
from finetune.batching import batches, padded
from finetune.config import Config, read_config
from finetune.data import Library, Row, examples, read_rows, report
from finetune.tasks import Item, Scribe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m finetune train`."""
    add = parser.add_argument
    add("config", type=Path, help="the run's config, such as finetune/configs/lora.toml")
    add("--data", type=Path, default=Path("finetune/data"), help="folder of train.jsonl and valid.jsonl")
    add("--base", default="bot/models/base", help="the base model, a folder or a hub name")
    add("--out", type=Path, default=Path("bot/models/adapter"), help="where the adapter goes")
    add("--knowledge", type=Path, default=Path("knowledge"), help="folder of the documents")
    add("--prompts", type=Path, default=Path("prompts"), help="folder of the templates")
    add("--minutes", type=float, help="ends the run after this time; over the config's `minutes`")
    add("--threads", type=int, help="CPU threads; over the config's `threads`")
    add("--seed", type=int, help="over the config's `seed`")
    add("--resume", action="store_true", help="go on from <out>/run/checkpoint.pt")
    add("--dry-run", action="store_true", help="read and render the rows, report on them, and stop")


@dataclass
class Progress:
    """How far a run has come; saved with every checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = math.inf
    looks_without_better: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """Lines of the log."""


def run(args: argparse.Namespace) -> int:
    """Train an adapter and save the one with the best held-out loss.

    Raises:
        SettingsError, DocumentError, TemplateError: config, rows, documents or templates are wrong.
        ModelError: the base cannot be loaded, has no chat template, or 4 bits were asked for without CUDA.
    """
    config = read_config(args.config, {"minutes": args.minutes, "threads": args.threads, "seed": args.seed})
    library = Library(load_documents(args.knowledge))
    rows = {split: read_rows(args.data / f"{split}.jsonl", library.by_id) for split in ("train", "valid")}
    tokenizer = _tokenizer(args.base)
    if not tokenizer.chat_template:
        raise ModelError(f"The tokenizer of {args.base} has no chat template; take an instruction-tuned model.")
    templates = load_templates(args.prompts)
    scribe = Scribe(tokenizer, templates, tokenizer.eos_token)
    if args.dry_run:
        print(report(rows, library, scribe, config))
        return 0
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
    model = _adapted(args.base, config)
    fold = config.fold and model.config.model_type == "lfm2" and accelerator.num_processes == 1
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=config.rate, weight_decay=config.weight_decay
    )
    model, optimizer = accelerator.prepare(model, optimizer)
    done = Progress()
    best = None
    (args.out / "run").mkdir(parents=True, exist_ok=True)
    if args.resume:
        done, best = _load(args.out / "run/checkpoint.pt", accelerator.unwrap_model(model), optimizer)
    learner = Learner(config, library, scribe, rows, fold, accelerator, model, optimizer, args.out / "run", done, best)
    stop: list[bool] = []
    previous = signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    try:
        learner.learn(stop)
    finally:
        signal.signal(signal.SIGINT, previous)
    if accelerator.is_main_process:
        plain = accelerator.unwrap_model(model)
        if learner.best is not None:
            set_peft_model_state_dict(plain, learner.best)
        adapter.save(plain, args.out, base=args.base, data=args.data, config=config, templates=templates,
                     chat_template=tokenizer.chat_template, history=learner.done.history)  # fmt: skip
    return 0


def _tokenizer(base: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise ModelError(f"No tokenizer could be loaded from {base}: {str(error).splitlines()[0]}") from None


def _adapted(base: str, config: Config) -> Any:
    """The base with a fresh adapter; only the adapter learns."""
    cuda = torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": torch.bfloat16 if cuda else torch.float32}
    if config.four_bit:
        if not cuda:
            raise ModelError("`four_bit = true` needs a CUDA GPU; set it to false here.")
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    try:
        model = AutoModelForCausalLM.from_pretrained(base, **options)
    except (OSError, ValueError) as error:
        raise ModelError(f"No base model could be loaded from {base}: {str(error).splitlines()[0]}") from None
    if config.four_bit:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model)
    targets = "all-linear" if config.targets == "auto" else [t.strip() for t in config.targets.split(",")]
    return get_peft_model(
        model,
        LoraConfig(task_type="CAUSAL_LM", r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout,
                   target_modules=targets),
    )  # fmt: skip


@dataclass
class Learner:
    """One run's loop and its state."""

    config: Config
    library: Library
    scribe: Scribe
    rows: dict[str, list[Row]]
    fold: bool
    accelerator: Accelerator
    model: Any
    optimizer: Any
    folder: Path
    done: Progress
    best: dict[str, torch.Tensor] | None = None
    """The adapter's weights with the best held-out loss so far."""

    def learn(self, stop: list[bool]) -> None:
        """Go through the epochs until they, the time, patience or `stop` end."""
        config, done = self.config, self.done
        limit = config.minutes * 60 or math.inf
        began, looked = time.monotonic() - done.seconds, done.seconds
        steps = len(self._batches(0)) * config.epochs
        bar = tqdm(total=steps, initial=done.step, unit="step", disable=not self.accelerator.is_main_process)
        log = (self.folder / "log.jsonl").open("a", encoding="utf-8")
        with bar, log:
            while done.epoch < config.epochs and not stop:
                groups = self._batches(done.epoch)
                while done.batch < len(groups) and not stop:
                    group = groups[done.batch]
                    share = max(done.step / steps, done.seconds / limit)
                    loss = self._step(group, rate_at(share, config))
                    done.batch, done.step = done.batch + 1, done.step + 1
                    done.tokens += sum(map(len, group))
                    done.seconds = time.monotonic() - began
                    self._note(log, {"step": done.step, "loss": loss, "rate": rate_at(share, config)})
                    bar.update()
                    bar.set_postfix(loss=f"{loss:.3f}", tokens=done.tokens)
                    if done.seconds > limit:
                        stop.append(True)
                    elif done.seconds - looked > config.evaluate_minutes * 60:
                        looked = done.seconds
                        self._look(log, bar, stop)
                if not stop:
                    done.epoch, done.batch = done.epoch + 1, 0
            self._look(log, bar, stop)

    def _batches(self, epoch: int) -> list[list[Item]]:
        made = examples(
            self.rows["train"], self.library, self.scribe, self.config, f"{self.config.seed} {epoch}", self.fold
        )
        if made.skipped and epoch == 0:
            tqdm.write(f"{made.skipped} rows are longer than {self.config.longest} tokens and are skipped.")
        groups = batches(made.items, self.config.batch_tokens, random.Random(epoch))
        share = len(groups) // self.accelerator.num_processes
        start = self.accelerator.process_index * share
        return groups[start : start + share]

    def _step(self, group: Sequence[Item], rate: float) -> float:
        self.model.train()
        self.optimizer.param_groups[0]["lr"] = rate
        loss = self._loss(group)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return round(loss.item(), 4)

    def _loss(self, group: Sequence[Item]) -> torch.Tensor:
        pad = self.scribe.tokenizer.pad_token_id or 0
        if self.fold:
            return compact.loss_of(
                self.accelerator.unwrap_model(self.model).base_model.model, compact.collate(group, pad)
            )
        return self.model(**{k: v.to(self.accelerator.device) for k, v in padded(group, pad).items()}).loss

    def _look(self, log: Any, bar: tqdm, stop: list[bool]) -> None:
        """Measure the held-out loss, keep the best adapter, save a checkpoint, and stop a run that gets no better."""
        made = examples(
            self.rows["valid"], self.library, self.scribe, self.config, f"{self.config.seed} valid", self.fold
        )
        self.model.eval()
        total = weight = 0.0
        with torch.no_grad():
            for group in batches(made.items, self.config.batch_tokens, random.Random(0)):
                learnt = sum(len(ids) - begin for item in group for ids, begin in item.branches)
                total, weight = total + self._loss(group).item() * learnt, weight + learnt
            line: dict[str, float] = {"step": self.done.step, "held_out_loss": round(total / max(weight, 1), 4)}
            if self.fold:
                inner = self.accelerator.unwrap_model(self.model).base_model.model
                line["held_out_exact"] = compact.exact(inner, made.items, self.scribe.tokenizer.pad_token_id)[0]
        self._note(log, line)
        plain = self.accelerator.unwrap_model(self.model)
        if line["held_out_loss"] < self.done.best:
            self.done.best, self.done.looks_without_better = line["held_out_loss"], 0
            self.best = {k: v.detach().cpu().clone() for k, v in get_peft_model_state_dict(plain).items()}
        else:
            self.done.looks_without_better += 1
        if self.accelerator.is_main_process:
            bar.write(json.dumps(line))
            _save(self.folder / "checkpoint.pt", plain, self.optimizer, self.done, self.best)
        if self.done.looks_without_better >= self.config.patience:
            bar.write(f"No better held-out loss in {self.config.patience} looks: the run ends.")
            stop.append(True)

    def _note(self, log: Any, line: dict[str, float]) -> None:
        line |= {"seconds": round(self.done.seconds, 1), "tokens": self.done.tokens}
        self.done.history.append(line)
        log.write(json.dumps(line) + "\n")
        log.flush()


def rate_at(share: float, config: Config) -> float:
    """The learning rate at this share of the run: it grows for `warmup`, then falls along a cosine."""
    if share < config.warmup:
        return config.rate * (share + 0.01) / (config.warmup + 0.01)
    return config.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (share - config.warmup) / (1 - config.warmup))))


def _save(path: Path, model: Any, optimizer: Any, done: Progress, best: Any) -> None:
    state = {"adapter": get_peft_model_state_dict(model), "optimizer": optimizer.state_dict(), "done": vars(done),
             "best": best, "random": torch.get_rng_state()}  # fmt: skip
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def _load(path: Path, model: Any, optimizer: Any) -> tuple[Progress, Any]:
    if not path.is_file():
        raise ModelError(f"{path} does not exist, so there is nothing to resume; start without `--resume`.")
    state = torch.load(path, weights_only=True)
    set_peft_model_state_dict(model, state["adapter"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return Progress(**state["done"]), state["best"]
