-- What an account's maker knows of it, and who holds a reservation. Both have defaults, so code that knows
-- only the first schema may go on using the file.

-- detail: a JSON object; the ledger only keeps it.
ALTER TABLE accounts ADD COLUMN detail TEXT NOT NULL DEFAULT '{}'
    CHECK (json_valid(detail) AND json_type(detail) = 'object');

-- holder: which instance of a program made the reservation, so that its next start can free its slots.
ALTER TABLE reservations ADD COLUMN holder TEXT;
