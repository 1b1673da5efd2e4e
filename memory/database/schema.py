"""The tables, and the migrations that lead to them.

A migration and the note that it was applied are one transaction.
"""

import secrets

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from memory.database.first_tables import FIRST_TABLES

APPLICATION_ID = 0x52564B50
"""`RVKP`, in the file's header: tells a store from any other SQLite database."""

migrations = Migrations("riverkeep")


def _statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit the transaction that the migration is part of."""
    # Comments go first, as one may hold a semicolon.
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]


@migrations(name="0001_initial")
def initial(db: Database) -> None:
    """Every table of the first version, and the secret by which the split and the hashes of keys are made."""
    for statement in _statements(FIRST_TABLES):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    facts = [
        ("secret", secrets.token_bytes(SECRET_BYTES)),
        # A guess, until a report measures the model's own.
        ("bytes_per_token", 4.0),
        ("next_sample", 1),
        ("rounds_begun", 0),
        ("last_accepted", 0),
        ("anchor_frozen", 0),
    ]
    db.conn.executemany("INSERT INTO facts VALUES (?, ?)", facts)


_BOUNDS = """
-- When a batch moved the partition last: what is beyond the bound on streams goes from the oldest.
ALTER TABLE streams ADD COLUMN moved_at REAL NOT NULL DEFAULT 0;
CREATE INDEX scores_slice ON scores(slice);
CREATE INDEX rounds_released_from ON rounds(released_from) WHERE released_from IS NOT NULL;
-- What stays of generations that have left the ledger.
CREATE TABLE past_generations(
    number INTEGER PRIMARY KEY, parent INTEGER, round INTEGER, digest TEXT NOT NULL, created_at REAL NOT NULL) STRICT;
