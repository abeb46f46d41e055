"""What `import outlay` takes: wall time of a fresh process, and its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from statistics import median

from bench.options import Options, say
from bench.report import Report, value_at_most

MOST_SECONDS = 0.15
MOST_MEGABYTES = 40.0
OFFENDERS = 8

NOTHING = "pass"
OUTLAY = "import outlay"
OUTLAY_USED = "import outlay; outlay.BudgetManager, outlay.completion"
LITELLM = "import litellm"

TELL = """
import json
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
print(json.dumps(int(status["VmRSS"].split()[0]) / 1024))
"""


def run(options: Options) -> Report:
    """Start fresh processes in turn: bare Python, ours, theirs."""
    report = Report("importing", "A fresh process")
    times = 5 if options.is_quick else 20
    subjects = [(sys.executable, code) for code in (NOTHING, OUTLAY, OUTLAY_USED)]
    if options.peers:
        subjects.append((str(options.peers), LITELLM))
    say(f"importing: {times} processes of each")
    seconds: dict[str, list[float]] = {code: [] for _, code in subjects}
    for _ in range(times):
        for python, code in subjects:
            seconds[code].append(_seconds(python, code))
    taken = {code: median(each) for code, each in seconds.items()}
    memory = {code: _megabytes(python, code) for python, code in subjects}
    bare = 'bare `python -c "pass"`'
    for measures, unit, most in ((taken, "s", MOST_SECONDS), (memory, "MB", MOST_MEGABYTES)):
        report.add(f"`{OUTLAY}`", measures[OUTLAY], unit, bare, measures[NOTHING], target=value_at_most(most))
        report.add(f"`{OUTLAY_USED}`", measures[OUTLAY_USED], unit, bare, measures[NOTHING])
        if options.peers:
            report.add(f"`{OUTLAY}`", measures[OUTLAY], unit, f"`{LITELLM}`", measures[LITELLM])
    for code in (OUTLAY, OUTLAY_USED):
        slowest = ", ".join(f"{name} {millis:.1f}" for name, millis in _offenders(code))
        report.notes.append(f"Slowest modules of `{code}`, in ms of their own: {slowest}.")
    return report


def _seconds(python: str, code: str) -> float:
    start = time.perf_counter()
    subprocess.run([python, "-c", code], env=_environ(), check=True)
    return time.perf_counter() - start


def _megabytes(python: str, code: str) -> float:
    command = [python, "-c", code + "\n" + TELL]
    answers = [subprocess.run(command, env=_environ(), stdout=subprocess.PIPE, check=True) for _ in range(3)]
    return median(float(json.loads(answer.stdout)) for answer in answers)


def _offenders(code: str) -> list[tuple[str, float]]:
    """Modules by the time that they take without those they import."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    text = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr
    lines = [line.removeprefix("import time:").split("|") for line in text.splitlines()[1:]]
    found = [(name.strip(), int(own) / 1000) for own, _, name in lines if not _is_startup(name.strip())]
    return sorted(found, key=lambda each: -each[1])[:OFFENDERS]


def _is_startup(name: str) -> bool:
    return name.partition(".")[0] in ("site", "encodings", "_distutils_hack", "zipimport")


def _environ() -> dict[str, str]:
    """Theirs must not fetch its prices from the network."""
    return {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
