"""Where chunks need no hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.comm.trust import same_machine
from agentd.comm.trust.same_machine import bare, kernel, may_be_bare
from agentd.wire.messages import Hello


@pytest.mark.parametrize(
    ("said", "plain", "secret"),
    [
        ({}, False, False),
        ({"bare": False}, False, False),
        ({"bare": ""}, False, False),
        ({"bare": True}, False, True),
        ({"bare": "the kernel of another machine"}, False, True),
        ({"bare": bare()}, bool(kernel()), True),
    ],
)
def test_a_hash_is_left_out_over_tls_and_within_one_machine_for_who_said_so(
    said: dict[str, bool | int | str], plain: bool, secret: bool
) -> None:
    """Agents of before, and other machines without TLS, get the hash as ever."""
    them = Hello(capabilities=said)
    assert (may_be_bare(them, is_secret=False), may_be_bare(them, is_secret=True)) == (plain, secret)


def test_nobody_is_believed_before_it_introduced_itself() -> None:
    """There is nothing to go by yet."""
    assert not may_be_bare(None, is_secret=True)


def test_where_the_kernel_has_no_name_no_machine_is_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ends that know nothing of their kernels are not said to have the same."""
    monkeypatch.setattr(same_machine, "_BOOT_ID", tmp_path / "none")
    monkeypatch.setattr(same_machine, "kernel", same_machine.kernel.__wrapped__)
    assert bare() is True
    assert not may_be_bare(Hello(capabilities={"bare": True}), is_secret=False)


def test_the_number_of_the_kernel_is_not_told() -> None:
    """What is said to anybody who may connect tells machines apart, and no more."""
    number = Path("/proc/sys/kernel/random/boot_id")
    if not number.exists():
        pytest.skip("this system has no boot_id")
    assert number.read_text("ascii").strip().replace("-", "") not in kernel()
