-- Keys of requests that made something, written with what they made. subject is what the first answer follows from,
-- for example an order number. A refused request makes nothing and leaves its key free.
CREATE TABLE api_idempotency (
    member_id       INTEGER NOT NULL,
    operation       TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    digest          TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    create_time     INTEGER NOT NULL,
    PRIMARY KEY (member_id, operation, idempotency_key)
) STRICT, WITHOUT ROWID;

-- The sweep forgets old keys from the front.
CREATE INDEX api_idempotency_age ON api_idempotency (create_time);
