"""The messages, one Struct per kind of frame, as arrays of fields.

Law: fields are only ever appended, each with a default; so an older reader ignores what it does not know, and a newer
one finds a default where an older writer said nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from agentd.model.exchange import End, Offer, Refusal, Report, Settled, Submission
from agentd.model.task import Template
from agentd.wire.framing import Buffer
from schedulers.capacity import Capacity

MAX_ITEMS = 65_536
"""Items of one batch: a frame cannot make its reader build more objects than this (chosen: as the default credit)."""
MAX_TEMPLATES = 4_096
"""Templates told in one message (chosen: as many shapes as are remembered)."""

Text = Annotated[str, Meta(max_length=256)]
"""A name, an address, an identifier."""
Reason = Annotated[str, Meta(max_length=4_096)]
"""A sentence for people."""
ObjectKey = tuple[Text, Text, int]
"""An object: its home, the home's boot, its number."""
Attempt = tuple[int, int]
"""(task, attempt number)."""
Attempts = Annotated[tuple[Attempt, ...], Meta(max_length=MAX_ITEMS)]
Facts = Annotated[dict[Text, bool | int | Text], Meta(max_length=256)]


class Kind(IntEnum):
    """What a frame holds: the number in its header."""

    HELLO = 1
    HELLO_ACK = 2
    GOODBYE = 3
    HEARTBEAT = 4
    CREDIT = 5
    DECLARE = 16
    SUBMIT = 17
    SETTLED = 18
    CANCEL_CALLS = 19
    OFFER = 32
    ANSWER = 33
    ENDED = 34
    ENDED_ACK = 35
    CANCEL_TASKS = 36
    LOAD = 37
    RESOURCE = 38
    INVENTORY = 39
    DRAIN = 40
    STOP = 41
    STOP_ANSWER = 42
    LINE_OPEN = 43
    LINE_ANSWER = 44
    OFFER_LOT = 45
    ACCEPT_LOT = 46
    ENDED_LOT = 47
    DATA_REQUEST = 48
    DATA_CHUNK = 49
    DATA_RELEASE = 50
    DATA_HELD = 53
    ENDED_LOT_ACK = 54
    OUTPUT_REQUEST = 51
    OUTPUT = 52
    SEGMENT = 64
    SEGMENT_FREE = 65
    SEGMENT_RELEASE = 66
    DIRECT_LINE = 67
    LINE_GIVEN = 68
    ANNOUNCE = 69


class Message(Struct, frozen=True, array_like=True, gc=False):
    """Root of all messages."""

    kind: ClassVar[Kind]


# --- the connection ---------------------------------------------------------------------------------------------


class Hello(Message, frozen=True):
    """Who dials, and what it wants to be: the first frame of a connection."""

    kind: ClassVar[Kind] = Kind.HELLO
    protocol_min: int = 1
    protocol_max: int = 1
    role: Text = "user"
    """`peer` for an agent, `user` for a program that submits, `guest` for an agent that comes with an invitation."""
    agent_id: Text = ""
    name: Text = ""
    boot: Text = ""
    """New at each start of the agent: tells a crash from a cut."""
    epoch: int = 0
    python: tuple[int, int] = (0, 0)
    libraries: Annotated[dict[Text, Text], Meta(max_length=256)] = {}
    capabilities: Facts = {}
    """`lends`: true, you may offer to me. `data`, `lines`, `output`, `segments`, `stop`: I answer such requests.
    `lots`: I understand messages about lots of tasks.
    `user_port`: number of the port for users. `session`: of a user, which comes back under it after a cut."""
    address: Text = ""
    """`host:port` at which the dialling agent listens; empty for none."""
    token: Annotated[str, Meta(max_length=1_024)] = ""
    """A user's bearer token, where being of the same user on the same device does not suffice."""
    credits: int = 0
    """Offers that the dialling peer lets the other end have unanswered."""
    secret: Annotated[bytes, Meta(max_length=64)] = b""
    """A guest's invitation; over TLS only, after the other end's certificate was found to be the right one."""
    certificate: Annotated[bytes, Meta(max_length=4_096)] = b""
    """A guest's certificate (DER), by which it will be known."""


