"""A task that is a request."""

from agentd.api.decorators.web import http

Http = http
HTTP = http

__all__ = ["HTTP", "Http", "http"]
