"""The built-in supervisor: one keeper, a small Python process, is the parent of all processes of a directory.

It speaks the language of s6: the same control fifos, status files, tallies and logs, so that looking at processes, telling them what to do
and reading their logs is one piece of code for both. Where s6 reads scripts, the keeper reads ``data/spec.json``.

It outlives the agent. The agent's death changes nothing for a while; the next agent adopts what runs. When none comes, the keeper stops
everything and ends. The keeper's own death takes its processes along (the kernel kills them), so that they are lost together, never
doubled; the agent notices at once and begins anew.
"""

from __future__ import annotations

import sys
from pathlib import Path


def command(grace_s: float) -> list[str]:
    """What runs the tree in the folder ``scan``, and writes a newline to descriptor 3 when it listens.

    It is run by its path and without `site`: a keeper takes about 10 MB, with everything the agent imports it would be 50.
    """
    keeper = Path(__file__).with_name("keeper")
    return [sys.executable, "-I", "-S", str(keeper), "scan", f"{grace_s:g}"]
