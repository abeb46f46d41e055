"""The SQL of the SQLite store, each statement named and described. The tables are in migrations/."""

from __future__ import annotations

from typing import Final

# Sets of ids come as one JSON list, so that a batch is one statement whatever its size.
IDS: Final = "(SELECT value FROM json_each(:ids))"

CLOCK: Final = "SELECT newest_at, wall_at, boot_at, boot_id, jump, suspect_since FROM clock"

SET_CLOCK: Final = """
UPDATE clock SET newest_at = ?, wall_at = ?, boot_at = ?, boot_id = ?, jump = ?, suspect_since = ?
"""

CATALOGUE_VERSION: Final = "SELECT coalesce(max(version), 0) FROM catalogue_changes"

CATALOGUE_CHANGES: Final = """
SELECT version, kind, project, id FROM catalogue_changes WHERE version > ? ORDER BY version
"""

NOTE_CHANGE: Final = "INSERT INTO catalogue_changes (kind, project, id) VALUES (?, ?, ?)"

ACCOUNT_COLUMNS: Final = "project, id, parent, name, status, detail"

# An account with the version of its last change.
ACCOUNTS: Final = f"""
SELECT {ACCOUNT_COLUMNS},
       (SELECT coalesce(max(version), 0) FROM catalogue_changes AS c
        WHERE c.project = a.project AND c.id = a.id AND c.kind = 'account')
FROM accounts AS a WHERE project = :project AND id IN {IDS}
"""

PUT_ACCOUNT: Final = f"""
INSERT INTO accounts ({ACCOUNT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET parent = excluded.parent, name = excluded.name, status = excluded.status,
    detail = excluded.detail
"""

BUDGET_COLUMNS: Final = """
project, id, account, unit, limit_amount, window, anchor_at, zone, mode, models, providers, alert_percents,
is_by_model, key
"""

# +id: sort these few rows, rather than read all budgets in the order of id.
BUDGETS_OF_ACCOUNTS: Final = f"""
SELECT {BUDGET_COLUMNS} FROM budgets
WHERE project = :project AND account IN {IDS} AND retired_at IS NULL ORDER BY +id
"""

BUDGETS_BY_KEY: Final = f"""
SELECT {BUDGET_COLUMNS}, retired_at IS NULL FROM budgets WHERE key IN {IDS}
"""

BUDGET_BY_ID: Final = f"""
SELECT {BUDGET_COLUMNS} FROM budgets WHERE project = ? AND id = ? AND retired_at IS NULL
"""

INSERT_BUDGET: Final = f"""
INSERT INTO budgets ({BUDGET_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) RETURNING key
"""

# A rule never changes within a generation; the rest may.
UPDATE_BUDGET: Final = """
UPDATE budgets SET limit_amount = ?, mode = ?, alert_percents = ? WHERE key = ?
"""

RETIRE_BUDGET: Final = "UPDATE budgets SET retired_at = ? WHERE key = ?"

PERIOD_COLUMNS: Final = "budget_key, starts_at, ends_at, granted, reserved, settled, overrun"

# One seek a budget: max() over the primary key's prefix.
NEWEST_PERIODS: Final = f"""
SELECT {PERIOD_COLUMNS} FROM json_each(:ids) AS wanted
CROSS JOIN periods ON budget_key = wanted.value
WHERE starts_at = (SELECT max(starts_at) FROM periods WHERE budget_key = wanted.value)
"""

PERIOD: Final = f"SELECT {PERIOD_COLUMNS} FROM periods WHERE budget_key = ? AND starts_at = ?"

PUT_PERIOD: Final = f"""
INSERT INTO periods ({PERIOD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET ends_at = excluded.ends_at, granted = excluded.granted,
    reserved = excluded.reserved, settled = excluded.settled, overrun = excluded.overrun
"""

PRUNE_PERIODS: Final = "DELETE FROM periods WHERE budget_key = ? AND ends_at <= ? AND reserved = 0"

# The sum is made before the insert: a CHECK looks at the row to be inserted, not at what the conflict makes.
ADD_MODEL_TOTAL: Final = """
INSERT INTO model_totals (budget_key, starts_at, model, settled)
SELECT ?1, ?2, ?3, ?4 + coalesce(
    (SELECT settled FROM model_totals WHERE budget_key = ?1 AND starts_at = ?2 AND model = ?3), 0)
WHERE true
ON CONFLICT DO UPDATE SET settled = excluded.settled
"""

