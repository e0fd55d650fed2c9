-- One row per audit event. `number` grows with time and is never given twice.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time_unix_ms INTEGER NOT NULL,
    caller TEXT NOT NULL,
    peer TEXT NOT NULL,
    method TEXT NOT NULL,
    object TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
