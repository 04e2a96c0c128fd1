"""The building blocks that both files share, each in every form that it may have."""

import pytest

from resources_xml import Memory, OperatingSystem, Price, Processor, Storage
from tests.unit.resources_xml.resources_xml_samples import adaptors, offered, own, processor, refused


def test_a_processor_needs_only_a_name_and_units():
    """What is not said of a processor is unknown, and its kind is CPU."""
    assert own(processor("cpu", 4)).processors == (Processor(name="cpu", units=4, kind="CPU"),)


def test_a_processor_may_say_everything():
    """Each child of a processor lands in the field of its name."""
    more = (
        "<Architecture>x86_64</Architecture><Speed>3.2</Speed><Type>GPU</Type>"
        "<InternalMemorySize>24</InternalMemorySize>"
        "<ProcessorProperty><Key>cuda</Key><Value>12</Value></ProcessorProperty>"
    )
    assert own(processor("gpu", 2, more)).processors == (
        Processor(
            name="gpu",
            units=2,
            kind="GPU",
            architecture="x86_64",
            speed_ghz=3.2,
            internal_memory_gb=24.0,
            property_name="cuda",
            property_value="12",
        ),
    )


@pytest.mark.parametrize(
    ("written", "kind"), [("CPU", "CPU"), ("gpu", "GPU"), ("Fpga", "FPGA"), ("oThEr", "OTHER"), ("\n CPU \t", "CPU")]
)
def test_the_kind_of_a_processor_is_written_in_any_case(written, kind):
    """The four kinds are known in any case and with space around them."""
    assert own(processor(more=f"<Type>{written}</Type>")).processors[0].kind == kind


@pytest.mark.parametrize("units", ["0", "-1", "4.0", "four", "", "1_000", "٤", "2147483648", "9" * 5000])
def test_units_are_whole_numbers_above_zero(units):
    """No other amount of units makes a processor."""
    refused(own, processor(units=units), element="ComputingUnits", says="a whole number of at least 1")


@pytest.mark.parametrize("units", ["+4", " 4 ", "004", "&#52;"])
def test_units_in_all_their_spellings(units):
    """A sign, zeros in front, space around and character references are all the same number."""
    assert own(processor(units=units)).processors[0].units == 4


@pytest.mark.parametrize(
    ("more", "element", "says"),
    [
        ("<Type>TPU</Type>", "Type", "one of CPU, GPU, FPGA, OTHER"),
        ("<Type>FGPA</Type>", "Type", "Did you mean 'FPGA'"),
        ("<Type/>", "Type", "''"),
        ("<Speed>0</Speed>", "Speed", "a number above 0"),
        ("<Speed>-1</Speed>", "Speed", "leave it out when it is not known"),
        ("<Speed>fast</Speed>", "Speed", "'fast'"),
        ("<Speed>NaN</Speed>", "Speed", "a number above 0"),
        ("<Speed>1e999</Speed>", "Speed", "a number above 0"),
        ("<Speed>3 GHz</Speed>", "Speed", "without a unit"),
        ("<InternalMemorySize>INF</InternalMemorySize>", "InternalMemorySize", "a number above 0"),
        ("<ProcessorProperty><Key>k</Key></ProcessorProperty>", "ProcessorProperty", "exactly one <Value>"),
        ("<ProcessorProperty><Key/><Value>v</Value></ProcessorProperty>", "Key", "not empty"),
        ("<Speed>1</Speed><Speed>2</Speed>", "Speed", "at most one <Speed>"),
        ("<ComputingUnits>1</ComputingUnits>", "ComputingUnits", "exactly one <ComputingUnits>"),
        ("<Cores>1</Cores>", "Cores", "unknown element <Cores>"),
        ("<speed>1</speed>", "speed", "Did you mean 'Speed'? Names are case-sensitive."),
        ("<Architecture><b/></Architecture>", "b", "an element inside <Architecture>"),
        ("<Architecture unit='x'>a</Architecture>", "Architecture", "no attributes"),
        ("loose", "Processor", "text between the elements"),
    ],
)
def test_what_a_processor_may_not_be(more, element, says):
    """Each fault is reported at its own element, with what was expected."""
    refused(own, processor(more=more), element=element, says=says)


def test_a_processor_without_units_is_refused():
    """Units are not guessed."""
    refused(own, '<Processor Name="cpu"/>', element="Processor", says="exactly one <ComputingUnits>")


@pytest.mark.parametrize(
    "start", ["<Processor>", '<Processor Name="">', '<Processor Name="  ">', '<Processor name="a">']
)
def test_a_processor_without_a_name_is_refused(start):
    """The name is an attribute, its spelling counts, and it says something."""
    error = refused(own, f"{start}<ComputingUnits>1</ComputingUnits></Processor>", element="Processor")
    assert "Name" in str(error)


def test_processors_of_one_device_have_different_names():
    """Two entries that nobody could tell apart are refused, with the line of the first."""
    refused(own, processor("a") + processor("a"), element="Processor", says=["called 'a'", "line 1"])


def test_unassigned_means_unknown():
    """The field's word for an unknown text is understood."""
    assert own(processor(more="<Architecture>[unassigned]</Architecture>")).processors[0].architecture is None


