-- An entry by the id of the provider's answer (chatcmpl-…, msg_…, resp_…), which is all that a caller's program
-- may have kept of a request. The detail is always JSON: `rows.entry_row` writes it.
CREATE INDEX entries_response ON entries (detail ->> '$.response_id') WHERE detail ->> '$.response_id' IS NOT NULL;
