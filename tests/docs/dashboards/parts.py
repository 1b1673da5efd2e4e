"""The service's parts, and what they take."""

from typing import Final

from tests.docs.dashboards.queries import of
from tests.docs.dashboards.showing import Show

PARTS: Final = (
    Show(
        "Parts",
        (
            (
                (
                    'max by (instance, part) (riverkeep_part_state{instance=~"$instance",state="broken"} * 2 + '
                    'ignoring (state) riverkeep_part_state{instance=~"$instance",state="stuck"} + ignoring '
                    '(state) riverkeep_part_state{instance=~"$instance",state="waiting"} * 3)'
                ),
                "{{part}} {{instance}}",
            ),
        ),
        kind="states",
        about="0 well, 1 stuck, 2 broken, 3 waits for something else: the broker, partitions, a person's word.",
        width=12,
        alerts=(
            "RiverkeepPartBroken",
            "RiverkeepMemoryUnusable",
            "RiverkeepDown",
            "RiverkeepAbsent",
            "RiverkeepDaemonAbsent",
        ),
    ),
    Show(
        "Generations on disk",
        (
            (
                of("riverkeep_checkpoints_bytes"),
                "{{instance}}",
            ),
        ),
        unit="bytes",
        width=6,
    ),
    Show(
        "Room on the disks",
        (
            (
                f"{of('riverkeep_disk_free_bytes')} / {of('riverkeep_disk_size_bytes')}",
                "{{directory}} of {{instance}}",
            ),
        ),
        unit="percentunit",
        about="What is free of the state directory's disk, and of those of generations and rounds if others. "
        "On a full disk reading and rounds wait, and answers go on.",
        width=6,
        alerts=("RiverkeepDiskLow",),
    ),
    Show(
        "Memory of the processes",
        (
            (
                of("process_resident_memory_bytes"),
                "{{job}} at {{instance}}",
            ),
            (
                of("riverkeep_learner_resident_bytes"),
                "learner of {{instance}}",
            ),
            (
                of("riverkeep_training_memory_bytes"),
                "largest of a learner of {{instance}}",
            ),
        ),
        unit="bytes",
        about="Daemon and serving, the learner while a round runs, and the most that the latest learner took: "
        "of its GPU where it has one, else of main memory.",
        width=6,
    ),
)