class HelloAck(Message, frozen=True):
    """The answer to HELLO: welcome, or why not."""

    kind: ClassVar[Kind] = Kind.HELLO_ACK
    ok: bool = False
    version: int = 0
    agent_id: Text = ""
    name: Text = ""
    boot: Text = ""
    epoch: int = 0
    code: Text = ""
    """Why not, for programs: `version`, `role`, `identity`, `forbidden`, `clash`, `linked`, `full`, `draining`."""
    reason: Reason = ""
    """Why not, for people."""
    remedy: Reason = ""
    """What to do about it."""
    scope: Text = ""
    """What a user may do: `read`, `submit`, `code`, `admin`; `peer` for an agent, also for one that was a guest."""
    heartbeat_s: float = 1.0
    """Both ends send something at least this often."""
    lease_s: float = 5.0
    """Silence after which an end is taken for lost."""
    credits: int = 0
    """Calls (user) or offers (peer) that the dialling end may have unsettled or unanswered."""
    python: tuple[int, int] = (0, 0)
    libraries: Annotated[dict[Text, Text], Meta(max_length=256)] = {}
    capabilities: Facts = {}
    address: Text = ""


class Goodbye(Message, frozen=True):
    """The last frame: the sender closes, and why."""

    kind: ClassVar[Kind] = Kind.GOODBYE
    code: Text = ""
    reason: Reason = ""


class Heartbeat(Message, frozen=True):
    """A sign of life, and the echo of the other end's last one; times are the sender's own, in seconds."""

    kind: ClassVar[Kind] = Kind.HEARTBEAT
    sequence: int = 0
    sent_s: float = 0.0
    echo_sequence: int = 0
    """Sequence number of the last heartbeat received; 0 for none."""
    echo_sent_s: float = 0.0
    """Its `sent_s`, as it was."""
    held_s: float = 0.0
    """How long it has been here."""


class Credit(Message, frozen=True):
    """The sender of this takes so many calls or offers more, unsettled or unanswered, than before."""

    kind: ClassVar[Kind] = Kind.CREDIT
    grant: int = 0


# --- users ------------------------------------------------------------------------------------------------------


class Declare(Message, frozen=True):
    """Calls, or offers, will name these templates by these numbers on this connection."""

    kind: ClassVar[Kind] = Kind.DECLARE
    templates: Annotated[tuple[tuple[int, Template], ...], Meta(max_length=MAX_TEMPLATES)] = ()


class Submit(Message, frozen=True):
    """A user asks for calls."""

    kind: ClassVar[Kind] = Kind.SUBMIT
    calls: Annotated[list[Submission], Meta(max_length=MAX_ITEMS)] = []


class SettledCalls(Message, frozen=True):
    """How calls of this user ended: each exactly once."""

    kind: ClassVar[Kind] = Kind.SETTLED
    settled: Annotated[list[Settled], Meta(max_length=MAX_ITEMS)] = []


class CancelCalls(Message, frozen=True):
    """A user gives up these calls; each is still settled."""

    kind: ClassVar[Kind] = Kind.CANCEL_CALLS
    refs: Annotated[tuple[int, ...], Meta(max_length=MAX_ITEMS)] = ()


# --- peers ------------------------------------------------------------------------------------------------------


class Offers(Message, frozen=True):
    """An agent asks its neighbour to run tasks."""

    kind: ClassVar[Kind] = Kind.OFFER
    offers: Annotated[list[Offer], Meta(max_length=MAX_ITEMS)] = []


