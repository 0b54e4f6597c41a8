"""Settings: one frozen Config from flags > environment > config.toml > defaults. Nothing else reads os.environ."""

import os
import tomllib
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import attrs
import platformdirs

from observatory.core.calendar import PERIODS
from observatory.core.errors import UsageError
from observatory.core.notices import KINDS
from observatory.core.setting_values import (
    age_or_off,
    amount,
    database_url,
    host,
    identifier,
    kinds,
    names,
    networks,
    one_of,
    public_url,
    seconds,
    secret,
    size_or_off,
    web_address,
    whole,
    yes_or_no,
)

APP = "claude-code-observatory"
WATCHERS = ("auto", "inotify", "watchfiles", "poll")
LOG_FORMATS = ("json", "console")
AUTHS = ("none", "token")
TOKEN = "token"  # name of the token file in the data directory
SUPABASE = "supabase.url"  # … and of the file that holds the login for the copy's database


@attrs.frozen
class Setting:
    """One key: how it reads from text, its default, and the sentence that help and docs show."""

    name: str
    read: Callable[[Any], Any]
    default: Any
    help: str
    also: str = ""  # a variable of others' that counts too

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"OBSERVATORY_{self.name.upper()}"

    def found_in(self, env: Mapping[str, str]) -> str | None:
        """The variable that is set, if one is."""
        return next((name for name in (self.variable, self.also) if env.get(name)), None)


def _patterns(value: object) -> tuple[str, ...]:
    home = str(Path("~").expanduser())
    return tuple(home + name[1:] if name == "~" or name.startswith("~/") else name for name in names(value))


def _file(value: object) -> Path | None:
    """The path of a file; an empty text is none."""
    return None if value == "" else _path(value)


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("must be a path")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{str(value)!r} names a user who has no home directory") from None


