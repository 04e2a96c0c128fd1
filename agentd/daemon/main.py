"""Starting and stopping one agent: makes the parts, joins them, and takes them apart in reverse."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import secrets
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from agentd.adaptors.couriers import Surroundings
from agentd.comm.door import Door
from agentd.comm.ends.wiring import Identity as CommIdentity
from agentd.comm.trust.admission import Admission
from agentd.comm.whereabouts import joined
from agentd.core import events as e
from agentd.core.engine import Engine
from agentd.core.state import Identity
from agentd.core.tasks.census import Census
from agentd.daemon import logs
from agentd.daemon.announcement import announce
from agentd.daemon.capacity import beyond_hardware, own_capacity, read_files
from agentd.daemon.data.pulling import Pulling
from agentd.daemon.data.sharing import Sharing
from agentd.daemon.derived import comm_settings, rules, transfers_of, worker_settings
from agentd.daemon.diary import Diary
from agentd.daemon.effects import Effects
from agentd.daemon.exits import OK, exit_code
from agentd.daemon.housekeeping import keep_house
from agentd.daemon.lane import Lane
from agentd.daemon.memory import collect_seldom
from agentd.daemon.neighbours import links as neighbours
from agentd.daemon.plugins import scheduler
from agentd.daemon.profile import Profile
from agentd.daemon.readings import OFF
from agentd.daemon.settings import Settings
from agentd.daemon.showing.gathering import Gathering
from agentd.daemon.showing.output import RemoteOutput
from agentd.daemon.showing.stdout import Stdout
from agentd.daemon.showing.summary import table
from agentd.daemon.survival import Store, open_store, take_up
from agentd.daemon.trust.setup import own_key, pairing_of
from agentd.daemon.trust.tokens import TokenBook
from agentd.daemon.users.agent import Agent
from agentd.daemon.users.callbacks import Callbacks
from agentd.daemon.users.functions import Functions
from agentd.daemon.users.jobs import Jobs
from agentd.daemon.users.results import Results
from agentd.daemon.users.stopping import Stopping
from agentd.daemon.users.user_port import UserPort
from agentd.model.errors import AgentdError, BrokenInvariant, DiskError
from agentd.store.disk import LocalDisk, StateFolder, open_state
from agentd.store.state import agent_id
from agentd.wire.messages import ResourceChange
from agentd.workers.interpreters import Interpreter, describe
from agentd.workers.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.events import Event
    from agentd.daemon.data.transfers import Transfers
    from schedulers.capacity import Capacity
    from schedulers.view import Scheduler

SERVICES = frozenset(
    {"announce", "arguments", "data", "direct", "lines", "lots", "output", "segments", "sessions", "stop"}
)
"""What this agent answers beside work, as HELLO and HELLO_ACK name it."""

log = logging.getLogger("agentd")


def run(settings: Settings) -> int:
    """Run one agent until it is asked to stop; gives the exit code."""
    try:
        folder = open_state(settings.state)
        try:
            logs.prepare(settings.log_folder)
            logs.begin(settings.log_folder, settings.log_level)
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                return runner.run(Daemon(settings, folder).serve())
        finally:
            folder.close()
    except asyncio.CancelledError:  # asked to stop before it had begun
        return OK
    except (AgentdError, BaseExceptionGroup) as error:
        return exit_code(error)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Use uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class Daemon:
    """One run of one agent."""

    def __init__(self, settings: Settings, folder: StateFolder) -> None:
        self._settings = settings
        self._folder = folder.path
        self._disk = LocalDisk()
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._lane: Lane | None = None
        self._store: Store | None = None
        self._transfers: Transfers | None = None
        self._gathering: Gathering | None = None
        self._callers = itertools.count(1)
        self._first_token = ""

    # --- life -------------------------------------------------------------------------------------------------

    async def serve(self) -> int:
        """Start, run, stop; cancelled, it takes back what was started."""
        loop, start = asyncio.get_running_loop(), asyncio.current_task()
        assert start is not None
        for number in _polite():
            loop.add_signal_handler(number, start.cancel)  # until there is an engine that can be asked
        async with AsyncExitStack() as stack:
            await self._start(stack)
            collect_seldom()
            await self._stopping.wait()
        if isinstance(self._failure, DiskError):
            raise self._failure
        if self._failure is not None:
            raise BrokenInvariant("the engine is in a state that cannot be") from self._failure
        log.log(logs.ALWAYS, "Agent was shutdown")
        return OK

    def _break(self, error: BaseException) -> None:
        """End the daemon: something that must not happen has happened."""
        if self._failure is None:
            self._failure = error
        self._stopping.set()

    def _end(self, agent: Agent) -> None:
        """All is drained: who waits for that is told while the doors are open."""
        agent.over.set()
        self._stopping.set()

    def _stopping_of(self, door: Door) -> Stopping:
        settings = self._settings
        return Stopping(
            door, lambda: self._post(e.DrainRequested(settings.grace_s)), is_open=settings.local_access == "admin"
        )

    def _post(self, event: Event) -> None:
        if self._lane is not None:
            self._lane.post(event)

    async def _start(self, stack: AsyncExitStack) -> None:
        """Make the parts and join them; what is opened is closed in reverse when the stack ends."""
        settings, loop = self._settings, asyncio.get_running_loop()
        policy, remarks = scheduler(settings.scheduler, settings.scheduler_config_file)
        described = read_files(settings)
        capacity = own_capacity(settings, described)
        warnings = [*settings.remarks, *neighbours.remarks(described), *beyond_hardware(capacity)]
        wanted = [*neighbours.named(settings), *neighbours.described(described)]
        sharing, user_port = Sharing(self._folder), UserPort(settings, self._folder, stack)
        workers, read = worker_settings(settings, described), self._open_stored
        supervisor = Supervisor(loop, workers, self._post, segments=sharing.segments, open_stored=read)
        stack.push_async_callback(supervisor.close, 0.0)
        async with asyncio.TaskGroup() as meanwhile:
            meanwhile.create_task(supervisor.start())
            key = meanwhile.create_task(own_key(self._disk, self._folder, settings, warnings))
            users = meanwhile.create_task(asyncio.to_thread(describe, settings.python_interpreter))
            store = self._store = open_store(self._disk, self._folder, stack, sharing, self._post, self._break)
        warnings += [*remarks, *store.alarms]
        engine = self._engine(stack, capacity, policy, store.recovered.epoch + 1)
        tokens = self._tokens(warnings)
        results = Results(store.journal, store.objects)
        jobs, functions = self._jobs(stack, engine), Functions(settings.pythonpath, settings.allow)
        trusted = pairing_of(key.result(), self._disk, self._folder, settings, tokens, store.clock)
        pairing = await stack.enter_async_context(trusted)
        agent = Agent(
            engine=engine,
            clock=store.clock,
            settings=settings,
            functions=functions,
            supervisor=supervisor,
            journal=store.journal,
            objects=store.objects,
            results=results,
            tokens=tokens,
            pairing=pairing,
            uid=os.getuid(),
            warnings=warnings,
            jobs=jobs,
        )
        door = self._make_door(engine.state.identity, agent, tokens, sharing, users.result(), user_port.number)
        await stack.enter_async_context(door)
        await self._join(stack, engine, agent, door, sharing, supervisor, store, results, jobs)
        await take_up(engine, store)
        for event in (*neighbours.unknown(wanted, engine, pairing.security.book), e.ModulesListed(functions.modules())):
            self._post(event)
        await self._open_doors(stack, door, agent, user_port)
        self._listen_for_signals(loop)
        assert self._transfers is not None
        keep_house(self._post, store, functions, agent, self._profile, self._transfers)
        announce(self._disk, self._folder, settings, engine.state.identity, agent, self._first_token)

    async def _join(
        self,
        stack: AsyncExitStack,
        engine: Engine,
        agent: Agent,
        door: Door,
        sharing: Sharing,
        supervisor: Supervisor,
        store: Store,
        results: Results,
        jobs: Jobs,
    ) -> None:
        """Put the engine between what it hears and what it has done."""
        settings, loop = self._settings, asyncio.get_running_loop()
        callbacks = await stack.enter_async_context(Callbacks(agent, jobs, self._post, settings))
        links = await stack.enter_async_context(
            neighbours.Links(door, self._surroundings(engine, sharing, store.clock.now))
        )
        sharing.serve(door, store.objects)
        stack.callback(sharing.close)
        transfers = transfers_of(settings, engine, agent, door, sharing, store, self._disk, self._post)
        stack.callback(transfers.close)
        sharing.pulling = Pulling(engine.state, door, sharing.segments, transfers, sharing.returns)
        stack.callback(sharing.pulling.close)
        effects = Effects(
            supervisor,
            store.journal,
            results,
            door,
            sharing,
            transfers,
            links,
            callbacks,
            agent,
            Diary(log, loop.call_later),
            lambda: self._end(agent),
        )
        lane = Lane(loop, engine, store.clock, effects.perform, effects.flush, self._break)
        output = RemoteOutput(door, supervisor.output, links.output)
        gathering = await stack.enter_async_context(Gathering(output, supervisor.output))
        output.when_here = gathering.after
        agent.join(lane, output, gathering, transfers, self._stopping_of(door))
        supervisor.output.root_of = agent.showing.root_of
        if jobs.is_debug:
            effects.watch_runs(jobs.begin)
            supervisor.output.on_ended = agent.keep_job
        self._lane, self._transfers, self._gathering = lane, transfers, gathering
        door.route(ResourceChange, agent.changed)

    def _surroundings(self, engine: Engine, sharing: Sharing, now: Callable[[], float]) -> Surroundings:
        identity, beat_s = engine.state.identity, self._settings.heartbeat_s
        return Surroundings(self._post, lambda: next(self._callers), sharing.inline, now, identity.agent_id, beat_s)

    def _engine(self, stack: AsyncExitStack, capacity: Capacity, policy: Scheduler, epoch: int) -> Engine:
        boot, agent = secrets.token_hex(8), agent_id(self._disk, self._folder)
        ids = itertools.count(random.SystemRandom().getrandbits(62) + 1)
        identity = Identity(self._settings.hostname, agent, boot, epoch)
        engine = Engine(identity, capacity, policy, ids, rules(self._settings), iter(_hidden_number, 0))
        self._profile = Profile(self._disk, self._folder, self._settings, engine.state.shapes)
        self._profile.take_up()
        stack.callback(self._profile.write)
        return engine

    def _tokens(self, warnings: list[str]) -> TokenBook:
        """Open the token book, with a token for this agent's own user in it."""
        tokens = TokenBook(self._folder)
        if self._settings.first_token:
            self._first_token = tokens.ensure_first()
        tokens.ensure_owner()
        warnings += [tokens.fault] if tokens.fault else []
        return tokens

    def _jobs(self, stack: AsyncExitStack, engine: Engine) -> Jobs:
        stdout, settings = Stdout(), self._settings
        stack.callback(stdout.close)
        if settings.summary:
            census = engine.state.census = Census()
            stack.callback(lambda: stdout.say(table(census)))
        return Jobs(settings.log_folder / logs.JOBS, stdout.say, is_debug=settings.log_level in {"debug", "trace"})

    def _open_stored(self, number: int) -> int:
        """Give a descriptor of a stored object."""
        assert self._store is not None
        return self._store.objects.open(number)[0]

    def _make_door(
        self,
        identity: Identity,
        agent: Agent,
        tokens: TokenBook,
        sharing: Sharing,
        users: Interpreter,
        user_port: int,
    ) -> Door:
        settings, security = self._settings, agent.pairing.security
        own = CommIdentity(
            name=identity.name,
            agent_id=identity.agent_id,
            boot=identity.boot,
            epoch=identity.epoch,
            python=users.python,
            libraries=users.libraries,
            services=SERVICES,
            user_port=user_port,
        )
        door = Door(
            own,
            comm_settings(settings),
            post=sharing.incoming(self._declared(agent)),
            admit=agent.admit,
            admission=Admission(
                uid=os.getuid(),
                local_access=settings.local_access,
                identify=tokens.identify,
                security=security,
            ),
            number=lambda: next(self._callers),
            random=random.SystemRandom(),
            security=security,
            inline=sharing.inline,
            on_guest=agent.pairing.receive,
            on_met=agent.pairing.met,
            held=agent.showing.held_for,
            is_full=agent.is_nearly_full,
        )
        tokens.on_changed = partial(asyncio.get_running_loop().call_soon, door.look_at_tokens)
        agent.pairing.serve(agent, door, lambda: own.hello("guest", "", 0))
        return door

    def _declared(self, agent: Agent) -> Callable[[Event], None]:
        def post(event: Event) -> None:
            if type(event) is e.LinkClosed and self._transfers is not None:
                self._transfers.link_closed(event.link)
            elif type(event) is e.EndsReceived and self._gathering is not None:
                self._gathering.ended(event)
            elif type(event) is e.LinkOpened and self._gathering is not None:
                self._gathering.linked(event.neighbour)
            self._post(agent.declared(event) if type(event) is e.TemplatesDeclared else event)

        return post

    async def _open_doors(self, stack: AsyncExitStack, door: Door, agent: Agent, users: UserPort) -> None:
        """Open Comm first: it serves while the user port is still being loaded."""
        settings = self._settings
        door.open_unix(self._folder / "agent.sock")
        if settings.comm_port != OFF:
            agent.comm = joined(*await door.open_tcp(settings.comm_host, settings.comm_port))
        await users.open(stack, agent)

    # --- around it --------------------------------------------------------------------------------------------

    def _listen_for_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        asked = itertools.count()

        def asked_to_stop() -> None:
            grace = self._settings.grace_s if next(asked) == 0 else 0.0
            log.info("asked to stop: running work may go on for %g s", grace)
            self._post(e.DrainRequested(grace))

        for number in (*_polite(), signal.SIGINT):
            loop.add_signal_handler(number, asked_to_stop)


def _polite() -> list[signal.Signals]:
    """Name the signals by which an agent is asked to stop; the end of its terminal only if nobody said otherwise."""
    is_bound = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # as nohup(1) would have it
    return [signal.SIGTERM, signal.SIGHUP] if is_bound else [signal.SIGTERM]


def _hidden_number() -> int:
    """Make the number of an object: nobody guesses it who was not told of it."""
    return secrets.randbits(62) + 1
