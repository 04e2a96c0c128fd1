"""The parameters of a call in COMPSs' XML, and the Python values that they are.

Law: a parameter is a value by itself, in the order in which it stands; what cannot be given by value is refused with
what can. Whole numbers are held to the bounds of the type that they name.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from resources_xml.schema import Shape, leaf, maybe, one
from resources_xml.values import any_text, choice

if TYPE_CHECKING:
    from resources_xml.parse import Element

DIRECTIONS: Final = ("IN", "OUT", "INOUT", "CONCURRENT", "COMMUTATIVE", "IN_DELETE")
TYPES: Final = (
    *("BOOLEAN_T", "CHAR_T", "BYTE_T", "SHORT_T", "INT_T", "LONG_T", "FLOAT_T", "DOUBLE_T", "STRING_T", "STRING_64_T"),
    *("FILE_T", "OBJECT_T", "PSCO_T", "EXTERNAL_PSCO_T", "BINDING_OBJECT_T", "WCHAR_T", "WSTRING_T", "LONGLONG_T"),
    *("VOID_T", "ANY_T", "ARRAY_CHAR_T", "ARRAY_BYTE_T", "ARRAY_SHORT_T", "ARRAY_INT_T", "ARRAY_LONG_T"),
    *("ARRAY_FLOAT_T", "ARRAY_DOUBLE_T", "COLLECTION_T", "DICT_COLLECTION_T", "STREAM_T", "EXTERNAL_STREAM_T"),
    *("ENUM_T", "NULL_T", "DIRECTORY_T"),
)
"""All data types of the field, in the order of their numbers."""
BY_REFERENCE: Final = frozenset(
    {"PSCO_T", "EXTERNAL_PSCO_T", "BINDING_OBJECT_T", "DICT_COLLECTION_T", "STREAM_T", "EXTERNAL_STREAM_T", "VOID_T"}
)
"""Types whose values an XML text cannot hold."""
ITEMS_MOST: Final = 1 << 16
"""Highest index in an array (chosen: a body of 1 MiB holds fewer elements)."""

_WHOLE: Final = {"byte": 7, "short": 15, "int": 31, "long": 63, "integer": 63, "unsignedShort": 16}
"""Bits of the whole numbers of XML Schema, without the sign."""
_JAVA: Final = {
    "string": "String",
    "int": "Integer",
    "long": "Long",
    "short": "Short",
    "byte": "Byte",
    "boolean": "Boolean",
    "float": "Float",
    "double": "Double",
    "unsignedShort": "Character",
    "integer": "BigInteger",
}
"""Class of Java that a type of XML Schema is read into."""
_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,20}")
_REMEDY: Final = "Parameters are given by value: text, numbers, truth values, and arrays of them."


class Scalar(NamedTuple):
    """One value and the class that the request says it has."""

    value: Any
    java: str


def scalar(element: Element) -> Scalar:
    """Read `<element>`: a class name and a value whose type it names itself.

    Raises:
        ResourcesXmlError: the two do not go together, or the value is none of its type.
    """
    found = _SCALAR(element)
    kind, name = found["value"].kind or "string", found["java"]
    if kind not in _JAVA:
        raise found["value"].fault(f"the type xs:{kind[:40]}", expected=f"one of {', '.join(_JAVA)}", remedy=_REMEDY)
    if name.rpartition(".")[2] != _JAVA[kind] and not (kind == "int" and name == "int"):
        raise element.fault(
            f"a value of xs:{kind} for the class {name[:80]!r}",
            expected=f"the class java.lang.{_JAVA[kind]}, which such a value has",
            remedy="An object of another class would be one of a storage backend, and there is none here.",
        )
    return Scalar(_typed(found["value"], kind), name)


def _typed(element: Element, kind: str) -> Any:
    raw = element.raw
    if kind == "string":
        return raw
    word = raw.strip()
    if kind == "boolean" and word in {"true", "false", "1", "0"}:
        return word in {"true", "1"}
    if kind in {"float", "double"}:
        return _real(element, word)
    bits = _WHOLE.get(kind)
    if bits is not None and _DIGITS.fullmatch(word):
        number = int(word)
        if (0 if kind.startswith("unsigned") else -(1 << bits)) <= number < 1 << bits:
            return number
    raise element.fault(f"{word[:60]!r}", expected=f"a value of xs:{kind}", remedy="Write the value, or another type.")


def _real(element: Element, word: str) -> float:
    named = {"INF": math.inf, "+INF": math.inf, "-INF": -math.inf, "NaN": math.nan}
    if word in named:
        return named[word]
    try:
        if "_" in word or len(word) > 400:
            raise ValueError
        return float(word)
    except ValueError:
        raise element.fault(f"{word[:60]!r}", expected="a number", remedy="Write it as 1.5 or 1.5e3.") from None


def array(element: Element) -> list[Any]:
    """Read `<array>`: elements and arrays, each at the index that it names, or in their order where none does.

    Raises:
        ResourcesXmlError: two at one index, or an index without a value.
    """
    found = _ARRAY(element)
    holder: Element | None = found["values"]
    placed: dict[int, Any] = {}
    for order, child in enumerate(holder.children if holder is not None else ()):
        if child.tag not in {"element", "array"}:
            raise child.fault(f"<{child.tag[:40]}>", expected="<element> or <array>", remedy=_REMEDY)
        index = _index(child, order)
        if index in placed:
            raise child.fault(f"a second item {index}", expected="a paramId of its own", remedy="Number them from 0.")
        placed[index] = scalar(child).value if child.tag == "element" else array(child)
    if placed and max(placed) != len(placed) - 1:
        raise element.fault("indexes with gaps", expected=f"0 to {len(placed) - 1}", remedy="Number the items from 0.")
    return [placed[index] for index in sorted(placed)]


def _index(child: Element, order: int) -> int:
    raw = child.attributes.get("paramId")
    if raw is None:
        return order
    if not raw.strip().isdecimal() or len(raw) > 6 or int(raw) > ITEMS_MOST:
        raise child.fault(f"the paramId {raw[:40]!r}", expected="a whole number", remedy="Number the items from 0.")
    return int(raw)


def argument(element: Element) -> Any:
    """Read one `<params>` into the value that the function is given.

    Raises:
        ResourcesXmlError: it cannot be given by value, or is none of its type.
    """
    found = _PARAMETER(element)
    kind = found["type"]
    if kind in BY_REFERENCE:
        raise element.fault(f"a parameter of {kind}", expected="a value that XML can hold", remedy=_REMEDY)
    if found["stream"] != "UNSPECIFIED":
        raise element.fault(
            f"the stream {found['stream']}", expected="UNSPECIFIED", remedy="Only programs have such; open the file."
        )
    if kind == "NULL_T":
        return None
    one_value, items = found["element"], found["array"]
    if (one_value is None) == (items is None):
        raise element.fault("no value, or two", expected="one of <element> and <array>", remedy=_REMEDY)
    if items is not None:
        return _decoded(items, element)
    return _fitted(kind, one_value, element)


def _fitted(kind: str, given: Scalar, element: Element) -> Any:
    """Bring a single value into the type of its parameter."""
    value = given.value
    if kind == "STRING_64_T":
        return _unmarked(value, element)
    wanted = _KINDS.get(kind)
    if wanted is None:
        return value
    if type(value) is int and wanted == (float,):
        return float(value)
    if type(value) is str and str not in wanted:
        raise element.fault(
            f"text for a parameter of {kind}", expected="a value with its own type", remedy='Say xsi:type="xs:int".'
        )
    if type(value) not in wanted:
        raise element.fault(f"{type(value).__name__} for {kind}", expected=kind, remedy="Give the type that it has.")
    return value


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "BOOLEAN_T": (bool,),
    "CHAR_T": (str, int),
    "WCHAR_T": (str, int),
    **dict.fromkeys(("BYTE_T", "SHORT_T", "INT_T", "LONG_T", "LONGLONG_T"), (int,)),
    **dict.fromkeys(("FLOAT_T", "DOUBLE_T"), (float,)),
    **dict.fromkeys(("STRING_T", "WSTRING_T", "FILE_T", "DIRECTORY_T", "ENUM_T"), (str,)),
}
"""Types of Python that a value of a data type may have; what is not here may have any."""


def _unmarked(value: Any, element: Element) -> str:
    """Decode text as the field sends it to Python: base64 of a mark and the text, so that an empty one is seen."""
    found = _from_base64(value)
    if found is None:
        raise element.fault(
            "a STRING_64_T that is not base64 of '#' and the text",
            expected="such a text, as COMPSs' scripts send it for Python",
            remedy="Encode it, or give plain text as STRING_T.",
        )
    return found


def _from_base64(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        text = base64.b64decode("".join(value.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return text[1:] if text.startswith("#") else None


def _decoded(items: list[Any], element: Element) -> list[Any]:
    """Decode the texts of an array: scripts send them as STRING_64_T does, other programs as they are."""
    return [
        _decoded(item, element) if isinstance(item, list) else item if (text := _from_base64(item)) is None else text
        for item in items
    ]


def _raw(element: Element) -> Element:
    if element.children:
        raise element.children[0].fault("an element in a value", expected="a plain value", remedy=_REMEDY)
    return element


class _Numbered:
    """The attribute `paramId`, which says nothing beside the order."""

    tags: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ("paramId",)

    def value(self, element: Element, children: object) -> None:
        """Let it be."""


_ID = _Numbered()
_IDLE = leaf(any_text)
_SCALAR: Shape[dict[str, Any]] = Shape(
    dict, {"id": _ID, "java": one("className", leaf(any_text)), "value": one("value", _raw)}
)
_ARRAY: Shape[dict[str, Any]] = Shape(
    dict,
    {"id": _ID, "component": maybe("componentClassname", _IDLE), "values": maybe("values", lambda element: element)},
)
_PARAMETER: Shape[dict[str, Any]] = Shape(
    dict,
    {
        "id": _ID,
        "direction": maybe("direction", leaf(choice(*DIRECTIONS)), default="IN"),
        "mode": maybe("accessMode", _IDLE),  # how older scripts say the direction
        "type": one("type", leaf(choice(*TYPES))),
        "stream": maybe("stdIOStream", leaf(choice("STDIN", "STDOUT", "STDERR", "UNSPECIFIED")), default="UNSPECIFIED"),
        "older": maybe("stream", _IDLE),  # how older programs say the same
        "prefix": maybe("prefix", _IDLE),
        "name": maybe("paramName", _IDLE),
        "content": maybe("contentType", _IDLE),
        "weight": maybe("weight", _IDLE),
        "keep": maybe("keepRename", _IDLE),
        "element": maybe("element", scalar),
        "array": maybe("array", array),
    },
)
