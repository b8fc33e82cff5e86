"""Fine-tune a LoRA adapter: `python -m finetune train finetune/configs/lora.toml --data DIR --base MODEL --out DIR`.

CPU and fp32 without a GPU, bf16 with one, 4-bit if asked for; several processes with
`accelerate launch --config_file deploy/accelerate/ddp.yaml -m finetune train ...`.
Puts a run together: rows from `finetune.grounding`, the model from `finetune.loading`, the loop from
`finetune.learner`; what is saved, `finetune.adapter` decides.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from transformers.utils import logging as transformers_logging

from bot.errors import SettingsError
from bot.prompt import load_templates
from bot.retrieval.documents import load_documents
from finetune import adapter, checkpoint, report
from finetune.config import Config, read_config
from finetune.data import Library
from finetune.grounding import read_splits
from finetune.learner import Learner
from finetune.loading import can_fold, dtype_of, load_adapted, load_tokenizer, make_optimizer
from finetune.tasks import Scribe

MAY_CHANGE = ("minutes", "threads", "patience", "checkpoint_minutes")
"""Keys of the config that may differ when a run is resumed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m finetune train`."""
    add = parser.add_argument
    add("config", type=Path, help="the run's config, such as finetune/configs/lora.toml")
    add("--data", type=Path, default=Path("finetune/data"), help="folder of train and valid rows, or one file")
    add("--base", default="bot/models/base", help="the base model, a folder or a hub name")
    add("--out", type=Path, default=Path("bot/models/adapter"), help="where the adapter goes")
    add("--knowledge", type=Path, default=Path("knowledge"), help="folder of the documents")
    add("--prompts", type=Path, default=Path("prompts"), help="folder of the templates")
    add("--minutes", type=float, help="ends the run after this time; over the config's `minutes`")
    add("--threads", type=int, help="CPU threads; over the config's `threads`")
    add("--seed", type=int, help="over the config's `seed`")
    add("--resume", action="store_true", help="go on from the checkpoint in <out>/run")
    add("--dry-run", action="store_true", help="report on the rows, and stop")


def run(args: argparse.Namespace) -> int:
    """Train an adapter and save the one with the best held-out loss.

    Raises:
        SettingsError, DocumentError, TemplateError: config, rows, documents or templates are wrong.
        ModelError: the base cannot be loaded, or there is nothing to resume.
    """
    transformers_logging.disable_progress_bar()
    config = read_config(args.config, {"minutes": args.minutes, "threads": args.threads, "seed": args.seed})
    library, templates = Library(load_documents(args.knowledge)), load_templates(args.prompts)
    splits = read_splits(args.data, library, templates)
    tokenizer = load_tokenizer(args.base)
    scribe = Scribe(tokenizer, templates, tokenizer.eos_token)
    accelerator = None if args.dry_run else _accelerator(config)
    found = {}
    if accelerator is None or accelerator.is_main_process:
        found = report.report(splits, library, scribe, config)
        print(report.table(found), flush=True)
    if accelerator is None:
        return 0
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    data = adapter.files_hash(split.file for name, split in splits.items() if name != "test")
    begun = {"config": asdict(config), "data_sha256": data}
    saved = _resume(args.out / "run/checkpoint.safetensors", begun) if args.resume else None
    plain = load_adapted(args.base, config, accelerator.local_process_index)
    if saved:
        checkpoint.put_adapter(plain, saved.adapter)
    fold = config.fold and can_fold(plain)
    if plain.config.model_type == "lfm2":  # Its folded step runs outside of what wraps a model.
        fold = fold and accelerator.num_processes == 1 and accelerator.device.type == "cpu"
        fold = fold and not config.gradient_checkpointing
    model, optimizer = accelerator.prepare(plain, make_optimizer(plain, config))
    if saved:
        checkpoint.put_optimizer(model, optimizer.optimizer, saved.optimizer)
    (args.out / "run").mkdir(parents=True, exist_ok=True)
    learner = Learner(
        config, library, scribe, {name: split.rows for name, split in splits.items()}, fold, accelerator,
        model, accelerator.unwrap_model(model), optimizer, args.out / "run", begun,
        saved.done if saved else checkpoint.Progress(), saved.best if saved else None,
    )  # fmt: skip
    if accelerator.is_main_process:
        learnt = sum(p.numel() for p in plain.parameters() if p.requires_grad)
        print(
            f"\n{accelerator.num_processes} process(es) on {accelerator.device.type}, {accelerator.distributed_type.value}; "
            f"{learnt:,} weights are learnt, {'contexts are shared' if fold else 'every row by itself'}.", flush=True,
        )  # fmt: skip
    _interruptible(learner)
    best = checkpoint.adapter_weights(model, learner.plain) if learner.best is None else learner.best
    if accelerator.is_main_process:
        adapter.save(
            learner.plain, best, args.out, base=args.base, data=data, config=config, templates=templates,
            chat_template=tokenizer.chat_template, history=learner.done.history, report=found,
        )  # fmt: skip
        print(f"The adapter is in {args.out}.")
    accelerator.end_training()
    return 0


def _accelerator(config: Config) -> Accelerator:
    """What moves a model to where it is trained.

    Raises:
        SettingsError: 4-bit weights cannot be cut into shards.
    """
    # Without `cpu`, processes that find no GPU do not find each other either, and each would train alone.
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision="bf16" if dtype_of(config) == torch.bfloat16 else "no",
    )
    if config.four_bit and accelerator.distributed_type == DistributedType.FSDP:
        raise SettingsError("`four_bit` and FSDP do not go together; use deploy/accelerate/ddp.yaml.")
    return accelerator


def _resume(path: Path, begun: Mapping[str, Any]) -> checkpoint.Checkpoint:
    """The checkpoint, if it belongs to this run.

    Raises:
        ModelError: there is none, or it is broken.
        SettingsError: the run was begun with another config or other rows.
    """
    saved = checkpoint.load(path)
    before, now = saved.begun["config"], begun["config"]
    if other := [key for key in now if key not in MAY_CHANGE and before.get(key) != now[key]]:
        was = ", ".join(f"`{key} = {before.get(key)!r}`" for key in other)
        raise SettingsError(f"{path} was begun with {was}; set it so again, or start without `--resume`.")
    if saved.begun["data_sha256"] != begun["data_sha256"]:
        raise SettingsError(f"{path} was begun with other rows; restore them, or start without `--resume`.")
    return saved


def _interruptible(learner: Learner) -> None:
    """Learn; Ctrl-C and SIGTERM end the run after its present step, and what it has learnt is saved."""
    asked: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(kind, lambda number, _: asked.append(number)) for kind in kinds]
    try:
        learner.learn(asked)
    finally:
        for kind, handler in zip(kinds, previous, strict=True):
            signal.signal(kind, handler)
