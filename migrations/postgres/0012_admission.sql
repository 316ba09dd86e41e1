-- When a sale asks for a proof of work: 0 never, 1 under load, 2 at every attempt.
ALTER TABLE sms_flash_sale ADD COLUMN challenge BIGINT NOT NULL DEFAULT 1 CHECK (challenge BETWEEN 0 AND 2);