RESERVATION_COLUMNS: Final = """
project, id, accounts, amounts, holds, reserved_at, expires_at, fingerprint, output_cap, request_id, attempt,
provider, model, price_version, tags, increases, holder
"""

RESERVATIONS: Final = f"""
SELECT {RESERVATION_COLUMNS} FROM reservations WHERE project = :project AND id IN {IDS}
"""

DUE_RESERVATIONS: Final = f"""
SELECT {RESERVATION_COLUMNS} FROM reservations WHERE expires_at <= ? ORDER BY expires_at, id LIMIT ?
"""

NEXT_DUE: Final = "SELECT min(expires_at) FROM reservations"

PENDING_OF_ACCOUNT: Final = f"""
SELECT {RESERVATION_COLUMNS} FROM reservations
WHERE project = ? AND EXISTS (SELECT 1 FROM json_each(accounts) WHERE value = ?)
ORDER BY reserved_at, id
"""

# Only asked when an instance starts, so no index has to be kept for it.
PENDING_OF_HOLDER: Final = f"""
SELECT {RESERVATION_COLUMNS} FROM reservations WHERE project = ? AND holder = ? ORDER BY reserved_at, id
"""

# Only asked where a request cannot be admitted now; what is pending are the calls under way and a few more.
PENDING_OVER: Final = f"""
SELECT {RESERVATION_COLUMNS} FROM reservations WHERE project = ? AND amounts ->> '$.concurrency' = 0
"""

PUT_RESERVATION: Final = f"""
INSERT INTO reservations ({RESERVATION_COLUMNS})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET amounts = excluded.amounts, holds = excluded.holds, increases = excluded.increases
"""

REMOVE_RESERVATION: Final = "DELETE FROM reservations WHERE project = ? AND id = ?"

ENTRY_COLUMNS: Final = """
project, id, kind, at, admitted_at, accounts, posts, usd_nanos, tokens, usage, source, provider, model,
price_version, request_id, attempt, output_cap, tags, reason, detail, completion_key, fingerprint,
reserve_fingerprint, priced_nanos
"""

INSERT_ENTRY: Final = f"""
INSERT INTO entries ({ENTRY_COLUMNS})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

ENTRIES: Final = f"""
SELECT {ENTRY_COLUMNS}, seq FROM entries WHERE project = :project AND id IN {IDS}
"""

COMPLETIONS: Final = f"""
SELECT {ENTRY_COLUMNS}, seq FROM entries WHERE project = :project AND completion_key IN {IDS}
"""

# What an account spent since a moment, by model. `at` bounds what the index must read, as no entry is
# admitted after it is written (+project keeps the planner to it); carried sums, grants and resets are no
# spend.
SPEND_SINCE: Final = """
SELECT model, provider, sum(usd_nanos), sum(tokens),
       sum(CASE WHEN kind IN ('settle', 'expire', 'record') THEN 1
                WHEN kind = 'void' AND reason <> 'never_sent' THEN 1
                WHEN kind = 'correct' AND reason = 'never_sent' THEN -1
                WHEN kind = 'reverse' THEN -1 ELSE 0 END)
FROM entries
WHERE at >= :since AND admitted_at >= :since AND +project = :project
  AND kind NOT IN ('carry', 'grant', 'reset')
  AND EXISTS (SELECT 1 FROM json_each(accounts) WHERE value = :account)
GROUP BY model, provider
"""

# Whether a budget of this id has earlier generations.
IS_RETIRED: Final = """
SELECT EXISTS (SELECT 1 FROM budgets WHERE project = ? AND id = ? AND retired_at IS NOT NULL)
"""

# When the budgets of an id were last reset by hand: the start of the period that the reset opened.
LAST_RESET: Final = """
SELECT max(json_extract(posts, '$[1][1]')) FROM entries
WHERE project = :project AND kind = 'reset'
  AND json_extract(posts, '$[0][0]') IN (SELECT key FROM budgets WHERE project = :project AND id = :id)
