"""What is learned and what is forgotten."""

from typing import Final

from tests.docs.dashboards.queries import of
from tests.docs.dashboards.showing import Show

KNOWLEDGE: Final = (
    Show(
        "Forgetting",
        (
            (
                of("riverkeep_forgetting_nats"),
                "{{instance}}",
            ),
        ),
        kind="figure",
        about="Average over the slices trained past, nats per token (of a classifier per document). Positive is bad.",
        width=4,
        height=4,
        decimals=3,
        levels=(0.05, 0.1),
        alerts=("RiverkeepForgetting",),
    ),
    Show(
        "Plasticity",
        (
            (
                of("riverkeep_plasticity_nats"),
                "{{instance}}",
            ),
        ),
        kind="figure",
        about="Mean loss on each period right after it was learned, nats per token (of a classifier per "
        "document). Lower is better.",
        width=4,
        height=4,
        decimals=3,
        alerts=("RiverkeepLearnsLess",),
    ),
    Show(
        "Backward transfer",
        (
            (
                of("riverkeep_backward_transfer_nats"),
                "{{instance}}",
            ),
        ),
        kind="figure",
        about="What later rounds did to earlier slices. Positive is good.",
        width=4,
        height=4,
        decimals=3,
    ),
    Show(
        "Forward transfer",
        (
            (
                of("riverkeep_forward_transfer_nats"),
                "{{instance}}",
            ),
        ),
        kind="figure",
        about="What is known of a period before it is trained on, against the base model. Positive is good.",
        width=4,
        height=4,
        decimals=3,
    ),
    Show(
        "Serving generation",
        (
            (
                of("riverkeep_serving_generation"),
                "answers at {{instance}}",
            ),
            (
                of("riverkeep_ledger_generation"),
                "ledger of {{instance}}",
            ),
        ),
        kind="figure",
        about="Answers come from it (each serving process says so itself); beside it the one that should "
        "serve by the daemon's ledger. Unequal for longer than a swap takes: something is wrong.",
        width=4,
        height=4,
        alerts=(
            "RiverkeepServingBehind",
            "RiverkeepNotServing",
        ),
    ),
    Show(
        "Fresh text until a round",
        (
            (
                of("riverkeep_trigger_volume_ratio"),
                "{{instance}}",
            ),
        ),
        kind="figure",
        unit="percentunit",
        width=4,
        height=4,
        alerts=("RiverkeepRoundOverdue",),
    ),
    Show(
        "R: loss of each generation on each slice",
        (
            (
                of("riverkeep_slice_loss_nats"),
                "",
            ),
        ),
        kind="matrix",
        about="Rows are generations, columns slices; nats per token (of a classifier per document). A column "
        "that turns red downwards is being forgotten.",
        width=12,
        height=9,
        decimals=3,
        columns="slice",
    ),
    Show(
        "Forgetting, with its interval",
        (
            (
                of("riverkeep_forgetting_nats"),
                "forgetting {{instance}}",
            ),
            (
                of("riverkeep_forgetting_lower_nats"),
                "at least {{instance}}",
            ),
            (
                of("riverkeep_forgetting_upper_nats"),
                "at most {{instance}}",
            ),
        ),
        about="Nats per token (of a classifier per document), averaged over the slices trained past; above 0 "
        "is bad. It lies between the dashed limits with a confidence of 95 % each: only where the lower "
        "one is above 0 was something forgotten.",
        width=12,
        height=9,
        decimals=3,
        dashed=("at least .*", "at most .*"),
        alerts=("RiverkeepForgetting",),
    ),
    Show(
        "Flip rate",
        (
            (
                of("riverkeep_flip_rate"),
                "{{direction}} {{instance}}",
            ),
        ),
        unit="percentunit",
        about="Share of held-out documents that the latest candidate has better or worse than its parent: "
        "what averages hide.",
    ),
    Show(
        "New text, before and after it is learned",
        (
            (
                of("riverkeep_plasticity_nats"),
                "plasticity {{instance}}",
            ),
            (
                of("riverkeep_prequential_loss_nats"),
                "new text before training {{instance}}",
            ),
        ),
        about="Loss before training, and right after (plasticity): nats per token, of a classifier per "
        "document. Lower is better.",
    ),
    Show(
        "Loss by slice",
        (
            (
                f"min by (slice) ({of('riverkeep_slice_loss_nats')})",
                "{{slice}}",
            ),
        ),
        about="The best that a shown generation has on each slice, nats per token (of a classifier per document).",
    ),
)

CLASSIFIER: Final = (
    Show(
        "Accuracy of each generation on each slice",
        (
            (
                of("riverkeep_slice_accuracy_ratio"),
                "",
            ),
        ),
        kind="matrix",
        unit="percentunit",
        about="Share of a slice's documents that a generation has right. Rows are generations, columns slices.",
        width=12,
        decimals=1,
        columns="slice",
        good=True,
    ),
    Show(
        "Macro-F1 of each generation on each slice",
        (
            (
                of("riverkeep_slice_macro_f1_ratio"),
                "",
            ),
        ),
        kind="matrix",
        unit="percentunit",
        about="Each label weighs the same, however rare: where it is far below the accuracy, rare labels are "
        "being lost.",
        width=12,
        decimals=1,
        columns="slice",
        good=True,
    ),
    Show(
        "Labels to train on",
        (
            (
                ('sum by (label) (riverkeep_memory_labelled_samples{instance=~"$instance",role=~"fresh|replay"})'),
                "{{label}}",
            ),
        ),
        kind="stacked",
        about="Fresh and replayed samples by label. A label that dwindles here is forgotten next.",
        width=12,
    ),
    Show(
        "Labels held out",
        (
            (
                'sum by (label) (riverkeep_memory_labelled_samples{instance=~"$instance",role=~"holdout"})',
                "{{label}}",
            ),
        ),
        kind="stacked",
        about="What accuracy and macro-F1 are measured on: a label with a handful of documents gives no "
        "figure to rely on.",
        width=12,
    ),
)
