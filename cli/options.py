"""Every option of every command, in one table: what it is called, what it does, and where its value goes.

Law: nothing is parsed, shown in a help text or documented that is not here.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Effect(Enum):
    """What becomes of an option."""

    SETTING = "setting"
    """It sets the agent's setting named by `to`."""
    ARGUMENT = "argument"
    """The command itself uses it, under the name `to`."""
    NONE = "no effect"
    """It is known for compatibility, accepted, and does nothing; `help` says why."""
    HELP = "shows the help"
    """The help is shown, and nothing else is done."""
    REFUSED = "refused"
    """It is known, and asking for it is an error that says what to do; `help` says why."""


class Option(NamedTuple):
    """One option of one or more commands. Its name may be written with dashes or underscores."""

    name: str
    commands: tuple[str, ...]
    help: str
    metavar: str = ""
    """What stands for its value; empty: it takes none."""
    default: str = ""
    """What holds without it, in words."""
    to: str = ""
    """Name of the setting or argument; empty: its own, with underscores."""
    effect: Effect = Effect.ARGUMENT
    short: str = ""
    many: bool = False
    """It may be given several times."""
    is_compss: bool = False
    """COMPSs Agents knows it too."""

    @property
    def target(self) -> str:
        """Name under which its value is found."""
        return self.to or self.name.replace("-", "_")


START = ("start",)
SERVED = ("start", "start-service")
"""A service gives the settings of its agents on to each of them."""
SERVICE = ("start-service",)
RUN = ("run",)
"""What is started for one program takes the settings of an agent that services take."""
CALL = ("call",)
CALLED = ("call", "start-service")
GROW = ("resources add", "resources reduce")
RESHAPE = (*GROW, "resources remove", "resources lost")
CHOICE = ("operations", "cancel")
"""Commands for operations that are all of something."""
ASK = (
    "call",
    "resources",
    *RESHAPE,
    "operations",
    "show",
    "result",
    "cancel",
    "logs",
    "status",
    "top",
    "invite",
    "invitations",
    "invitations cancel",
    "join",
    "peers",
    "peers limit",
    "peers rename",
    "peers revoke",
    "peers forget",
)
"""Commands that ask an agent something."""
STATE = (*START, *ASK, "doctor", "token", "token add", "token list", "token revoke", "token show")
PRINT = (*ASK, "demo", "doctor", "token", "token add", "token list", "token revoke", "token show", "login", "logout")


OF_ONE = frozenset(
    {"hostname", "rest-host", "comm-host", "rest-port", "comm-port", "ready-file", "log-dir", "parent", "neighbour"}
)
"""Settings that agents of one machine cannot share, or that a service chooses."""


def _setting(name: str, help_: str, metavar: str = "", default: str = "", **more: object) -> Option:
    commands = (*START, *RUN) if name == "rest-port" else START if name in OF_ONE else (*SERVED, *RUN)
    return Option(name, commands, help_, metavar, default, effect=Effect.SETTING, **more)  # type: ignore[arg-type]


def _idle(name: str, commands: tuple[str, ...], why: str, metavar: str = "", **more: object) -> Option:
    return Option(name, commands, why, metavar, effect=Effect.NONE, is_compss=True, **more)  # type: ignore[arg-type]


_JVM = "There is no Java virtual machine."
_TRACING = "Nothing need be recorded beforehand: `agentd show ID --trace F.json` writes the trace of an operation."