def test_units_are_counted_by_kind():
    """Units of one kind add up over the entries; others do not count."""
    hardware = own(processor("a", 4) + processor("b", 2) + processor("g", 1, "<Type>GPU</Type>"))
    assert (hardware.units(), hardware.units("GPU"), hardware.units("FPGA")) == (6, 1, 0)


def test_memory():
    """Memory has a size in GB, and may have a type; unknown memory is None, not 0."""
    assert own("<Memory><Size>16</Size></Memory>").memory == Memory(size_gb=16.0)
    assert own("<Memory><Type>NVM</Type><Size>.5</Size></Memory>").memory == Memory(size_gb=0.5, type="NVM")
    assert own("<Memory><Size>0.5</Size></Memory>").memory_mib == 512
    assert own("").memory_mib is None


@pytest.mark.parametrize("inside", ["", "<Size>0</Size>", "<Size>-1</Size>", "<Size>16GB</Size>", "<Size>1,5</Size>"])
def test_memory_without_a_real_size_is_refused(inside):
    """Memory that is named has a size above zero."""
    error = refused(own, f"<Memory>{inside}</Memory>", element="Size" if inside else "Memory")
    assert "Size" in str(error)


def test_storage_of_a_node_may_leave_out_its_size():
    """In the resources file any part of a storage may be unknown."""
    body = processor() + adaptors()
    storage = offered(f"{body}<Storage><Bandwidth>7</Bandwidth><Type>SSD</Type></Storage>").hardware.storage
    assert storage == Storage(size_gb=None, type="SSD", bandwidth=7)
    assert offered(f"{body}<Storage/>").hardware.storage == Storage()


def test_storage_of_the_own_device_has_a_size():
    """In the project file the size is not left out."""
    assert own("<Storage><Size>100</Size></Storage>").storage == Storage(size_gb=100.0)
    refused(own, "<Storage><Type>SSD</Type></Storage>", element="Storage", says="exactly one <Size>")
    refused(own, "<Storage><Size>1</Size><Bandwidth>1.5</Bandwidth></Storage>", element="Bandwidth")


@pytest.mark.parametrize("name", ["Linux", "Windows", "MacOS", "FreeBSD", "SunOS"])
def test_operating_systems(name):
    """Five systems are known, in their exact spelling."""
    xml = f"<OperatingSystem><Version>1</Version><Distribution>d</Distribution><Type>{name}</Type></OperatingSystem>"
    assert own(xml).operating_system == OperatingSystem(type=name, distribution="d", version="1")


@pytest.mark.parametrize(
    ("inside", "element", "says"),
    [
        ("", "OperatingSystem", "exactly one <Type>"),
        ("<Type>linux</Type>", "Type", "Did you mean 'Linux'"),
        ("<Type>BeOS</Type>", "Type", "one of Linux, Windows, MacOS, FreeBSD, SunOS"),
        ("<Type>Linux</Type><Version>1</Version><Version>2</Version>", "Version", "a second <Version>"),
    ],
)
def test_other_operating_systems_are_refused(inside, element, says):
    """A system that is not known, or not named, is an error with what is known."""
    refused(own, f"<OperatingSystem>{inside}</OperatingSystem>", element=element, says=says)


def test_software_is_compared_in_upper_case():
    """The names of software are folded as the field compares them."""
    xml = "<Software><Application>Python</Application><Application>numPy</Application></Software>"
    assert own(xml).software == {"PYTHON", "NUMPY"}
    refused(own, "<Software/>", element="Software", says="at least one <Application>")


def test_price():
    """A price has minutes above zero, and an amount that may be zero."""
    assert own("<Price><PricePerUnit>0</PricePerUnit><TimeUnit>60</TimeUnit></Price>").price == Price(
        time_unit_min=60, per_unit=0.0
    )


@pytest.mark.parametrize(
    ("inside", "element"),
    [
        ("<TimeUnit>0</TimeUnit><PricePerUnit>1</PricePerUnit>", "TimeUnit"),
        ("<TimeUnit>1.5</TimeUnit><PricePerUnit>1</PricePerUnit>", "TimeUnit"),
        ("<TimeUnit>1</TimeUnit><PricePerUnit>-0.1</PricePerUnit>", "PricePerUnit"),
        ("<TimeUnit>1</TimeUnit>", "Price"),
        ("<PricePerUnit>1</PricePerUnit>", "Price"),
    ],
)
def test_other_prices_are_refused(inside, element):
    """Both parts are needed, within their ranges."""
    refused(own, f"<Price>{inside}</Price>", element=element)


@pytest.mark.parametrize(
    ("inside", "element"),
    [
        ("", "SharedDisks"),
        ("<AttachedDisk Name='d'/>", "AttachedDisk"),
        ("<AttachedDisk><MountPoint>/m</MountPoint></AttachedDisk>", "AttachedDisk"),
        ("<AttachedDisk Name='d'><MountPoint> </MountPoint></AttachedDisk>", "MountPoint"),
        ("<AttachedDisk Name='d'><MountPoint>/m</MountPoint></AttachedDisk>" * 2, "AttachedDisk"),
    ],
)
def test_attached_disks_have_a_name_and_a_mount_point(inside, element):
    """An attachment that says less, or the same disk twice, is refused."""
    refused(own, f"<SharedDisks>{inside}</SharedDisks>", element=element)
