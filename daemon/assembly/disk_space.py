"""What `/metrics` shows of the disks that a service writes to; read when Prometheus asks."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from daemon.settings.tree import Settings


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """A file system.

    Attributes:
        directory: which of ours lies on it: `state`, or another that does not share the state's.
        free_bytes: for who is not root.
        total_bytes: of all of it.
    """

    directory: str
    free_bytes: int
    total_bytes: int


def disks_of(settings: Settings) -> Iterator[DiskSpace]:
    """The state directory's, and those of generations and of rounds where these are mounted from elsewhere.

    What cannot be asked, as it is not there yet, is left out.
    """
    seen: set[int] = set()
    places = {"state": settings.state_dir, "checkpoints": settings.checkpoints_dir, "rounds": settings.rounds_dir}
    for name, place in places.items():
        try:
            device, space = place.stat().st_dev, os.statvfs(place)
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            yield DiskSpace(name, space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize)


class DiskSpaces(Collector):
    """Shows the disks of these settings' directories at each scrape."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> Iterable[Metric]:
        """Nothing: the directories are not there before the service is put together."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The gauges, as things are now."""
        free = GaugeMetricFamily(
            "riverkeep_disk_free_bytes",
            "Room that is left on the disk of the state directory; of `checkpoints` and of `rounds` where these are "
            "on others.",
            labels=["directory"],
        )
        size = GaugeMetricFamily("riverkeep_disk_size_bytes", "All of such a disk.", labels=["directory"])
        for disk in disks_of(self._settings):
            free.add_metric([disk.directory], disk.free_bytes)
            size.add_metric([disk.directory], disk.total_bytes)
        yield from (free, size)
