"""`observatory hooks`: Claude Code's settings change as was shown, or not at all."""

import json
import os
from pathlib import Path

from click.testing import CliRunner, Result

from observatory.cli.main import main
from observatory.core.hook_settings import EVENTS

STOP = '{"hooks": [{"type": "command", "command": "say ü"}]}'
MINE = f'{{\n\t"model": "opus",\n\t"hooks": {{\n\t\t"Stop": [{STOP}]\n\t}}\n}}\n'


def ran(home: Path, *words: str, typed: str | None = None) -> Result:
    environ = {"OBSERVATORY_CONFIG": os.devnull, "CLAUDE_CONFIG_DIR": str(home / "claude"), "HOME": str(home)}
    return CliRunner().invoke(main, ["hooks", *words, "--data-dir", str(home / "data")], env=environ, input=typed)


def settings(home: Path) -> Path:
    return home / "claude" / "settings.json"


def test_what_changes_is_shown_and_written_and_taken_back(tmp_path: Path) -> None:
    path = settings(tmp_path)
    path.parent.mkdir()
    path.write_text(MINE)
    path.chmod(0o640)
    done = ran(tmp_path, "install", "--yes")
    assert done.exit_code == 0, done.output
    assert any(line.startswith("+") and "observatory-hook" in line for line in done.output.splitlines())
    found = json.loads(path.read_text())
    assert set(found["hooks"]) == set(EVENTS)
    assert found["hooks"]["Stop"][0] == {"hooks": [{"type": "command", "command": "say ü"}]}
    command = found["hooks"]["Stop"][1]["hooks"][0]["command"]
    assert command.endswith(f"observatory-hook --data-dir {tmp_path / 'data'}")
    assert Path(command.split()[0]).is_file()
    assert path.stat().st_mode & 0o777 == 0o640
    again = ran(tmp_path, "install", "--yes")
    assert "installed already" in again.output
    assert "Stop, PermissionRequest" in ran(tmp_path, "status").output
    removed = ran(tmp_path, "remove", "--yes")
    assert removed.exit_code == 0
    assert json.loads(path.read_text()) == json.loads(MINE)
    assert "\t" in path.read_text()
    assert "there are none of ours" in ran(tmp_path, "remove", "--yes").output
    assert "no hooks of ours" in ran(tmp_path, "status").output


def test_settings_that_are_not_there_are_made_and_a_link_stays_one(tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    settings(tmp_path).parent.mkdir()
    settings(tmp_path).symlink_to(dotfiles / "settings.json")
    assert ran(tmp_path, "install", "--yes").exit_code == 0
    assert settings(tmp_path).is_symlink()
    assert (dotfiles / "settings.json").stat().st_mode & 0o777 == 0o600
    project = ran(tmp_path, "install", "--yes", "--project", str(tmp_path / "shop"))
    assert project.exit_code == 0
    assert (tmp_path / "shop/.claude/settings.json").is_file()
    own = ran(tmp_path, "install", "--yes", "--settings", str(tmp_path / "own.json"))
    assert own.exit_code == 0
    assert (tmp_path / "own.json").is_file()


def test_without_a_terminal_nothing_is_written_unless_it_is_said(tmp_path: Path) -> None:
    done = ran(tmp_path, "install")
    assert (done.exit_code, settings(tmp_path).exists()) == (2, False)
    assert "say it with --yes" in done.output


def test_settings_that_cannot_be_read_are_left_alone(tmp_path: Path) -> None:
    path = settings(tmp_path)
    path.parent.mkdir()
    for text, code in (("{", 2), ("[]", 2), ('{"hooks": 1}', 2)):
        path.write_text(text)
        done = ran(tmp_path, "install", "--yes")
        assert (done.exit_code, path.read_text()) == (code, text)
        assert "mend it first" in done.output
    path.write_bytes(b"\xff\xfe")
    assert ran(tmp_path, "install", "--yes").exit_code == 1
    path.unlink()
    path.mkdir()
    assert ran(tmp_path, "install", "--yes").exit_code == 1