-- Further facts: generations_numbered (the next one's number), lineage_from (the first round whose samples are known).
INSERT INTO facts SELECT 'generations_numbered', coalesce(max(number), -1) + 1 FROM generations;
INSERT INTO facts SELECT 'lineage_from', coalesce(min(round), 1) FROM round_samples;
"""


@migrations(name="0002_bounds")
def bounds(db: Database) -> None:
    """What the bounds on ledger and streams need; numbers no longer hang on the rows that are left."""
    for statement in _statements(_BOUNDS):
        db.execute(statement)


_KEY_COUNTS = """
-- How many documents each of a source's most frequent keys has: two arrays of 64-bit integers.
CREATE TABLE key_counts(
    source INTEGER NOT NULL, before_stream INTEGER NOT NULL, documents INTEGER NOT NULL, keys BLOB NOT NULL,
    counts BLOB NOT NULL, PRIMARY KEY(source, before_stream)) STRICT;
"""


@migrations(name="0003_key_counts")
def key_counts(db: Database) -> None:
    """By which keys that name a category are told from those that name people."""
    for statement in _statements(_KEY_COUNTS):
        db.execute(statement)


_DEAD_LETTER_KEYS = """
-- Keyed hashes of the keys that the letter is known by, a JSON array: also of those that were cut off its value.
ALTER TABLE dead_letters ADD COLUMN key_hashes TEXT NOT NULL DEFAULT '[]';
CREATE INDEX dead_letters_published ON dead_letters(id) WHERE published = 1;
CREATE INDEX dead_letters_filtered ON dead_letters(id)
    WHERE published = 0 AND reason IN ('empty_text', 'repetitive', 'too_short');
"""


@migrations(name="0004_dead_letter_keys")
def dead_letter_keys(db: Database) -> None:
    """By which a person's dead letters are found, and the order in which they make room."""
    for statement in _statements(_DEAD_LETTER_KEYS):
        db.execute(statement)


_ERASED_ROUNDS = """
-- Rounds that trained on text which was erased since, so that nobody has to look for them among all samples.
CREATE TABLE erased_rounds(round INTEGER PRIMARY KEY) STRICT;
INSERT INTO erased_rounds SELECT DISTINCT r.round FROM round_samples r JOIN forgotten f ON f.key_hash = r.key_hash
    WHERE r.part IN ('fresh', 'replay');
"""


@migrations(name="0005_erased_rounds")
def erased_rounds(db: Database) -> None:
    """By which generations are told that saw text which was erased since."""
    for statement in _statements(_ERASED_ROUNDS):
        db.execute(statement)


@migrations(name="0006_dead_letter_headers")
def dead_letter_headers(db: Database) -> None:
    """The record's own headers, which are sent to the dead-letter topic with it: see `quarantine`."""
    db.execute("ALTER TABLE dead_letters ADD COLUMN headers TEXT")


@migrations(name="0007_key_dresses")
def key_dresses(db: Database) -> None:
    """The plain keys that a stored one may stand for, as hashes: see `similar_keys`."""
    db.execute(
        "CREATE TABLE key_dresses(plain INTEGER NOT NULL, key_hash INTEGER NOT NULL, how TEXT NOT NULL, "
        "PRIMARY KEY(plain, key_hash)) WITHOUT ROWID, STRICT"
    )
    db.execute("CREATE INDEX key_dresses_key ON key_dresses(key_hash)")


@migrations(name="0008_pending_erasures")
def pending_erasures(db: Database) -> None:
    """Keys whose earlier text the stream's tombstones erase: see `tombstones`."""
    db.execute(
        "CREATE TABLE pending_erasures(key_hash INTEGER PRIMARY KEY, samples_before INTEGER NOT NULL, "
        "letters_until INTEGER NOT NULL) STRICT"
    )


@migrations(name="0009_predicted_labels")
def predicted_labels(db: Database) -> None:
    """What a classifier's generation answered, so that later ones are held to its macro-F1; unknown of earlier ones."""
    db.execute("ALTER TABLE document_scores ADD COLUMN predicted TEXT")


@migrations(name="0010_left_out")
def left_out(db: Database) -> None:
    """What a round was not given for a setting's sake, a JSON array: see `LeftOut`."""
    db.execute("ALTER TABLE rounds ADD COLUMN left_out TEXT NOT NULL DEFAULT '[]'")


_SCORINGS = """
-- How scores were taken; rows refer to it. Of scores from before this was kept the length of sequences is known alone:
-- an accepted round took its own generation's row, its parent's and the base's.
CREATE TABLE scorings(
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, precision TEXT NOT NULL, sequence_length INTEGER NOT NULL,
    way INTEGER NOT NULL, UNIQUE(device, precision, sequence_length, way)) STRICT;
ALTER TABLE scores ADD COLUMN scoring INTEGER;
ALTER TABLE document_scores ADD COLUMN scoring INTEGER;
CREATE TEMP TABLE taken AS
    SELECT g.number AS number, g.parent AS parent, r.number AS round,
        CAST(json_extract(r.recipe, '$.sequence_length') AS INTEGER) AS length
    FROM generations g JOIN rounds r ON r.generation = g.number;
INSERT INTO scorings(device, precision, sequence_length, way)
    SELECT DISTINCT '', '', length, 1 FROM taken WHERE length IS NOT NULL;
UPDATE scores SET scoring = (
    SELECT s.id FROM taken t JOIN scorings s ON s.sequence_length = t.length
    WHERE scores.generation IN (t.number, t.parent, (SELECT value FROM facts WHERE name = 'base'))
    ORDER BY t.round DESC LIMIT 1);
UPDATE document_scores SET scoring = (
    SELECT s.id FROM taken t JOIN scorings s ON s.sequence_length = t.length
    WHERE document_scores.generation IN (t.number, t.parent, (SELECT value FROM facts WHERE name = 'base'))
    ORDER BY t.round DESC LIMIT 1);
DROP TABLE taken;
"""


@migrations(name="0011_scorings")
def scorings(db: Database) -> None:
    """By which scores that cannot be compared are told apart."""
    for statement in _statements(_SCORINGS):
        db.execute(statement)


@migrations(name="0012_too_large")
def too_large(db: Database) -> None:
    """With which micro-batches rounds ran out of memory: see `memory.ledger.too_large`."""
    db.execute(
        "CREATE TABLE too_large(conditions TEXT NOT NULL, micro_batch INTEGER NOT NULL, times INTEGER NOT NULL, "
        "certain INTEGER NOT NULL, round INTEGER NOT NULL, at REAL NOT NULL, UNIQUE(conditions, micro_batch)) STRICT"
    )


@migrations(name="0013_trained_in")
def trained_in(db: Database) -> None:
    """The round that trained what a round judged again; null where it trained its own candidates."""
    db.execute("ALTER TABLE rounds ADD COLUMN trained_in INTEGER")


_SIDES = """
-- On which side of the split groups fell: hashes in order of arrival, many to a row, 1 in the lowest bit for held out.
CREATE TABLE sides(id INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT;
-- What each source's open slice has been offered: hashes of groups.
CREATE TABLE arrivals(
    source INTEGER NOT NULL, before_stream INTEGER NOT NULL, period INTEGER NOT NULL, earlier INTEGER NOT NULL,
    counted BLOB NOT NULL, PRIMARY KEY(source, before_stream)) STRICT;
-- What had come before sides were remembered, and 1 where it was held out.
CREATE TABLE earlier_keys(key_hash INTEGER PRIMARY KEY, held INTEGER NOT NULL) STRICT;
-- Further facts: holdout_keys (how many keys a slice is to have), zone_start and zone_end (see `known_sides`), and
-- split_by_share, which a store has that earlier versions filled: what goes on being split by a fixed share, as nobody
-- knows what had come. All keys are known while lineage is whole; all contents, while no hash of one was let go and
-- none can come again under another label.
INSERT INTO facts SELECT 'split_by_share', CASE
    WHEN (SELECT value FROM facts WHERE name = 'lineage_from') > 1 THEN 'everything'
    WHEN (SELECT min(id) FROM seen) > 1 OR EXISTS (SELECT 1 FROM labels) THEN 'contents'
    ELSE 'nothing' END
    FROM facts WHERE name = 'next_sample' AND value > 1;
INSERT INTO earlier_keys SELECT key_hash, min(held) FROM (
    SELECT key_hash, part = 'slice' AS held FROM round_samples
    UNION ALL
    SELECT s.key_hash, coalesce(a.role, s.role) = 4 FROM samples s LEFT JOIN aside a ON a.sample = s.id)
    WHERE key_hash IS NOT NULL GROUP BY key_hash;
"""


@migrations(name="0014_sides")
def sides(db: Database) -> None:
    """By which the share that is held out can change, and no key changes its side."""
    for statement in _statements(_SIDES):
        db.execute(statement)


@migrations(name="0015_turns")
def turns(db: Database) -> None:
    """Who said how much of a chat's text, as in `streams.chats`; null for a document."""
    db.execute("ALTER TABLE samples ADD COLUMN turns TEXT")


@migrations(name="0016_skills")
def skills(db: Database) -> None:
    """What generations were found to answer rightly: a letter a prompt, 1 or 0, of one version of each skill."""
    db.execute(
        "CREATE TABLE skill_scores(generation INTEGER NOT NULL, skill TEXT NOT NULL, version TEXT NOT NULL, "
        "scoring INTEGER NOT NULL, rights TEXT NOT NULL, PRIMARY KEY(generation, skill)) WITHOUT ROWID, STRICT"
    )


_FEEDBACK = """
-- What people said of answers, the last word of each. key_hash 0: nobody was named.
CREATE TABLE feedback(
    id INTEGER PRIMARY KEY AUTOINCREMENT, answer TEXT NOT NULL, giver TEXT NOT NULL, key_hash INTEGER NOT NULL,
    verdict TEXT NOT NULL, generation INTEGER NOT NULL, answered_at REAL NOT NULL, given_at REAL NOT NULL,
    corrected INTEGER NOT NULL, learned TEXT, prompt TEXT, text TEXT, correction TEXT,
    UNIQUE(answer, giver, key_hash)) STRICT;
CREATE INDEX feedback_generation ON feedback(generation, verdict, corrected);
CREATE INDEX feedback_key ON feedback(key_hash) WHERE key_hash != 0;
CREATE INDEX feedback_text ON feedback(id) WHERE prompt IS NOT NULL;
"""


@migrations(name="0017_feedback")
def feedback(db: Database) -> None:
    """What people said of answers: see `memory.intake.feedback`."""
    for statement in _statements(_FEEDBACK):
        db.execute(statement)


@migrations(name="0018_canaries")
def canaries(db: Database) -> None:
    """Generations that are watched in traffic before they serve; `watch` and `verdict` are JSON."""
    db.execute(
        "CREATE TABLE canaries(generation INTEGER PRIMARY KEY, beside INTEGER NOT NULL, round INTEGER NOT NULL, "
        "mode TEXT NOT NULL, share REAL NOT NULL, since REAL NOT NULL, ended_at REAL, outcome TEXT NOT NULL, "
        "ended_by TEXT NOT NULL, watch TEXT NOT NULL, verdict TEXT NOT NULL) STRICT"
    )
    db.execute("CREATE INDEX canaries_round ON canaries(round)")


@migrations(name="0019_audit")
def audit(db: Database) -> None:
    """What served when, and who did what: lines are added, go when they are too many, and never change."""
    db.execute(
        "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL, "
        "what TEXT NOT NULL, detail TEXT NOT NULL) STRICT"
    )
    db.execute(
        "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'a line of the audit log'); END"
    )


@migrations(name="0020_weights")
def weights(db: Database) -> None:
    """How much each sample of a round counted in what was minimised; 1: as every other."""
    db.execute("ALTER TABLE round_samples ADD COLUMN weight REAL NOT NULL DEFAULT 1")


@migrations(name="0021_reason")
def reason(db: Database) -> None:
    """Why a round began, a sentence; empty for those from before this was kept."""
    db.execute("ALTER TABLE rounds ADD COLUMN reason TEXT NOT NULL DEFAULT ''")


@migrations(name="0022_picks")
def picks(db: Database) -> None:
    """Which of two generations' answers people found the better; `won` is null where neither was."""
    db.execute(
        "CREATE TABLE picks(id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL, "
        "first INTEGER NOT NULL, second INTEGER NOT NULL, won INTEGER) STRICT"
    )
    db.execute("CREATE INDEX picks_pair ON picks(first, second, who)")


_ASKERS = """
-- Among which callers the answer was counted while a generation was watched; null: among none.
ALTER TABLE feedback ADD COLUMN caller_group INTEGER;
-- By which API key a sample came that is a correction.
CREATE TABLE corrections(sample INTEGER PRIMARY KEY, giver TEXT NOT NULL) STRICT;
"""


@migrations(name="0023_askers")
def askers(db: Database) -> None:
    """By what feedback is counted that no client can make up."""
    for statement in _statements(_ASKERS):
        db.execute(statement)


def unknown_migrations(db: Database) -> list[str]:
    """Migrations that the file has seen and this version does not know: it was written by a newer one."""
    names = {migration.name for migration in migrations.pending(db)}
    names |= {migration.name for migration in migrations._migrations}  # noqa: SLF001 - no public list
    return [applied.name for applied in migrations.applied(db) if applied.name not in names]


SECRET_BYTES = 32
