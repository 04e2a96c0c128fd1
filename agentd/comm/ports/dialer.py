"""Keeps one link to an address alive: dial, wait for its end, wait a little, dial again."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from random import Random

from agentd.comm.carrying.carriers import TcpCarrier
from agentd.comm.carrying.tls_carrier import TlsCarrier
from agentd.comm.link import Link
from agentd.comm.settings import CommSettings
from agentd.comm.trust.security import Security
from agentd.comm.whereabouts import split
from agentd.model.errors import AgentdError, ConfigError, Unreachable

_PATIENT = frozenset({"version", "role", "identity", "forbidden", "clash", "revoked"})
"""Refusals that another try will not change soon."""


class _Unpaired(AgentdError):
    """Somebody answers whom we do not trust; that changes when people pair the two."""


class Dialer:
    """Dials one neighbour for as long as it is wanted.

    `address` is where the operator says that it is; `ways` gives all addresses at which it may be, to be tried in turn.
    `make_link` makes the link that will be carried, and `greet` says HELLO on it, told by which of our hosts
    we are seen. `on_failed` is told why a connection did not come about, each time that the reason is another one, and
    again now and then while people have to act.
    """

    def __init__(
        self,
        name: str,
        address: str,
        settings: CommSettings,
        security: Security,
        random: Random,
        *,
        ways: Callable[[], tuple[str, ...]],
        make_link: Callable[[str, Callable[[Link], None]], Link],
        greet: Callable[[Link, str], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._name = name
        self.address = address
        self._settings = settings
        self._security = security
        self._random = random
        self._ways = ways
        self._make_link = make_link
        self._greet = greet
        self._on_failed = on_failed
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._last_reason = ""
        self._hurried = asyncio.Event()

    def rest(self) -> None:
        """Dial no more for now: there is a connection."""
        self._wanted.clear()
        self._last_reason = ""

    def go_on(self) -> None:
        """Dial again: there is no connection."""
        self._wanted.set()

    def hurry(self) -> None:
        """Try again at once: what kept it from succeeding may have changed."""
        self._hurried.set()

    async def run(self) -> None:
        """Dial until cancelled; a cancelled attempt leaves no connection behind.

        It ends by itself where no attempt could ever succeed: the address is beyond this device, and there is no TLS.
        """
        failures = 0
        while True:
            await self._wanted.wait()
            try:
                link = await self._one_link()
            except ConfigError as error:
                self._on_failed(str(error))
                return
            except Unreachable as error:
                self._failed(str(error))
                failures += 1
                await self._back_off(failures)
                continue
            except _Unpaired as error:
                self._on_failed(str(error))
                await self._pause(self._settings.backoff_most_s)
                continue
            failures = 0 if link.was_open else failures + 1
            if link.closed_for in _PATIENT:
                await self._pause(self._settings.backoff_most_s)
            else:
                await self._back_off(failures)

    async def _one_link(self) -> Link:
        """Make one connection and give its link when that has ended.

        Raises:
            Unreachable: nobody answers there.
            _Unpaired: somebody does whom we do not trust.
            ConfigError: the address must not be dialled.
        """
        address, carrier = await self._connect()
        gone = asyncio.Event()
        link = self._make_link(address, lambda _: gone.set())
        link.certificate = carrier.certificate
        link.dialled = carrier.peer
        link.carried_by(carrier)
        carrier.carry_for(link)
        link.expect_open()
        self._greet(link, carrier.ends[1][0])
        try:
            await gone.wait()
        finally:
            if not gone.is_set():
                link.close("closed", "the agent closes this connection")
        if not link.was_open:
            tell = self._on_failed if link.closed_for in _PATIENT else self._failed
            tell(self._unanswered(link, carrier))
        return link

    async def _connect(self) -> tuple[str, TcpCarrier | TlsCarrier]:
        """Try all addresses at which the neighbour may be."""
        failures: list[Unreachable | _Unpaired] = []
        for address in dict.fromkeys(self._ways()):
            try:
                return address, await self._connect_to(address)
            except (Unreachable, _Unpaired) as error:
                failures.append(error)
        if not failures:
            raise Unreachable(f"it has to dial us: no address of {self._name} is known (Host=ADDRESS names one)")
        raise type(failures[0])("; ".join(map(str, failures)))

    async def _connect_to(self, address: str) -> TcpCarrier | TlsCarrier:
        host, port = split(address)
        context = self._security.for_dialling(host, self._name, address)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.dial_s):
                # By itself first: within a connection that is given up, uvloop leaves its failure for nobody to take.
                await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                if context is not None:
                    carrier = await self._agree(context, host, port)
                    self._check(carrier, address)
                    return carrier
                return (await loop.create_connection(TcpCarrier, host, port))[1]
        except TimeoutError as error:
            raise Unreachable(f"{address} does not answer within {self._settings.dial_s:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise self._unpaired(address) from error
        except socket.gaierror as error:
            words = f"nothing is known of a host {host}: it has to dial us, or to be added with Host=ADDRESS"
            raise Unreachable(words) from error
        except OSError as error:
            raise Unreachable(f"{address} cannot be reached: {error.strerror or error}") from error

    async def _agree(self, context: ssl.SSLContext, host: str, port: int) -> TlsCarrier:
        """Make a connection and agree on keys.

        Raises:
            OSError: nobody answers, or somebody who is not trusted.
        """
        sock = await _connected(host, port)
        try:
            carrier = TlsCarrier(sock, context, host, linger_s=self._settings.linger_s)
        except BaseException:
            sock.close()
            raise
        try:
            await carrier.agreed()
        except BaseException:
            carrier.abort()
            raise
        return carrier

    def _check(self, carrier: TlsCarrier, address: str) -> None:
        """Insist on the very agent that is meant, before a word is said.

        Raises:
            _Unpaired: it is another one.
        """
        certificate = carrier.certificate
        if certificate is None or self._security.dialled(certificate, self._name) is None:
            carrier.abort()
            raise self._unpaired(address)

    def _unpaired(self, address: str) -> _Unpaired:
        if self._security.book.named(self._name) is not None:
            return _Unpaired(
                f"{address} is not {self._name}: it shows another certificate than the one that was pinned; "
                "somebody is in between, or it was set up anew: then pair the two devices anew"
            )
        return _Unpaired(
            f"the agent at {address} is not paired with this one: run `agentd invite` on that device, then "
            "`agentd join` with the string that it prints on this one"
        )

    def _unanswered(self, link: Link, carrier: TcpCarrier | TlsCarrier) -> str:
        """Say why a connection did not come about."""
        if carrier.is_secret and not link.closed_for:
            # TLS 1.3 lets the dialler believe that all is well until the other end has looked at its certificate.
            return (
                f"{link.where} ended the connection without an answer: it does not know this agent's certificate; "
                "pair the two devices anew (agentd invite, agentd join)"
            )
        return link.closed_reason

    def _failed(self, reason: str) -> None:
        if reason != self._last_reason:
            self._last_reason = reason
            self._on_failed(reason)

    async def _back_off(self, failures: int) -> None:
        """Wait: twice as long after each failure, up to the limit, by chance up to half of that less."""
        settings = self._settings
        longest_s = min(settings.backoff_first_s * 2 ** min(failures, 16), settings.backoff_most_s)
        await self._pause(longest_s * self._random.uniform(0.5, 1.0))

    async def _pause(self, seconds: float) -> None:
        self._hurried.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
        except TimeoutError:
            return


async def _connected(host: str, port: int) -> socket.socket:
    """Connect to the first address of a host at which somebody answers.

    Raises:
        OSError: nobody does.
    """
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        except OSError as error:
            failure = error
            continue
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure
