"""Print the paths of the installed CPythons that Outlay supports, but for the one that runs this."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

VERSIONS = ("3.11", "3.12", "3.13")


def find(version: str) -> str | None:
    """Find an interpreter of `version` that works, on PATH or among pyenv's (whose shims may not answer)."""
    pyenv_root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    on_path = shutil.which(f"python{version}")
    candidates = [on_path] if on_path else []
    candidates += sorted(glob.glob(f"{pyenv_root}/versions/{version}.*/bin/python{version}"))
    for candidate in candidates:
        answer = subprocess.run([candidate, "-c", "import ensurepip"], capture_output=True, check=False)
        if answer.returncode == 0:
            return candidate
    return None


own = f"{sys.version_info.major}.{sys.version_info.minor}"
for path in filter(None, map(find, (version for version in VERSIONS if version != own))):
    print(path)
