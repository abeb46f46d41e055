"""Spend logs: the journal in the shape of LiteLLM's `/spend/logs`, one row for each attempt of a request.

A row shows what the attempt costs in the end: a correction of a presumed charge, and a reversal, are in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from outlay.domain.entries import Entry, correction_id, reversal_id
from outlay.domain.money import usd_float
from outlay.domain.windows import SECOND, to_datetime
from outlay.gateway.config import PROJECT
from outlay.gateway.management.journal import Row, owners_of
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import DaySpend, EntryFilter, Reader

KINDS: Final = ("settle", "void", "expire", "record")
"""The kinds of entries that are an attempt, or spend that was recorded."""
_CALL_TYPES: Final = {
    "chat": "acompletion",
    "completions": "atext_completion",
    "embeddings": "aembedding",
    "responses": "aresponses",
    "messages": "anthropic_messages",
}
_SUMMED_AT_ONCE: Final = 5_000
"""Entries that one look at the database adds up."""
_DAY: Final = 24 * 3600 * SECOND


def log_rows(reader: Reader, found: list[Entry]) -> list[Row]:
    """Entries as rows, each with what corrected or reversed it since."""
    ids = [id for entry in found for id in (correction_id(entry.id), reversal_id(entry.id))]
    later = reader.entries_by_id(PROJECT, ids) if ids else {}
    return [
        _row(entry, later.get(correction_id(entry.id)), later.get(reversal_id(entry.id))) for entry in found
    ]


def day_rows(ledger: Ledger, wanted: EntryFilter) -> list[Row]:
    """What was spent on each day of UTC, by user and model, in USD.

    `wanted` bounds the moment at which requests were admitted.
    """
    days: dict[int, _Day] = {}
    with ledger.read() as reader:
        start = EntryFilter(PROJECT, since=wanted.since)
        first = next(reader.entries(start, limit=1), None)
        last = next(reader.entries(EntryFilter(PROJECT), limit=1, is_newest_first=True), None)
    if first is None or last is None:
        return []
    for after in range(first.seq - 1, last.seq, _SUMMED_AT_ONCE):
        with ledger.read() as reader:
            for spend in reader.spend_by_day(wanted, after_seq=after, before_seq=after + _SUMMED_AT_ONCE + 1):
                days.setdefault(spend.day, _Day()).add(spend)
    return [day.row(number) for number, day in sorted(days.items())]


class _Day:
    """The sums of one day, in nanos."""

    def __init__(self) -> None:
        self.spend = 0
        self.users: dict[str, int] = {}
        self.models: dict[str, int] = {}

    def add(self, spend: DaySpend) -> None:
        user = owners_of(Entry(PROJECT, "", "record", 0, 0, spend.accounts))["user"] or ""
        model = spend.model or ""
        self.spend += spend.usd_nanos
        self.users[user] = self.users.get(user, 0) + spend.usd_nanos
        self.models[model] = self.models.get(model, 0) + spend.usd_nanos

    def row(self, number: int) -> Row:
        return {
            "startTime": f"{to_datetime(number * _DAY):%Y-%m-%d}",
            "spend": usd_float(self.spend),
            "users": {name: usd_float(nanos) for name, nanos in sorted(self.users.items())},
            "models": {name: usd_float(nanos) for name, nanos in sorted(self.models.items())},
        }


def _row(entry: Entry, correction: Entry | None, reversal: Entry | None) -> Row:
    final = entry if correction is None else _corrected(entry, correction)
    detail, owners = final.detail, owners_of(entry)
    started, ended = to_datetime(entry.admitted_at), to_datetime(entry.at)
    latency = _seconds(detail, "latency_seconds")
    first_chunk = _seconds(detail, "first_chunk_seconds")
    first_at = None if first_chunk is None else to_datetime(entry.admitted_at + round(first_chunk * SECOND))
    return {
        "request_id": entry.request_id or entry.id,
        "call_type": _CALL_TYPES.get(str(detail.get("endpoint")), ""),
        "api_key": owners["key"] or "",
        "spend": _spend(final, reversal),
        "total_tokens": final.tokens or 0,
        "prompt_tokens": final.usage.get("input_tokens", 0),
        "completion_tokens": final.usage.get("output_tokens", 0),
        "startTime": started.isoformat(),
        "endTime": ended.isoformat(),
        "completionStartTime": (ended if first_at is None else first_at).isoformat(),
        "model": detail.get("upstream_model") or entry.model or "",
        "model_id": owners["deployment"] or "",
        "model_group": entry.model or "",
        "custom_llm_provider": entry.provider or "",
        "api_base": "",
        "user": owners["user"] or detail.get("user_id") or "",
        "end_user": owners["customer"] or "",
        "team_id": owners["team"],
        "organization_id": owners["organization"],
        "metadata": _metadata(entry, final, correction, reversal),
        "cache_hit": "False",
        "cache_key": "",
        "request_tags": list(entry.tags),
        "session_id": None,
        "status": "success" if final.reason is None and final.source != "presumed" else "failure",
        "requester_ip_address": None,
        "request_duration_ms": None if latency is None else round(latency * 1000),
        "messages": {},
        "response": {},
    }


def _corrected(entry: Entry, correction: Entry) -> Entry:
    """A presumed charge as it is after its correction, whose amounts are differences."""
    known = [each.usd_nanos for each in (entry, correction) if each.usd_nanos is not None]
    return entry._replace(
        usd_nanos=sum(known) if known else None,
        tokens=(entry.tokens or 0) + (correction.tokens or 0),
        usage=correction.usage,
        source=correction.source,
        price_version=correction.price_version,
        reason=correction.reason,
        detail=correction.detail,
    )


def _spend(final: Entry, reversal: Entry | None) -> float | None:
    """USD, or None where the cost is unknown: that is not 0."""
    if reversal is not None:
        return 0.0
    return None if final.usd_nanos is None else usd_float(final.usd_nanos)


def _metadata(entry: Entry, final: Entry, correction: Entry | None, reversal: Entry | None) -> dict[str, Any]:
    owners = owners_of(entry)
    return {
        "user_api_key": owners["key"],
        "user_api_key_alias": final.detail.get("key_alias"),
        "user_api_key_user_id": owners["user"] or final.detail.get("user_id"),
        "user_api_key_team_id": owners["team"],
        "user_api_key_org_id": owners["organization"],
        "entry": entry.seq,
        "kind": entry.kind,
        "source": final.source,
        "reason": final.reason,
        "attempt": entry.attempt,
        "price_version": final.price_version,
        "usage": dict(final.usage),
        "http_status": final.detail.get("status"),
        "response_id": final.detail.get("response_id"),
        "is_corrected": correction is not None,
        "is_reversed": reversal is not None,
    }


def _seconds(detail: Mapping[str, object], name: str) -> float | None:
    value = detail.get(name)
    return float(value) if isinstance(value, int | float) else None
