-- Our own price of what was charged, where the provider stated what it bills: the difference is drift. Null where
-- nothing was stated, so code that knows only the fourth schema may go on using the file.

ALTER TABLE entries ADD COLUMN priced_nanos INTEGER;
