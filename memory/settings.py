"""How much is kept, and how it is split: the memory's part of the settings."""

from pydantic import BaseModel, ConfigDict, Field


class MemorySettings(BaseModel):
    """Budgets and policies of the store. Every budget is a bound on disk or on the cost of a round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    holdout_share: float = Field(
        0.05,
        gt=0.0,
        le=0.5,
        description="Share of arriving groups (documents of one key, else one content) that is held out for "
        "evaluation and never trained on, at least: of sources that bring little more is held out, until a slice has "
        "the keys that the gate needs.",
    )
    holdout_share_most: float = Field(
        0.2,
        gt=0.0,
        le=0.5,
        description="The largest share that is held out of a source, however little it brings; where it is not above "
        "`holdout_share`, that share is held out of everything.",
    )
    remembered_sides: int = Field(
        2_000_000,
        ge=1_000,
        description="Groups of which it is remembered whether they were held out, as none ever changes its side (8 "
        "bytes each in RAM and on disk). When there are more, the share that may be held out at most falls toward "
        "`holdout_share`, and what lies beyond it need not be remembered.",
    )
    slice_documents: int = Field(
        256,
        ge=8,
        le=100_000,
        description="Most held-out documents of one slice (one source, one period) that are kept, and that a round is "
        "judged on.",
    )
    holdout_documents: int = Field(
        20_000, ge=64, le=1_000_000, description="Most held-out documents of all slices together."
    )
    anchor_documents: int = Field(
        512,
        ge=8,
        le=100_000,
        description="Most held-out documents of the anchor slice that are kept, and that a round is judged on.",
    )
    anchor_minimum: int = Field(
        40,
        ge=1,
        le=100_000,
        description="The anchor slice is frozen when a round begins and it holds at least this many documents, those "
        "of one key counted once. As many as `gate.minimum_documents` at least, whatever is written here.",
    )
    recent_slices: int = Field(
        4,
        ge=1,
        le=64,
        description="Latest slices of each source that stay apart; older ones merge into power-of-two age buckets.",
    )
    evaluation_documents: int = Field(
        8_192,
        ge=8,
        le=1_000_000,
        description="Most held-out documents of all slices together that a round is judged on: each of its candidates "
        "is scored on all of them. Anchor, newest text and older slices share them evenly, and leave one another what "
        "they do not need. `riverkeep doctor` tells how long it takes.",
    )
    round_tokens: int = Field(
        2_000_000,
        ge=1,
        description="Most tokens of fresh text that one round draws, oldest first, and one document in any case; the "
        "rest waits for the next round. `learner.recipe.max_tokens` may set a lower bound.",
    )
    fresh_samples: int = Field(
        100_000, ge=1, description="Fresh samples at which consumption pauses until a round is accepted."
    )
    fresh_tokens: int = Field(
        50_000_000, ge=1, description="Fresh tokens at which consumption pauses until a round is accepted."
    )
    replay_samples: int = Field(200_000, ge=0, description="Most samples in replay.")
    replay_tokens: int = Field(100_000_000, ge=0, description="Most tokens in replay.")
    replay_eras: int = Field(
        32,
        ge=2,
        le=1024,
        description="Periods of time that share the replay budget evenly; beyond this number neighbours merge.",
    )
    source_quota: int = Field(
        1_000_000, ge=1, description="Most samples of one source in replay: an absolute number, not a share."
    )
    key_quota: int = Field(
        200,
        ge=1,
        description="Most samples of one key in one round, new and replayed together, and in replay. About 250 "
        "planted documents can put a backdoor into a model of any size, so this is an absolute number. Text beyond it "
        "is dropped. The corrections that come by one API key have one quota in a round too. Keys that name a category "
        "(nine tenths of a source have one of a few keys, a language or a tenant) have no quota, and their text is "
        "held out by content.",
    )
    max_sources: int = Field(
        1_000,
        ge=1,
        le=100_000,
        description="Different sources that are told apart; documents of further ones count as source 'other'.",
    )
    duplicate_window: int = Field(
        2_000_000,
        ge=1_000,
        description="Contents, the latest to arrive, that are remembered (8 bytes each in RAM and on disk) to drop "
        "exact duplicates.",
    )
    trained_documents: int = Field(
        500_000,
        ge=1_000,
        description="Documents trained on, the latest, whose sketches are kept (about 250 bytes of disk each) so "
        "that near-duplicates of them are not held out.",
    )
    near_duplicate_similarity: float = Field(
        0.6,
        gt=0.3,
        le=1.0,
        description="Estimated Jaccard similarity of 12-byte shingles from which two texts are near-duplicates.",
    )
    refusals_until_aside: int = Field(
        2,
        ge=1,
        le=100,
        description="Refused rounds after which a fresh sample is set aside. One for want of evidence counts only "
        "while the fresh buffer is full.",
    )
    aside_samples: int = Field(
        100_000,
        ge=1,
        description="Samples set aside at which no further round begins until a person releases or drops some.",
    )
    quarantine_rows: int = Field(
        10_000,
        ge=1,
        description="Most dead letters kept: the oldest make room, counted and told of. Where a dead_letter_topic is "
        "named, none does before it is there: consumption pauses instead.",
    )
    quarantine_bytes: int = Field(
        64 * 2**20, ge=1024, description="Most bytes of dead letters kept: the oldest make room."
    )
    gaps_kept: int = Field(10_000, ge=1, description="Latest gaps in offsets kept as rows; all are counted.")
    lineage_rounds: int = Field(
        1_000,
        ge=1,
        description="Latest rounds for which it stays known which samples (ids, offsets, keyed hash of the key) made "
        "them, also when their text is gone. So far back `riverkeep forget` can name the generations that saw a text.",
    )
    audit_rows: int = Field(
        100_000,
        ge=1_000,
        description="Latest lines of the audit log that are kept: what served when, and who did what.",
    )
    busy_timeout_s: float = Field(
        30.0, gt=0.0, le=600.0, description="How long a write waits for another process that is writing."
    )
    integrity_check: bool = Field(
        default=True, description="Check the database's integrity at start (about a second a gigabyte)."
    )
