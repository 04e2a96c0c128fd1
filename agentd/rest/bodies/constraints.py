"""What a call may demand of its host, as JSON: what the OpenAPI shows of it, and bounds that other requests share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Units = Annotated[int, Field(strict=True, ge=0, le=1 << 20)]
Amount = Annotated[int, Field(strict=True, ge=0, le=1 << 53)]
Size = Annotated[float, Field(strict=True, ge=0, le=1e15)]
Word = Annotated[str, Field(min_length=1, max_length=256)]
Words = Annotated[list[Word], Field(max_length=64)]
Flag = Annotated[bool, Field(strict=True)]


class ProcessorWanted(BaseModel):
    """Units of one kind, all of one entry of the host, that have certain properties; null asks for nothing."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["CPU", "GPU", "FPGA", "OTHER"] = "CPU"
    units: Annotated[int, Field(strict=True, ge=1, le=1 << 20)] = 1
    name: Word | None = None
    architecture: Word | None = None
    speed_ghz: Size | None = None
    internal_memory_gb: Size | None = None
    property_name: Word | None = None
    property_value: Word | None = None


class Constraints(BaseModel):
    """What the call demands of the host that runs it, in the words of `@constraint`; null asks for nothing."""

    model_config = ConfigDict(extra="forbid")

    computing_units: Annotated[Units, Field(description="CPU cores; 0 for what only waits for disks or networks.")] = 1
    gpus: Units = 0
    fpgas: Units = 0
    others: Units = 0
    memory_mib: Amount | None = None
    memory_type: Word | None = None
    storage_gb: Size | None = None
    storage_type: Word | None = None
    storage_bandwidth: Amount | None = None
    processor_name: Word | None = None
    processor_architecture: Word | None = None
    processor_speed_ghz: Size | None = None
    processor_internal_memory_gb: Size | None = None
    processor_property_name: Word | None = None
    processor_property_value: Word | None = None
    processors: Annotated[list[ProcessorWanted], Field(max_length=64, description="Beside those above.")] = []
    operating_system_type: Word | None = None
    operating_system_distribution: Word | None = None
    operating_system_version: Word | None = None
    software: Words = []
    host_queues: Words = []
    labels: Words = []
    is_local: Annotated[Flag, Field(description="Run on the agent that is asked, nowhere else.")] = False
