"""Judges what the machine allows: watches, descriptors, versions, the port, and the server that runs."""

import attrs

from observatory.core.finding import Finding, number

LEAST_WATCHES = 524_288  # what to raise the limit to; it costs memory only when used
QUEUE_FLOOR = 1024  # events that may wait; below, any burst is a rescan
SYSCTL_FILE = "/etc/sysctl.d/60-observatory.conf"
SQLITE_FLOOR = (3, 24, 0)  # upserts


@attrs.frozen
class InotifyFacts:
    """Limits of this user, and what other programs of this user have taken."""

    max_user_watches: int
    max_user_instances: int
    max_queued_events: int
    watches_taken: int = 0
    instances_taken: int = 0


@attrs.frozen
class PortFacts:
    """Whether the port is free. error: why it cannot be opened. owner: who has it, in words."""

    host: str
    port: int
    error: str | None = None
    owner: str | None = None
    ours: bool = False


@attrs.frozen
class ServerFacts:
    """The process that writes the data directory. silence: why it does not answer."""

    pid: int
    url: str | None
    version: str = ""
    uptime_s: float = 0.0
    sick: tuple[tuple[str, str], ...] = ()  # component, details
    silence: str | None = None


@attrs.frozen
class ConfigFacts:
    """Where settings come from. error: why the file or a variable cannot be used."""

    file: str
    exists: bool
    given: tuple[tuple[str, str], ...] = ()  # setting and where it is from; the others are defaults
    unknown: tuple[str, ...] = ()  # OBSERVATORY_ variables that are no setting
    claude_config_dir: str | None = None
    roots_given: bool = False
    error: str | None = None


def judge_config(facts: ConfigFacts) -> list[Finding]:
    """Settings in force, unknown ones, and what CLAUDE_CONFIG_DIR does."""
    found: list[Finding] = []
    if facts.error is not None:
        cure = "correct it; until then no server starts, and what follows is about the defaults"
        found.append(Finding("fail", "config", facts.error, cure))
    else:
        places = dict.fromkeys(where for _, where in facts.given)
        names = {place: ", ".join(name for name, where in facts.given if where == place) for place in places}
        given = "; ".join(f"{named} from {place}" for place, named in names.items())
        file = facts.file if facts.exists else f"{facts.file} does not exist"
        found.append(Finding("ok", "config", f"{file}; {given or 'all settings are defaults'}"))
    cure = "see docs/operations.md, Settings"
    found.extend(Finding("warn", "config", f"{name} is no setting", cure) for name in facts.unknown)
    if facts.claude_config_dir is not None:
        effect = "is set aside by the roots that were given" if facts.roots_given else "replaces both default roots"
        found.append(Finding("ok", "config", f"CLAUDE_CONFIG_DIR={facts.claude_config_dir} {effect}"))
    return found


def judge_versions(python: str, sqlite: tuple[int, ...], system: str, own: str) -> list[Finding]:
    """What it all runs on."""
    shown = ".".join(map(str, sqlite))
    if sqlite < SQLITE_FLOOR:
        wanted = ".".join(map(str, SQLITE_FLOOR))
        return [
            Finding("fail", "versions", f"SQLite {shown} is too old", f"use a Python with SQLite {wanted} or later")
        ]
    return [Finding("ok", "versions", f"observatory {own}, Python {python}, SQLite {shown}, {system}")]


