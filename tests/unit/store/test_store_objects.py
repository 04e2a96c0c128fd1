"""Objects are whole or not there, within their limits, and go when nobody needs them."""

from __future__ import annotations

import asyncio
import errno
import os
from hashlib import blake2b
from random import Random

import pytest

from agentd.model.errors import DiskError, RequestError
from agentd.model.values import Part, Payload
from agentd.store.disk import LocalDisk
from agentd.store.objects import Objects, SegmentLost
from agentd.store.uploads import Limits
from tests.unit.store.memory_disk import MemoryDisk

LIMITS = Limits(object_bytes=1000, total_bytes=2500, free_bytes=100)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disk():
    return MemoryDisk()


@pytest.fixture
def objects(disk, clock):
    return Objects(disk, disk.root / "objects", clock, LIMITS)


def _put(objects, *chunks, **told):
    async def put():
        async with await objects.create() as upload:
            for chunk in chunks:
                await upload.write(chunk)
            return await upload.finish(**told)

    return asyncio.run(put())


def _content(disk, objects, number):
    fd, size = objects.open(number)
    data = disk.read(fd, size + 1, 0)
    disk.close(fd)
    assert len(data) == size
    return data


def _again(disk, clock):
    return Objects(disk, disk.root / "objects", clock, LIMITS)


def test_an_object_is_read_as_it_was_written(disk, clock, objects):
    """In however many chunks it came, and after a restart."""
    stored = _put(objects, b"hello ", b"", b"you")
    assert stored.size == 9
    assert stored.digest == blake2b(b"hello you", digest_size=16).hexdigest()
    assert 0 < stored.id < 2**63
    assert _content(disk, objects, stored.id) == b"hello you"
    again = _again(disk, clock)
    assert _content(disk, again, stored.id) == b"hello you"
    assert again.total_bytes == 9
    assert again.alarms == []
    empty = _put(objects)
    assert _content(disk, objects, empty.id) == b""


def test_an_upload_must_be_what_was_told(disk, objects):
    """Another size or hash is refused, and nothing of it remains."""
    digest = blake2b(b"abc", digest_size=16).hexdigest()
    _put(objects, b"abc", size=3, digest=digest.upper())
    for told in ({"size": 4}, {"digest": "0" * 32}, {"digest": ""}):
        with pytest.raises(RequestError, match="send it again") as refused:
            _put(objects, b"abc", **told)
        assert refused.value.status == 400
    assert objects.total_bytes == 3
    assert len(disk.names(disk.root / "objects")) == 1


def test_what_is_too_large_is_refused_before_it_is_written(disk, objects):
    """413 for more than an object may have, 507 for more than all may have or the disk has; nothing remains."""
    with pytest.raises(RequestError, match="up to 1000 bytes") as refused:
        _put(objects, b"x" * 600, b"x" * 401)
    assert refused.value.status == 413
    for _ in range(2):
        _put(objects, b"x" * 1000)
    with pytest.raises(RequestError, match="2500 bytes") as refused:
        _put(objects, b"x" * 501)
    assert refused.value.status == 507
    assert objects.total_bytes == 2000
    disk.capacity = 2000 + 99
    with pytest.raises(RequestError, match="no space") as refused:
        _put(objects, b"x")
    assert refused.value.status == 507
    assert len(disk.names(disk.root / "objects")) == 2


def test_uploads_at_once_share_the_room(objects):
    """Two that fit alone and not together are not both taken, and what is abandoned gives its room back."""

    async def put():
        async with await objects.create() as first, await objects.create() as second, await objects.create() as third:
            await first.write(b"x" * 1000)
            await second.write(b"x" * 1000)
            with pytest.raises(RequestError):
                await third.write(b"x" * 1000)
            await second.abandon()
            await third.write(b"x" * 1000)
            assert objects.total_bytes == 2000
            await third.finish()
            with pytest.raises(RequestError, match="ended already"):
                await third.write(b"x")

    asyncio.run(put())
    assert objects.total_bytes == 1000


def test_leftovers_of_a_crash_are_removed(disk, clock, objects):
    """An upload that a crash cut off is gone after the start; what is not ours is left alone."""

    async def begin():
        upload = await objects.create()
        await upload.write(b"x" * 100)

    asyncio.run(begin())
    stored = _put(objects, b"whole")
    disk.close(disk.create(disk.root / "objects" / "README"))
    again = _again(disk, clock)
    assert sorted(disk.names(disk.root / "objects")) == sorted(["README", stored.name])
    assert again.total_bytes == 5


