"""A model so small that a run takes a second, made on the spot with the base's own tokenizer and shape."""

import json

import torch

from finetune.compact import new_model
from finetune.tokenizer import train_tokenizer

DOCUMENT = """---
title: {title}
category: policy
language: en
---
## Times
- Standard delivery takes {a} days.
- Express delivery takes {b} days.

## Costs
- Delivery costs ${a}.95.
"""


def make_base(folder):
    """A base in Hugging Face format: width 192, two layers."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(
        ["Standard delivery takes 3 days and costs $5. 标准配送3天。 Question: passages assistant"] * 3, 400, 1024
    )
    tokenizer.save_pretrained(folder)
    model = new_model(
        len(tokenizer), width=192, layers="ca", feed_forward=64, context=1024,
        pad=tokenizer.pad_token_id, end=tokenizer.eos_token_id,
    )  # fmt: skip
    model.save_pretrained(folder)
    return tokenizer, model


def make_shop(folder):
    """Documents and rows: `knowledge/` and `data/`."""
    for name, a in (("shipping", 3), ("pickup", 5), ("returns", 7), ("bulk", 9)):
        path = folder / f"knowledge/en/policy/{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DOCUMENT.format(title=name.capitalize(), a=a, b=a - 2), encoding="utf-8")
    rows = [
        {"id": f"{name}-{i}", "language": "en", "kind": "answerable", "history": [], "text": f"how long {name} {i}",
         "passages": [f"en/policy/{name}#Times"], "answer": f"Standard delivery takes {a} days. [1]"}
        for name, a in (("shipping", 3), ("pickup", 5), ("returns", 7)) for i in range(6)
    ]  # fmt: skip
    rows.append(rows[0] | {"id": "none", "kind": "unanswerable", "text": "do you sell cars", "passages": [],
                           "answer": "I'm sorry, I could not find that."})  # fmt: skip
    write_rows(folder / "data/train.jsonl", rows)
    write_rows(folder / "data/valid.jsonl", rows[:3])
    return rows


def write_rows(path, rows):
    """Rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
