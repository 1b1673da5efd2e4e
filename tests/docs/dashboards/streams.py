"""Text that arrives, and what is kept of it."""

from typing import Final

from tests.docs.dashboards.queries import hourly, of
from tests.docs.dashboards.showing import Show

TEXT: Final = (
    Show(
        "Records read",
        (
            (
                f"sum by (topic) (rate({of('riverkeep_consumed_records_total')}[$__rate_interval]))",
                "{{topic}}",
            ),
        ),
        unit="cps",
        alerts=(
            "RiverkeepTopicMissing",
            "RiverkeepPartitionUnanswered",
        ),
    ),
    Show(
        "Lag",
        (
            (
                f"sum by (topic) ({of('riverkeep_consumer_lag_records')})",
                "{{topic}}",
            ),
        ),
        about="Records in Kafka that are not yet read.",
        alerts=("RiverkeepLagGrows",),
    ),
    Show(
        "Dead letters in an hour, by reason",
        (
            (
                hourly("riverkeep_dead_letters_total", "reason", least=" > 0"),
                "{{reason}}",
            ),
            (
                hourly("riverkeep_dead_letters_total", "instance"),
                "all of {{instance}}",
            ),
        ),
        kind="stacked",
        about="Records that were not understood, or not worth keeping.",
        alerts=(
            "RiverkeepDeadLetterFlood",
            "RiverkeepDeadLettersLost",
        ),
    ),
    Show(
        "Paused partitions",
        (
            (
                f"sum by (topic, reason) ({of('riverkeep_consumer_paused')})",
                "{{topic}}: {{reason}}",
            ),
        ),
        kind="steps",
        alerts=(
            "RiverkeepConsumerPaused",
            "RiverkeepDeadLetterFlood",
            "RiverkeepDeadLettersWait",
            "RiverkeepSchemaRegistryAway",
        ),
    ),
    Show(
        "Offsets that never came, in an hour",
        (
            (
                hourly("riverkeep_missing_offsets_total", "topic, reason", least=" > 0"),
                "{{topic}}: {{reason}}",
            ),
            (
                hourly("riverkeep_missing_offsets_total", "instance"),
                "all of {{instance}}",
            ),
        ),
        alerts=("RiverkeepRecordsNeverCame",),
    ),
    Show(
        "Brokers",
        (
            (
                of("riverkeep_broker_connected"),
                "{{instance}}",
            ),
        ),
        kind="steps",
        least=0,
        most=1,
        alerts=("RiverkeepBrokerAway",),
    ),
)

MEMORY: Final = (
    Show(
        "Samples by role",
        (
            (
                f"sum by (role) ({of('riverkeep_memory_samples')})",
                "{{role}}",
            ),
        ),
        kind="stacked",
        alerts=(
            "RiverkeepNothingFresh",
            "RiverkeepAsideFull",
        ),
    ),
    Show(
        "Tokens by role",
        (
            (
                f"sum by (role) ({of('riverkeep_memory_tokens')})",
                "{{role}}",
            ),
        ),
        kind="stacked",
    ),
    Show(
        "Replay by source",
        (
            (
                'sum by (source) (riverkeep_memory_samples{instance=~"$instance",role="replay"})',
                "{{source}}",
            ),
        ),
        kind="stacked",
    ),
    Show(
        "Fresh buffer",
        (
            (
                of("riverkeep_memory_fresh_fill_ratio"),
                "{{instance}}",
            ),
        ),
        unit="percentunit",
        about="Consumption pauses at 100 %.",
        least=0,
        most=1,
        alerts=("RiverkeepConsumerPaused",),
    ),
    Show(
        "Not kept, by cause",
        (
            (
                f"sum by (cause) (rate({of('riverkeep_memory_dropped_documents_total')}[$__rate_interval]))",
                "{{cause}}",
            ),
        ),
        unit="cps",
    ),
    Show(
        "Size on disk",
        (
            (
                of("riverkeep_memory_file_bytes"),
                "{{file}} {{instance}}",
            ),
            (
                of("riverkeep_memory_quarantine_bytes"),
                "quarantine {{instance}}",
            ),
        ),
        unit="bytes",
    ),
    Show(
        "Share held out, by source",
        (
            (
                f"max by (source) ({of('riverkeep_memory_holdout_share')})",
                "{{source}}",
            ),
            (
                of("riverkeep_memory_holdout_share_most"),
                "most of {{instance}}",
            ),
        ),
        unit="percentunit",
        about="Of each source's new keys, as far as the gate needs it; the most that memory.holdout_share_most allows.",
        least=0,
    ),
    Show(
        "Held out since the last accepted round",
        (
            (
                of("riverkeep_memory_open_holdout_samples"),
                "{{instance}}",
            ),
        ),
        about="Documents that the next round is judged on as the newest text.",
    ),
)
