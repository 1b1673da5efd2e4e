"""The tables of the first version; what came to them since stands in `memory/database/schema.py`."""

from typing import Final

FIRST_TABLES: Final = """
-- Single facts: secret, bytes_per_token, next_sample, serving, rounds_begun, last_accepted,
-- anchor_frozen.
CREATE TABLE facts(name TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID, STRICT;

CREATE TABLE streams(
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL, incarnation TEXT NOT NULL,
    next_offset INTEGER NOT NULL, UNIQUE(topic, number, incarnation)) STRICT;
CREATE TABLE sources(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
-- Label 0 is no label.
CREATE TABLE labels(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- The text comes last, so that reading the rest of a long row stays on its first page.
CREATE TABLE samples(
    id INTEGER PRIMARY KEY, role INTEGER NOT NULL, bytes INTEGER NOT NULL, source INTEGER NOT NULL,
    label INTEGER NOT NULL, stream INTEGER NOT NULL, offset INTEGER NOT NULL, key_hash INTEGER,
    event_time REAL, arrived_at REAL NOT NULL, text TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX samples_offset ON samples(stream, offset);
CREATE INDEX samples_fresh ON samples(id) WHERE role = 2;

-- Slots are dense, 0 to n - 1, so that a uniform draw needs no scan.
CREATE TABLE replay(
    slot INTEGER PRIMARY KEY, sample INTEGER NOT NULL UNIQUE, source INTEGER NOT NULL, era INTEGER NOT NULL,
    label INTEGER NOT NULL, priority INTEGER NOT NULL, bytes INTEGER NOT NULL, key_hash INTEGER) STRICT;
CREATE INDEX replay_stratum ON replay(source, era, label, priority);
CREATE INDEX replay_key ON replay(key_hash) WHERE key_hash IS NOT NULL;
CREATE TABLE strata(
    source INTEGER NOT NULL, era INTEGER NOT NULL, label INTEGER NOT NULL, samples INTEGER NOT NULL,
    bytes INTEGER NOT NULL, PRIMARY KEY(source, era, label)) WITHOUT ROWID, STRICT;
-- An era's id is its first round; era 0 is the text from before the stream.
CREATE TABLE eras(id INTEGER PRIMARY KEY, last_round INTEGER NOT NULL) STRICT;

-- A slice holds what it has seen of a priority up to its threshold.
CREATE TABLE slices(
    id INTEGER PRIMARY KEY, state TEXT NOT NULL, source INTEGER NOT NULL, first_round INTEGER NOT NULL,
    last_round INTEGER NOT NULL, threshold INTEGER NOT NULL) STRICT;
CREATE TABLE holdout(
    slice INTEGER NOT NULL, priority INTEGER NOT NULL, sample INTEGER NOT NULL UNIQUE,
    PRIMARY KEY(slice, priority, sample)) WITHOUT ROWID, STRICT;

CREATE TABLE counters(
    role INTEGER NOT NULL, source INTEGER NOT NULL, label INTEGER NOT NULL, samples INTEGER NOT NULL,
    bytes INTEGER NOT NULL, PRIMARY KEY(role, source, label)) WITHOUT ROWID, STRICT;
CREATE TABLE tallies(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;

-- Hashes of contents in order of arrival, many to a row: an index in random order would cost more than the text.
CREATE TABLE seen(id INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT;
CREATE TABLE trained(id INTEGER PRIMARY KEY, sample INTEGER NOT NULL, places BLOB NOT NULL) STRICT;
CREATE TABLE trained_bands(
    band INTEGER NOT NULL, document INTEGER NOT NULL, PRIMARY KEY(band, document)) WITHOUT ROWID, STRICT;
CREATE TABLE forgotten(key_hash INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT;

CREATE TABLE dead_letters(
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, offset INTEGER NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, key BLOB, value BLOB NOT NULL, value_bytes INTEGER NOT NULL, arrived_at REAL NOT NULL,
    published INTEGER NOT NULL, UNIQUE(stream, offset)) STRICT;
CREATE INDEX dead_letters_unpublished ON dead_letters(id) WHERE published = 0;
CREATE TABLE gaps(
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    reason TEXT NOT NULL, recorded_at REAL NOT NULL) STRICT;

CREATE TABLE rounds(
    number INTEGER PRIMARY KEY, state TEXT NOT NULL, trigger TEXT NOT NULL, recipe TEXT NOT NULL, seed INTEGER NOT NULL,
    parent_generation INTEGER NOT NULL, base_generation INTEGER NOT NULL, generation INTEGER, released_from INTEGER,
    begun_at REAL NOT NULL, ended_at REAL, detail TEXT NOT NULL, verdict TEXT NOT NULL, report TEXT NOT NULL,
    fresh_samples INTEGER NOT NULL, fresh_bytes INTEGER NOT NULL,
    replay_samples INTEGER NOT NULL, replay_bytes INTEGER NOT NULL, early_stop_samples INTEGER NOT NULL) STRICT;
CREATE INDEX rounds_state ON rounds(state);
CREATE TABLE round_offsets(
    round INTEGER NOT NULL, stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(round, stream)) WITHOUT ROWID, STRICT;
CREATE TABLE round_samples(
    round INTEGER NOT NULL, sample INTEGER NOT NULL, part TEXT NOT NULL, stream INTEGER NOT NULL,
    offset INTEGER NOT NULL, key_hash INTEGER, PRIMARY KEY(round, sample)) WITHOUT ROWID, STRICT;
CREATE TABLE refusals(sample INTEGER PRIMARY KEY, times INTEGER NOT NULL) STRICT;
CREATE TABLE aside(
    sample INTEGER PRIMARY KEY, round INTEGER NOT NULL, since REAL NOT NULL, reason TEXT NOT NULL,
    role INTEGER NOT NULL) STRICT;
CREATE INDEX aside_round ON aside(round);

CREATE TABLE generations(
    number INTEGER PRIMARY KEY, state TEXT NOT NULL, parent INTEGER, round INTEGER, digest TEXT NOT NULL,
    source_path TEXT NOT NULL, created_at REAL NOT NULL) STRICT;
CREATE TABLE scores(
    generation INTEGER NOT NULL, slice TEXT NOT NULL, mean_nll REAL NOT NULL, tokens INTEGER NOT NULL,
    documents INTEGER NOT NULL, accuracy REAL, macro_f1 REAL, PRIMARY KEY(generation, slice)) WITHOUT ROWID, STRICT;
CREATE TABLE document_scores(
    generation INTEGER NOT NULL, sample INTEGER NOT NULL, nll REAL NOT NULL, tokens INTEGER NOT NULL,
    correct INTEGER, PRIMARY KEY(generation, sample)) WITHOUT ROWID, STRICT;
CREATE INDEX document_scores_sample ON document_scores(sample);
"""
