-- Every change, in the order in which it happened.
CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     TEXT NOT NULL
) STRICT;
