-- One point of one series; a step that two generations took has two.
CREATE TABLE points (
    job_id       TEXT NOT NULL,
    series       TEXT NOT NULL,
    step         INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    -- NULL stands for NaN.
    value        REAL,
    time_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (job_id, series, step, generation)
) STRICT, WITHOUT ROWID;

-- Log lines, in the order in which they came.
CREATE TABLE lines (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    level  INTEGER NOT NULL,
    -- A kindred.v1.LogLine.
    body   BLOB NOT NULL
) STRICT;

CREATE INDEX lines_by_job ON lines (job_id, number);

-- How many lines of a job there are, and how many were dropped to keep their number bounded.
CREATE TABLE line_counts (
    job_id    TEXT PRIMARY KEY,
    n_kept    INTEGER NOT NULL,
    n_dropped INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest batch that is stored of each node's agent.
CREATE TABLE received (
    node_id     TEXT PRIMARY KEY,
    incarnation TEXT NOT NULL,
    sequence    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
