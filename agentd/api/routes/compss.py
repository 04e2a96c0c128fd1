"""A call in the XML of COMPSs, for what only that door knows: what is to be done when an operation has ended."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from xml.sax.saxutils import escape

from agentd.api.routes.requests import Answer, Request
from agentd.model.errors import AgentdError

XML = "application/xml"
_TYPED = (
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xs="http://www.w3.org/2001/XMLSchema" '
    'xsi:type="xs:string"'
)


def start_application(
    module: str,
    method: str,
    arguments: Sequence[str],
    *,
    as_array: bool = False,
    stops: bool = False,
    forward_to: Sequence[str] = (),
    orchestrator: str = "",
) -> Request[str]:
    """Ask for a call of a Python function with arguments of text; the answer is the number of the operation.

    Args:
        module: the module, or a class in one.
        method: its function.
        arguments: texts.
        as_array: give them as one list.
        stops: the agent is to stop at the end.
        forward_to: addresses of other agents that are to stop before it.
        orchestrator: address that is told of the end by a PUT; not together with `stops`.
    """
    body = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><startApplication><lang>PYTHON</lang>'
        f"<className>{escape(module)}</className><methodName>{escape(method)}</methodName><hasResult>false</hasResult>"
        f"{_hook(stops, forward_to, orchestrator)}{_parameters(arguments, as_array)}</startApplication>"
    )
    return Request("PUT", "/COMPSs/startApplication", _number, body.encode(), {"content-type": XML})


def _number(answer: Answer) -> str:
    text = answer.body.decode("ascii", "replace").strip()
    if not text.lstrip("-").isdecimal():
        raise AgentdError(f"the agent answered {text[:80]!r} where the number of an operation was expected")
    return text


def _hook(stops: bool, forward_to: Sequence[str], orchestrator: str) -> str:
    if orchestrator:
        return f"<orchestrator><host>{escape(orchestrator)}</host><method>PUT</method></orchestrator>"
    if not stops:
        return ""
    agents = "".join(f"<agent>{escape(agent)}</agent>" for agent in forward_to)
    return f"<action><actionName>stop</actionName><forwardTo>{agents}</forwardTo></action>"


def _parameters(arguments: Sequence[str], as_array: bool) -> str:
    if as_array:
        items = "".join(_element(place, text) for place, text in enumerate(arguments))
        inner = f"<componentClassname>java.lang.String</componentClassname><values>{items}</values>"
        array = f'<array paramId="0">{inner}</array>'
        return "<parameters>" + _parameter(0, "OBJECT_T", "args", array) + "</parameters>"
    rows = (_parameter(place, "STRING_64_T", "", _element(place, text)) for place, text in enumerate(arguments))
    return f"<parameters>{''.join(rows)}</parameters>"


def _parameter(place: int, kind: str, name: str, value: str) -> str:
    return (
        f'<params paramId="{place}"><direction>IN</direction><type>{kind}</type><stdIOStream>UNSPECIFIED</stdIOStream>'
        f"<paramName>{name}</paramName><prefix></prefix><contentType></contentType>{value}</params>"
    )


def _element(place: int, text: str) -> str:
    marked = base64.b64encode(f"#{text}".encode()).decode("ascii")
    return (
        f'<element paramId="{place}"><className>java.lang.String</className><value {_TYPED}>{marked}</value></element>'
    )
