"""Shapes: what an element may hold, as data, and the one routine that reads by them.

A shape maps the fields of the value to be made to the parts of the element that they come from. Children may stand in
any order; their number is checked against the shape; what the shape does not name is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from resources_xml.errors import quoted, suggestion
from resources_xml.values import UnfitValueError, text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from resources_xml.parse import Element

T = TypeVar("T")


class Part(Protocol):
    """Where one field of a value comes from."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The child elements that it reads."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that it reads."""

    def value(self, element: Element, children: Mapping[str, list[Element]]) -> Any:
        """Read the field from an element, whose children are given by tag."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field that is an attribute; one that has no default must be there."""

    name: str
    convert: Callable[[str], Any] = text
    optional: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """The one attribute."""
        return (self.name,)

    def value(self, element: Element, children: Mapping[str, list[Element]]) -> Any:  # noqa: ARG002
        """Convert the attribute; None when it may be absent and is."""
        raw = element.attributes.get(self.name)
        if raw is None and not self.optional:
            raise element.fault(
                f"no attribute {self.name}{_near(self.name, element.attributes)}",
                expected=f"the attribute {self.name}",
                remedy=f'Write <{element.tag} {self.name}="…">.',
            )
        return None if raw is None else _converted(element, f"the attribute {self.name} is ", raw.strip(), self.convert)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A field that is a child element, or the tuple of all that bear the tag.

    `key` names the field by which two of them must differ.
    """

    tag: str
    read: Callable[[Element], Any]
    least: int = 0
    many: bool = False
    default: Any = None
    key: str | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """The one tag."""
        return (self.tag,)

    @property
    def attributes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def value(self, element: Element, children: Mapping[str, list[Element]]) -> Any:
        """Read as many children as there may be."""
        found = children.get(self.tag, [])
        self._check_number(element, found)
        values = tuple(self.read(child) for child in found)
        if self.key is not None:
            _refuse_twins(found, [getattr(value, self.key) for value in values])
        if self.many:
            return values
        return values[0] if values else self.default

    def _check_number(self, element: Element, found: list[Element]) -> None:
        if len(found) < self.least:
            raise element.fault(
                f"no <{self.tag}>",
                expected=f"{'at least' if self.many else 'exactly'} one <{self.tag}>",
                remedy=f"Add <{self.tag}> inside <{element.tag}>.",
            )
        if len(found) > 1 and not self.many:
            raise found[1].fault(
                f"a second <{self.tag}>",
                expected=f"{'exactly' if self.least else 'at most'} one <{self.tag}> in <{element.tag}>",
                remedy=f"Remove it, or merge it with the one in line {found[0].at.line}.",
            )


class Here:
    """The field that keeps the place of the element."""

    tags: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    def value(self, element: Element, children: Mapping[str, list[Element]]) -> Any:  # noqa: ARG002
        """Give the place."""
        return element.at


HERE = Here()
NAME = Attribute("Name")


@dataclass(frozen=True, slots=True)
class Shape(Generic[T]):
    """How to read one kind of element into one kind of value, which `check` may still refuse."""

    make: Callable[..., T]
    parts: Mapping[str, Part]
    check: Callable[[T, Element], None] | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """All children that may stand in the element."""
        return tuple(tag for part in self.parts.values() for tag in part.tags)

    @property
    def attributes(self) -> tuple[str, ...]:
        """All attributes that the element may have."""
        return tuple(name for part in self.parts.values() for name in part.attributes)

    def __call__(self, element: Element) -> T:
        """Read a whole element: whatever is in it must be named by this shape.

        Raises:
            ResourcesXmlError: something is missing, doubled, unknown or unfit.
        """
        _refuse_others(element, self.attributes)
        return self.value(element, _by_tag(element, self.tags))

    def value(self, element: Element, children: Mapping[str, list[Element]]) -> T:
        """Read only the parts of this shape; so a shape can itself be a part of the same element's shape."""
        made = self.make(**{field: part.value(element, children) for field, part in self.parts.items()})
        if self.check is not None:
            self.check(made, element)
        return made


def one(tag: str, read: Callable[[Element], Any]) -> Child:
    """Expect the child exactly once."""
    return Child(tag=tag, read=read, least=1)


def maybe(tag: str, read: Callable[[Element], Any], default: object = None) -> Child:
    """Expect the child at most once."""
    return Child(tag=tag, read=read, default=default)


def many(tag: str, read: Callable[[Element], Any], *, least: int = 0, key: str | None = None) -> Child:
    """Expect the child `least` times or more."""
    return Child(tag=tag, read=read, least=least, many=True, key=key)


def listing(
    tag: str, read: Callable[[Element], Any], *, least: int = 1, key: str | None = None
) -> Shape[tuple[Any, ...]]:
    """Make the shape of an element that only holds others, all of one tag; its value is their tuple."""
    return Shape(_items, {"items": many(tag, read, least=least, key=key)})


def leaf(convert: Callable[[str], T]) -> Callable[[Element], T]:
    """Make the reader of an element that holds nothing but one value."""

    def read(element: Element) -> T:
        _refuse_others(element, ())
        if element.children:
            raise element.children[0].fault(
                f"an element inside <{element.tag}>", expected="a plain text", remedy="Write the value itself."
            )
        return _converted(element, "", element.text, convert)

    return read


def empty(element: Element) -> bool:
    """Read an element that says by its presence all it has to say."""
    _refuse_others(element, ())
    _by_tag(element, ())
    return True


def _items(*, items: tuple[Any, ...]) -> tuple[Any, ...]:
    return items


def _converted(element: Element, prefix: str, raw: str, convert: Callable[[str], T]) -> T:
    try:
        return convert(raw)
    except UnfitValueError as error:
        raise element.fault(prefix + quoted(raw), expected=error.expected, remedy=error.remedy) from None


def _by_tag(element: Element, known: Collection[str]) -> dict[str, list[Element]]:
    if element.text:
        raise element.fault(
            "text between the elements",  # not shown: it may be a secret that lost its element
            expected=f"{_listed(known)} and no text",
            remedy="Put the text into the element that it belongs to, or into a comment.",
        )
    children: dict[str, list[Element]] = {}
    for child in element.children:
        if child.tag not in known:
            raise child.fault(
                f"unknown element <{child.tag}> in <{element.tag}>",
                expected=_listed(known),
                remedy=suggestion(child.tag, known),
            )
        children.setdefault(child.tag, []).append(child)
    return children


def _refuse_others(element: Element, known: Collection[str]) -> None:
    for name in element.attributes:
        if name not in known:
            raise element.fault(
                f"unknown attribute {quoted(name)}",
                expected=f"the attribute {' and '.join(known)}" if known else "no attributes",
                remedy=suggestion(name, known),
            )


def _refuse_twins(found: list[Element], keys: list[object]) -> None:
    first: dict[object, Element] = {}
    for child, key in zip(found, keys, strict=True):
        twin = first.setdefault(key, child)
        if twin is not child:
            raise child.fault(
                f"a second <{child.tag}> called {quoted(str(key))}",
                expected="names that differ",
                remedy=f"Rename it, or remove it: the first one is in line {twin.at.line}.",
            )


def _listed(known: Collection[str]) -> str:
    return ", ".join(f"<{tag}>" for tag in known) or "nothing"


def _near(name: str, given: Collection[str]) -> str:
    alike = [other for other in given if other.casefold() == name.casefold()]
    return f" ({alike[0]} is spelt differently)" if alike else ""
