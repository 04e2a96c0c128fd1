"""The shapes of what is said about trust: invitations, logins, peers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec.structs import replace
from pydantic import Field

from agentd.model.peers import MOST_FUNCTIONS, Limits
from agentd.rest.bodies.constraints import Flag, Word
from agentd.rest.bodies.schemas import Asked, Shown

Name = Annotated[str, Field(min_length=1, max_length=254)]


class InvitationAsked(Asked):
    """Who is to be invited."""

    role: Annotated[Literal["peer", "user"], Field(description="An agent, or a person's programs.")] = "peer"
    name: Annotated[
        str, Field(max_length=254, description="Name of the user; of an agent, if it is to have another one here.")
    ] = ""
    scope: Annotated[Literal["read", "submit", "code", "admin"], Field(description="What the user may do.")] = "submit"
    expires_s: Annotated[float | None, Field(gt=0, description="How long it is good; null: 600 s.")] = None
    addresses: list[Word] = Field(
        default_factory=list,
        max_length=8,
        description="`host` or `host:port` at which the guest can reach this agent; empty: found.",
    )


class InvitationShown(Shown):
    """An invitation to this agent."""

    id: str
    role: str
    name: str
    scope: str
    expires_s: Annotated[float, Field(description="How long it is good.")]
    addresses: list[str] = Field(default_factory=list)
    invitation: Annotated[str, Field(description="The string, shown once: whoever has it comes in.")] = ""
    notes: list[str] = Field(default_factory=list, description="What the operator should know.")


class InvitationsShown(Shown):
    """The invitations that are open, without their strings."""

    invitations: list[InvitationShown]


class Joining(Asked):
    """An invitation that another agent made."""

    invitation: Annotated[str, Field(min_length=1, max_length=4096)]
    name: Annotated[str, Field(max_length=254, description="What it is to be called here; empty: its own name.")] = ""
    link: Annotated[Flag, Field(description="Keep a link to it, and offer it work.")] = True
    is_parent: Annotated[Flag, Field(description="It stands above this agent.")] = False


class LimitsChanged(Asked):
    """What a peer may ask of this agent from now on; what is left out stays as it is."""

    functions: list[Word] = Field(
        default_factory=list,
        max_length=MOST_FUNCTIONS,
        description="The only ones: `module:function`, or `module`; empty: any.",
    )
    max_tasks: Annotated[
        int | None, Field(strict=True, ge=0, le=1 << 31, description="Of its that wait or run here; null: any number.")
    ] = None
    submit_upward: Annotated[Flag, Field(description="It may give this agent work at all.")] = True
    may_stop: Annotated[Flag, Field(description="It may make this agent stop.")] = False

    def of(self, limits: Limits) -> Limits:
        """Give the limits that follow from those that hold."""
        asked = Limits(tuple(self.functions), self.max_tasks, self.submit_upward, self.may_stop)
        return replace(limits, **{name: getattr(asked, name) for name in self.model_fields_set})


class PeerChanged(Asked):
    """What is to be otherwise; what is left out stays."""

    name: Name | None = None
    limits: LimitsChanged | None = None


class PeerShown(Shown):
    """An agent that this one was paired with."""

    name: str
    agent_id: str
    fingerprint: Annotated[str, Field(description="sha256 of its certificate, in hexadecimal.")]
    state: Annotated[str, Field(description="revoked, not linked, or the state of the link.")]
    addresses: Annotated[list[str], Field(description="Where it is looked for, the latest first.")]
    paired_at: float
    functions: Annotated[list[str], Field(description="The only ones that it may have run here; empty: any.")]
    max_tasks: int | None
    submit_upward: bool
    may_stop: bool = False
    revoked: Annotated[str, Field(description="Why it is trusted no more.")] = ""
    why_not: Annotated[str, Field(description="Why there is no connection; empty where there is one.")] = ""


class PeersShown(Shown):
    """All peers, revoked ones included."""

    peers: list[PeerShown]


class LoginAsked(Asked):
    """The secret of an invitation for a user."""

    secret: Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2}){16,64}$", description="In hexadecimal.")]


class LoginShown(Shown):
    """What a user gets for an invitation."""

    name: str
    scope: str
    token: Annotated[str, Field(description="Shown this once.")]
    agent: str
