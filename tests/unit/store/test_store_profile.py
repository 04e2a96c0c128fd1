"""What functions take, over restarts and in the field's files."""

from __future__ import annotations

import pytest

from agentd.core.tasks.estimates import learn
from agentd.core.tasks.shapes import SHAPES_MOST, Learned, Shapes
from agentd.model.errors import ConfigError
from agentd.model.task import Template
from agentd.store.disk import LocalDisk
from agentd.store.profile import LIMIT_BYTES, parse, read_given, read_profile, write_profile


def test_what_is_written_is_read(tmp_path):
    """All figures come back; no file is no knowledge."""
    disk, path = LocalDisk(), tmp_path / "profile.json"
    assert read_profile(disk, path) == []
    learned = [Learned("m:f", 0.25, 1000.0, 7), Learned("m:K.g", 3.0, 0.0, 1)]
    write_profile(disk, path, learned)
    assert read_profile(disk, path) == learned


def test_a_profile_of_the_field_is_read():
    """Milliseconds, a dot before the function; what never ran and what else stands there is passed over."""
    text = b"""{"cloud": {}, "resources": {"n1": {"idlePrice": 0}}, "implementations": {
        "apps.sort.part": {"maxTime": 30, "executions": 4, "avgTime": 20, "minTime": 10, "price": 0},
        "apps.sort.never": {"maxTime": 0, "executions": 0, "avgTime": 0, "minTime": 0}}}"""
    assert parse(text, "x") == [Learned("apps.sort:part", 0.02, 0.0, 4)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b'{"implementations": []}',
        b'{"implementations": {"m:f": 3}}',
        b'{"implementations": {"m:f": {"executions": 1}}}',
        b'{"implementations": {"m:f": {"executions": 1, "avgTime": NaN}}}',
        b'{"implementations": {"m:f": {"executions": 1, "avgTime": -1}}}',
        b'{"implementations": {"m:f": {"executions": 1, "avgTime": "soon"}}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_profile_is_refused(text):
    """The message names the file."""
    with pytest.raises(ConfigError, match=r"--input-profile: x is no execution profile"):
        parse(text, "--input-profile: x")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """Not there, or far too large."""
    with pytest.raises(ConfigError, match="No such file"):
        read_given(tmp_path / "nothing")
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(LIMIT_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than"):
        read_given(huge)


def test_what_was_taught_is_the_first_estimate():
    """A function that ran in a former boot is known before it runs; its own runs move the mean from there."""
    shapes = Shapes()
    shapes.teach([Learned("m:f", 2.0, 50.0, 9)])
    shape = shapes.intern(Template("m:f"))
    assert (shape.estimate_s, shape.result_bytes) == (2.0, 50.0)
    learn(shape, 1.0, 0)
    assert 1.0 < shape.estimate_s < 2.0
    assert shapes.intern(Template("m:g")).estimate_s is None
    assert shapes.intern(Template("m:f", code=b"another")).estimate_s is None


def test_what_is_known_is_given_once_for_each_function():
    """What ran since is newer than what was taught; functions by value have no name to know them by."""
    shapes = Shapes()
    shapes.teach([Learned("m:f", 2.0, 0.0, 9), Learned("m:old", 1.0, 0.0, 1)])
    shape = shapes.intern(Template("m:f"))
    assert shapes.learned() == [Learned("m:f", 2.0, 0.0, 9), Learned("m:old", 1.0, 0.0, 1)]
    learn(shape, 2.0, 10)
    learn(shapes.intern(Template("anonymous", code=b"x")), 5.0, 0)
    found = shapes.learned()
    assert [one.function for one in found] == ["m:f", "m:old"]
    assert found[0].runs == 1


def test_a_profile_cannot_fill_the_memory():
    """Far more functions than are remembered are not all kept."""
    shapes = Shapes()
    shapes.teach(Learned(f"m:f{number}", 1.0, 0.0, 1) for number in range(SHAPES_MOST + 10))
    assert len(shapes.learned()) == SHAPES_MOST