def test_no_loss_of_power_leaves_half_an_object(disk, clock, objects):
    """Once it has its number it is whole, whenever the power goes; before that it is not there."""
    done = [(_put(objects, bytes([size % 251]) * size), len(disk.log)) for size in (10, 700, 1000)]
    chance = Random(2)
    for _ in range(300):
        steps = chance.randrange(len(disk.log) + 1)
        after = disk.after_power_loss(steps, chance)
        again = _again(after, clock)
        assert again.alarms == []
        for stored, by in done:
            if by <= steps:
                assert again.is_sound(stored.id)
        for name in after.names(disk.root / "objects"):
            assert again.is_sound(int(name[:16], 16))


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC", "short"])
def test_a_fault_at_any_step_gives_an_object_or_an_error(disk, clock, fault):
    """Never half of one, and never one that is not what was sent."""
    for number in range(1, 14):
        disk = MemoryDisk()
        objects = _again(disk, clock)
        first = disk.calls

        def fail(step, call, at=first + number):
            if call != at:
                return None
            if fault == "short":
                return 3 if step == "write" else None
            raise OSError(getattr(errno, fault), "planted")

        disk.fail = fail
        stored = refusal = None
        try:
            stored = _put(objects, b"a" * 300, b"b" * 300)
        except (RequestError, DiskError) as error:
            refusal = error
        if refusal is not None:
            assert isinstance(refusal, {"EIO": DiskError, "ENOSPC": RequestError}[fault])
            assert getattr(refusal, "status", 507) == 507
        disk.fail = lambda step, call: None
        again = _again(disk, clock)
        if stored is not None:
            assert again.is_sound(stored.id)
        for name in disk.names(disk.root / "objects"):
            assert again.is_sound(int(name[:16], 16))


def test_a_damaged_object_is_noticed(disk, clock, objects):
    """A wrong size at the start, a flipped bit when it is looked at; both are told apart from sound ones."""
    good, short, flipped = (_put(objects, bytes([at]) * 100) for at in range(3))
    for stored, change in ((short, "cut"), (flipped, "flip")):
        data = disk.files[disk.names_[str(disk.root / "objects" / stored.name)]]
        if change == "cut":
            del data[50:]
        else:
            data[50] ^= 1
    again = _again(disk, clock)
    assert [str(short.id) in alarm for alarm in again.alarms] == [True]
    with pytest.raises(RequestError, match="no object"):
        again.open(short.id)
    assert again.is_sound(good.id)
    assert not again.is_sound(flipped.id)


def test_what_nobody_claims_expires(disk, clock, objects):
    """After its time, by agent time; what an operation refers to stays, also over a restart that claims it again."""
    claimed, unclaimed = _put(objects, b"claimed"), _put(objects, b"unclaimed")
    payload = Payload(1, b"", (Part(7, stored=claimed.id),))
    assert objects.keep(payload, lambda segment: -1) is payload
    clock.now = 99.0
    assert objects.expire(100.0) == []
    clock.now = 100.0
    assert objects.expire(100.0) == [unclaimed.id]
    with pytest.raises(RequestError, match="no object"):
        objects.open(unclaimed.id)
    assert objects.total_bytes == 7
    again = _again(disk, clock)
    again.claim({claimed.id, 12345})
    clock.now = 1000.0
    assert again.expire(100.0) == []
    again.delete([claimed.id, claimed.id, 5])
    assert disk.names(disk.root / "objects") == []
    assert again.total_bytes == 0


def test_a_reader_keeps_what_it_has_open(tmp_path, clock):
    """On a real disk an object that is removed is still there for whoever has it open, and can only be read."""
    objects = Objects(LocalDisk(), tmp_path / "objects", clock)
    stored = _put(objects, b"content")
    fd, size = objects.open(stored.id)
    objects.delete([stored.id])
    assert os.read(fd, size + 1) == b"content"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(fd, b"x")
    os.close(fd)


def test_a_segment_becomes_an_object(tmp_path, clock):
    """A range of shared memory is stored byte for byte, larger than one chunk too, and is claimed."""
    objects = Objects(LocalDisk(), tmp_path / "objects", clock)
    content = Random(1).randbytes(3 << 20)
    memory = os.memfd_create("segment")
    with os.fdopen(memory, "wb") as file:
        file.write(content)
        file.flush()
        payload = Payload(1, b"x", (Part(5, data=b"hello"), Part((3 << 20) - 7, segment=9, offset=7)))
        kept = objects.keep(payload, {9: memory}.__getitem__)
        assert (kept.codec, kept.data, kept.parts[0]) == (1, b"x", payload.parts[0])
        stored = kept.parts[1]
        assert (stored.size, stored.segment, stored.offset, stored.data) == ((3 << 20) - 7, 0, 0, None)
        fd, size = objects.open(stored.stored)
        with os.fdopen(fd, "rb") as found:
            assert found.read() == content[7:]
        assert size == stored.size
        assert objects.is_sound(stored.stored)
        clock.now = 1e9
        assert objects.expire(1.0) == []
        with pytest.raises(SegmentLost, match="1 bytes early"):
            objects.store_segment(memory, 0, (3 << 20) + 1)
    assert len(list((tmp_path / "objects").iterdir())) == 1


def test_an_upload_that_is_cancelled_leaves_nothing(disk, objects):
    """Whoever goes away in the middle of it gives back file and room."""

    async def begin(started):
        async with await objects.create() as upload:
            await upload.write(b"x" * 500)
            started.set()
            await asyncio.Event().wait()

    async def cancel():
        started = asyncio.Event()
        task = asyncio.create_task(begin(started))
        await started.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(cancel())
    assert objects.total_bytes == 0
    assert disk.names(disk.root / "objects") == []
