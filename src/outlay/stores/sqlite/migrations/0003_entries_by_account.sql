-- Which entries belong to an account, so that its page of the journal is found without reading the rest. A
-- trigger writes it, so code that knows only an earlier schema keeps it too. Accounts that nearly every entry
-- has are left out.
CREATE TABLE entry_accounts (
    project TEXT NOT NULL,
    account TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (project, account, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entries_belong_to_accounts AFTER INSERT ON entries
BEGIN
    INSERT OR IGNORE INTO entry_accounts (project, account, seq)
    SELECT new.project, value, new.seq FROM json_each(new.accounts)
    WHERE value <> 'global' AND value NOT GLOB 'provider:*' AND value NOT GLOB 'deployment:*';
END;

INSERT OR IGNORE INTO entry_accounts (project, account, seq)
SELECT project, value, seq FROM entries, json_each(accounts)
WHERE value <> 'global' AND value NOT GLOB 'provider:*' AND value NOT GLOB 'deployment:*'
ORDER BY 1, 2, 3;

-- An entry by the request it was for.
CREATE INDEX entries_request ON entries (request_id) WHERE request_id IS NOT NULL;