_OWN_SETTINGS = (
    _setting("hostname", "Name of this agent.", "NAME", "the machine's name", is_compss=True),
    _setting("rest-host", "Address on which the user port listens.", "HOST", "127.0.0.1"),
    _setting("comm-host", "Address on which the port for other agents listens.", "HOST", "127.0.0.1"),
    _setting(
        "rest-port",
        "User port; `auto` takes a free one, 0 or less closes it.",
        "PORT",
        "46101; of `run` closed",
        is_compss=True,
    ),
    _setting(
        "comm-port", "Port for agents; `auto` takes a free one, 0 or less closes it.", "PORT", "46102", is_compss=True
    ),
    _setting("rest-name", "Further name that the Host header of a request may bear.", "NAME", many=True),
    _setting("cpu", "CPU units that the agent grants.", "N", "project.xml's MasterNode, else what the machine has"),
    _setting("gpu", "GPU units that the agent grants.", "N", "project.xml's MasterNode, else none"),
    _setting("memory-mib", "Memory that the agent grants.", "MIB", "project.xml's MasterNode, else the machine's"),
    _setting("speed", "Speed of one core, 1 being the reference.", "X", "1"),
    _setting("parent", "Agent above this one, to link with.", "[NAME=]HOST:PORT", many=True),
    _setting("neighbour", "Agent beside this one, to link with.", "[NAME=]HOST:PORT", many=True),
    _setting("allow", "Module outside the users' folders whose public functions may be called.", "MODULE", many=True),
    _setting("allow-binary", "Command that tasks may run, by name or path; '*' for all.", "COMMAND", many=True),
    _setting(
        "storage-impl",
        "Store of persistent objects: its module, or the folder in which storage/api.py lies.",
        "MODULE",
        "storage.api",
    ),
    _setting("storage-conf", "File that the store is configured by.", "FILE"),
    _setting(
        "local-access",
        "What a process of the same user on this device may do without a token: none, read, submit, code, admin.",
        "SCOPE",
        "code",
    ),
    _setting("hop-limit", "Links that a task may cross.", "N", "8"),
    _setting("ready-file", "File that is written, as JSON, when both ports listen.", "PATH"),
    _setting("rest-tls", "Serve the user port over TLS, with the certificate of this device."),
    _setting("first-token", "At the first start make an admin token and print it, once."),
    _setting("insecure", "Listen beyond loopback without TLS and tokens."),
    _setting("environment", "Environment variable that users' code may see.", "NAME", many=True),
    _setting("heartbeat-s", "How often neighbours hear of each other.", "SECONDS", "1"),
    _setting("lease-s", "How long a neighbour is believed alive without news.", "SECONDS", "5"),
    _setting("orphan-ttl-s", "How long work goes on for a neighbour that is lost.", "SECONDS", "600"),
    _setting("grace-s", "How long running work may go on after the agent was asked to stop.", "SECONDS", "30"),
    _setting("queue-limit", "Tasks that may wait; above it submissions are put off (429).", "N", "1000000"),
    _setting("queue-mib", "Arguments that may wait.", "MIB", "512"),
    _setting("refer-kib", "Values from this size on stay with the agent that made them.", "KIB", "256"),
    _setting("shared-memory-mib", "Shared memory that values may fill; beyond it: disk.", "MIB", "a quarter"),
    _setting("unschedulable-after", "Fail an operation that no host could run for so long.", "SECONDS", "never"),
    _setting("keep-operations", "Ended operations to keep at the most.", "N", "100000"),
    _setting("keep-s", "How long ended operations are kept.", "SECONDS", "604800"),
    _setting("keep-mib", "Results to keep at the most.", "MIB", "1024"),
    _setting("output-mib", "What one task may print; the rest is cut.", "MIB", "64"),
    _setting("worker-memory-mib", "Address space of one worker at the most.", "MIB", "no limit"),
    _setting("confine", "Keep the state folder from users' code.", "auto|strict|off", "auto"),
    _setting("pin-cpus", "Bind each worker to the processors that its tasks were granted."),
    _setting("fair-share", "Serve users and neighbours in turn, not by age alone.", "BOOL", "true"),
    _setting("spare-workers", "Workers beyond the cores while tasks wait for tasks.", "N", "2 a core, 4 at least"),
    _setting(
        "reuse-resources-on-block",
        "Whether a task that waits for its tasks lends its cores.",
        "BOOL",
        "true",
        is_compss=True,
    ),
    _setting("input-profile", "What functions take, to begin with: an execution profile.", "PATH", is_compss=True),
    _setting("output-profile", "Where what functions take is written too.", "PATH", is_compss=True),
    _setting("callback-host", "Host that may be called back when an operation ends.", "HOST", many=True),
)

