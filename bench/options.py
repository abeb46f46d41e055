"""Options: what every benchmark is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PEER_SCRIPT = Path(__file__).with_name("peer_litellm.py")


@dataclass(frozen=True, slots=True)
class Options:
    """`folder` holds the databases, on the disk that counts; `peers` is the Python that has LiteLLM."""

    folder: Path
    is_quick: bool = False
    peers: Path | None = None


def say(text: str) -> None:
    """Tell on the way what is being measured."""
    print(f"  {text}", file=sys.stderr, flush=True)


def ask_peer(peers: Path, folder: Path, *arguments: object) -> Any:
    """Run LiteLLM's side of a comparison in its own environment, in `folder`; gives what it measured."""
    command = [str(peers), str(PEER_SCRIPT), *map(str, arguments)]
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
