"""Rounds, and what the gate says of them."""

from typing import Final

from tests.docs.dashboards.queries import daily_mean, hourly, of
from tests.docs.dashboards.showing import Show

ROUNDS: Final = (
    Show(
        "Verdicts of the gate in an hour",
        (
            (
                hourly("riverkeep_gate_verdicts_total", "verdict"),
                "{{verdict}}",
            ),
            (
                hourly("riverkeep_canaries_total", "outcome"),
                "in traffic: {{outcome}}",
            ),
        ),
        kind="stacked bars",
        about="Dry runs do not count.",
        alerts=(
            "RiverkeepRefusedInARow",
            "RiverkeepNothingAccepted",
        ),
    ),
    Show(
        "Rounds that ended in an hour, by outcome",
        (
            (
                hourly("riverkeep_rounds_total", "outcome"),
                "{{outcome}}",
            ),
        ),
        kind="stacked bars",
        alerts=("RiverkeepRoundsFail",),
    ),
    Show(
        "Duration of rounds",
        (
            (
                daily_mean("riverkeep_round_seconds", "phase"),
                "{{phase}}",
            ),
        ),
        unit="s",
        about="Mean of the rounds of a day: of the draw, the learner, judging with what follows, and in all. "
        "Empty where none ended.",
    ),
    Show(
        "Rounds that wait for a person",
        (
            (
                of("riverkeep_memory_rounds", 'state="waiting"'),
                "{{instance}}",
            ),
            (
                of("riverkeep_rounds_paused"),
                "{{instance}} paused",
            ),
        ),
        kind="steps",
        about="Held back because their text is unlike earlier text; and 1 while a person has paused rounds.",
        alerts=("RiverkeepRoundWaits",),
    ),
    Show(
        "Loss terms",
        (
            (
                of("riverkeep_training_loss_nats"),
                "{{term}} {{instance}}",
            ),
        ),
        about="Of the latest training steps, nats per token (of a classifier per document).",
    ),
    Show(
        "Training speed",
        (
            (
                of("riverkeep_training_tokens_per_second"),
                "tokens/s of {{instance}}",
            ),
        ),
    ),
    Show(
        "Progress of the round",
        (
            (
                ('riverkeep_round_step{instance=~"$instance"} / (riverkeep_round_steps{instance=~"$instance"} > 0)'),
                "{{instance}}",
            ),
        ),
        unit="percentunit",
    ),
    Show(
        "Fresh text: its loss before training",
        (
            (
                of("riverkeep_plausibility_figure", 'measure!="repetitive_share"'),
                "{{measure}} {{instance}}",
            ),
            (
                of("riverkeep_plausibility_bound", 'measure!="repetitive_share"'),
                "{{measure}} bound {{instance}}",
            ),
        ),
        kind="steps",
        about="Mean and upper decile over the documents of the latest judged round, nats per token (of a "
        "classifier per document). Above its bound the round waits for a person.",
    ),
    Show(
        "Fresh text: repetitive documents",
        (
            (
                of("riverkeep_plausibility_figure", 'measure="repetitive_share"'),
                "{{measure}} {{instance}}",
            ),
            (
                of("riverkeep_plausibility_bound", 'measure="repetitive_share"'),
                "{{measure}} bound {{instance}}",
            ),
        ),
        kind="steps",
        unit="percentunit",
        about="Share of the latest judged round's documents that repeat themselves. Above the bound the round "
        "waits for a person.",
    ),
    Show(
        "Judged again in an hour, by outcome",
        (
            (
                hourly("riverkeep_judged_again_total", "outcome"),
                "{{outcome}}",
            ),
        ),
        about="What an earlier round trained and could not prove, judged again on more text.",
    ),
    Show(
        "What could not be proven",
        (
            (
                of("riverkeep_unproven_rounds"),
                "unproven in a row {{instance}}",
            ),
            (
                of("riverkeep_bounds_not_held"),
                "bounds not held {{instance}}",
            ),
        ),
        kind="steps",
        about="Latest rounds in a row that were refused for want of evidence alone; slices on which the "
        "latest candidate could not be held to the best generation so far.",
        alerts=(
            "RiverkeepEvidenceShort",
            "RiverkeepBoundsNotHeld",
        ),
    ),
    Show(
        "Micro-batch that memory leaves",
        (
            (
                of("riverkeep_micro_batch_ratio"),
                "{{instance}}",
            ),
        ),
        unit="percentunit",
        about="Of the one that is set; below 100 % rounds are tried with a smaller one, as riverkeep status explains.",
        least=0,
        most=1,
    ),
    Show(
        "Rounds that saved themselves and went on, in an hour",
        (
            (
                hourly("riverkeep_round_saves_total", "outcome"),
                "{{outcome}}",
            ),
            (
                hourly("riverkeep_rounds_gone_on_total", "instance"),
                "went on {{instance}}",
            ),
        ),
        about="How often a round under way saved itself, and how often one went on from there after its "
        "learner was killed or the service ended. Saves that fail mean a full disk: a round that is "
        "then cut off begins anew.",
    ),
    Show(
        "Skills: prompts answered rightly",
        (
            (
                of("riverkeep_skill_right_ratio"),
                "",
            ),
        ),
        kind="matrix",
        unit="percentunit",
        about="Share of a skill's prompts that a generation answers rightly. Rows are generations, columns "
        "skills. Without skills in the settings it is empty.",
        width=16,
        decimals=1,
        columns="skill",
        good=True,
    ),
)
