-- Who leads: one row. Its key is the epoch, so that a write that holds the epoch (FOR KEY SHARE) lets the lease be renewed, and
-- makes whoever takes the lease over wait until it is done.
CREATE TABLE leader (
    epoch      BIGINT PRIMARY KEY,
    is_only    BOOLEAN NOT NULL DEFAULT TRUE UNIQUE CHECK (is_only),
    holder     TEXT NOT NULL,
    address    TEXT NOT NULL,
    -- By the database's clock.
    expires_at TIMESTAMPTZ NOT NULL
);

-- Every change, in the order in which it happened.
CREATE TABLE changes (
    sequence BIGINT PRIMARY KEY,
    version  BIGINT NOT NULL,
    -- The leader that wrote it.
    epoch    BIGINT NOT NULL,
    body     TEXT NOT NULL
);

-- States from which replay may begin, each after one change. One that has no row here is not whole.
CREATE TABLE snapshots (
    sequence BIGINT PRIMARY KEY,
    version  BIGINT NOT NULL,
    n_pieces BIGINT NOT NULL
);

-- The states, in pieces.
CREATE TABLE pieces (
    sequence BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (sequence, number)
);

-- One point of one series; a step that two generations took has two.
CREATE TABLE points (
    job_id       TEXT NOT NULL,
    series       TEXT COLLATE "C" NOT NULL,
    step         BIGINT NOT NULL,
    generation   BIGINT NOT NULL,
    value        DOUBLE PRECISION NOT NULL,
    time_unix_ms BIGINT NOT NULL,
    PRIMARY KEY (job_id, series, step, generation)
);

-- Log lines, in the order in which they came.
CREATE TABLE lines (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id TEXT NOT NULL,
    level  INTEGER NOT NULL,
    -- A kindred.v1.LogLine.
    body   BYTEA NOT NULL
);

CREATE INDEX lines_by_job ON lines (job_id, number);

-- How many lines of a job there are, and how many were dropped to keep their number bounded.
CREATE TABLE line_counts (
    job_id    TEXT PRIMARY KEY,
    n_kept    BIGINT NOT NULL,
    n_dropped BIGINT NOT NULL
);

-- The newest batch that is stored of each node's agent.
CREATE TABLE received (
    node_id     TEXT PRIMARY KEY,
    incarnation TEXT NOT NULL,
    sequence    BIGINT NOT NULL
);