class Answers(Message, frozen=True):
    """The answer to offers: each exactly once, accepted or refused."""

    kind: ClassVar[Kind] = Kind.ANSWER
    accepted: Annotated[tuple[tuple[int, int, int], ...], Meta(max_length=MAX_ITEMS)] = ()
    """(task, attempt, lease epoch of the holder)."""
    refused: Annotated[tuple[Refusal, ...], Meta(max_length=MAX_ITEMS)] = ()
    returned: Annotated[tuple[Refusal, ...], Meta(max_length=MAX_ITEMS)] = ()
    """Given back unstarted after they had been accepted: no answers, so they give no credit back."""


class Ends(Message, frozen=True):
    """How tasks ended that the sender holds; repeated over the next connection until acknowledged."""

    kind: ClassVar[Kind] = Kind.ENDED
    ends: Annotated[list[End], Meta(max_length=MAX_ITEMS)] = []


class EndsAck(Message, frozen=True):
    """These ends are recorded: the holder may forget the tasks."""

    kind: ClassVar[Kind] = Kind.ENDED_ACK
    tasks: Attempts = ()


class CancelTasks(Message, frozen=True):
    """The sender does not want these tasks any more."""

    kind: ClassVar[Kind] = Kind.CANCEL_TASKS
    tasks: Attempts = ()


class Load(Message, frozen=True):
    """How the sender stands."""

    kind: ClassVar[Kind] = Kind.LOAD
    report: Report = Report()


class ResourceChange(Message, frozen=True):
    """A peer says that what it grants changed, or a user of scope admin reshapes the agent's pool; not answered."""

    kind: ClassVar[Kind] = Kind.RESOURCE
    change: Text = ""
    """`added`, `reduced`, `removed`, and of a user also `lost`."""
    name: Text = ""
    """A host of the pool; a peer gives its own name, or none."""
    capacity: Capacity = Capacity()
    adaptor: Text = ""
    """By which a new host is reached."""
    properties: Annotated[dict[Text, Annotated[str, Meta(max_length=4_096)]], Meta(max_length=64)] = {}


class Inventory(Message, frozen=True):
    """What the sender holds of the other end's tasks; the first message of both after a connection is open again."""

    kind: ClassVar[Kind] = Kind.INVENTORY
    held: Attempts = ()
    """Waiting or running."""
    finished: Attempts = ()
    """Ended, and the end is not acknowledged."""
    is_complete: bool = True
    """Nothing follows; false where another INVENTORY does."""


class Drain(Message, frozen=True):
    """The sender takes no new work and will leave."""

    kind: ClassVar[Kind] = Kind.DRAIN
    grace_s: float = 0.0
    reason: Reason = ""


class StopRequest(Message, frozen=True):
    """Stop, as somebody asked of the sender: sent only to who says `stop` in its capabilities."""

    kind: ClassVar[Kind] = Kind.STOP
    number: int = 0
    """The asker's, for the answer."""
    reason: Reason = ""


class StopAnswer(Message, frozen=True):
    """The answer to STOP."""

    kind: ClassVar[Kind] = Kind.STOP_ANSWER
    number: int = 0
    objection: Reason = ""
    """Why it does not stop; empty when it does."""


# --- data and output --------------------------------------------------------------------------------------------


class DataRequest(Message, frozen=True):
    """Send me this range of an object, in chunks."""

    kind: ClassVar[Kind] = Kind.DATA_REQUEST
    object: int = 0
    offset: int = 0
    size: int = 0
    """How many bytes; 0 for all that follow `offset`."""
    home: Text = ""
    """Agent that gave the object its number."""
    boot: Text = ""
    """Of the home, when it did."""
    stream: int = 0
    """The asker's number for this transfer: the same in all its requests on this connection, and in the chunks."""
    hops: int = 0
    """Agents that have passed the request on."""


