"""How fast the gateway is: beside a bare pass-through and LiteLLM's proxy, before the same fast upstream.

    python -m bench gateway [--quick] [--peers PYTHON]     with the other benchmarks
    python -m bench.gateway --soak 200000                  its memory over that many requests
    python -m bench.gateway --profile 20000                where its time goes

One worker each. Outlay has a key, four hard budgets (key, user, team, global) and its journal on SQLite with
`synchronous=FULL`. All take turns, so that whatever else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

from rich.console import Console

from bench import gateways, profiled
from bench.options import Options, say
from bench.report import Report, at_least, spread, value_at_most
from bench.servers import Server, end, post, start_reporting
from bench.stream_load import StreamTimes, run_streams
from bench.upstream import GAP_SECONDS
from bench.wrk import Load, need_wrk, run_wrk

T = TypeVar("T")
CLIENTS = 32
WARM_SECONDS = 3.0
STREAMS, CHUNKS = 200, 100
LEAST_SHARE, LEAST_LEAD = 0.45, 30.0
MOST_ADDED_MS, MOST_ADDED_TO_STREAM_MS = 1.0, 2.0
MOST_MEGABYTES, MOST_GROWTH_MEGABYTES, MOST_START_SECONDS = 150.0, 10.0, 2.5
UPSTREAM, BARE, OUTLAY, PEER = "the upstream itself", "the bare pass-through", "Outlay", "LiteLLM's proxy"
GLOBAL_BUDGET = {"litellm_settings": {"max_budget": gateways.PLENTY, "budget_duration": "1d"}}


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody who answers chat requests."""

    name: str
    root_url: str
    key: str
    server: Server | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    turns: int
    seconds: float
    streams: int
    starts: int
    soak: int

    @classmethod
    def of(cls, options: Options) -> Size:
        """Seconds for a quick run, minutes for a whole one."""
        return cls(2, 2, 30, 2, 5_000) if options.is_quick else cls(3, 10, 200, 5, 50_000)


def run(options: Options, soak: int | None = None) -> Report:
    """Start all, measure in turn."""
    need_wrk()
    report = Report("gateway", "Gateways before the same upstream")
    size = Size.of(options)
    with subjects(options) as all_of_them:
        _measure_throughput(report, all_of_them, size)
        _measure_latency(report, all_of_them, size)
        _measure_first_chunks(report, all_of_them, size)
        _measure_many_streams(report, all_of_them)
        _measure_memory(report, all_of_them[OUTLAY], soak or size.soak)
    _measure_start(report, options, size)
    return report


