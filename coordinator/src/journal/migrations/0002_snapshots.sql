-- States from which replay may begin, each after one change. One that has no row here is not whole.
CREATE TABLE snapshots (
    sequence INTEGER PRIMARY KEY,
    version  INTEGER NOT NULL,
    n_pieces INTEGER NOT NULL
) STRICT;

-- The states, in pieces.
CREATE TABLE pieces (
    sequence INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (sequence, number)
) STRICT;