_COMPSS_SETTINGS = (
    _setting(
        "pythonpath", "Folders with users' modules, separated by `:`.", "PATHS", "the current folder", is_compss=True
    ),
    _setting("appdir", "Folder with users' modules; joins --pythonpath.", "PATH", is_compss=True),
    _setting("classpath", "Folders with users' modules; join --pythonpath.", "PATHS", is_compss=True),
    _setting(
        "python-interpreter", "Python that runs users' code.", "PATH", "the one that runs the agent", is_compss=True
    ),
    _setting("comm", "Adaptor by which the nodes of project.xml are reached.", "ADAPTOR", "comm", is_compss=True),
    _setting("project", "project.xml of this device.", "PATH", "none", is_compss=True),
    _setting("resources", "resources.xml that belongs to it.", "PATH", "none", is_compss=True),
    _setting(
        "log-dir", "Folder of the logs; older files go to `old/`.", "PATH", "`log` in the state folder", is_compss=True
    ),
    _setting("log-level", "off, info, api, debug or trace.", "LEVEL", "info", is_compss=True),
    _setting(
        "scheduler",
        "fifo, fifo-data, lifo, ready, load-balancing, data, `package.module:Class`, or a COMPSs class name.",
        "NAME",
        "load-balancing",
        is_compss=True,
    ),
    _setting("scheduler-config-file", "Settings of the scheduler.", "PATH", "none", is_compss=True),
    _setting("summary", "Print at the end what ran.", is_compss=True),
    Option("debug", SERVED, "The same as --log-level debug.", effect=Effect.SETTING, to="log_level=debug", short="d",
           is_compss=True),
)  # fmt: skip

_SERVICE = (
    Option("num-agents", SERVICE, "How many agents.", "N", "1", is_compss=True),
    Option("topology", SERVICE, "Who may use whom: plain, chain or tree.", "WORD", "plain", is_compss=True),
    Option("agent-name-prefix", SERVICE, "What the agents' names begin with.", "TEXT", "127.0.0.", is_compss=True),
    Option("log-dir", SERVICE, "Folder of all logs and states.", "PATH", "~/.COMPSs and the time", is_compss=True),
    Option("base-port", SERVICE, "Ports count from here; `auto` takes free ones.", "PORT", "46000"),
    Option("exec-time", SERVICE, "Stop after so long: N, Ns, Nm or Nh.", "TIME", "never", is_compss=True),
    Option("silent", SERVICE, "Say nothing.", short="s", is_compss=True),
    _idle("verbose", SERVICE, "What agents say is in their logs."),
)  # fmt: skip

_COMPSS_IDLE = (
    _idle("jvm-opts", SERVED, _JVM, "OPTS"),
    _idle("library-path", SERVED, "Set LD_LIBRARY_PATH and name it with --environment.", "PATH"),
    _idle("master-port", SERVED, "There is one port for agents, --comm-port.", "PORT"),
    _idle("python-propagate-virtual-environment", SERVED, "Users' code runs in --python-interpreter.", "BOOL"),
    _idle("python-mpi-worker", SERVED, "Workers are plain processes.", "BOOL"),
    _idle("python-memory-profile", SERVED, "Not recorded; --worker-memory-mib bounds a worker.", "BOOL"),
    _idle("python-worker-cache", SERVED, "Large values stay in shared memory by themselves.", "BOOL"),
    _idle("python-cache-profiler", SERVED, "There is no separate cache.", "BOOL"),
    _idle("tracing", SERVED, _TRACING, "BOOL", short="t"),
    _idle("trace-label", SERVED, _TRACING, "TEXT"),
    _idle("generate-trace", SERVED, _TRACING, "BOOL"),
    _idle("custom-threads", SERVED, _TRACING, "BOOL"),
    _idle("wdir", SERVED, "Each task has a working folder of its own.", "PATH"),
    _idle("coverage", SERVED, "Measure in the users' code itself.", "BOOL"),
)

_TARGET = (
    Option("agent", ASK, "The agent: http(s)://host:port, host:port, or its state folder.", "ADDRESS",
           "the one on this device"),
    Option("agent-node", ASK, "Host of the agent.", "HOST", "localhost with --agent-port", is_compss=True),
    Option("agent-port", ASK, "REST port of the agent.", "PORT", "46101 with --agent-node", is_compss=True),
    Option("token-file", ASK, "File that holds a token for the agent.", "PATH", "its own, or AGENTD_TOKEN"),
    Option("state", STATE, "State folder of the agent on this device.", "FOLDER", "$AGENTD_STATE or the platform's"),
    Option("json", PRINT, "Print JSON."),
)  # fmt: skip

_CALL = (
    Option("wait", CALL, "Wait for the end and print the result.", default="yes; under a compss name no"),
    Option("no-wait", CALL, "Print the id and do not wait."),
    Option("timeout", (*CALL, "result"), "Give up waiting after so long (exit code 124).", "SECONDS", "never"),
    Option("follow", (*CALL, "logs"), "Show progress and output as they come.", short="f"),
    Option("kwargs", CALL, "Read arguments of the form NAME=VALUE as named ones."),
    Option("constraint", CALL, "What it needs of a host, such as computing_units=2.", "NAME=VALUE", many=True),
    Option("name", CALL, "Name of the operation, for people.", "TEXT"),
    Option("key", CALL, "Idempotency key: the same key and call give the same operation.", "TEXT"),
    Option("priority", CALL, "Higher runs earlier.", "N", "0"),
    Option("on-failure", CALL, "When it raises: FAIL, or RETRY, four times in all.", "FAIL|RETRY", "FAIL"),
    Option("max-attempts", CALL, "How often it is started at most when workers or agents are lost.", "N", "3"),
    Option("at-most-once", CALL, "It may not run again when it is in doubt whether it ran."),
    Option("callback", CALL, "Address that is told of the end, in JSON; see --callback-host of `agentd start`.", "URL"),
    Option("run-timeout", CALL, "Stop the operation when it has run for so long.", "SECONDS", "never"),
    Option("master-node", CALL, "The same as --agent-node.", "HOST", to="agent_node", is_compss=True),
    Option("master-port", CALL, "The same as --agent-port.", "PORT", to="agent_port", is_compss=True),
    Option("lang", CALLED, "Language of the operation; PYTHON is supported.", "LANG", "PYTHON", is_compss=True),
    Option("method-name", CALLED, "Function of the module; arguments are text.", "NAME", "main", is_compss=True),
    Option("array", CALLED, "Give all arguments as one list of text.", is_compss=True),
    Option("parameters-array", CALLED, "The same as --array.", to="array", is_compss=True),
    _idle("cei", CALLED, "Nested tasks need no interface in Python.", "CLASS"),
    Option("stop", CALL, "Stop the agent when the operation has ended.", is_compss=True),
    Option("forward-to", CALL, "With --stop: stop these agents first, by their REST ports.", "HOST:PORT;…",
           is_compss=True),
    Option("action", CALL, "What is to be done at the end; the one action is `stop`.", "ACTION", is_compss=True),
    Option("orchestrator", CALL, "Address that is told of the end by a PUT, in COMPSs' XML.", "URL", is_compss=True),
    Option("debug", CALL, "Print what is asked for, on stderr.", short="d", is_compss=True),
    Option("execution-opts", CALL, "Show this help.", effect=Effect.HELP, is_compss=True),
)  # fmt: skip

_RESOURCES = (
    Option("from-xml", ("resources",), "Show what an agent would understand of project.xml and resources.xml.",
           "PROJECT RESOURCES"),
    Option("cpu", GROW, "CPU units.", "N",
           "what the added host reports, if nothing is said of it; else 1, or 0 where GPU or FPGA units are given",
           is_compss=True),
    Option("cpu-name", GROW, "Name of the processor that they belong to.", "NAME",
           "any; under a compss name an added one is MainProcessor", is_compss=True),
    Option("gpu", GROW, "GPU units.", "N", "0", is_compss=True),
    Option("fpga", GROW, "FPGA units.", "N", "0", is_compss=True),
    Option("mem-size", GROW, "Memory in GB.", "GB", "unknown", is_compss=True),
    Option("mem-type", GROW, "Type of the memory.", "TYPE", "unknown", is_compss=True),
    Option("os-type", GROW, "Operating system.", "NAME", "unknown", is_compss=True),
    Option("os-distr", GROW, "Its distribution.", "NAME", "unknown", is_compss=True),
    Option("os-version", GROW, "Its version.", "VERSION", "unknown", is_compss=True),
    Option("comm", ("resources add",), "Adaptor by which the host is reached; a COMPSs class name works too.",
           "ADAPTOR", "comm", to="adaptor", is_compss=True),
    Option("parent", ("resources add",), "The host stands above this agent."),
)  # fmt: skip

