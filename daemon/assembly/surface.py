"""What the admin surface answers from, and how it begins to listen."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

from daemon.admin.app import create_app
from daemon.admin.listener import listening
from daemon.admin.token import Token, ensure_token
from daemon.assembly.launch import Launch, Shared
from daemon.assembly.loops import Loops
from daemon.assembly.parts import admin_part
from daemon.assembly.rooms import OpenedRooms
from daemon.comparisons.desk import ComparisonDesk
from daemon.comparisons.room import is_short
from daemon.control.audited import AuditedControl
from daemon.control.facts.settings_shown import settings_shown
from daemon.control.facts.status import refused_settings
from daemon.control.protocol import Control
from daemon.control.views import Views
from daemon.control.within_daemon import LiveControl
from daemon.page.app import with_page
from daemon.processes.comparison_process import ComparisonProcess
from memory.store import Store
from serving.door.descriptors import raise_limit


@dataclass(frozen=True, slots=True)
class AdminSurface:
    """The admin surface while it listens.

    Attributes:
        address: `http://host:port`.
        token: what it asks for, which a reload replaces.
    """

    address: str
    token: Token


def comparison_desk(launch: Launch, shared: Shared) -> ComparisonDesk:
    """Who lets two generations answer one prompt; nothing runs yet."""
    return ComparisonDesk(
        ComparisonProcess(
            environment=launch.child_environment(),
            nice=launch.settings.lifecycle.learner_nice,
            is_short=is_short,
        ),
        is_stopping=lambda: shared.shutdown.begun,
        ended=lambda ending: shared.metrics.comparisons.labels(ending).inc(),
        clock=launch.clock,
    )


def make_control(
    launch: Launch, shared: Shared, opened: OpenedRooms, loops: Loops, compared: ComparisonDesk
) -> LiveControl:
    """What a person or a script can ask of the running service."""
    serving = loops.serving
    views = Views(
        parts=shared.watchers.healths,
        patient=shared.patience.asked,
        ingest=loops.ingest,
        serving=None if serving is None else lambda: serving.status,
        serving_address=None if serving is None else serving.url,
        serving_metrics=str if serving is None else serving.metrics,
        serving_times=loops.times,
        next_round=lambda: loops.rounds.reason,
        problem=opened.problem,
        memory_trouble=lambda: opened.memory.trouble,
        need_restart=lambda: shared.settings.need_restart,
        settings_refused=lambda: refused_settings(shared.settings.refused),
        settings=lambda: settings_shown(shared.settings.now, launch.config_file, launch.environment, running=True),
        started_at=shared.started_at,
    )
    return LiveControl(
        launch.settings,
        opened.rooms.store,
        opened.rooms.checkpoints,
        views=views,
        asks=shared.asks,
        current=shared.current,
        promotion=shared.promotion,
        compared=compared,
    )


def open_surface(stack: ExitStack, launch: Launch, shared: Shared, control: LiveControl, store: Store) -> AdminSurface:
    """Let the admin surface listen until the stack is closed.

    Raises:
        DaemonError: there is no token, or the address cannot be bound.
    """
    settings = launch.settings
    token = Token(ensure_token(settings.admin, settings.state_dir))
    audited = cast("Control", AuditedControl(control, store))
    app = with_page(
        create_app(audited, shared.registry, token),
        audited,
        shared.registry,
        lambda: token.text,
        closing=lambda: shared.shutdown.begun,
    )
    raise_limit()
    admin = stack.enter_context(
        listening(app, settings.admin, registry=shared.registry, make_part=admin_part(settings.lifecycle))
    )
    shared.watchers.join(admin.parts)
    return AdminSurface(admin.address, token)
