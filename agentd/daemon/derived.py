"""What the settings mean for single parts of the daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentd.comm.settings import CommSettings
from agentd.core.journal.ledger import Retention
from agentd.core.state import Rules
from agentd.daemon.confinement import OFF, confinement
from agentd.daemon.data.arrivals import Arrivals
from agentd.daemon.data.serving import Serving
from agentd.daemon.data.transfers import Transfers
from agentd.daemon.data.windows import Windows
from agentd.daemon.machine import machine_memory_mib
from agentd.daemon.settings import process_environment
from agentd.workers.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.comm.door import Door
    from agentd.core.engine import Engine
    from agentd.core.events import Event
    from agentd.daemon.data.sharing import Sharing
    from agentd.daemon.settings import Settings
    from agentd.daemon.survival import Store
    from agentd.daemon.users.agent import Agent
    from agentd.store.disk import Disk
    from resources_xml import Nodes

    Post = Callable[[Event], None]


def worker_settings(settings: Settings, described: Nodes | None = None) -> WorkerSettings:
    """Say how users' code runs; `described` by project.xml and resources.xml, if they are given."""
    web = described.http_services if described is not None else ()
    confined = confinement(settings)
    store = [settings.storage_impl] if os.sep in settings.storage_impl else []
    return WorkerSettings(
        log_folder=settings.log_folder,
        interpreter=settings.python_interpreter,
        roots=(*map(str, settings.pythonpath), *store),
        allow=settings.allow,
        allow_binary=settings.allow_binary,
        storage=(settings.storage_impl, str(settings.storage_conf or "")),
        services={name: one.base_url for one in web for name in one.services},
        secret="" if confined.mode == OFF else str(settings.state),
        shown=confined.shown,
        confine=confined.mode,
        hostname=settings.hostname,
        environ=process_environment(),
        variables={"AGENTD_STATE": str(settings.state)},  # whose worker it is: users' code that asks, asks that agent
        pass_names=frozenset(settings.environment),
        memory_bytes=settings.worker_memory_mib << 20 if settings.worker_memory_mib else None,
        output_bytes=settings.output_mib << 20,
        pin_cpus=settings.pin_cpus,
    )


def comm_settings(settings: Settings) -> CommSettings:
    """Say how links to other agents are kept."""
    return CommSettings(
        heartbeat_s=settings.heartbeat_s,
        lost_beats=settings.lease_s / settings.heartbeat_s,
        overflow_folder=settings.state,
    )


def rules(settings: Settings) -> Rules:
    """Say what the engine obeys."""
    return Rules(
        hop_limit=settings.hop_limit,
        lease_s=settings.lease_s,
        suspect_s=3 * settings.heartbeat_s,
        most_waiting=settings.queue_limit,
        most_waiting_bytes=settings.queue_mib << 20,
        orphan_ttl_s=settings.orphan_ttl_s,
        unschedulable_after_s=settings.unschedulable_after,
        speed=settings.speed,
        refer_bytes=settings.refer_kib << 10,
        fair_share=settings.fair_share,
        reuse_on_block=settings.reuse_resources_on_block,
        spares=settings.spare_workers,
        retention=Retention(settings.keep_operations, settings.keep_s, settings.keep_mib << 20),
    )


def transfers_of(
    settings: Settings, engine: Engine, agent: Agent, door: Door, sharing: Sharing, store: Store, disk: Disk, post: Post
) -> Transfers:
    """Make what moves objects: those that come fill shared memory up to its limit, then the disk of the state."""
    chosen = settings.shared_memory_mib
    memory_bytes = (machine_memory_mib() // 4 if chosen is None else chosen) << 20
    windows = Windows(sharing.segments)
    arrivals = Arrivals(sharing.segments, disk, settings.state / "objects", memory_bytes, windows)
    serving = Serving(engine.state, door, sharing.segments, store.objects, sharing.loans, windows)
    return Transfers(door, serving, arrivals, post, agent.feed.publish, store.clock.now, sharing.returns)