"""

# For reports.

SCHEMA: Final = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"

ACCOUNTS_BY_ID: Final = f"""
SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE project = :project AND id IN {IDS}
"""

ALL_ACCOUNTS: Final = f"""
SELECT {ACCOUNT_COLUMNS} FROM accounts
WHERE (:project IS NULL OR project = :project) AND (:kind IS NULL OR id = :kind OR id LIKE :kind || ':%')
ORDER BY project, id
"""

ALL_BUDGETS: Final = f"""
SELECT {BUDGET_COLUMNS} FROM budgets
WHERE (:project IS NULL OR project = :project) AND (:account IS NULL OR account = :account)
  AND (:has_retired OR retired_at IS NULL)
ORDER BY project, account, id, key
"""

# The same for one account, which has an index; +id as above.
BUDGETS_OF_ACCOUNT: Final = f"""
SELECT {BUDGET_COLUMNS} FROM budgets
WHERE project = :project AND account = :account AND retired_at IS NULL ORDER BY +id
"""

# A page of budgets, read off the index by account.
BUDGETS_AFTER: Final = f"""
SELECT {BUDGET_COLUMNS} FROM budgets
WHERE project = :project AND retired_at IS NULL AND account >= :account
  AND (account > :account OR id > :id)
ORDER BY account, id LIMIT :limit
"""

ALL_PERIODS: Final = f"SELECT {PERIOD_COLUMNS} FROM periods ORDER BY budget_key, starts_at"

MODEL_TOTALS: Final = """
SELECT model, settled FROM model_totals WHERE budget_key = ? AND starts_at = ? ORDER BY model
"""

ALL_MODEL_TOTALS: Final = """
SELECT budget_key, starts_at, model, settled FROM model_totals ORDER BY budget_key, starts_at, model
"""

ALL_RESERVATIONS: Final = f"""
SELECT {RESERVATION_COLUMNS} FROM reservations
WHERE (:project IS NULL OR project = :project) ORDER BY reserved_at, id
"""

ENTRY: Final = f"SELECT {ENTRY_COLUMNS}, seq FROM entries WHERE project = ? AND id = ?"

# Filled in with the conditions of an EntryFilter.
FIND_ENTRIES: Final = f"SELECT {ENTRY_COLUMNS}, seq FROM entries WHERE seq > :after_seq AND seq < :before_seq"

# The requests with this id, and those whose provider's answer had it.
REQUESTS_NAMED: Final = """
SELECT :request_id UNION ALL
SELECT request_id FROM entries WHERE detail ->> '$.response_id' = :request_id AND request_id IS NOT NULL
"""

# That an entry has one of the accounts of a group, which the name is filled in for.
HAS_ACCOUNT: Final = """
EXISTS (SELECT 1 FROM json_each(accounts) WHERE value IN (SELECT value FROM json_each(:{name})))
"""

# The blocks of 1,024 entries in which any of some accounts has one.
BLOCKS: Final = """
SELECT DISTINCT block FROM account_blocks
WHERE project = :project AND account IN (SELECT value FROM json_each(:accounts))
  AND block BETWEEN :first AND :last
ORDER BY block
"""

# Numbers rise with time, so a span of time is a span of numbers.
SEQ_SINCE: Final = "SELECT seq FROM entries WHERE at >= ? ORDER BY at, seq LIMIT 1"

# What the entries between two numbers add up to, by day, accounts and model; conditions are filled in.
SPEND_BY_DAY: Final = """
SELECT admitted_at / 86400000000, accounts, model, sum(usd_nanos), sum(tokens) FROM entries
WHERE seq > :after_seq AND seq < :before_seq AND kind NOT IN ('carry', 'grant', 'reset')
"""

# The same, of some blocks only.
SPEND_BY_DAY_IN_BLOCKS: Final = """
SELECT admitted_at / 86400000000, accounts, model, sum(usd_nanos), sum(tokens)
FROM json_each(:blocks) AS block
CROSS JOIN entries ON seq >= block.value << 10 AND seq < (block.value + 1) << 10
WHERE +seq > :after_seq AND +seq < :before_seq AND kind NOT IN ('carry', 'grant', 'reset')
"""

# How what was charged differs from our own price, by model, of charges that have both.
DRIFT: Final = """
SELECT provider, model, sum(CASE kind WHEN 'reverse' THEN -1 ELSE 1 END), sum(usd_nanos), sum(priced_nanos)
FROM entries WHERE seq > :after_seq AND seq < :before_seq AND priced_nanos IS NOT NULL
"""
