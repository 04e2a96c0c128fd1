"""What the settings mean for single parts of the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.ledger import Retention
from agentd.core.state import Rules
from agentd.daemon.settings import process_environment
from agentd.workers.settings import WorkerSettings

if TYPE_CHECKING:
    from agentd.daemon.settings import Settings
    from resources_xml import Nodes


def worker_settings(settings: Settings, described: Nodes | None = None) -> WorkerSettings:
    """Say how users' code runs; `described` by project.xml and resources.xml, if they are given."""
    web = described.http_services if described is not None else ()
    return WorkerSettings(
        log_folder=settings.log_folder,
        interpreter=settings.python_interpreter,
        roots=tuple(map(str, settings.pythonpath)),
        allow=settings.allow,
        allow_binary=settings.allow_binary,
        services={name: one.base_url for one in web for name in one.services},
        hostname=settings.hostname,
        environ=process_environment(),
        pass_names=frozenset(settings.environment),
        memory_bytes=settings.worker_memory_mib << 20 if settings.worker_memory_mib else None,
        output_bytes=settings.output_mib << 20,
        pin_cpus=settings.pin_cpus,
    )


def rules(settings: Settings) -> Rules:
    """Say what the engine obeys."""
    return Rules(
        hop_limit=settings.hop_limit,
        lease_s=settings.lease_s,
        suspect_s=3 * settings.heartbeat_s,
        most_waiting=settings.queue_limit,
        most_waiting_bytes=settings.queue_mib << 20,
        unschedulable_after_s=settings.unschedulable_after,
        speed=settings.speed,
        retention=Retention(settings.keep_operations, settings.keep_s, settings.keep_mib << 20),
    )
