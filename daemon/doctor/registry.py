"""Whether the schema registry can be reached with these settings, and answers as one."""

from daemon.doctor.findings import Finding
from streams.errors import RegistryAway
from streams.registry.client import SchemaRegistry
from streams.registry_settings import SchemaRegistrySettings


def examine(settings: SchemaRegistrySettings) -> list[Finding]:
    """Ask the registry for something that every one has; nothing where none is named."""
    if settings.url is None:
        return []
    with SchemaRegistry(settings, logs=False) as registry:
        try:
            registry.check()
        except RegistryAway as away:
            remedy = "Check `streams.schema_registry`: until it answers, records with schemas not yet known wait."
            return [Finding("schema registry", ok=False, detail=str(away), remedy=remedy)]
    return [Finding("schema registry", ok=True, detail=f"{settings.url} answers")]
