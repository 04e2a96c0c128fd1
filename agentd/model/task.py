"""What is asked for: templates, and the outcomes that answer them."""

from __future__ import annotations

from enum import IntEnum
from operator import attrgetter

from msgspec import Struct

from agentd.model.values import NO_VALUE, Codec, Payload


class Form(IntEnum):
    """How a template names its function."""

    NAME = 0
    """`function` is `package.module:callable`, found on the agent's own path."""
    VALUE = 1
    """`code` is a cloudpickle of the callable; `function` is its name for people."""
    SCRIPT = 2
    """`code` is the source of a program to run as `__main__`; `function` is its file name."""
    CHUNK = 3
    """As VALUE or NAME, but the payload holds a list of argument tuples and the result a list of results."""
    TASK = 4
    """`function` is `module:qualname` of a decorated task, asked for by a running one; the payload is an encoded call.

    Where the module is `__main__`, `code` is the source of the program that it is made of.
    """
    DIRECT = 5
    """It calls nothing itself: it serves the calls of one session that come over the socket in its payload's one part.

    Made by the agent alone, for itself or for a neighbour; to that the payload brings the ticket of the connection.
    """
    INSTEAD = 6
    """As TASK, but nothing is called: it gives what on_failure=IGNORE gives. Made by the agent alone, for itself."""


class Spread(IntEnum):
    """Over which hosts the calls of a task go; where its family is, which knows its own host and the neighbours."""

    NONE = 0
    """Each goes where the scheduler says."""
    EACH = 1
    """One call runs once on each host that fits; what it makes is of the first of them that there is."""
    IN_TURN = 2
    """One call after the other goes to the next host that fits, round and round."""


class WantedProcessor(Struct, frozen=True, omit_defaults=True):
    """Units of one kind, all of one entry of the host, that have certain properties. None asks for nothing."""

    kind: str = "CPU"
    """CPU, GPU, FPGA or OTHER."""
    units: int = 1
    name: str | None = None
    architecture: str | None = None
    speed_ghz: float | None = None
    internal_memory_gb: float | None = None
    property_name: str | None = None
    property_value: str | None = None


class Constraints(Struct, frozen=True, omit_defaults=True):
    """What a call demands of the host that runs it, in the words of `@constraint`. None asks for nothing."""

    computing_units: int = 1
    """0: the task waits for disks and networks, and takes no core."""
    gpus: int = 0
    fpgas: int = 0
    others: int = 0
    memory_mib: int | None = None
    memory_type: str | None = None
    storage_gb: float | None = None
    storage_type: str | None = None
    storage_bandwidth: int | None = None
    processor_name: str | None = None
    processor_architecture: str | None = None
    processor_speed_ghz: float | None = None
    processor_internal_memory_gb: float | None = None
    processor_property_name: str | None = None
    processor_property_value: str | None = None
    processors: tuple[WantedProcessor, ...] = ()
    """Beside those above."""
    operating_system_type: str | None = None
    operating_system_distribution: str | None = None
    operating_system_version: str | None = None
    software: tuple[str, ...] = ()
    host_queues: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    is_local: bool = False


class Template(Struct, frozen=True, omit_defaults=True):
    """What all calls of one function under one set of options share.

    A caller declares it once and then refers to it by number, so that a call weighs its arguments only.
    """

    function: str
    form: Form = Form.NAME
    code: bytes = b""
    codec: Codec = Codec.PICKLE
    constraints: Constraints = Constraints()
    timeout_s: float | None = None
    max_attempts: int = 3
    idempotent: bool = True
    priority: int = 0
    on_failure: str = "FAIL"
    name: str = ""
    durable: bool = False
    wants_json: bool = False
    """The result is to be encoded for people too (`Codec.JSON`, `Codec.BOTH`) where it can be."""
    on_orphan: str = "STOP"
    """What becomes of it at an agent that has lost the one that gave it: STOP after a while, or KEEP running."""
    nodes: int = 1
    """How many nodes it takes at once, each of what `constraints` say, on the one host that is asked."""
    holds: bool = False
    """It calls nothing: it holds what it demands for a task of the agent that gave it, until it is stopped."""
    hosts: tuple[str, ...] = ()
    """Where its nodes are held, one name for each, the host that runs it first; empty: all of them on that host."""
    spread: Spread = Spread.NONE
    alternatives: tuple[Template, ...] = ()
    """Other ways to do the same (of `Form.TASK`), of which one is chosen where it is placed."""

    @property
    def is_line(self) -> bool:
        """Tell whether it serves a session over a connection: it is of use once, and while that connection is."""
        return self.form is Form.DIRECT

    @property
    def lasts(self) -> bool:
        """Tell whether it keeps its cores whatever it does: calls that come and go need not be out of its way."""
        return self.holds or self.form is Form.DIRECT

    @property
    def is_pickled(self) -> bool:
        """Tell whether it brings a pickled function along, which only the same minor version of Python can read."""
        return self.code_bytes > 0 and self.form is not Form.SCRIPT

    @property
    def code_bytes(self) -> int:
        """How many bytes of code it brings along, its alternatives with it."""
        size = len(self.code)
        return size + sum([len(one.code) for one in self.alternatives]) if self.alternatives else size


class Status(IntEnum):
    """How a task ended."""

    DONE = 0
    FAILED = 1
    CANCELLED = 2
    LOST_UNKNOWN = 3
    QUARANTINED = 4


class Reason(IntEnum):
    """Why a task failed, told apart."""

    NONE = 0
    EXCEPTION = 1
    """Users' code raised; there is a traceback."""
    EXIT = 2
    """The process ended itself with an exit code."""
    SIGNAL = 3
    """A signal ended the process."""
    OUT_OF_MEMORY = 4
    TIMED_OUT = 5
    NOT_CALLABLE = 6
    """The function is not there, or may not be called."""
    NOT_DECODABLE = 7
    """The arguments could not be read in the worker."""
    NOT_ENCODABLE = 8
    """The result could not be written in the worker."""
    UNSCHEDULABLE = 9
    """No host fitted for longer than the operator allows."""
    GROUP_EXCEPTION = 10
    """Users' code raised what ends its group of tasks: the task itself is done, with all that it made."""


class Failure(Struct, frozen=True, array_like=True, gc=False):
    """What a user is told of a failure."""

    reason: int
    type: str
    message: str
    traceback: str = ""
    agent: str = ""
    attempt: int = 0
    exception: bytes = b""
    """The pickled exception, where it could be pickled; read by the caller's process only."""


_PARTS = attrgetter("parts")


class Outcome(Struct, frozen=True, array_like=True, gc=False):
    """How one task ended: exactly one of a value and a failure, with what it took."""

    status: int = Status.DONE
    value: Payload = NO_VALUE
    failure: Failure | None = None
    seconds: float = 0.0
    agent: str = ""
    hops: int = 0
    attempts: int = 1
    made: tuple[Payload, ...] = ()
    """The values of the versions that it makes, in order, where another task asked for it."""
    output_bytes: int = 0
    """How much users' code wrote to stdout and stderr, where another task asked for it."""

    @property
    def values(self) -> tuple[Payload, ...]:
        """All values that came of it."""
        return (self.value, *self.made) if self.made else (self.value,)

    @property
    def has_parts(self) -> bool:
        """Tell whether any of them is more than a few bytes inline."""
        return bool(self.value.parts) or (bool(self.made) and any(map(_PARTS, self.made)))
