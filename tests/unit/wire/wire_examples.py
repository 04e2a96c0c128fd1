"""One example message of each kind, with all fields set; run as a program it writes them as golden vectors."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import msgspec

from agentd.model.exchange import End, EndedLot, Lot, Offer, Refusal, Report, Settled, Submission
from agentd.model.task import Constraints, Failure, Form, Outcome, Reason, Status, Template
from agentd.model.values import Codec, Part, Payload
from agentd.wire import line_messages as lm
from agentd.wire import lot_messages as lots
from agentd.wire import messages as m
from agentd.wire.codec import encode
from agentd.wire.framing import MAX_FRAME_BYTES
from schedulers.capacity import Capacity, Kind, Processor
from schedulers.view import Tier

VECTORS = Path(__file__).parents[2] / "vectors" / "comm"

LARGE = bytes(range(256)) * 20
"""5,120 bytes: above what stays in the body."""
PAYLOAD = Payload(Codec.PICKLE, b"\x80\x05N.", (Part(3, b"abc"), Part(len(LARGE), LARGE)))
CAPACITY = Capacity(
    processors=(
        Processor(units=4, architecture="aarch64", speed_ghz=2.5),
        Processor(units=1, kind=Kind.GPU, name="Tiny", internal_memory_gb=2.0),
    ),
    memory_mib=4096,
    os_type="Linux",
    software=frozenset({"numpy"}),
)
FAILURE = Failure(Reason.EXCEPTION, "ValueError", "no such thing", "Traceback …", "beta", 2, b"\x80\x05.")

EXAMPLES: dict[str, m.Message] = {
    "hello": m.Hello(
        1,
        2,
        "peer",
        "id-alpha",
        "alpha",
        "boot-7",
        7,
        (3, 11),
        {"numpy": "2.1.0"},
        {"lends": True, "data": True, "most": 5, "arch": "aarch64"},
        "127.0.0.1:46102",
        "",
        4096,
        b"",
        b"",
    ),
    "hello_guest": m.Hello(
        role="guest",
        agent_id="id-alpha",
        name="alpha",
        boot="boot-7",
        address="192.0.2.7:46102",
        secret=bytes(range(20)),
        certificate=b"\x30\x82",
    ),
    "hello_user": m.Hello(
        role="user",
        name="report.py",
        python=(3, 11),
        libraries={"agentd": "0.1.0"},
        capabilities={"data": True, "bare": True, "session": "00112233445566778899aabbccddeeff"},
        token="agentd_abc",
    ),
    "hello_ack": m.HelloAck(
        True,
        1,
        "id-beta",
        "beta",
        "boot-3",
        3,
        "",
        "",
        "",
        "peer",
        1.0,
        5.0,
        4096,
        (3, 12),
        {"numpy": "2.0.0"},
        {"lends": False},
        "127.0.0.1:46202",
    ),
    "hello_ack_refused": m.HelloAck(code="forbidden", reason="a token is needed", remedy="give one in HELLO"),
    "goodbye": m.Goodbye("stopping", "the agent stops"),
    "heartbeat": m.Heartbeat(3, 12.5, 2, 11.25, 0.5),
    "credit": m.Credit(512),
    "declare": m.Declare(
        (
            (1, Template("shop.prices:best", timeout_s=2.5, constraints=Constraints(computing_units=2))),
            (2, Template("<lambda>", form=Form.VALUE, code=b"\x80\x05.", priority=3, durable=True)),
        )
    ),
    "submit": m.Submit([Submission(1, 2, PAYLOAD), Submission(2, 2, Payload(Codec.JSON, b'{"args":[1]}'))]),
    "settled": m.SettledCalls(
        [
            Settled(1, Outcome(Status.DONE, PAYLOAD, None, 0.25, "beta", 1, 2)),
            Settled(2, Outcome(Status.FAILED, failure=FAILURE, seconds=0.5)),
        ]
    ),
    "cancel_calls": m.CancelCalls((1, 2, 70_000)),
    "offer": m.Offers([Offer(2**62, 3, PAYLOAD, 2, 7, "id-gamma", 1, ("id-gamma", "id-alpha"), 41)]),
    "answer": m.Answers(
        ((2**62, 2, 7),),
        (Refusal(5, 1, "no host here fits", final=True),),
        (Refusal(6, 1, "its arguments cannot be fetched", lacks=True),),
    ),
    "ended": m.Ends([End(2**62, 2, 7, Outcome(Status.DONE, PAYLOAD, None, 0.25, "beta", 1, 1))]),
    "ended_ack": m.EndsAck(((2**62, 2),)),
    "cancel_tasks": m.CancelTasks(((2**62, 2), (5, 1))),
    "load": m.Load(
        Report(
            3,
            9,
            41,
            (Tier(1.0, 2.0, 4.0, 4.0, 0.5, 0.001, 1e-9),),
            CAPACITY,
            False,
            ("shop.prices",),
            "aa11",
            2,
            True,
            Tier(1.0, 1.0, 2.0, 2.0, 0.25),
        )
    ),
    "resource": m.ResourceChange("added", "beta", CAPACITY, "comm", {"Port": "46102"}),
    "inventory": m.Inventory(((5, 1), (6, 2)), ((7, 1),)),
    "drain": m.Drain(30.0, "the operator stops it"),
    "stop": m.StopRequest(3, "the last operation has ended"),
    "stop_answer": m.StopAnswer(3, "this agent's operator does not allow it"),
    "data_request": m.DataRequest(99, 1_048_576, 65_536, "agent-7f", "boot-2", 3, 1),
    "data_chunk": m.DataChunk(99, 0, 8, bytes(range(16)), "", memoryview(b"12345678"), 3),
    "data_release": m.DataRelease(((("agent-7f", "boot-2", 99), 1), (("agent-7f", "boot-2", 100), 2))),
    "data_held": m.DataHeld((("agent-7f", "boot-2", 99),), False),
    "output_request": m.OutputRequest(5, 2, 128, 4096),
    "output": m.Output(5, 2, 128, b"Traceback\n", True),
    "segment": m.Segment(4, 1_048_576),
    "segment_free": m.SegmentFree((4,)),
    "segment_release": m.SegmentRelease((4, 5)),
    "direct_line": m.DirectLine(7, "images:resize", 2, "beta"),
    "line_open": lm.LineOpen(4, bytes(range(32)), True, bytes(range(32, 64))),
    "line_answer": lm.LineAnswer(4, "agent beta limits alpha: no worker is called directly", b"\x30\x82"),
    "line_given": lm.LineGiven(7, b"\x30\x82", bytes(range(32, 64))),
    "offer_lot": lots.OfferLot(
        Lot(
            3,
            2,
            7,
            "id-gamma",
            1,
            ("id-gamma", "id-alpha"),
            42,
            Codec.JSON,
            1,
            [2**62, 2**62 + 1],
            [b'{"args":[1]}', b""],
        )
    ),
    "accept_lot": lots.AcceptLot(2, 7, [2**62, 2**62 + 1]),
    "ended_lot": lots.EndedLotTold(
        EndedLot(2, 7, "beta", 1, Codec.PICKLE, 1, [2**62, 2**62 + 1], [0.25, 0.5], [b"\x80\x05N.", b"\x80\x05K\x01."])
    ),
    "ended_lot_ack": lots.EndedLotAck(2, [2**62, 2**62 + 1]),
    "announce": lm.Announce(7, [Submission(8, 2, Payload(Codec.JSON, b'{"args":[1]}'))]),
}


def frame_of(message: m.Message, *, version: int = 1) -> bytes:
    """Give the one frame of a small message."""
    (pieces,) = encode(message, version=version, max_bytes=MAX_FRAME_BYTES, local=True)
    return b"".join(pieces)


def described(name: str) -> dict[str, object]:
    """Say in JSON what a vector holds: bytes in hexadecimal, fields by name and in the order of the array."""
    message = EXAMPLES[name]
    fields = {each: getattr(message, each) for each in message.__struct_fields__}
    return {"file": f"{name}.hex", "kind": message.kind.name, "number": int(message.kind), "fields": _plain(fields)}


def _plain(value: object) -> object:
    if isinstance(value, (bytes, memoryview)):
        if len(value) > 256:
            return {"size": len(value), "sha256": hashlib.sha256(value).hexdigest()}
        return {"hex": bytes(value).hex()}
    if isinstance(value, msgspec.Struct) and value.__struct_config__.array_like:
        return {each: _plain(getattr(value, each)) for each in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: _plain(each) for key, each in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (msgspec.Struct, Capacity)):
        return _plain(msgspec.to_builtins(value, builtin_types=(bytes,)))
    return value


def main() -> None:
    """Write all vectors anew."""
    VECTORS.mkdir(parents=True, exist_ok=True)
    for name, message in EXAMPLES.items():
        text = frame_of(message).hex()
        lines = [text[start : start + 96] for start in range(0, len(text), 96)]
        (VECTORS / f"{name}.hex").write_text("\n".join(lines) + "\n")
    index = {"protocol": 1, "frames": [described(name) for name in EXAMPLES]}
    (VECTORS / "index.json").write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{len(EXAMPLES)} vectors written to {VECTORS}\n")


if __name__ == "__main__":
    main()
