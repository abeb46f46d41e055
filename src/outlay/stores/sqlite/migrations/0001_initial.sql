-- The first schema. Times are microseconds since the Unix epoch, UTC. Amounts are nano-dollars for the unit
-- usd, else counts. Lists and maps are JSON text. CHECK constraints hold the state machine and the
-- invariants that one row can show.

-- What the file says about itself: schema_version, oldest_reader (the oldest code that may open it).
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was last seen of the clocks; one row. newest_at never falls.
CREATE TABLE clock (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    newest_at     INTEGER NOT NULL CHECK (newest_at >= 0),
    wall_at       INTEGER NOT NULL,
    boot_at       INTEGER NOT NULL,
    boot_id       TEXT NOT NULL,
    jump          INTEGER NOT NULL,
    suspect_since INTEGER NOT NULL
) STRICT;

INSERT INTO clock VALUES (1, 0, 0, 0, '', 0, 0);

-- The nodes that spend: user:…, key:…, team:… within a project.
CREATE TABLE accounts (
    project TEXT NOT NULL,
    id      TEXT NOT NULL,
    parent  TEXT,
    name    TEXT,
    status  TEXT NOT NULL CHECK (status IN ('active', 'blocked')),
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

-- Generations of budgets. A new rule makes a new key; retired_at takes one out of force.
CREATE TABLE budgets (
    key            INTEGER PRIMARY KEY,
    project        TEXT NOT NULL,
    id             TEXT NOT NULL,
    account        TEXT NOT NULL,
    unit           TEXT NOT NULL CHECK (unit IN ('usd', 'tokens', 'requests', 'concurrency')),
    limit_amount   INTEGER NOT NULL CHECK (limit_amount >= 0),
    window         TEXT NOT NULL,
    anchor_at      INTEGER NOT NULL,
    zone           TEXT NOT NULL,
    mode           TEXT NOT NULL CHECK (mode IN ('hard', 'crossing', 'soft')),
    models         TEXT NOT NULL,
    providers      TEXT NOT NULL,
    alert_percents TEXT NOT NULL,
    is_by_model    INTEGER NOT NULL CHECK (is_by_model IN (0, 1)),
    retired_at     INTEGER
) STRICT;

CREATE UNIQUE INDEX budgets_in_force ON budgets (project, id) WHERE retired_at IS NULL;
CREATE INDEX budgets_generations ON budgets (project, id);
CREATE INDEX budgets_of_account ON budgets (project, account) WHERE retired_at IS NULL;

-- The counters of each interval of each budget.
CREATE TABLE periods (
    budget_key INTEGER NOT NULL REFERENCES budgets (key),
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL CHECK (ends_at > starts_at),
    granted    INTEGER NOT NULL CHECK (granted >= 0),
    reserved   INTEGER NOT NULL CHECK (reserved >= 0),
    settled    INTEGER NOT NULL CHECK (settled >= 0),
    overrun    INTEGER NOT NULL CHECK (overrun >= 0),
    PRIMARY KEY (budget_key, starts_at)
) STRICT, WITHOUT ROWID;

-- What was settled in a period by model, for budgets that ask for it (is_by_model).
CREATE TABLE model_totals (
    budget_key INTEGER NOT NULL REFERENCES budgets (key),
    starts_at  INTEGER NOT NULL,
    model      TEXT NOT NULL,
    settled    INTEGER NOT NULL CHECK (settled >= 0),
    PRIMARY KEY (budget_key, starts_at, model)
) STRICT, WITHOUT ROWID;

-- Pending reservations. holds: [[budget_key, starts_at, unit, amount], …].
CREATE TABLE reservations (
    project       TEXT NOT NULL,
    id            TEXT NOT NULL,
    accounts      TEXT NOT NULL,
    amounts       TEXT NOT NULL,
    holds         TEXT NOT NULL,
    reserved_at   INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL CHECK (expires_at > reserved_at),
    fingerprint   BLOB NOT NULL,
    output_cap    INTEGER,
    request_id    TEXT,
    attempt       INTEGER NOT NULL CHECK (attempt >= 1),
    provider      TEXT,
    model         TEXT,
    price_version TEXT,
    tags          TEXT NOT NULL,
    increases     TEXT NOT NULL,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX reservations_due ON reservations (expires_at);

-- The journal: append-only. posts: [[budget_key, starts_at, unit, held, settled, overrun, granted], …].
-- One id once: a reservation resolves at most once, and takes at most one correction and one reversal.
CREATE TABLE entries (
    seq                 INTEGER PRIMARY KEY,
    project             TEXT NOT NULL,
    id                  TEXT NOT NULL,
    kind                TEXT NOT NULL CHECK (kind IN ('settle', 'void', 'expire', 'correct', 'record', 'grant',
                                                      'reverse', 'reset', 'carry')),
    at                  INTEGER NOT NULL,
    admitted_at         INTEGER NOT NULL CHECK (admitted_at <= at),
    accounts            TEXT NOT NULL,
    posts               TEXT NOT NULL,
    usd_nanos           INTEGER,
    tokens              INTEGER,
    usage               TEXT NOT NULL,
    source              TEXT CHECK (source IN ('provider', 'counted', 'presumed', 'manual')),
    provider            TEXT,
    model               TEXT,
    price_version       TEXT,
    request_id          TEXT,
    attempt             INTEGER NOT NULL,
    output_cap          INTEGER,
    tags                TEXT NOT NULL,
    reason              TEXT,
    detail              TEXT NOT NULL,
    completion_key      TEXT,
    fingerprint         BLOB NOT NULL,
    reserve_fingerprint BLOB NOT NULL,
    CHECK (kind <> 'void' OR reason IN ('never_sent', 'rejected', 'provider_error')),
    CHECK (kind <> 'expire' OR source = 'presumed')
) STRICT;

CREATE UNIQUE INDEX entries_id ON entries (project, id);
CREATE INDEX entries_at ON entries (at);
CREATE UNIQUE INDEX entries_completion ON entries (project, completion_key) WHERE completion_key IS NOT NULL;
CREATE INDEX entries_reset ON entries (project, seq) WHERE kind = 'reset';

CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON entries
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

-- Every change to an account or a budget, so that each node can drop what moved. id is the account's.
CREATE TABLE catalogue_changes (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL CHECK (kind IN ('account', 'budget')),
    project TEXT NOT NULL,
    id      TEXT NOT NULL
) STRICT;

CREATE INDEX catalogue_changes_of ON catalogue_changes (project, id, kind);
