-- What is done with is forgotten from the oldest on: published outbox rows, inbox rows, replayed parked messages.
CREATE INDEX mq_outbox_published ON mq_outbox (published_time) WHERE published_time IS NOT NULL;
CREATE INDEX mq_inbox_age ON mq_inbox (create_time);
CREATE INDEX mq_parked_replayed ON mq_parked (replay_time) WHERE replay_time IS NOT NULL;
