-- What people are told of changes, each by the number of its change.
CREATE TABLE events (
    number  INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    -- A kindred.v1.Event.
    body    TEXT NOT NULL
) STRICT;

-- The newest one that is not kept any more: one row.
CREATE TABLE events_forgotten (
    is_only INTEGER PRIMARY KEY CHECK (is_only = 1),
    through INTEGER NOT NULL
) STRICT;

INSERT INTO events_forgotten (is_only, through) VALUES (1, 0);