@contextmanager
def subjects(options: Options) -> Iterator[dict[str, Subject]]:
    """The upstream, and everybody before it, started and warm."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        process, ready = start_reporting("bench.upstream")
        stack.callback(end, process)
        upstream = ready["root_url"]
        servers = [gateways.passthrough(folder, upstream), make_outlay(folder, upstream)]
        if options.peers:
            servers.append(gateways.litellm(options.peers, folder, upstream))
        found = {UPSTREAM: Subject(UPSTREAM, upstream, "none")}
        for name, server in zip((BARE, OUTLAY, PEER), servers, strict=False):
            say(f"gateway: starting {server.name}")
            stack.enter_context(server)
            key = make_key(server) if name == OUTLAY else gateways.MASTER_KEY
            found[name] = Subject(name, server.root_url, key, server)
        for subject in found.values():
            warm(subject)
        yield found


def make_outlay(folder: Path, upstream: str, **options: Any) -> Server:
    """Outlay with a global budget."""
    return gateways.outlay(folder, upstream, GLOBAL_BUDGET, **options)


def make_key(server: Server) -> str:
    """A key with three budgets more."""
    limits = dict.fromkeys(("key", "user", "team"), gateways.PLENTY / 10)
    return gateways.key_with_budgets(server, limits, "bench")


def warm(subject: Subject) -> None:
    """A first request takes whatever time it takes; those after it are soon as fast as ever."""
    post(f"{subject.root_url}/v1/chat/completions", gateways.chat(max_tokens=24), subject.key)
    _load(subject, CLIENTS, WARM_SECONDS)


def _load(subject: Subject, clients: int, seconds: float) -> Load:
    body = gateways.chat(max_tokens=24)
    return run_wrk(subject.root_url, subject.key, body, clients=clients, seconds=seconds)


def weighed_load(subject: Subject, seconds: float) -> tuple[Load, float]:
    """The load, and the processor time of one request in µs, which other programs disturb less."""
    before = subject.server.cpu_seconds() if subject.server else 0.0
    load = _load(subject, CLIENTS, seconds)
    after = subject.server.cpu_seconds() if subject.server else 0.0
    return load, 1e6 * (after - before) / load.requests


def _in_turn(subjects: Mapping[str, Subject], turns: int, act: Callable[[Subject], T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {name: [] for name in subjects}
    for _ in range(turns):
        for name, subject in subjects.items():
            found[name].append(act(subject))
    return found


def _measure_throughput(report: Report, subjects: Mapping[str, Subject], size: Size) -> None:
    say(f"gateway: {CLIENTS} clients, {size.turns} turns of {size.seconds:.0f} s of each")
    loads = _in_turn(subjects, size.turns, lambda each: weighed_load(each, size.seconds))
    rates = {name: [load.requests_per_second for load, _ in found] for name, found in loads.items()}
    micros = {name: median(micros for _, micros in found) for name, found in loads.items()}
    middle = {name: median(found) for name, found in rates.items()}
    measured, unit = f"{CLIENTS} clients", "requests/s"
    report.add(measured, middle[OUTLAY], unit, BARE, middle[BARE], target=at_least(LEAST_SHARE))
    if PEER in middle:
        report.add(measured, middle[OUTLAY], unit, PEER, middle[PEER], target=at_least(LEAST_LEAD))
    report.add(f"{measured}, {BARE}", middle[BARE], unit, UPSTREAM, middle[UPSTREAM])
    measured_cpu = f"{measured}: processor time of all threads"
    report.add(measured_cpu, micros[OUTLAY], "µs/request", BARE, micros[BARE])
    if PEER in micros:
        report.add(measured_cpu, micros[OUTLAY], "µs/request", PEER, micros[PEER])
    for name in (OUTLAY, BARE):
        report.notes.append(f"{measured}, {name}: {spread(rates[name])} {unit} in {size.turns} turns.")


def _measure_latency(report: Report, subjects: Mapping[str, Subject], size: Size) -> None:
    say(f"gateway: 1 client, {size.turns} turns of {size.seconds / 2:.0f} s of each")
    loads = _in_turn(subjects, size.turns, lambda each: _load(each, 1, size.seconds / 2))
    p50 = {name: median(load.p50 for load in found) for name, found in loads.items()}
    p99 = {name: median(load.p99 for load in found) for name, found in loads.items()}
    added = p50[OUTLAY] - p50[BARE]
    report.add(f"1 client, added to the median of {BARE}", added, "ms", target=value_at_most(MOST_ADDED_MS))
    report.add("1 client, median", p50[OUTLAY], "ms", BARE, p50[BARE])
    report.add("1 client, 99th percentile", p99[OUTLAY], "ms", BARE, p99[BARE])
    report.add(f"1 client, median of {BARE}", p50[BARE], "ms", UPSTREAM, p50[UPSTREAM])
    if PEER in p50:
        report.add("1 client, median", p50[OUTLAY], "ms", PEER, p50[PEER])


def _stream(subject: Subject, tokens: int, at_once: int, each: int) -> list[StreamTimes]:
    body = gateways.chat(max_tokens=tokens)
    return run_streams(subject.root_url, subject.key, body, at_once=at_once, each=each)


def _measure_first_chunks(report: Report, subjects: Mapping[str, Subject], size: Size) -> None:
    say(f"gateway: the first chunk of {size.turns} turns of {size.streams} streams of each")
    found = _in_turn(subjects, size.turns, lambda each: _stream(each, 1, 1, size.streams))
    first = {name: median(each.first for turn in turns for each in turn) for name, turns in found.items()}
    report.add(
        f"1 client, added before a stream's first chunk to {BARE}",
        first[OUTLAY] - first[BARE],
        "ms",
        target=value_at_most(MOST_ADDED_TO_STREAM_MS),
    )
    report.add("1 client, a stream's first chunk, median", first[OUTLAY], "ms", BARE, first[BARE])
    if PEER in first:
        report.add("1 client, a stream's first chunk, median", first[OUTLAY], "ms", PEER, first[PEER])


def _measure_many_streams(report: Report, subjects: Mapping[str, Subject]) -> None:
    ideal = 1000 * GAP_SECONDS * (CHUNKS - 1)
    late, behind = {}, {}
    for name, subject in subjects.items():
        say(f"gateway: {STREAMS} streams of {CHUNKS} chunks, {name}")
        _stream(subject, 1, STREAMS, 1)
        times = _stream(subject, CHUNKS, STREAMS, 1)
        assert all(len(each.lateness) == CHUNKS for each in times), f"{name} lost chunks"
        late[name] = quantiles([one for each in times for one in each.lateness], n=100)[-1]
        behind[name] = max(each.lateness[-1] for each in times)
        worst = max(each.total for each in times)
        report.notes.append(f"{STREAMS} streams, {name}: the longest took {worst / ideal:.2f} × its pace.")
    measured = f"{STREAMS} streams of {CHUNKS} chunks, {1000 * GAP_SECONDS:.0f} ms apart"
    most = value_at_most(1000 * GAP_SECONDS)
    report.add(
        f"{measured}: a chunk is late, 99th percentile", late[OUTLAY], "ms", BARE, late[BARE], target=most
    )
    report.add(
        f"{measured}: the last chunk is late, worst", behind[OUTLAY], "ms", BARE, behind[BARE], target=most
    )
    if PEER in late:
        report.add(f"{measured}: a chunk is late, 99th percentile", late[OUTLAY], "ms", PEER, late[PEER])


def _measure_memory(report: Report, subject: Subject, requests: int) -> None:
    say(f"gateway: {requests:,} requests and its memory")
    assert subject.server is not None
    done, before = 0, subject.server.megabytes()
    while done < requests:
        done += _load(subject, CLIENTS, 5).requests
    after = subject.server.megabytes()
    measured = f"resident after {done:,} requests more"
    report.add(measured, after, "MB", "before them", before, target=value_at_most(MOST_MEGABYTES))
    report.add(
        f"grown over {done:,} requests", after - before, "MB", target=value_at_most(MOST_GROWTH_MEGABYTES)
    )


def _measure_start(report: Report, options: Options, size: Size) -> None:
    say(f"gateway: {size.starts} starts of each")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        servers = [make_outlay(Path(folder), "http://127.0.0.1:9")]
        if options.peers:
            servers.append(gateways.litellm(options.peers, Path(folder), "http://127.0.0.1:9"))
        seconds: dict[str, list[float]] = {server.name: [] for server in servers}
        for _ in range(size.starts):
            for server in servers:
                seconds[server.name].append(server.start())
                server.stop()
    baseline = (PEER, median(seconds[PEER])) if options.peers else ()
    target = value_at_most(MOST_START_SECONDS)
    report.add("from start to ready", median(seconds[OUTLAY]), "s", *baseline, target=target)


def profile(options: Options, requests: int) -> str:
    """Run the gateway under a profiler until it has served so many requests; the functions by own time."""
    need_wrk()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        process, ready = start_reporting("bench.upstream")
        stack.callback(end, process)
        prefix = ("-m", "bench.profiled", str(folder / "profile"))
        server = stack.enter_context(make_outlay(folder, ready["root_url"], prefix=prefix))
        subject, done = Subject(OUTLAY, server.root_url, make_key(server), server), 0
        while done < requests:
            done += _load(subject, CLIENTS, 5).requests
        server.interrupt()
        return profiled.describe(folder / "profile", done)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description="How fast the gateway is.")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; rough figures")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="a Python that has LiteLLM's proxy")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where databases go")
    parser.add_argument("--soak", type=int, metavar="N", help="measure memory over so many requests")
    parser.add_argument("--profile", type=int, metavar="N", help="profile so many requests instead")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    peers = None if arguments.peers is None else arguments.peers.absolute()
    options = Options(arguments.folder.absolute(), arguments.quick, peers)
    if arguments.profile:
        print(profile(options, arguments.profile))
    else:
        run(options, arguments.soak).show(Console(width=150))


if __name__ == "__main__":
    main()
