"""Texts that are wrong on purpose: each is refused early, with a place, and without harm."""

import pytest

from resources_xml import ResourcesXmlError, read_project, read_resources
from resources_xml.parse import (
    MAX_ATTRIBUTES,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    parse,
)
from tests.unit.resources_xml.resources_xml_samples import processor, project, refused

BOMB = """<?xml version="1.0"?><!DOCTYPE Project [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
<Project><MasterNode>&c;</MasterNode></Project>"""


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE Project SYSTEM "file:///etc/passwd"><Project/>',
        '<!DOCTYPE Project [<!ENTITY x SYSTEM "file:///etc/passwd">]><Project>&x;</Project>',
        '<!DOCTYPE p [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><Project/>',
        "<!DOCTYPE Project><Project><MasterNode/></Project>",
    ],
)
def test_document_types_are_refused(text):
    """No declaration is read, so no entity is made, expanded or fetched."""
    refused(read_project, text, element="", says="no <!DOCTYPE>")


def test_entities_are_refused_and_character_references_are_not():
    """Only what XML itself defines is replaced."""
    refused(read_project, project("&unknown;"), element="Project", says="undefined entity")
    found = read_project(project(master=f"<MasterNode>{processor('a&amp;b&#x21;')}</MasterNode>"))
    assert found.master_node.hardware.processors[0].name == "a&b!"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no xml",
        "<Project>",
        "<Project></project>",
        "<Project/>x",
        "\0",
        "\ud800",
        b"\xff\xfe",
        "<a b=1/>",
        "<a/><b/>",
    ],
)
def test_what_is_not_well_formed_is_refused_with_its_place(text):
    """A text that is no XML says where it stops being so."""
    with pytest.raises(ResourcesXmlError, match="not well-formed") as caught:
        read_project(text)
    assert caught.value.line >= 1
    assert caught.value.column >= 1


def test_the_enclosing_element_is_named_when_a_tag_is_not_closed():
    """A missing end tag is reported where it is noticed, with what was open."""
    error = refused(read_project, "<Project>\n<MasterNode>\n</Project>", element="MasterNode", says="mismatched tag")
    assert error.line == 3


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 2 * MAX_BYTES])
@pytest.mark.parametrize("kind", [str, bytes])
def test_large_files_are_refused_unread(size, kind):
    """The size is looked at before anything else."""
    text = "<" + "a" * (size - 1)
    refused(read_resources, text if kind is str else text.encode(), element="", says="too large")


def test_the_size_is_counted_in_bytes():
    """Characters that take several bytes count as such."""
    refused(read_resources, "é" * (MAX_BYTES // 2 + 1), element="", says="too large")


def test_the_largest_file_is_read():
    """A file just within the limit of size is not refused for its size."""
    text = "<ResourcesList>" + " " * 10_000 + "</ResourcesList>"
    assert read_resources(f"{text}<!--{'x' * (MAX_BYTES - len(text) - 7)}-->") == read_resources(text)


def test_depth_elements_attributes_and_texts_are_limited():
    """Each limit stops the parser at the place where it is passed."""
    deep = "<a>" * (MAX_DEPTH + 1) + "</a>" * (MAX_DEPTH + 1)
    refused(parse, deep, "x", element="a", says=f"at most {MAX_DEPTH} levels")
    refused(parse, f"<a>{'<b/>' * MAX_ELEMENTS}</a>", "x", element="a", says=f"at most {MAX_ELEMENTS} elements")
    many = " ".join(f'a{index}="1"' for index in range(MAX_ATTRIBUTES + 1))
    refused(parse, f"<a><b {many}/></a>", "x", element="a", says=f"at most {MAX_ATTRIBUTES} attributes")
    long = "x" * (MAX_TEXT_CHARS + 1)
    refused(parse, f"<a><b c='{long}'/></a>", "x", element="a", says="characters in an attribute")
    refused(parse, f"<a><b>{long}</b></a>", "x", element="b", says="characters of text")
    refused(parse, f"<a><{'b' * (MAX_NAME_CHARS + 1)}/></a>", "x", element="a", says="characters in a name")
    refused(parse, f"<a><b {'c' * (MAX_NAME_CHARS + 1)}=''/></a>", "x", element="a", says="characters in a name")
    assert parse(f"<a>{long[1:]}</a>", "x").text == long[1:]


@pytest.mark.timeout(120)
def test_hostile_files_are_refused_in_little_time():
    """The worst that fits within the limits is done within seconds."""
    for text in [
        "<a>" * (MAX_BYTES // 3),
        "<a b='" + "&#65;" * (MAX_BYTES // 5 - 3) + "'/>",
        "<a>" + "&amp;" * 800_000,
    ]:
        with pytest.raises(ResourcesXmlError):
            read_project(text)


@pytest.mark.parametrize(
    ("declared", "codec"),
    [("UTF-8", "utf-8"), ("utf-16", "utf-16"), ("ISO-8859-1", "latin-1"), ("us-ascii", "ascii")],
)
def test_bytes_come_in_the_encodings_of_xml(declared, codec):
    """Bytes are read in the encoding that they declare."""
    name = "cpu" if codec == "ascii" else "cpu-é"
    text = f"<?xml version='1.0' encoding='{declared}'?>" + project(
        master=f"<MasterNode>{processor(name)}</MasterNode>"
    )
    assert read_project(text.encode(codec)).master_node.hardware.processors[0].name == name


@pytest.mark.parametrize("declared", ["utf-7", "cp037", "rot13", "idna", "no-such", "x" * 200])
def test_other_encodings_are_refused_for_bytes(declared):
    """No codec outside the parser is ever looked up; a str needs none, whatever it declares."""
    text = f"<?xml version='1.0' encoding='{declared}'?>{project()}"
    refused(read_project, text.encode(), element="", says="Save the file as UTF-8")
    assert read_project(text) == read_project(project())


def test_schema_locations_comments_and_instructions_mean_nothing():
    """What only other tools read is passed over."""
    root = "<Project xmlns:xsi='u' xsi:noNamespaceSchemaLocation='p.xsd' xml:lang='en'>"
    start = f"<?xml-stylesheet href='x'?><!-- c -->{root}"
    assert read_project(f"{start}<MasterNode/><!-- d --></Project>") == read_project(project())


def test_prefixed_elements_are_unknown():
    """The format has no namespace, so an element of one is not of the format."""
    refused(read_project, "<p:Project xmlns:p='u'/>", element="p:Project")
    refused(read_project, project("<x:Http xmlns:x='u'/>"), element="x:Http", says="Did you mean 'Http'")


def test_text_that_lost_its_element_is_not_shown():
    """A stray text may be a secret: the message has its place, not its words."""
    error = refused(read_project, project("hush-hush"), element="Project", says="text between")
    assert "hush" not in str(error)


def test_messages_are_one_short_line_without_control_characters():
    """Whatever the file says, its message can be printed on a terminal."""
    error = refused(
        read_project,
        project(f"<Http BaseUrl='u'><LimitOfTasks>\x9b31m\n{'x' * 9000}</LimitOfTasks></Http>"),
        element="LimitOfTasks",
    )
    assert str(error).isprintable()
    assert len(str(error)) < 400