SETTINGS = (
    Setting("roots", names, (), "Claude config directories, or their projects/ directories, to watch."),
    Setting("data_dir", _path, None, "Where the log and the archive are kept."),
    Setting("host", host, "127.0.0.1", "Address to listen on; others than loopback need auth = token."),
    Setting("port", whole(0, 65535), 8765, "Port to listen on; 0 takes a free one."),
    Setting("log_format", one_of(*LOG_FORMATS), None, "json or console; console on a terminal, else json."),
    Setting("watcher", one_of(*WATCHERS), "auto", "How files are watched: auto, inotify, watchfiles or poll."),
    Setting("allow_hosts", names, (), "More names that a Host header may carry."),
    Setting("allow_origins", names, (), "Origins of web pages that may connect although they are not ours."),
    Setting("exclude", _patterns, (), "Glob patterns of files, folders or working directories that are never read."),
    Setting("redact", yes_or_no, False, "Replace well-known keys and tokens in what is sent to clients."),
    Setting("redact_stored", yes_or_no, False, "Replace them before anything is stored, too."),
    Setting("auth", one_of(*AUTHS), "none", "none: your own processes may connect; token: whoever has the token."),
    Setting("token_file", _file, None, "Where the token is; made at the first start with auth = token."),
    Setting("tls_cert", _file, None, "Certificate (PEM, with its chain) to serve over TLS."),
    Setting("tls_key", _file, None, "Private key (PEM) of tls_cert, if it is not in the same file."),
    Setting("trusted_proxies", networks, (), "Proxies, as addresses or networks, whose X-Forwarded headers count."),
    Setting("public_url", public_url, None, "Address under which a proxy shows the server, with its path."),
    Setting("handshakes_per_s", whole(1, 1_000_000), 20, "Connections a second that one address may make."),
    Setting("handshake_burst", whole(1, 1_000_000), 100, "Connections that one address may make at once."),
    Setting("max_clients", whole(1, 1_000_000), 10_000, "Clients at a time; never above the fd limit minus 256."),
    Setting("outbox_frames", whole(1, 1_000_000), 1024, "Frames that may wait for one client; then it catches up."),
    Setting("outbox_bytes", whole(1024, 2**31), 1024 * 1024, "Bytes that may wait for one client."),
    Setting("outbox_behind_bytes", whole(1024, 2**31), 64 * 1024, "Bytes that may wait for one fed from the log."),
    Setting("stall_seconds", seconds, 30.0, "A client that takes no byte for so long while bytes wait is reset."),
    Setting("ping_seconds", seconds, 25.0, "Time between two pings to a client."),
    Setting("event_retention_seconds", seconds, 7 * 86400.0, "Age up to which events can be replayed."),
    Setting("event_retention_count", whole(1, 2**53), 1_000_000, "Events that can be replayed."),
    Setting("event_retention_bytes", whole(1024, 2**53), 1024**3, "Bytes of events that can be replayed."),
    Setting("record_retention", age_or_off, None, "Age after which a conversation's records go; off keeps them."),
    Setting("disk_warn_bytes", size_or_off, 1024**3, "Free disk space below which the health says so; off never does."),
    Setting("disk_quota_bytes", size_or_off, None, "Size of the data directory above which the health says so."),
    Setting("notify_desktop", yes_or_no, False, "Show notices on the desktop that the server runs in."),
    Setting("notify_webhooks", names, (), "Addresses that notices are posted to; slack+https://… is for Slack."),
    Setting("notify_kinds", kinds, KINDS, "Notices that are wanted: finished, waiting, error, budget."),
    Setting("webhook_secret_file", _file, None, "A file with the secret that signs what is posted."),
    Setting("budget_usd", amount, None, "What a period may cost, in USD, before a notice tells."),
    Setting("budget_period", one_of(*PERIODS), "day", "day, week or month."),
    Setting("supabase_url", web_address, None, "A project at Supabase, for a copy of the archive.", "SUPABASE_URL"),
    Setting("supabase_key", secret, None, "Its publishable or secret key.", "SUPABASE_KEY"),
    Setting("supabase_jwt", secret, None, "A signed key that may write for this machine.", "SUPABASE_JWT"),
    Setting("supabase_db_url", database_url, None, "The project's database, instead of its API.", "SUPABASE_DB_URL"),
    Setting("supabase_schema", identifier, "public", "The schema that the copy's tables are in."),
    Setting("supabase_scope", one_of("messages", "all"), "messages", "messages: what was said; all: every record."),
    Setting("supabase_projects", names, (), "Only these projects: globs of names or directories."),
    Setting("supabase_redact", yes_or_no, True, "Replace well-known keys and tokens in the copy."),
    Setting("completed_after", seconds, 1800.0, "Idle time after which a conversation counts as completed."),
    Setting("slow_event_seconds", seconds, 0.05, "An event slower than this, end to end, gets a log line."),
    Setting("trace_window_seconds", seconds, 10.0, "Time that one latency.window log line covers."),
    Setting("drain_seconds", seconds, 30.0, "Longest time over which closes are spread at the end."),
    Setting("drain_rate", whole(1, 1_000_000), 500, "Closes a second at the end; they take at least a second."),
    Setting("shutdown_seconds", seconds, 5.0, "Time after the last planned close until what remains is reset."),
)  # fmt: skip


@attrs.frozen
class Config:
    """All settings in force; one field per Setting, same names."""

    roots: tuple[str, ...]
    data_dir: Path
    host: str
    port: int
    log_format: Literal["json", "console"] | None
    watcher: Literal["auto", "inotify", "watchfiles", "poll"]
    allow_hosts: tuple[str, ...]
    allow_origins: tuple[str, ...]
    exclude: tuple[str, ...]
    redact: bool
    redact_stored: bool
    auth: Literal["none", "token"]
    token_file: Path
    tls_cert: Path | None
    tls_key: Path | None
    trusted_proxies: tuple[str, ...]
    public_url: str | None
    handshakes_per_s: int
    handshake_burst: int
    max_clients: int
    outbox_frames: int
    outbox_bytes: int
    outbox_behind_bytes: int
    stall_seconds: float
    ping_seconds: float
    event_retention_seconds: float
    event_retention_count: int
    event_retention_bytes: int
    record_retention: float | None
    disk_warn_bytes: int | None
    disk_quota_bytes: int | None
    notify_desktop: bool
    notify_webhooks: tuple[str, ...]
    notify_kinds: tuple[str, ...]
    webhook_secret_file: Path | None
    budget_usd: float | None
    budget_period: Literal["day", "week", "month"]
    supabase_url: str | None
    supabase_key: str | None
    supabase_jwt: str | None
    supabase_db_url: str | None
    supabase_schema: str
    supabase_scope: Literal["messages", "all"]
    supabase_projects: tuple[str, ...]
    supabase_redact: bool
    completed_after: float
    slow_event_seconds: float
    trace_window_seconds: float
    drain_seconds: float
    drain_rate: int
    shutdown_seconds: float


