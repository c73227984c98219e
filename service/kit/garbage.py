"""How often a process looks for circles that nothing else refers to."""

from __future__ import annotations

import gc


def collect_less_often() -> None:
    """Look for circles once in 20,000 objects instead of 700.

    Requests and imports leave few of them behind, and looking costs an import a fifth of its time.
    """
    gc.set_threshold(20_000, 20, 20)
