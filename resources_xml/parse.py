"""From text to a tree of elements that know their places.

Law: nothing in the text makes this read more than its limits, follow a reference, or raise anything but
`ResourcesXmlError`. The limits hold while the text is parsed, not after.
"""

from __future__ import annotations

from typing import Final
from xml.parsers.expat import ErrorString, ExpatError, ParserCreate

from resources_xml.errors import Position, ResourcesXmlError, quoted

MAX_BYTES: Final = 4 * 1024 * 1024  # specified: the product's cap for a file of XML
MAX_ELEMENTS: Final = 100_000  # chosen: about what fits in MAX_BYTES with real names and values
MAX_DEPTH: Final = 32  # chosen: the deepest shape of the format has 9 levels
MAX_ATTRIBUTES: Final = 16  # chosen: the format has at most one; the rest is room for schema locations
MAX_NAME_CHARS: Final = 64  # chosen: twice the longest name of the format, so that messages can show names whole
MAX_TEXT_CHARS: Final = 16 * 1024  # chosen: room for a long class path, in one text or attribute
_ENCODINGS: Final = ("utf-8", "utf-16", "iso-8859-1", "us-ascii")  # those that need no codec of the interpreter
_SCHEMA_ATTRIBUTES: Final = ("xmlns", "xsi:", "xml:")  # where a file may name its schema; they mean nothing here


class Element:
    """One element: its tag, attributes, own text, children in order, and place.

    `kind` is the type that the element gives itself (`xsi:type`) without its prefix; empty when it gives none.
    """

    __slots__ = ("at", "attributes", "children", "kind", "parent", "raw", "tag")

    def __init__(self, tag: str, attributes: dict[str, str], at: Position, parent: Element | None) -> None:
        self.tag = tag
        self.attributes = attributes
        self.at = at
        self.parent = parent
        self.children: list[Element] = []
        self.kind = ""
        self.raw = ""
        """The text as it stands in the file."""

    @property
    def text(self) -> str:
        """The text without surrounding space."""
        return self.raw.strip()

    @property
    def path(self) -> str:
        """The way from the root, naming what has a name: `ResourcesList/ComputeNode 'beta'/Memory`."""
        name = self.attributes.get("Name")
        own = self.tag if name is None else f"{self.tag} {quoted(name)}"
        return own if self.parent is None else f"{self.parent.path}/{own}"

    def fault(self, found: str, *, expected: str, remedy: str) -> ResourcesXmlError:
        """Make the error that says what is wrong at this element."""
        return ResourcesXmlError(
            found, at=self.at, element=self.tag, expected=expected, remedy=remedy, path=f"<{self.path}>"
        )


def parse(text: str | bytes, source: str, *, text_chars: int = MAX_TEXT_CHARS) -> Element:
    """Parse a whole document and give its root.

    Args:
        text: a str, or bytes in one of the encodings that XML parsers must know.
        source: the name of the file for messages.
        text_chars: how long the text of one element may be.

    Raises:
        ResourcesXmlError: not well-formed, a DTD or an entity, or larger than the limits.
    """
    data = text if isinstance(text, bytes) else text[: MAX_BYTES + 1].encode("utf-8", "surrogatepass")
    if len(data) > MAX_BYTES:
        raise ResourcesXmlError(
            "the file is too large",
            at=Position(source, 1, 1),
            element="",
            expected=f"at most {MAX_BYTES} bytes",
            remedy="Keep only the entries that are used, or split the description over several agents.",
        )
    return _Builder(source, None if isinstance(text, bytes) else "utf-8", text_chars).build(data)


class _Builder:
    """Collects what the parser reports; one is made per document."""

    def __init__(self, source: str, encoding: str | None, text_chars: int) -> None:
        self._source = source
        self._encoding = encoding
        self._most_chars = text_chars
        self._count = 0
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._text_chars: list[int] = []
        self._root: Element | None = None
        self._parser = ParserCreate(encoding)
        self._parser.buffer_text = True
        self._parser.XmlDeclHandler = self._declared
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._data

    def build(self, data: bytes) -> Element:
        try:
            self._parser.Parse(data, True)
        except ExpatError as error:
            raise self._fault(
                f"not well-formed: {ErrorString(error.code)}",
                at=Position(self._source, error.lineno, error.offset + 1),
                expected="well-formed XML without a DTD",
                remedy="Mend the text at this place; a missing or misspelt end tag is reported where it is noticed.",
            ) from error
        assert self._root is not None, "a document without a root is not well-formed"
        return self._root

    def _here(self) -> Position:
        return Position(self._source, self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1)

    def _fault(self, found: str, *, expected: str, remedy: str, at: Position | None = None) -> ResourcesXmlError:
        element, path = (self._open[-1].tag, f"<{self._open[-1].path}>") if self._open else ("", "")
        return ResourcesXmlError(
            found, at=at or self._here(), element=element, expected=expected, remedy=remedy, path=path
        )

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if self._encoding is None and encoding is not None and encoding.lower() not in _ENCODINGS:
            raise self._fault(
                f"the encoding {quoted(encoding)}",
                expected=f"one of {', '.join(_ENCODINGS)}",
                remedy="Save the file as UTF-8.",
            )

    def _doctype(self, name: str, *_rest: object) -> None:
        raise self._fault(
            f"a document type declaration of {quoted(name)}",
            expected="no <!DOCTYPE> and no entities",
            remedy="Remove the declaration and write out what its entities stand for.",
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        self._limit(self._count, MAX_ELEMENTS, "elements")
        self._limit(len(self._open) + 1, MAX_DEPTH, "levels of elements")
        self._limit(len(tag), MAX_NAME_CHARS, "characters in a name")
        kept = attributes
        if attributes:
            self._limit(len(attributes), MAX_ATTRIBUTES, "attributes of an element")
            for name, value in attributes.items():
                self._limit(len(name), MAX_NAME_CHARS, "characters in a name")
                self._limit(len(value), MAX_TEXT_CHARS, "characters in an attribute")
            kept = {name: value for name, value in attributes.items() if not name.startswith(_SCHEMA_ATTRIBUTES)}
        parent = self._open[-1] if self._open else None
        element = Element(tag, kept, self._here(), parent)
        element.kind = attributes.get("xsi:type", "").rpartition(":")[2]
        if parent is None:
            self._root = element
        else:
            parent.children.append(element)
        self._open.append(element)
        self._texts.append([])
        self._text_chars.append(0)

    def _end(self, _tag: str) -> None:
        self._text_chars.pop()
        self._open.pop().raw = "".join(self._texts.pop())

    def _data(self, data: str) -> None:
        self._text_chars[-1] += len(data)
        self._limit(self._text_chars[-1], self._most_chars, "characters of text in an element")
        self._texts[-1].append(data)

    def _limit(self, amount: int, most: int, what: str) -> None:
        if amount > most:
            raise self._fault(
                f"more than {most} {what}",
                expected=f"at most {most} {what}",
                remedy="Shorten the file; a description of real devices stays far below this limit.",
            )