def load(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """The Config in force. `flags` holds only what was given on the command line. Raises UsageError."""
    env = os.environ if environ is None else environ
    file = config_file(env)
    stored = _read_toml(file, "OBSERVATORY_CONFIG" in env)
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for setting in SETTINGS:
        if setting.name in flags:
            found, where = flags[setting.name], f"--{setting.name.replace('_', '-')}"
        elif (variable := setting.found_in(env)) is not None:
            found, where = env[variable], variable
        elif setting.name in stored:
            found, where = stored[setting.name], f"{setting.name} in {file}"
        else:
            values[setting.name] = setting.default
            continue
        places[setting.name] = where
        try:
            values[setting.name] = setting.read(found)
        except ValueError as error:
            raise UsageError(f"{where} {error}") from None
    _check_openness(values, places)
    values["data_dir"] = values["data_dir"] or _platform_data_dir()
    values["token_file"] = values["token_file"] or values["data_dir"] / TOKEN
    values["roots"] = tuple(map(str, watch_roots(values["roots"], env)))
    return Config(**values)


def _check_openness(values: Mapping[str, Any], places: Mapping[str, str]) -> None:
    """Whoever can be reached by others asks them for a token. Raises UsageError."""
    host = values["host"]
    if values["auth"] == "none" and not is_loopback(host):
        raise UsageError(
            f"{places['host']} {host} would let others read your transcripts; add --auth token, or use 127.0.0.1"
        )
    if values["auth"] == "none" and values["trusted_proxies"]:
        raise UsageError(f"{places['trusted_proxies']}: a proxy brings clients of other users; add --auth token")
    if values["tls_key"] is not None and values["tls_cert"] is None:
        raise UsageError(f"{places['tls_key']} is the key of a certificate; name that with --tls-cert")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on it."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, which may stand for anything
        return False


def default_token_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """The token file that was named by the environment or the settings file, if any. Raises UsageError."""
    env = os.environ if environ is None else environ
    file = config_file(env)
    stored = _read_toml(file, "OBSERVATORY_CONFIG" in env)
    variable = "OBSERVATORY_TOKEN_FILE"
    given, where = (
        (env[variable], variable) if env.get(variable) else (stored.get("token_file", ""), f"token_file in {file}")
    )
    try:
        return _file(given)
    except ValueError as error:
        raise UsageError(f"{where} {error}") from None


@attrs.frozen
class Origins:
    """Where settings come from. given: setting and place; what is not named has its default. unknown: variables of
    ours that are no setting."""

    file: Path
    exists: bool
    given: dict[str, str]
    unknown: tuple[str, ...]
    claude_config_dir: str | None


def origins(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Origins:
    """For `observatory doctor`: what `load` would take from where. A file that cannot be used counts as empty."""
    env = os.environ if environ is None else environ
    file = config_file(env)
    try:
        stored = _read_toml(file, "OBSERVATORY_CONFIG" in env)
    except UsageError:
        stored = {}
    given = {}
    for setting in SETTINGS:
        if setting.name in flags:
            given[setting.name] = "the command line"
        elif (variable := setting.found_in(env)) is not None:
            given[setting.name] = variable
        elif setting.name in stored:
            given[setting.name] = file.name
    variables = {setting.variable for setting in SETTINGS} | {"OBSERVATORY_CONFIG"}
    unknown = sorted(name for name in env if name.startswith("OBSERVATORY_") and name not in variables)
    return Origins(file, file.is_file(), given, tuple(unknown), env.get("CLAUDE_CONFIG_DIR") or None)


def config_file(environ: Mapping[str, str]) -> Path:
    """Where settings are kept."""
    given = environ.get("OBSERVATORY_CONFIG")
    return Path(given) if given else Path(platformdirs.user_config_dir(APP, appauthor=False)) / "config.toml"


def _read_toml(file: Path, wanted: bool) -> dict[str, Any]:
    try:
        stored = tomllib.loads(file.read_text())
    except FileNotFoundError:
        if wanted:
            raise UsageError(f"OBSERVATORY_CONFIG names {file}, which does not exist") from None
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    unknown = stored.keys() - {setting.name for setting in SETTINGS}
    if unknown:
        raise UsageError(f"{file} has unknown settings: {', '.join(sorted(unknown))}; see docs/operations.md, Settings")
    return stored


def watch_roots(given: tuple[str, ...], environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The projects/ directories to watch; explicit roots win, then CLAUDE_CONFIG_DIR, then both default places."""
    if not given and environ.get("CLAUDE_CONFIG_DIR"):
        given = names(environ["CLAUDE_CONFIG_DIR"])
    if not given:
        home = Path(environ.get("HOME") or Path.home())
        given = (str(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "claude"), str(home / ".claude"))
    roots = {os.path.realpath(projects): projects for projects in map(projects_of, given)}
    return tuple(roots.values())


def claude_settings(environ: Mapping[str, str] | None = None) -> Path:
    """Claude Code's own settings of this user."""
    env = os.environ if environ is None else environ
    given = names(env.get("CLAUDE_CONFIG_DIR", ""))
    return Path(given[0] if given else Path(env.get("HOME") or Path.home()) / ".claude").expanduser() / "settings.json"


def projects_of(root: str) -> Path:
    """The projects directory that a root means. Raises UsageError when it cannot be one."""
    try:
        place = _path(root)
        if place.exists() and not place.is_dir():
            raise ValueError("is a file; give a Claude config directory, or its projects/ directory")
        if (place / "projects").is_dir():
            return place / "projects"
        if place.name == "projects" or any(place.glob("*/*.jsonl")):
            return place
    except ValueError as error:
        raise UsageError(f"the root {root} {error}") from None
    except OSError as error:
        raise UsageError(f"the root {root} cannot be looked into: {error.strerror}") from None
    return place / "projects"


def directories_here(environ: Mapping[str, str] | None = None) -> tuple[frozenset[str], ...]:
    """The current directory and those above it, nearest first, each as the shell calls it and as it really is."""
    env = os.environ if environ is None else environ
    try:
        real = Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current directory does not exist any more; change to one that does") from None
    shell = Path(os.path.normpath(env.get("PWD") or real))
    shell = shell if os.path.realpath(shell) == str(real) else real  # PWD is whatever the parent process says
    levels = zip_longest((real, *real.parents), (shell, *shell.parents))
    return tuple(frozenset(name for place in level if place for name in (str(place), os.path.realpath(place)))
                 for level in levels)  # fmt: skip


def default_data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Where commands look for a running server: the data directory that it would use. Raises UsageError."""
    env = os.environ if environ is None else environ
    file = config_file(env)
    stored = _read_toml(file, "OBSERVATORY_CONFIG" in env)
    places = (
        (env.get("OBSERVATORY_DATA_DIR"), "OBSERVATORY_DATA_DIR"),
        (stored.get("data_dir"), f"data_dir in {file}"),
    )
    for given, where in places:
        if given:
            try:
                return _path(given)
            except ValueError as error:
                raise UsageError(f"{where} {error}") from None
    return _platform_data_dir()


def load_flags(flags: Mapping[str, Any]) -> Config:
    """The Config of flags and defaults alone: what is left when the file, the environment or a default root is at
    fault. Raises UsageError when it is the flags."""
    plain = {key: os.environ[key] for key in ("HOME", "XDG_CONFIG_HOME") if key in os.environ}
    plain["OBSERVATORY_CONFIG"] = os.devnull
    try:
        return load(flags, plain)
    except UsageError:
        if "roots" in flags:
            raise
        return attrs.evolve(load({**flags, "roots": (f"{os.devnull}/projects",)}, plain), roots=())


def _platform_data_dir() -> Path:
    return Path(platformdirs.user_data_dir(APP, appauthor=False))
