"""The XML of COMPSs' requests: every shape that occurs, and what is said of what is wrong."""

from __future__ import annotations

import math

import pytest

from agentd.rest.answering.problems import Problem
from agentd.rest.compss import hooks
from agentd.rest.compss.documents import (
    Action,
    Orchestrator,
    read_end,
    read_new,
    read_node,
    read_reduce,
    read_start,
)
from agentd.rest.compss.hooks import Hooks
from agentd.rest.compss.values import TYPES
from schedulers.capacity import Capacity, Kind, Processor
from tests.fakes.compss_samples import (
    COMM,
    DESCRIPTION,
    ENDED,
    TYPED,
    added,
    array,
    node,
    parameter,
    reduced,
    start,
    value,
)


def read(*parameters: str, **more: str):
    return read_start(start(*parameters, **more).encode())


TEXT = value("Izc=")
VALUES = [
    (parameter("STRING_64_T", value("Izc=")), "7"),
    (parameter("STRING_64_T", value("Iw==")), ""),
    (parameter("STRING_64_T", value("I8O8JyI8")), "ü'\"<"),
    (parameter("STRING_T", value(" a &amp; b ")), " a & b "),
    (parameter("WSTRING_T", value("")), ""),
    (parameter("INT_T", value("-5", "int", "Integer")), -5),
    (parameter("INT_T", value("-5", "int").replace("java.lang.String", "int")), -5),
    (parameter("LONG_T", value("9223372036854775807", "long", "Long")), (1 << 63) - 1),
    (parameter("SHORT_T", value("7", "short", "Short")), 7),
    (parameter("BYTE_T", value("-128", "byte", "Byte")), -128),
    (parameter("CHAR_T", value("a")), "a"),
    (parameter("BOOLEAN_T", value("true", "boolean", "Boolean")), True),
    (parameter("BOOLEAN_T", value("0", "boolean", "Boolean")), False),
    (parameter("FLOAT_T", value("1.5", "float", "Float")), 1.5),
    (parameter("DOUBLE_T", value("-INF", "double", "Double")), -math.inf),
    (parameter("DOUBLE_T", value("2", "int", "Integer")), 2.0),
    (parameter("FILE_T", value("/data/x.csv")), "/data/x.csv"),
    (parameter("DIRECTORY_T", value("/data"), direction="INOUT"), "/data"),
    (parameter("OBJECT_T", value("12", "int", "Integer")), 12),
    (parameter("ANY_T", value("x")), "x"),
    (parameter("NULL_T", ""), None),
    (parameter("OBJECT_T", array(), name="args"), []),
    (parameter("OBJECT_T", array(value("a"), value("b", place=1)), name="args"), ["a", "b"]),
    (parameter("OBJECT_T", array(value("Izc="), value("I2I=", place=1))), ["7", "b"]),
    (parameter("OBJECT_T", array(value("b", place=1), value("a", place=0))), ["a", "b"]),
    (parameter("COLLECTION_T", array(array(value("1", "int", "Integer")))), [[1]]),
    (parameter("ARRAY_INT_T", array(*(value(str(n), "int", "Integer", n) for n in range(3)))), [0, 1, 2]),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_every_type_of_parameter_has_its_value(text: str, expected: object) -> None:
    """Text, numbers, truth values, paths, nothing, arrays of them, each as itself."""
    found = read(text).arguments
    assert found == (expected,)
    assert type(found[0]) is type(expected)


WRONG_VALUES = [
    (parameter("STRING_64_T", value("plain text")), "STRING_T"),
    (parameter("STRING_64_T", value("Nw==")), "base64 of '#'"),
    (parameter("INT_T", value("5")), 'xsi:type="xs:int"'),
    (parameter("INT_T", value("2147483648", "int", "Integer")), "xs:int"),
    (parameter("BYTE_T", value("128", "byte", "Byte")), "xs:byte"),
    (parameter("INT_T", value("1.0", "double", "Double")), "INT_T"),
    (parameter("BOOLEAN_T", value("yes", "boolean", "Boolean")), "xs:boolean"),
    (parameter("DOUBLE_T", value("1_0", "double", "Double")), "a number"),
    (parameter("OBJECT_T", value("id-1", java="Thing")), "storage backend"),
    (parameter("OBJECT_T", value("x", "date", "Date")), "xs:date"),
    (parameter("OBJECT_T", value("x", "da\u202ete", "Date")), r"xs:da\\u202ete"),
    (parameter("PSCO_T", TEXT), "by value"),
    (parameter("DICT_COLLECTION_T", array()), "by value"),
    (parameter("STREAM_T", TEXT), "by value"),
    (parameter("OBJECT_T", ""), "one of <element> and <array>"),
    (parameter("OBJECT_T", TEXT + array()), "one of <element> and <array>"),
    (parameter("THING_T", TEXT), "one of BOOLEAN_T"),
    (parameter("STRING_T", TEXT, direction="READ"), "one of IN"),
    (parameter("STRING_T", TEXT).replace("UNSPECIFIED", "STDOUT"), "UNSPECIFIED"),
    (parameter("OBJECT_T", array(value("a", place=2))), "0 to 0"),
    (parameter("OBJECT_T", array(value("a"), value("b"))), "paramId of its own"),
    (parameter("OBJECT_T", array(value("a", place=1 << 30))), "a whole number"),
    (parameter("OBJECT_T", array("<item/>")), "<element> or <array>"),
    (parameter("OBJECT_T", '<element paramId="0"><value>x</value></element>'), "<className>"),
    (parameter("OBJECT_T", '<element paramId="0"><className>x</className></element>'), "<value>"),
    (parameter("STRING_T", TEXT.replace("Izc=", "<b/>")), "a plain value"),
    (parameter("OBJECT_T", "<array>" * 40 + "</array>" * 40), "32 levels"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_VALUES)
def test_what_is_no_value_is_named_with_its_place(text: str, expected: str) -> None:
    """The message has a line, the element, and what would do."""
    with pytest.raises(Problem, match=expected) as caught:
        read(text)
    assert caught.value.status == 400
    assert str(caught.value).startswith("the body:")


def test_every_data_type_is_read_or_refused_with_a_reason() -> None:
    """None of the field's types is unknown, and none ends in anything but a value or a problem."""
    assert len(TYPES) == len(set(TYPES)) == 34
    said = []
    for kind in TYPES:
        try:
            read(parameter(kind, value("1")))
        except Problem as problem:
            said.append(str(problem))
    assert said
    assert [words for words in said if "one of BOOLEAN_T" in words] == []


def test_arguments_keep_the_order_of_the_document() -> None:
    """`paramId` and names say nothing: the order does."""
    found = read(parameter("STRING_T", value("b"), name="second"), parameter("STRING_T", value("a"), name="first"))
    assert found.arguments == ("b", "a")


def test_the_script_form_with_an_access_mode_is_read() -> None:
    """Older scripts say the direction in another element."""
    old = parameter("STRING_64_T", value("Izc=")).replace("<direction>IN</direction>", "<accessMode>READ</accessMode>")
    assert read(old).arguments == ("7",)


def test_elements_stand_in_any_order_and_may_be_left_out() -> None:
    """Only class and method are needed; the language is JAVA where none is said."""
    asked = read_start(b"<startApplication><methodName>m</methodName><className>c</className></startApplication>")
    assert (asked.language, asked.module, asked.method, asked.arguments) == ("JAVA", "c", "m", ())
    assert read(lang="python").language == "PYTHON"


def test_hooks_are_read() -> None:
    """An action with those it is passed on to; an orchestrator with its path."""
    forward = "<forwardTo><agent>http://10.0.0.2:1</agent><agent>http://10.0.0.3:1</agent></forwardTo>"
    asked = read(more=f"<action><actionName>stop</actionName>{forward}</action>")
    assert asked.action == Action("stop", ("http://10.0.0.2:1", "http://10.0.0.3:1"))
    told = "<orchestrator><host>http://h:1</host><method>put</method><operation>a/b</operation></orchestrator>"
    assert read(more=told).orchestrator == Orchestrator("http://h:1", "a/b", "PUT")
    assert read(more="<ceiClass>a.B</ceiClass><serviceInstanceId/>").action is None
    older = "<resources><resource><name>a</name><adaptor>x.Y</adaptor></resource></resources>"
    assert read(more=older).module == read().module


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("<prolog><binary>ls</binary></prolog>", "let the function run them"),
        ("<epilog/>", "let the function run them"),
        ("<target><type>OBJECT_T</type></target>", "function of a module"),
        ("<classname>x</classname>", "className"),
        ("<hasResult>false</hasResult>", "a second <hasResult>"),
        (
            "<action><actionName>stop</actionName></action><orchestrator><host>http://h</host></orchestrator>",
            "at most one",
        ),
        ("<action><forwardTo/></action>", "<actionName>"),
        (
            "<action><actionName>stop</actionName><forwardTo>" + "<agent>a</agent>" * 1001 + "</forwardTo></action>",
            "1000",
        ),
    ],
)
def test_what_is_not_done_here_is_refused(more: str, expected: str) -> None:
    """Each refusal says what to do instead."""
    with pytest.raises(Problem, match=expected):
        read(more=more)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"{}",
        b"<newResource/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><startApplication/>',
        b"<startApplication>" + b"<params>" * 50,
        b"\xff\xfe\x00",
        b"<startApplication xmlns:xsi='x'/>",
        b"<startApplication>text</startApplication>",
    ],
)
def test_what_is_no_such_document_is_a_400(body: bytes) -> None:
    """Of every reader, also of an entity bomb and of depth without end."""
    for reader in (read_start, read_reduce, read_end, lambda body: read_node(body, "lostNode")):
        with pytest.raises(Problem) as caught:
            reader(body)
        assert caught.value.status == 400
    with pytest.raises(Problem):
        read_new(body)


