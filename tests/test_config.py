"""Settings: where each comes from, what wins, and that a mistake is one line."""

import os
from pathlib import Path
from typing import Any

import attrs
import platformdirs
import pytest

from observatory import config
from observatory.config import (
    SETTINGS,
    Config,
    default_data_dir,
    default_token_file,
    load,
    origins,
    projects_of,
    watch_roots,
)
from observatory.core.errors import UsageError

# For each setting: a text, what it reads as, and texts that are none.
SAMPLES: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "roots": ("/a/projects, /b/projects", ("/a/projects", "/b/projects"), ()),
    "data_dir": ("/data", Path("/data"), ("~nobody-of-that-name/x",)),
    "host": ("localhost", "localhost", ("0.0.0.0", "evil\nexample", "127.0.0.1.example.org", "::")),
    "port": ("0", 0, ("", "x", "-1", "65536", "1.5")),
    "log_format": ("json", "json", ("xml",)),
    "watcher": ("poll", "poll", ("magic",)),
    "allow_hosts": ("box,", ("box",), ()),
    "allow_origins": ("http://a, http://b", ("http://a", "http://b"), ()),
    "exclude": ("*-diary, /x", ("*-diary", "/x"), ()),
    "redact": ("true", True, ("maybe", "2")),
    "redact_stored": ("1", True, ("maybe",)),
    "auth": ("token", "token", ("password",)),
    "token_file": ("/secret", Path("/secret"), ("~nobody-of-that-name/x",)),
    "tls_cert": ("/cert.pem", Path("/cert.pem"), ("~nobody-of-that-name/x",)),
    "tls_key": ("/key.pem", Path("/key.pem"), ("~nobody-of-that-name/x",)),
    "trusted_proxies": ("10.0.0.1, fd00::/8", ("10.0.0.1", "fd00::/8"), ("nginx",)),
    "public_url": ("https://a.example/b/", "https://a.example/b", ("a.example", "ftp://a")),
    "handshakes_per_s": ("5", 5, ("0",)),
    "handshake_burst": ("5", 5, ("0",)),
    "max_clients": ("7", 7, ("0",)),
    "outbox_frames": ("7", 7, ("0",)),
    "outbox_bytes": ("2048", 2048, ("1",)),
    "outbox_behind_bytes": ("32768", 32768, ("1023", "x")),
    "stall_seconds": ("0.5", 0.5, ("0", "-1", "x", "nan", "inf")),
    "ping_seconds": ("2", 2.0, ("0",)),
    "event_retention_seconds": ("60", 60.0, ("0",)),
    "event_retention_count": ("5", 5, ("0",)),
    "event_retention_bytes": ("2048", 2048, ("0",)),
    "record_retention": ("180d", 180 * 86400.0, ("soon", "0d")),
    "disk_warn_bytes": ("2GiB", 2 * 1024**3, ("much",)),
    "disk_quota_bytes": ("100MB", 100_000_000, ("much",)),
    "notify_desktop": ("true", True, ("maybe",)),
    "notify_webhooks": ("https://a, https://b", ("https://a", "https://b"), ()),
    "notify_kinds": ("waiting, error", ("waiting", "error"), ("boredom",)),
    "webhook_secret_file": ("/secret", Path("/secret"), ("~nobody-of-that-name/x",)),
    "budget_usd": ("12.5", 12.5, ("0", "much")),
    "budget_period": ("week", "week", ("hour",)),
    "supabase_url": ("https://abc.supabase.co/", "https://abc.supabase.co", ("ftp://x", "https://")),
    "supabase_key": ("sb_publishable_x", "sb_publishable_x", ("two words", "é")),
    "supabase_jwt": ("a.b.c", "a.b.c", ("two words",)),
    "supabase_db_url": (
        "postgres://u:p@h:6543/d",
        "postgres://u:p@h:6543/d",
        ("h/d", "postgres://", "postgres://h:x/d"),
    ),
    "supabase_schema": ("copy", "copy", ("a-b", "")),
    "supabase_scope": ("all", "all", ("some",)),
    "supabase_projects": ("shop,/home/*", ("shop", "/home/*"), ()),
    "supabase_redact": ("no", False, ("maybe",)),
    "completed_after": ("60", 60.0, ("0", "soon")),
    "slow_event_seconds": ("0.1", 0.1, ("0",)),
    "trace_window_seconds": ("1", 1.0, ("0",)),
    "drain_seconds": ("1", 1.0, ("0",)),
    "drain_rate": ("50", 50, ("0",)),
    "shutdown_seconds": ("1", 1.0, ("0",)),
}
NEEDED = {"trusted_proxies": {"auth": "token"}, "tls_key": {"tls_cert": "/cert.pem"}}  # what goes only with another
NAMES = [setting.name for setting in SETTINGS]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for each test."""
    for name in list(os.environ):
        if name.startswith(("OBSERVATORY_", "XDG_", "CLAUDE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def toml(home: Path, text: str) -> None:
    file = home / ".config" / config.APP / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def test_every_setting_is_a_field_with_a_sample_here() -> None:
    assert NAMES == [field.name for field in attrs.fields(Config)] == list(SAMPLES)


def test_each_setting_has_a_default_and_a_sentence(home: Path) -> None:
    found = load({})
    for setting in SETTINGS:
        assert setting.help.endswith(".")
        if setting.name not in ("roots", "data_dir", "token_file"):
            assert getattr(found, setting.name) == setting.default
    assert found.data_dir == Path(platformdirs.user_data_dir(config.APP, appauthor=False))
    assert found.roots == (f"{home}/.config/claude/projects", f"{home}/.claude/projects")


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_comes_from_a_flag_the_environment_or_the_file(name: str, home: Path) -> None:
    text, value, _ = SAMPLES[name]
    variable = f"OBSERVATORY_{name.upper()}"
    needed = NEEDED.get(name, {})
    assert getattr(load({name: text, **needed}), name) == value
    assert getattr(load(needed, {**os.environ, variable: text}), name) == value
    toml(home, f'{name} = "{text}"')
    assert getattr(load(needed), name) == value


def test_patterns_may_begin_with_the_home_and_a_switch_is_a_switch(home: Path) -> None:
    toml(home, 'exclude = ["~/diary", "~"]\nredact = true')
    assert load({}).exclude == (f"{home}/diary", str(home))
    assert load({}).redact


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(home: Path) -> None:
    toml(home, "port = 3")
    environ = {**os.environ, "OBSERVATORY_PORT": "2"}
    assert load({"port": "1"}, environ).port == 1
    assert load({}, environ).port == 2
    assert load({}, {**os.environ, "OBSERVATORY_PORT": ""}).port == 3


BAD = [(name, bad) for name, (_, _, many) in SAMPLES.items() for bad in many]


@pytest.mark.parametrize(("name", "bad"), BAD)
def test_a_bad_value_is_one_line_that_names_where_it_stands(name: str, bad: str, home: Path) -> None:
    with pytest.raises(UsageError, match=rf"^--{name.replace('_', '-')} .+$") as caught:
        load({name: bad})
    assert "\n" not in str(caught.value)
    if bad:
        with pytest.raises(UsageError, match=rf"^OBSERVATORY_{name.upper()} ") as caught:
            load({}, {**os.environ, f"OBSERVATORY_{name.upper()}": bad})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    ["port = true", "port = [1]", "host = []", "host = 7", "roots = 7", "roots = [7]", "data_dir = 7", 'data_dir = ""',
     'data_dir = "a\\u0000b"', "watcher = []", "stall_seconds = {}", "allow_hosts = {}"],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_in_the_file_is_one_line(line: str, home: Path) -> None:
    toml(home, line)
    with pytest.raises(UsageError, match=rf"^{line.split()[0]} in .*config\.toml "):
        load({})


@pytest.mark.parametrize(("text", "line"), [("nonsense", "cannot be read"), ("prot = 1", "unknown settings: prot")])
def test_a_file_that_cannot_be_used_is_one_line(text: str, line: str, home: Path) -> None:
    toml(home, text)
    with pytest.raises(UsageError, match=line) as caught:
        load({})
    assert "\n" not in str(caught.value)


def test_a_directory_in_the_place_of_the_file_is_one_line(home: Path) -> None:
    (home / ".config" / config.APP / "config.toml").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be read"):
        load({})


def test_another_file_may_be_named_but_then_it_must_be_there(home: Path) -> None:
    file = home / "mine.toml"
    environ = {**os.environ, "OBSERVATORY_CONFIG": str(file)}
    with pytest.raises(UsageError, match="does not exist"):
        load({}, environ)
    file.write_text("port = 4")
    assert load({}, environ).port == 4


# -- roots -------------------------------------------------------------------------------------------------------------


def test_claude_config_dir_may_be_a_list_and_given_roots_win_over_it(home: Path) -> None:
    environ = {"HOME": str(home), "CLAUDE_CONFIG_DIR": "/a, /b/projects"}
    assert watch_roots((), environ) == (Path("/a/projects"), Path("/b/projects"))
    assert watch_roots(("/c",), environ) == (Path("/c/projects"),)


def test_both_default_places_are_watched_whether_they_exist_or_not(home: Path) -> None:
    assert watch_roots((), {"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == (
        Path("/x/claude/projects"),
        Path("/h/.claude/projects"),
    )


def test_two_names_of_one_place_are_one_root(home: Path) -> None:
    (home / "a" / "projects").mkdir(parents=True)
    (home / "b").symlink_to(home / "a")
    assert len(watch_roots((str(home / "a"), str(home / "b")), {})) == 1


def test_a_root_is_a_config_directory_or_its_projects_directory(home: Path) -> None:
    (home / "config" / "projects").mkdir(parents=True)
    (home / "odd" / "-w").mkdir(parents=True)
    (home / "odd" / "-w" / "s.jsonl").touch()
    (home / "outer" / "projects" / "projects").mkdir(parents=True)
    assert projects_of(f"{home}/config") == home / "config" / "projects"
    assert projects_of(f"{home}/config/projects") == home / "config" / "projects"
    assert projects_of(f"{home}/odd") == home / "odd"
    assert projects_of(f"{home}/outer/projects") == home / "outer" / "projects" / "projects"
    assert projects_of("~/new") == home / "new" / "projects"


def test_a_root_that_cannot_be_one_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        projects_of(f"{home}/file")
    with pytest.raises(UsageError, match="no home directory"):
        projects_of("~nobody-of-that-name")

    def denied(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", denied)
    with pytest.raises(UsageError, match="cannot be looked into: Permission denied"):
        projects_of("/secret")


# -- where a running server is looked for ------------------------------------------------------------------------------


def test_other_commands_look_where_the_server_would_be(home: Path) -> None:
    assert default_data_dir() == load({}).data_dir
    toml(home, 'data_dir = "/elsewhere"')
    assert default_data_dir() == load({}).data_dir == Path("/elsewhere")
    environ = {**os.environ, "OBSERVATORY_DATA_DIR": "/here"}
    assert default_data_dir(environ) == load({}, environ).data_dir == Path("/here")


def test_a_bad_place_is_one_line_there_too(home: Path) -> None:
    with pytest.raises(UsageError, match=r"^OBSERVATORY_DATA_DIR .*no home directory"):
        default_data_dir({**os.environ, "OBSERVATORY_DATA_DIR": "~nobody-of-that-name"})
    toml(home, "data_dir = 7")
    with pytest.raises(UsageError, match=r"^data_dir in "):
        default_data_dir()
    toml_file = home / ".config" / config.APP / "config.toml"
    toml_file.write_text("token_file = 7")
    with pytest.raises(UsageError, match=r"^token_file in "):
        default_token_file()


# -- who may connect ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert load({"host": host}).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "127.0.0.1.example.org"])
def test_what_others_reach_needs_one(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"host": host})
    assert str(caught.value) == (
        f"--host {host} would let others read your transcripts; add --auth token, or use 127.0.0.1"
    )
    assert load({"host": host, "auth": "token"}).host == host


def test_a_proxy_needs_one_too_and_a_key_its_certificate() -> None:
    with pytest.raises(UsageError, match=r"^--trusted-proxies: a proxy brings .* --auth token$"):
        load({"trusted_proxies": ("10.0.0.1",)})
    with pytest.raises(UsageError, match=r"^OBSERVATORY_TLS_KEY is the key of .* --tls-cert$"):
        load({}, {**os.environ, "OBSERVATORY_TLS_KEY": "/key.pem"})


def test_the_token_lies_in_the_data_directory_unless_a_file_is_named(home: Path) -> None:
    assert load({"data_dir": "/d"}).token_file == Path("/d/token")
    assert default_token_file() is None
    assert default_token_file({**os.environ, "OBSERVATORY_TOKEN_FILE": "/secret"}) == Path("/secret")
    toml(home, 'token_file = "/elsewhere"')
    assert default_token_file() == Path("/elsewhere")


def test_supabase_is_also_configured_by_its_own_variables(home: Path) -> None:
    found = load({}, {"HOME": str(home), "SUPABASE_URL": "https://a.supabase.co", "SUPABASE_KEY": "k"})
    assert (found.supabase_url, found.supabase_key) == ("https://a.supabase.co", "k")
    ours = {"SUPABASE_KEY": "k", "OBSERVATORY_SUPABASE_KEY": "ours"}
    assert load({}, {"HOME": str(home), **ours}).supabase_key == "ours"
    assert origins({}, {"HOME": str(home), **ours}).given == {"supabase_key": "OBSERVATORY_SUPABASE_KEY"}


def test_a_database_that_cannot_be_one_is_named_without_its_password(home: Path) -> None:
    with pytest.raises(UsageError) as refused:
        load({}, {"HOME": str(home), "SUPABASE_DB_URL": "mysql://me:s3cret@h/d"})
    assert str(refused.value).startswith("SUPABASE_DB_URL must be an address such as postgresql://")
    assert "s3cret" not in str(refused.value)


def test_an_empty_text_in_the_file_names_no_database(home: Path) -> None:
    file = home / "config.toml"
    file.write_text('supabase_url = ""\nsupabase_db_url = ""\nsupabase_key = ""\n')
    found = load({}, {"HOME": str(home), "OBSERVATORY_CONFIG": str(file)})
    assert (found.supabase_url, found.supabase_db_url, found.supabase_key) == (None, None, None)
