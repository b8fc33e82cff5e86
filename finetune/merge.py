"""One checkpoint out of a base and its adapter: `python -m finetune merge --base MODEL --adapter DIR --out DIR`.

For engines that serve no LoRA. The passport goes along, so that the server still checks the rendering;
it names the merged weights, so that it notices when they are exchanged.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from bot.errors import ModelError, SettingsError
from finetune.adapter import weights_hash, write_json
from finetune.loading import load_tokenizer

DTYPES = {"auto": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m finetune merge`."""
    add = parser.add_argument
    add("--base", default="bot/models/base", help="the base model, a folder or a hub name")
    add("--adapter", type=Path, default=Path("bot/models/adapter"), help="the adapter, made by `finetune train`")
    add("--out", type=Path, required=True, help="where the checkpoint goes; an empty or new folder")
    add("--dtype", choices=list(DTYPES), default="auto", help="of the saved weights; auto is the base's own")


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint.

    Raises:
        ModelError: no adapter made by `finetune train` there, it was trained on another base, or nothing can be loaded.
        SettingsError: `--out` holds something already.
    """
    passport = read_passport(args.adapter)
    own = weights_hash(Path(args.base))
    if own and passport.get("base_sha256") not in (None, own):
        raise ModelError(f"{args.adapter} was trained on another base than {args.base}; give `--base` its own.")
    if args.out.exists() and any(args.out.iterdir()):
        raise SettingsError(f"{args.out} is not empty; give `--out` a new folder.")
    tokenizer = load_tokenizer(args.base)
    try:
        model = AutoModelForCausalLM.from_pretrained(args.base, dtype=DTYPES[args.dtype])
        merged: Any = PeftModel.from_pretrained(model, str(args.adapter)).merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{args.adapter} does not fit {args.base}: {str(error).splitlines()[0]}") from None
    merged.config.use_cache = True
    merged.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    base = passport["base"]
    passport |= {
        "base": args.out.name,
        "base_sha256": weights_hash(args.out),
        "merged": {"base": base, "base_sha256": own, "adapter_sha256": weights_hash(args.adapter)},
    }
    write_json(args.out / "shoptalk.json", passport)
    (args.out / "README.md").write_text(card(args.adapter, base), encoding="utf-8")
    print(
        f"{args.adapter} and {base} are one checkpoint in {args.out}; serve it with `BOT_MODEL={args.out} BOT_ADAPTER=`."
    )
    return 0


def read_passport(adapter: Path) -> dict[str, Any]:
    """What `finetune train` wrote about an adapter.

    Raises:
        ModelError: it is missing or broken.
    """
    try:
        return json.loads((adapter / "shoptalk.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{adapter} holds no adapter made by `finetune train` (no shoptalk.json).") from None
    except ValueError:
        raise ModelError(f"{adapter / 'shoptalk.json'} is not JSON; train the adapter again.") from None


def card(adapter: Path, base: str) -> str:
    """The merged model's card: the adapter's below a line that says what was done."""
    told = (adapter / "README.md").read_text(encoding="utf-8") if (adapter / "README.md").is_file() else ""
    return (
        f"# {adapter.name}, merged\n\n`{base}` and an adapter as one checkpoint, by `python -m finetune merge`. "
        "The server refuses it with other templates, for `shoptalk.json` keeps the fingerprint of its rendering.\n\n"
        f"#{told}"
    )
