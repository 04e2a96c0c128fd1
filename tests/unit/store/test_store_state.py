"""Who the agent is, and its time over restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.errors import ConfigError
from agentd.store.disk import LocalDisk
from agentd.store.state import ClockMark, agent_id, next_agent_time_base, read_mark, resumed_agent_time, write_mark

_seconds = st.floats(0, 1e9)


def test_the_agent_stays_who_it_is(tmp_path):
    """The identifier is made once, is 128 bits in hexadecimal, and differs between agents."""
    (tmp_path / "other").mkdir()
    first = agent_id(LocalDisk(), tmp_path)
    assert agent_id(LocalDisk(), tmp_path) == first
    assert len(first) == 32
    assert int(first, 16) >= 0
    assert agent_id(LocalDisk(), tmp_path / "other") != first


@pytest.mark.parametrize("content", [b"", b"x", b"g" * 32, b"0" * 33, b"\xff" * 32, b"0" * 5000])
def test_a_changed_identifier_stops_the_start(tmp_path, content):
    """An agent does not silently become another one."""
    (tmp_path / "agent-id").write_bytes(content)
    with pytest.raises(ConfigError, match="agent-id"):
        agent_id(LocalDisk(), tmp_path)


def test_a_mark_is_read_as_it_was_written(tmp_path):
    """And one that makes no sense is none."""
    disk = LocalDisk()
    assert read_mark(disk, tmp_path) is None
    for mark in (ClockMark("boot", 12.5, 99.25), ClockMark("other", 13.0, 1.0)):
        write_mark(disk, tmp_path, mark)
        assert read_mark(disk, tmp_path) == mark
    for content in (b"", b"{}", b"[1]", b'{"machine_boot":"b","agent_time_s":-1,"boottime_s":0}', b"\xff"):
        (tmp_path / "clock").write_bytes(content)
        assert read_mark(disk, tmp_path) is None


@given(_seconds, _seconds, st.booleans(), _seconds)
def test_agent_time_never_goes_back(recorded, boottime, same_boot, now):
    """Over a restart of the daemon, of the machine, and with a machine's clock that makes no sense."""
    assert next_agent_time_base(recorded, boottime, same_boot, now) >= recorded


def test_the_time_between_counts_within_one_boot_only():
    """A daemon that was down for a minute is a minute older; what passed while the machine was off is not known."""
    assert next_agent_time_base(1000.0, 50.0, True, 110.0) == 1060.0
    assert next_agent_time_base(1000.0, 50.0, False, 110.0) == 1000.0


def test_agent_time_goes_on_from_whatever_is_later():
    """From the mark with the time since, or from the journal; from the journal alone when there is no mark."""
    mark = ClockMark("boot", 1000.0, 50.0)
    assert resumed_agent_time(None, 7.0, "boot", 60.0) == 7.0
    assert resumed_agent_time(mark, 7.0, "boot", 60.0) == 1010.0
    assert resumed_agent_time(mark, 1500.0, "boot", 60.0) == 1500.0
    assert resumed_agent_time(mark, 7.0, "next boot", 60.0) == 1000.0


def test_a_boot_that_cannot_be_told_is_another_one():
    """Without the machine's boot identifier the time in between is not known."""
    assert resumed_agent_time(ClockMark("", 1000.0, 50.0), 7.0, "", 60.0) == 1000.0
