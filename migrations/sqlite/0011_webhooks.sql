-- Whom staff want told of what happens to orders, and what each of them is told. A deleted endpoint's deliveries stay
-- until they are old enough to be forgotten, so there is no reference between the two.

-- events: one bit for each type, see actors/src/domain/webhook.rs. The former secret signs until former_until.
CREATE TABLE webhook_endpoint (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    url           TEXT    NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
    events        INTEGER NOT NULL CHECK (events >= 0),
    enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    secret        TEXT    NOT NULL,
    former_secret TEXT,
    former_until  INTEGER,
    version       INTEGER NOT NULL,
    create_time   INTEGER NOT NULL,
    modify_time   INTEGER NOT NULL
) STRICT;

-- state: 0 pending, 1 delivered, 2 failed. due_time of a pending one: the next try, or the end of the lease of the one
-- who tries it now, under the number in claim.
CREATE TABLE webhook_delivery (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    endpoint_id INTEGER NOT NULL,
    message_id  TEXT    NOT NULL,
    event_type  TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    state       INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),
    tries       INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    claim       INTEGER NOT NULL DEFAULT 0,
    due_time    INTEGER NOT NULL,
    last_status INTEGER,
    last_error  TEXT    NOT NULL DEFAULT '',
    tried_time  INTEGER,
    create_time INTEGER NOT NULL
) STRICT;

CREATE INDEX webhook_delivery_due ON webhook_delivery (endpoint_id, due_time) WHERE state = 0;
CREATE INDEX webhook_delivery_log ON webhook_delivery (endpoint_id, id);
CREATE INDEX webhook_delivery_age ON webhook_delivery (create_time);
