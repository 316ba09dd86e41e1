-- Messages: to be published, seen, queued in this process, kept for an operator.

CREATE TABLE mq_outbox (
    id             INTEGER PRIMARY KEY,
    message_id     TEXT    NOT NULL UNIQUE,
    routing_key    TEXT    NOT NULL,
    payload        TEXT    NOT NULL,
    create_time    INTEGER NOT NULL,
    published_time INTEGER
) STRICT;

CREATE INDEX mq_outbox_unpublished ON mq_outbox (create_time, id) WHERE published_time IS NULL;

-- Only for effects that are not idempotent by state.
CREATE TABLE mq_inbox (
    consumer    TEXT    NOT NULL,
    message_id  TEXT    NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (consumer, message_id)
) STRICT, WITHOUT ROWID;

-- The durable queue of the in-process bus.
CREATE TABLE mq_local (
    id          INTEGER PRIMARY KEY,
    message_id  TEXT    NOT NULL UNIQUE,
    queue       TEXT    NOT NULL,
    payload     TEXT    NOT NULL,
    due_time    INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    create_time INTEGER NOT NULL
) STRICT;

-- The bus reads one queue page by page, by due time and id.
CREATE INDEX mq_local_due ON mq_local (queue, due_time, message_id);

CREATE TABLE mq_parked (
    id          INTEGER PRIMARY KEY,
    message_id  TEXT    NOT NULL UNIQUE,
    queue       TEXT    NOT NULL,
    payload     TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    create_time INTEGER NOT NULL,
    replay_time INTEGER
) STRICT;