_LOOK = (
    Option("in-state", CHOICE, "Only operations in this state: queued, running, done, failed, …; several with commas.",
           "STATE", "all; of `cancel` those that have not ended"),
    Option("function", CHOICE, "Only operations of this function; `*` stands for any signs.", "PATTERN", "all"),
    Option("name", CHOICE, "Only operations of this name; `*` stands for any signs.", "PATTERN", "all"),
    Option("all", ("cancel",), "All operations that have not ended."),
    Option("limit", ("operations",), "How many to list, newest first.", "N", "50"),
    Option("interval", ("top",), "Seconds between two looks.", "SECONDS", "1"),
    Option("count", ("top",), "How often to look.", "N", "without end"),
    Option("tasks", ("show",), "List the operation's tasks."),
    Option("summary", ("show",), "Sum up its tasks by function."),
    Option("graph", ("show",), "Draw its tasks, by state and agent: a picture, or Graphviz' text.", "F.svg|F.dot"),
    Option("trace", ("show",), "Write when its tasks ran, a lane for each worker; open it in Perfetto.", "F.json"),
    Option("output", ("result",), "Write the value to a file: bytes as they are, JSON, or else its pickle.", "FILE",
           short="o"),
    Option("output", ("demo",), "File of the picture.", "FILE", "agentd-demo.png here", short="o"),
    Option("keep", ("demo",), "Leave the agents' folders, with their logs."),
    Option("scope", ("token add",), "What the token allows: read, submit, code or admin.", "SCOPE", "submit"),
)  # fmt: skip

_PAIRING = (
    Option("user", ("invite",), "Invite a person, whose token gets this name, in place of an agent.", "NAME"),
    Option("scope", ("invite",), "What the person may do: read, submit, code or admin.", "SCOPE", "submit"),
    Option("name", ("invite",), "What the agent that comes is to be called here.", "NAME", "its own name"),
    Option("address", ("invite",), "Where the other device can reach this agent.", "HOST[:PORT]",
           "the addresses of this device", many=True),
    Option("expires", ("invite",), "How long the string is good.", "SECONDS", "600"),
    Option("name", ("join",), "What the agent is to be called here.", "NAME", "its own name"),
    Option("no-link", ("join",), "Trust it, and make no link yet."),
    Option("parent", ("join",), "It stands above this agent."),
    Option("allow-function", ("peers limit",), "The only function, or module, that it may have run here.",
           "MODULE[:FUNCTION]", "as it is; at first any", many=True),
    Option("max-tasks", ("peers limit",), "Tasks of its that may wait or run here at a time.", "N",
           "as it is; at first no limit"),
    Option("submit-upward", ("peers limit",), "Whether it may give this agent work at all: yes or no.", "YES|NO",
           "as it is; at first yes"),
    Option("may-stop", ("peers limit",), "Whether it may make this agent stop: yes or no.", "YES|NO",
           "as it is; at first no"),
    Option("lift", ("peers limit",), "Lift all limits first; those named beside it hold."),
    Option("reason", ("peers revoke",), "What the peer is told.", "TEXT"),
)  # fmt: skip

_COMPSS_EVERYWHERE = (*SERVED, *CALL, *RESHAPE)

_COMMON = (
    Option("help", (), "Show this help.", short="h"),
    Option("version", _COMPSS_EVERYWHERE, "Show the version.", short="v", is_compss=True),
    Option("opts", _COMPSS_EVERYWHERE, "Show this help.", effect=Effect.HELP, is_compss=True),
    _idle("flower", _COMPSS_EVERYWHERE, "An ornament."),
    _idle("recipe", _COMPSS_EVERYWHERE, "An ornament."),
)

OPTIONS: tuple[Option, ...] = tuple(
    option
    for group in (
        _OWN_SETTINGS,
        _COMPSS_SETTINGS,
        _COMPSS_IDLE,
        _SERVICE,
        _TARGET,
        _CALL,
        _RESOURCES,
        _LOOK,
        _PAIRING,
        _COMMON,
    )
    for option in group
    if option.commands
)


def options_of(command: str) -> tuple[Option, ...]:
    """List the options of a command."""
    return tuple(option for option in OPTIONS if command in option.commands)