def test_a_new_resource_is_read() -> None:
    """Both forms of it, with properties of the adaptor; what is unassigned is unknown."""
    found = read_new(added().encode())
    assert (found.name, found.adaptor, found.properties) == ("beta", COMM, (("Port", "46102"),))
    assert found.capacity == Capacity(
        processors=(
            Processor(units=4, name="MainProcessor"),
            Processor(units=1, kind=Kind.GPU, name="gpu"),
        ),
        memory_mib=16 * 1024,
        os_type="Linux",
        software=frozenset({"NUMPY"}),
        queues=frozenset({"SHORT"}),
    )
    ports = "<MinPort>1</MinPort><MaxPort>2</MaxPort><RemoteExecutionCommand>ssh</RemoteExecutionCommand>"
    classic = read_new(added(properties=ports).replace("externalResource", "nioResource").encode())
    assert classic.properties == (("MinPort", "1"), ("MaxPort", "2"), ("RemoteExecutionCommand", "ssh"))
    bare = read_new(b"<newResource><externalResource><name>n</name></externalResource></newResource>")
    assert (bare.capacity, bare.adaptor) == (Capacity(), "")


def test_every_field_of_a_description_is_read() -> None:
    """All figures and words, each into its own field."""
    processor = (
        "<processor><name>p</name><type>fpga</type><architecture>arm</architecture><computingUnits>2</computingUnits>"
        "<internalMemory>1.5</internalMemory><propName>k</propName><propValue>v</propValue><speed>2.5</speed></processor>"
    )
    text = (
        f"<processors>{processor}<processor><computingUnits>0</computingUnits></processor></processors>"
        "<memorySize>0.5</memorySize><memoryType>RAM</memoryType><storageSize>10</storageSize>"
        "<storageType>SSD</storageType><storageBW>300</storageBW><wallClockLimit>60</wallClockLimit>"
        "<operatingSystemDistribution>D</operatingSystemDistribution><operatingSystemVersion>1</operatingSystemVersion>"
    )
    body = f"<reduceNode><workerName>n</workerName><resources>{text}</resources></reduceNode>"
    assert read_reduce(body.encode()).capacity == Capacity(
        processors=(
            Processor(
                units=2,
                kind=Kind.FPGA,
                name="p",
                architecture="arm",
                speed_ghz=2.5,
                internal_memory_gb=1.5,
                property_name="k",
                property_value="v",
            ),
        ),
        memory_mib=512,
        memory_type="RAM",
        storage_gb=10.0,
        storage_type="SSD",
        storage_bandwidth=300,
        os_distribution="D",
        os_version="1",
        wall_clock_limit_s=60.0,
    )


