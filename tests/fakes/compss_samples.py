"""Documents as COMPSs' programs and scripts send them."""

from __future__ import annotations

TYPED = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xs="http://www.w3.org/2001/XMLSchema"'


def value(text: str, kind: str = "string", java: str = "String", place: int = 0) -> str:
    """Write an `element`."""
    return (
        f'<element paramId="{place}"><className>java.lang.{java}</className>'
        f'<value {TYPED} xsi:type="xs:{kind}">{text}</value></element>'
    )


def array(*items: str) -> str:
    """Write an `array` of elements or arrays."""
    return (
        '<array paramId="0"><componentClassname>java.lang.String</componentClassname>'
        f"<values>{''.join(items)}</values></array>"
    )


def parameter(kind: str, inner: str, *, direction: str = "IN", more: str = "", name: str = "") -> str:
    """Write a `params`."""
    return (
        f'<params paramId="0"><direction>{direction}</direction><type>{kind}</type>'
        f"<stdIOStream>UNSPECIFIED</stdIOStream><paramName>{name}</paramName><prefix></prefix>"
        f"<contentType></contentType>{more}{inner}</params>"
    )


def start(*parameters: str, module: str = "sample", method: str = "echo", lang: str = "PYTHON", more: str = "") -> str:
    """Write a `startApplication`."""
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<startApplication>\n'
        f"<lang>{lang}</lang><className>{module}</className><hasResult>false</hasResult>"
        f"<methodName>{method}</methodName>{more}<parameters>{''.join(parameters)}</parameters></startApplication>"
    )


PROCESSOR = (
    "<processor><name>MainProcessor</name><type>CPU</type><architecture>[unassigned]</architecture>"
    "<computingUnits>4</computingUnits><internalMemory>-1.0</internalMemory><propName>[unassigned]</propName>"
    "<propValue>[unassigned]</propValue><speed>-1.0</speed></processor>"
)
DESCRIPTION = (
    f"<processors>{PROCESSOR}<processor><name>gpu</name><type>GPU</type><computingUnits>1</computingUnits></processor>"
    "</processors><memorySize>16.0</memorySize><memoryType>[unassigned]</memoryType><storageSize>-1.0</storageSize>"
    "<storageType>[unassigned]</storageType><operatingSystemDistribution>[unassigned]</operatingSystemDistribution>"
    "<operatingSystemType>Linux</operatingSystemType><operatingSystemVersion>[unassigned]</operatingSystemVersion>"
    "<appSoftware>numpy</appSoftware><hostQueues>short</hostQueues>"
    "<pricePerUnit>-1.0</pricePerUnit><priceTimeUnit>-1</priceTimeUnit><value>0.0</value>"
    "<wallClockLimit>-1</wallClockLimit>"
)
COMM = "es.bsc.compss.agent.comm.CommAgentAdaptor"


def added(name: str = "beta", adaptor: str = COMM, properties: str = "", description: str = DESCRIPTION) -> str:
    """Write a `newResource`."""
    port = properties or "<Property><Name>Port</Name><Value>46102</Value></Property>"
    return (
        f"<newResource><externalResource><name>{name}</name><description>{description}</description>"
        f'<adaptor>{adaptor}</adaptor><resourceConf {TYPED} xsi:type="ResourcesExternalAdaptorProperties">'
        f"{port}</resourceConf></externalResource></newResource>"
    )


def reduced(name: str = "beta", units: int = 1) -> str:
    """Write a `reduceNode`."""
    processor = f"<processor><type>CPU</type><computingUnits>{units}</computingUnits></processor>"
    resources = f"<resources><processors>{processor}</processors></resources>"
    return f"<reduceNode><workerName>{name}</workerName>{resources}</reduceNode>"


def node(root: str, name: str = "beta") -> str:
    """Write a `removeNode` or a `lostNode`."""
    return f"<{root}><workerName>{name}</workerName></{root}>"


ENDED = (
    "<endApplication><jobId>17</jobId><endStatus>OK</endStatus><results><locations>/tmp/x</locations></results>"
    "<profile><taskCreated>1</taskCreated></profile></endApplication>"
)

ACTION = "<action><actionName>stop</actionName><forwardTo><agent>http://a:1</agent></forwardTo></action>"
TOLD = "<orchestrator><host>http://h</host><method>PUT</method><operation>x</operation></orchestrator>"
BODIES: dict[str, tuple[bytes, ...]] = {
    path: tuple(text.encode() for text in texts)
    for path, texts in {
        "/COMPSs/startApplication": (
            start(parameter("STRING_64_T", value("Izc=")), more=ACTION),
            start(parameter("INT_T", value("5", "int", "Integer"))),
            start(parameter("DOUBLE_T", value("1.5", "double", "Double"))),
            start(parameter("OBJECT_T", array(array(value("b"))))),
            start(more=TOLD),
        ),
        "/COMPSs/endApplication": (ENDED,),
        "/COMPSs/addResources": (
            added(),
            added(properties="<MinPort>1</MinPort><MaxPort>2</MaxPort>").replace("externalR", "nioR"),
        ),
        "/COMPSs/removeResources": (reduced(),),
        "/COMPSs/removeNode": (node("removeNode"),),
        "/COMPSs/lostNode": (node("lostNode"),),
    }.items()
}
"""Good bodies of each path that takes one."""
