import hashlib

from finetune.adapter import card, draw, files_hash, weights_hash
from finetune.config import Config, as_dict

HISTORY = [
    {"step": 1, "loss": 3.0, "tokens": 1000, "seconds": 30.0},
    {"step": 1, "held_out_loss": 2.5, "held_out_exact": 0.1, "tokens": 1000, "seconds": 40.0},
    {"step": 2, "loss": 2.0, "tokens": 2000, "seconds": 100.0},
    {"step": 2, "held_out_loss": 1.5, "held_out_exact": 0.25, "tokens": 2000, "seconds": 120.0},
]
REPORT = {"splits": {"train": {"rows": 1200, "languages": {"en": 700, "zh": 500}}}}


def told(**keys):
    return card({"base": "some/base", "config": as_dict(Config(**keys))}, HISTORY, REPORT)


def test_the_card_says_what_was_trained_on_what_and_how_well():
    for line in ("`some/base`", "| rows | 1,200 (700 en, 500 zh) |", "| tokens read | 2,000 |", "| time | 2 minutes |",
                 "| held-out loss, first and best | 2.5 and 1.5 |", "| held-out answers word for word | 25% |"):  # fmt: skip
        assert line in told()


def test_the_card_names_the_kind_of_adapter():
    assert "| kind | LoRA |" in told()
    assert "| kind | QLoRA (4-bit NF4) with DoRA, rsLoRA |" in told(four_bit=True, dora=True, rslora=True)


def test_the_losses_are_drawn(tmp_path):
    draw(HISTORY, tmp_path / "loss.png")

    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_files_are_hashed_by_name_and_weights_by_content(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x")
    assert files_hash([tmp_path / "a.csv"]) == {"a.csv": hashlib.sha256(b"x").hexdigest()}

    assert weights_hash(tmp_path) is None
    (tmp_path / "model.safetensors").write_bytes(b"1")
    before = weights_hash(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert before != weights_hash(tmp_path)