@pytest.mark.parametrize(
    "body",
    [
        added(description="<memorySize>much</memorySize>"),
        added(description="<memorySize>1e300</memorySize>"),
        added(description="<memorySize>nan</memorySize>"),
        added(description="<processors><processor><computingUnits>-1</computingUnits></processor></processors>"),
        added(description="<processors><processor><computingUnits>9999999</computingUnits></processor></processors>"),
        added(description="<processors><processor/></processors>"),
        added(name=""),
        added().replace("externalResource", "otherResource"),
        f"<newResource>{added()[13:-14] * 2}</newResource>",
        "<newResource/>",
    ],
)
def test_a_resource_that_cannot_be_is_refused(body: str) -> None:
    """No figure that is none, none that is absurd, one resource at a time."""
    with pytest.raises(Problem) as caught:
        read_new(body.encode())
    assert caught.value.status == 400


def test_nodes_are_named() -> None:
    """The three documents that name one host, or one job."""
    assert read_node(node("removeNode").encode(), "removeNode") == "beta"
    assert read_node(node("lostNode", "a b").encode(), "lostNode") == "a b"
    assert read_reduce(reduced().encode()).capacity.units() == 1
    assert read_end(ENDED.encode()) == "17"
    assert DESCRIPTION
    assert TYPED


@pytest.mark.parametrize(
    "asked",
    [
        Hooks(),
        Hooks(stops=True),
        Hooks(stops=True, agents=("http://a:1", "http://b:2/x?y=z&n")),
        Hooks(notify="http://a/ü"),
    ],
)
def test_hooks_come_back_from_the_journal(asked: Hooks) -> None:
    """What is written is read, and an address of another kind is none of ours."""
    assert hooks.read(hooks.written(asked)) == asked
    assert hooks.read("http://example.org/") is None
