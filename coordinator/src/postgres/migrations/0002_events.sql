-- What people are told of changes, each by the number of its change.
CREATE TABLE events (
    number  BIGINT PRIMARY KEY,
    version BIGINT NOT NULL,
    -- A kindred.v1.Event.
    body    TEXT NOT NULL
);

-- The newest one that is not kept any more: one row.
CREATE TABLE events_forgotten (
    is_only BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (is_only),
    through BIGINT NOT NULL
);

INSERT INTO events_forgotten (through) VALUES (0);