class DataChunk(Message, frozen=True):
    """A piece of an object; its bytes travel as the frame's raw buffer."""

    kind: ClassVar[Kind] = Kind.DATA_CHUNK
    object: int = 0
    offset: int = 0
    size: int = 0
    """Size of the whole object in bytes."""
    hash: Annotated[bytes, Meta(max_length=64)] = b""
    """Of this chunk's bytes: the tag of AES-128-GCM, see the protocol's page."""
    error: Reason = ""
    """Why there is none. Ends the stream."""
    data: memoryview = memoryview(b"")
    """Empty in the body: it is the raw buffer."""
    stream: int = 0
    """That of the request."""
    gone: bool = False
    """With an error: whoever was asked does not have the object, and will not."""
    raw: Annotated[tuple[Any, ...], Meta(max_length=0)] = ()
    """Always empty on the wire. Where a chunk was received: the pieces that its data came in, in order."""

    @property
    def pieces(self) -> Sequence[Buffer]:
        """The bytes of the chunk, in order, as they came."""
        return self.raw or (self.data,)


class DataRelease(Message, frozen=True):
    """The sender does not need these objects any more."""

    kind: ClassVar[Kind] = Kind.DATA_RELEASE
    objects: Annotated[tuple[tuple[ObjectKey, int], ...], Meta(max_length=MAX_ITEMS)] = ()
    """With each: how many ENDED over this connection named it, not counting those that were released before."""


class DataHeld(Message, frozen=True):
    """Over a new connection: what the sender still needs of all that ENDED over earlier ones named."""

    kind: ClassVar[Kind] = Kind.DATA_HELD
    objects: Annotated[tuple[ObjectKey, ...], Meta(max_length=MAX_ITEMS)] = ()
    last: bool = True
    """Nothing follows: what was not named is not needed."""


class OutputRequest(Message, frozen=True):
    """Send me what users' code of this task wrote."""

    kind: ClassVar[Kind] = Kind.OUTPUT_REQUEST
    task: int = 0
    stream: int = 1
    """1 stdout, 2 stderr."""
    offset: int = 0
    limit: int = 65_536
    """At most so many bytes."""


class Output(Message, frozen=True):
    """A piece of what a task wrote."""

    kind: ClassVar[Kind] = Kind.OUTPUT
    task: int = 0
    stream: int = 1
    offset: int = 0
    data: bytes = b""
    ended: bool = False
    """Nothing will follow."""


# --- shared memory of one device --------------------------------------------------------------------------------


class Segment(Message, frozen=True):
    """The sender shares memory: its descriptor travels with this frame (SCM_RIGHTS), on the Unix socket only."""

    kind: ClassVar[Kind] = Kind.SEGMENT
    number: int = 0
    """By which `Part.segment` names it on this connection; positive, the maker's choice."""
    size: int = 0


class SegmentFree(Message, frozen=True):
    """The maker gives these up: unmap them."""

    kind: ClassVar[Kind] = Kind.SEGMENT_FREE
    segments: Annotated[tuple[int, ...], Meta(max_length=MAX_ITEMS)] = ()


class SegmentRelease(Message, frozen=True):
    """The reader has let go of everything in these: their maker may use them again."""

    kind: ClassVar[Kind] = Kind.SEGMENT_RELEASE
    segments: Annotated[tuple[int, ...], Meta(max_length=MAX_ITEMS)] = ()


class DirectLine(Message, frozen=True):
    """The sender wants to call a worker directly for a while: an end of its socket travels with this frame.

    Counts as a call, and is settled as one when the line is over. Sent only to who says `direct` in its capabilities.
    """

    kind: ClassVar[Kind] = Kind.DIRECT_LINE
    ref: int = 0
    """The sender's number for it, among those of its calls."""
    name: Text = ""
    """What it is for, for people."""
    priority: int = 0
    at: Text = ""
    """The neighbour whose worker is meant. Then no descriptor travels with this: the agent gives one, with LINE_GIVEN.
    Said only to who says `lines` in its capabilities."""
