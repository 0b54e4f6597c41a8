"""The full-text index: made from the archive, and made anew whenever that is simpler than to mend it."""

VERSION = 1  # of what is in it: another one, and it is built anew
SCHEMA = """
CREATE TABLE meta (            -- last: the highest id a document ever had; machine_id, epoch: of the archive it is of
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE names (           -- conversations, tools and models as small numbers
    id              INTEGER PRIMARY KEY,
    text            TEXT NOT NULL UNIQUE
);

CREATE TABLE docs (            -- a record that says something; what is not here is not found, whatever `words` has
    id              INTEGER PRIMARY KEY, -- rowid in words; never used twice
    record          INTEGER NOT NULL,    -- its key in the archive
    conversation    INTEGER NOT NULL,    -- conversation, tool, model: see names
    at              INTEGER NOT NULL,    -- ms since the epoch; 0 when the record has no time
    role            INTEGER NOT NULL,    -- bits: core/search_text.py, Role
    tool            INTEGER,             -- the one that is called, or whose result it is
    model           INTEGER,
    flags           INTEGER NOT NULL     -- the record's when it was read, and ERROR of core/search_text.py
);

CREATE TABLE places (          -- how far each source is
    source          INTEGER PRIMARY KEY,
    done            INTEGER NOT NULL,    -- records with a lower key are in
    size            INTEGER NOT NULL,    -- of the file, when its end without a newline was looked at; -1: it was not
    tail            INTEGER,             -- document of that end, which goes when the line is read again
    pruned          INTEGER NOT NULL     -- as in sources
);

CREATE VIRTUAL TABLE words USING fts5(
    said, thinking, input, result, other, content='', tokenize='unicode61 remove_diacritics 2'
);
"""
