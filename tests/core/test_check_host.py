"""Judgement of limits, versions, port, server and settings from made facts."""

import attrs
import pytest

from observatory.core.check_host import (
    ConfigFacts,
    InotifyFacts,
    PortFacts,
    ServerFacts,
    judge_config,
    judge_descriptors,
    judge_inotify,
    judge_port,
    judge_server,
    judge_versions,
)
from tests.core.test_check_files import told

ROOMY = InotifyFacts(524_288, 1024, 16_384)


@pytest.mark.parametrize(
    ("facts", "needed", "server", "levels"),
    [
        (None, 5, False, ["ok"]),
        (ROOMY, 500, False, ["ok"]),
        (InotifyFacts(8192, 128, 16_384), 8193, False, ["warn"]),
        (InotifyFacts(8192, 128, 16_384, watches_taken=8000), 193, False, ["warn"]),
        (InotifyFacts(8192, 128, 16_384, watches_taken=8000), 192, False, ["ok"]),
        (InotifyFacts(8192, 128, 16_384, instances_taken=128), 1, False, ["ok", "warn"]),
        (InotifyFacts(8192, 128, 16_384, instances_taken=128), 1, True, ["ok"]),
        (InotifyFacts(8192, 128, 16), 1, False, ["ok", "warn"]),
    ],
)
def test_watches_are_weighed_against_directories(
    facts: InotifyFacts | None, needed: int, server: bool, levels: list[str]
) -> None:
    assert [level for level, _ in told(judge_inotify(facts, needed, server))] == levels


def test_too_few_watches_come_with_the_sysctl_for_now_and_for_good() -> None:
    [finding] = judge_inotify(InotifyFacts(8192, 128, 16_384, watches_taken=100_000), 200_000, False)
    assert finding.commands == (
        "sudo sysctl fs.inotify.max_user_watches=600000",
        "echo fs.inotify.max_user_watches=600000 | sudo tee -a /etc/sysctl.d/60-observatory.conf",
    )
    [small] = judge_inotify(InotifyFacts(10, 128, 16_384), 20, False)
    assert small.commands[0] == "sudo sysctl fs.inotify.max_user_watches=524288"


@pytest.mark.parametrize(("hard", "level"), [(10_256, "ok"), (10_255, "warn"), (256, "fail")])
def test_descriptors_must_do_for_the_clients(hard: int, level: str) -> None:
    assert [found for found, _ in told(judge_descriptors(hard, 256, 10_000))] == [level]


def test_versions() -> None:
    assert told(judge_versions("3.11.7", (3, 40, 1), "Linux 6.1", "1.0")) == [
        ("ok", "observatory 1.0, Python 3.11.7, SQLite 3.40.1, Linux 6.1")
    ]
    assert told(judge_versions("3.11.7", (3, 22, 0), "Linux 6.1", "1.0")) == [("fail", "SQLite 3.22.0 is too old")]


@pytest.mark.parametrize(
    ("facts", "has_server", "level", "text"),
    [
        (PortFacts("h", 0), False, "ok", "a free one is taken at the start"),
        (PortFacts("h", 5), False, "ok", "port 5 on h is free"),
        (PortFacts("h", 5, "is taken", ours=True), True, "ok", "port 5 on h is the running server's"),
        (PortFacts("h", 5, "is taken", "nginx (pid 7)"), False, "fail", "port 5 on h is taken by nginx (pid 7)"),
        (PortFacts("h", 5, "is taken"), True, "warn", "port 5 on h is taken"),
        (PortFacts("h", 5, "cannot be opened: Permission denied"), False, "fail",
         "port 5 on h cannot be opened: Permission denied"),
    ],
)  # fmt: skip
def test_the_port_is_free_ours_or_a_strangers(facts: PortFacts, has_server: bool, level: str, text: str) -> None:
    assert told(judge_port(facts, has_server)) == [(level, text)]


def test_a_server_is_healthy_old_sick_or_silent() -> None:
    assert told(judge_server(None, "1")) == [("ok", "none runs on this data directory")]
    well = ServerFacts(7, "ws://h/ws", "1", 120.0)
    assert told(judge_server(well, "1")) == [("ok", "version 1 at ws://h/ws, pid 7, up 2 min")]
    [(level, text)] = told(judge_server(well, "2"))
    assert (level, text.endswith("; 2 is installed")) == ("warn", True)
    sick = attrs.evolve(well, sick=(("store", "full"),))
    assert told(judge_server(sick, "1"))[1:] == [("warn", "store: full")]
    [silent] = judge_server(ServerFacts(7, None, silence="it is shy"), "1")
    assert (silent.level, silent.commands) == ("fail", ("kill 7",))
    assert judge_server(ServerFacts(0, None, silence="it is shy"), "1")[0].commands == ()


def test_settings_say_where_they_are_from() -> None:
    facts = ConfigFacts("/c.toml", exists=True, given=(("port", "OBSERVATORY_PORT"),))
    assert told(judge_config(facts)) == [("ok", "/c.toml; port from OBSERVATORY_PORT")]
    assert told(judge_config(ConfigFacts("/c.toml", exists=False))) == [
        ("ok", "/c.toml does not exist; all settings are defaults")
    ]
    wrong = ConfigFacts("/c.toml", True, unknown=("OBSERVATORY_POTR",), error="/c.toml has unknown settings: x")
    assert told(judge_config(wrong)) == [
        ("fail", "/c.toml has unknown settings: x"), ("warn", "OBSERVATORY_POTR is no setting"),
    ]  # fmt: skip


@pytest.mark.parametrize(("given", "text"), [(True, "is set aside"), (False, "replaces both default roots")])
def test_the_effect_of_claude_config_dir_is_told(given: bool, text: str) -> None:
    facts = ConfigFacts("/c.toml", False, claude_config_dir="/x", roots_given=given)
    assert text in told(judge_config(facts))[1][1]
