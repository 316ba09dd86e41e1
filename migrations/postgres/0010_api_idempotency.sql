-- Keys of requests that made something, written with what they made. subject is what the first answer follows from,
-- for example an order number. A refused request makes nothing and leaves its key free.
CREATE TABLE api_idempotency (
    member_id       BIGINT           NOT NULL,
    operation       TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    digest          TEXT COLLATE "C" NOT NULL,
    subject         TEXT COLLATE "C" NOT NULL,
    create_time     BIGINT           NOT NULL,
    PRIMARY KEY (member_id, operation, idempotency_key)
);

-- The sweep forgets old keys from the front.
CREATE INDEX api_idempotency_age ON api_idempotency (create_time);