def judge_inotify(facts: InotifyFacts | None, needed: int, server_watches: bool) -> list[Finding]:
    """Watches against directories.

    Args: facts: None where there is no inotify. server_watches: a server has its watches already, not counted in
    `facts`; they are in use and not in question.
    """
    if facts is None:
        return [Finding("ok", "watches", "no inotify on this system: watchfiles or polling is used")]
    free = facts.max_user_watches - facts.watches_taken
    text = f"{number(needed, 'directory', 'directories')} to watch, {free:,} of {facts.max_user_watches:,} watches free"
    found = [Finding("ok", "watches", text)]
    if needed > free:
        cure = "the rest is polled, up to 2 s late; raise the limit, and keep it over restarts:"
        wanted = max(LEAST_WATCHES, 2 * (needed + facts.watches_taken))
        found = [Finding("warn", "watches", text, cure, _sysctl("max_user_watches", wanted))]
    if facts.instances_taken >= facts.max_user_instances and not server_watches:
        text = f"all {facts.max_user_instances:,} inotify instances of this user are in use: everything is polled"
        cure = "raise the limit, and keep it over restarts:"
        commands = _sysctl("max_user_instances", max(1024, 2 * facts.max_user_instances))
        found.append(Finding("warn", "watches", text, cure, commands))
    if facts.max_queued_events < QUEUE_FLOOR:
        text = f"only {facts.max_queued_events:,} events may wait: a burst makes all directories be looked through"
        cure = "raise the limit, and keep it over restarts:"
        found.append(Finding("warn", "watches", text, cure, _sysctl("max_queued_events", 16384)))
    return found


def _sysctl(name: str, value: int) -> tuple[str, ...]:
    setting = f"fs.inotify.{name}={value}"
    return (f"sudo sysctl {setting}", f"echo {setting} | sudo tee -a {SYSCTL_FILE}")


def judge_descriptors(hard: int, reserve: int, max_clients: int) -> list[Finding]:
    """Whether `max_clients` clients find descriptors. hard: the limit that a server raises its own to."""
    room = hard - reserve
    if room <= 0:
        cure = "raise the hard limit (ulimit -Hn, LimitNOFILE= in a systemd unit)"
        return [Finding("fail", "files", f"only {hard:,} open files are allowed, {reserve} of them kept back", cure)]
    if room < max_clients:
        text = f"{hard:,} open files allow {room:,} clients, max_clients is {max_clients:,}"
        cure = "raise the hard limit (ulimit -Hn, LimitNOFILE= in a systemd unit), or set --max-clients lower"
        return [Finding("warn", "files", text, cure)]
    return [Finding("ok", "files", f"{hard:,} open files allow max_clients = {max_clients:,}")]


def judge_port(facts: PortFacts, has_server: bool) -> list[Finding]:
    """Whether a server can have its port; one that runs elsewhere does not need it before its next start."""
    place = f"port {facts.port} on {facts.host}"
    if facts.port == 0:
        return [Finding("ok", "port", "a free one is taken at the start")]
    if facts.ours:
        return [Finding("ok", "port", f"{place} is the running server's")]
    if facts.error is None:
        return [Finding("ok", "port", f"{place} is free")]
    owner = f" by {facts.owner}" if facts.owner else ""
    cure = "end that program, or choose another port with --port (0 takes a free one)"
    if facts.error == "is taken":
        return [Finding("warn" if has_server else "fail", "port", f"{place} is taken{owner}", cure)]
    return [Finding("fail", "port", f"{place} {facts.error}", "choose another with --port, above 1023")]


def judge_server(facts: ServerFacts | None, own_version: str) -> list[Finding]:
    """The server on this data directory, as it says itself."""
    if facts is None:
        return [Finding("ok", "server", "none runs on this data directory")]
    if facts.silence is not None:
        text = f"pid {facts.pid} writes the data directory, but {facts.url or 'it'} does not answer: {facts.silence}"
        cure = "wait if it is starting; else look at its log, end it, and start it again"
        return [Finding("fail", "server", text, cure, (f"kill {facts.pid}",) if facts.pid else ())]
    minutes = facts.uptime_s / 60
    text = f"version {facts.version} at {facts.url}, pid {facts.pid}, up {minutes:,.0f} min"
    found = [Finding("ok", "server", text)]
    if facts.version != own_version:
        cure = "restart it, to have the version that is installed"
        found = [Finding("warn", "server", f"{text}; {own_version} is installed", cure)]
    cure = "see docs/operations.md, Watching; restart it if it persists"
    return [*found, *(Finding("warn", "server", f"{name}: {details}", cure) for name, details in facts.sick)]
