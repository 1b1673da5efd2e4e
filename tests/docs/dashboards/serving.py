"""Answers, and the generations that give them."""

from typing import Final

from tests.docs.dashboards.queries import daily_mean, hourly, of, quantiles
from tests.docs.dashboards.showing import Show

SERVING: Final = (
    Show(
        "Requests",
        (
            (
                (
                    "sum by (route, code) "
                    '(rate(riverkeep_serving_requests_total{instance=~"$instance",route!~"/(healthz|readyz|metr'
                    'ics)|/v1/riverkeep/.*"}[$__rate_interval])) > 0'
                ),
                "{{route}} {{code}}",
            ),
            (
                (
                    'sum(rate(riverkeep_serving_requests_total{instance=~"$instance",route!~"/(healthz|readyz|m'
                    'etrics)|/v1/riverkeep/.*"}[$__rate_interval]))'
                ),
                "all",
            ),
        ),
        unit="reqps",
        about="Without probes, scrapes and the daemon's own looks.",
        alerts=(
            "RiverkeepServingErrors",
            "RiverkeepServingOverloaded",
            "RiverkeepServingUnhealthy",
            "RiverkeepServingAbsent",
            "RiverkeepConnectionsTurnedAway",
        ),
    ),
    Show(
        "Latency",
        quantiles("riverkeep_serving_request_seconds", 'route=~"/v1/(.*completions|classify)"'),
        unit="s",
        about="From a request's arrival to the end of its answer: completions, chat and classification alone. "
        "Empty where nobody asked.",
    ),
    Show(
        "First token",
        quantiles("riverkeep_serving_first_token_seconds"),
        unit="s",
        about="From the queue to the first token. Empty where nobody asked.",
        alerts=("RiverkeepServingSlow",),
    ),
    Show(
        "Swaps in an hour",
        (
            (
                hourly("riverkeep_serving_swaps_total", "outcome"),
                "{{outcome}}",
            ),
        ),
        kind="bars",
        about="The load at the start of a serving process among them.",
        alerts=(
            "RiverkeepServingBehind",
            "RiverkeepServingReplaced",
            "RiverkeepGenerationDamaged",
        ),
    ),
    Show(
        "Duration of swaps",
        (
            (
                daily_mean("riverkeep_serving_swap_seconds", "phase"),
                "{{phase}}",
            ),
        ),
        unit="s",
        about="Mean of the swaps of a day.",
    ),
    Show(
        "Queue",
        (
            (
                of("riverkeep_serving_waiting"),
                "waiting at {{instance}}",
            ),
            (
                of("riverkeep_serving_active"),
                "being answered at {{instance}}",
            ),
        ),
        alerts=("RiverkeepServingOverloaded",),
    ),
    Show(
        "Time per output token",
        quantiles("riverkeep_serving_output_token_seconds"),
        unit="s",
        about="After the first, the mean of each answer. Empty where nobody asked.",
    ),
    Show(
        "Wait in the queue",
        quantiles("riverkeep_serving_queue_seconds"),
        unit="s",
        about="From the queue until a request is begun. Empty where nobody asked.",
    ),
    Show(
        "Tokens read and written",
        (
            (
                f"sum by (direction) (rate({of('riverkeep_serving_tokens_total')}[$__rate_interval]))",
                "{{direction}}",
            ),
        ),
        about="In a second, over all generations.",
    ),
    Show(
        "Length of prompts",
        quantiles("riverkeep_serving_prompt_tokens"),
        about="In tokens. Empty where nobody asked.",
    ),
    Show(
        "Cache of the builtin engine",
        (
            (
                of("riverkeep_serving_cache_ratio"),
                "generation {{generation}} at {{instance}}",
            ),
        ),
        unit="percentunit",
        about="Of what its keys and values may take: max_batch answers of the whole context. Other engines "
        "show their own.",
    ),
    Show(
        "Answers while a generation is watched, in an hour",
        (
            (
                f"sum by (role, outcome) (increase({of('riverkeep_serving_watched_answers_total')}[1h]))",
                "{{role}} {{outcome}}",
            ),
        ),
        about="That count in the comparison, by which of the two gave them: `riverkeep status` says how it stands.",
        alerts=(
            "RiverkeepCanaryTakenBack",
            "RiverkeepWatchNeverEnds",
        ),
    ),
    Show(
        "Feedback",
        (
            (
                of("riverkeep_memory_feedback"),
                "{{verdict}} of generation {{generation}} at {{instance}}",
            ),
        ),
        about="Answers of the latest generations by what people said of them. Empty before anybody did.",
    ),
    Show(
        "Requests by key",
        (
            (
                f"sum by (key, code) (rate({of('riverkeep_serving_key_requests_total')}[$__rate_interval]))",
                "{{key}} {{code}}",
            ),
        ),
        about="In a second, of answers and feedback: by the key's name and what the requests were answered with.",
    ),
    Show(
        "Tokens by key",
        (
            (
                f"sum by (key, direction) (rate({of('riverkeep_serving_key_tokens_total')}[$__rate_interval]))",
                "{{key}} {{direction}}",
            ),
        ),
        about="In a second, read and written.",
    ),
    Show(
        "Refused by a key's limit, in an hour",
        (
            (
                f"sum by (key, limit) (increase({of('riverkeep_serving_key_refusals_total')}[1h]))",
                "{{key}} {{limit}}",
            ),
        ),
        about="Requests beyond what a key may take: `riverkeep keys list` shows its limits.",
    ),
)
