-- In which blocks of the journal an account has entries, so that its pages are found without reading the rest.
-- A block is 1,024 entries in order: an account that is busy costs one row a block, not one an entry. A trigger
-- writes it, so code that knows only an earlier schema keeps it too; what the entry before in the block noted
-- is noted. Accounts that nearly every block has are left out.
CREATE TABLE account_blocks (
    project TEXT NOT NULL,
    account TEXT NOT NULL,
    block   INTEGER NOT NULL,
    PRIMARY KEY (project, account, block)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entries_note_their_accounts AFTER INSERT ON entries
WHEN new.seq & 1023 = 0 OR NOT EXISTS (SELECT 1 FROM entries AS before WHERE before.seq = new.seq - 1
                                       AND before.project = new.project AND before.accounts = new.accounts)
BEGIN
    INSERT OR IGNORE INTO account_blocks (project, account, block)
    SELECT new.project, value, new.seq >> 10 FROM json_each(new.accounts)
    WHERE value <> 'global' AND value NOT GLOB 'provider:*' AND value NOT GLOB 'deployment:*';
END;

INSERT OR IGNORE INTO account_blocks (project, account, block)
SELECT DISTINCT project, value, seq >> 10 FROM entries, json_each(accounts)
WHERE value <> 'global' AND value NOT GLOB 'provider:*' AND value NOT GLOB 'deployment:*'
ORDER BY 1, 2, 3;

-- An entry by the request it was for.
CREATE INDEX entries_request ON entries (request_id) WHERE request_id IS NOT NULL;
