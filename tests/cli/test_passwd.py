"""`broker passwd`: what it writes, what it prints, and its exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from broker.auth.hashing import Argon2id
from broker.auth.passwords import PasswordFile, ScramVerifier, User
from broker.cli import passwd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

CANARY = "canary-9d1c"
# One hash for all: making one takes a while
ALICE = User("alice", Argon2id.make(b"a"))
BOB = User("bob", Argon2id.make(b"b"), ScramVerifier.make(b"b", iterations=4096))
FIRST = f"# ours\n{ALICE}\n\n# theirs\n{BOB}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    path.write_text(FIRST)
    path.chmod(0o600)
    return path


def left_over(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if each != path)


def right(path: Path, name: str, password: bytes) -> bool:
    stored = PasswordFile.load(path).hash_of(name)
    return stored is not None and stored.verify(password)


# -- add


def test_add_makes_a_file_for_its_owner_alone(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    before = os.umask(0)
    try:
        result = command("passwd", "add", str(path), "alice", "--stdin", stdin=b"secret\n")
    finally:
        os.umask(before)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Added 'alice' in {path} (argon2id).\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("alice:$argon2id$v=19$m=19456,t=2,p=1$")
    assert right(path, "alice", b"secret")
    assert left_over(path) == []


@pytest.mark.parametrize(
    ("stdin", "password"),
    [
        (b"secret", b"secret"),
        (b"secret\r\n", b"secret"),
        (b"two\nlines\n", b"two\nlines"),
        (b" \xff\x00\n\n", b" \xff\x00\n"),
        (b"\r", b"\r"),
        (b"x" * 65_535 + b"\n", b"x" * 65_535),
    ],
)
def test_a_password_is_bytes(command: Command, tmp_path: Path, stdin: bytes, password: bytes) -> None:
    path = tmp_path / "passwords"
    assert command("passwd", "add", str(path), "a b", "--stdin", stdin=stdin).exit_code == 0
    assert right(path, "a b", password)
    assert command("passwd", "check", str(path), "a b", "--stdin", stdin=stdin).exit_code == 0


def test_add_keeps_comments_other_users_and_mode(command: Command, file: Path) -> None:
    file.chmod(0o640)
    assert command("passwd", "add", str(file), "carl", "--stdin", stdin=b"c").exit_code == 0
    result = command("passwd", "add", str(file), "alice", "--stdin", stdin=b"new")
    assert result.stderr == f"Changed 'alice' in {file} (argon2id).\n"
    lines = file.read_text().split("\n")
    assert [line.partition(":")[0] for line in lines] == ["# ours", "alice", "", "# theirs", "bob", "carl", ""]
    assert lines[4] == str(BOB)
    assert right(file, "alice", b"new")
    assert right(file, "carl", b"c")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert left_over(file) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_add_keeps_the_owner(command: Command, file: Path) -> None:
    os.chown(file, 1234, 5678)
    assert command("passwd", "add", str(file), "carl", "--stdin", stdin=b"c").exit_code == 0
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 5678)


def test_add_scram(command: Command, file: Path) -> None:
    result = command("passwd", "add", str(file), "carl", "--stdin", "--scram", stdin="pä".encode())
    assert (result.exit_code, result.stderr) == (0, f"Added 'carl' in {file} (argon2id and SCRAM-SHA-256).\n")
    made = PasswordFile.load(file).scram("carl")
    assert made is not None
    assert made.text == ScramVerifier.make("pä".encode(), made.salt, made.iterations).text
    assert right(file, "carl", "pä".encode())


def test_a_new_password_renews_the_verifier_that_was_there(command: Command, file: Path) -> None:
    assert command("passwd", "add", str(file), "bob", "--stdin", stdin=b"new").exit_code == 0
    made = PasswordFile.load(file).scram("bob")
    assert made is not None
    assert made.text == ScramVerifier.make(b"new", made.salt, made.iterations).text
    assert command("passwd", "add", str(file), "bob", "--stdin", "--no-scram", stdin=b"new").exit_code == 0
    assert PasswordFile.load(file).scram("bob") is None


@pytest.mark.parametrize(
    ("words", "stdin", "code", "said"),
    [
        (["a:b"], b"x", 2, "a user name may not have a ':' in it"),
        (["a\nb"], b"x", 2, "control character U+000A"),
        (["#a"], b"x", 2, "may not begin with '#'"),
        ([""], b"x", 2, "the user name is empty"),
        (["al"], b"", 1, "the password is empty. Nothing was changed."),
        (["al"], b"\n", 1, "the password is empty"),
        (["al"], b"x" * 65_536, 1, "more than 65,535 bytes, which MQTT cannot carry"),
        (["al", "--scram"], b"\xff", 1, "SCRAM takes text in UTF-8 as a password, and this one is binary; --no-scram"),
        (["al", "--scram"], b"\x07", 1, "SCRAM does not take this password: control characters forbidden; --no-scram"),
        (["\ufb01x", "--scram"], b"x", 1, "SCRAM carries this user name as 'fix'; --no-scram"),
        (["al", "-P", "x"], b"x", 2, "No such option"),
        (["al", "--password", "x"], b"x", 2, "No such option"),
        (["al", CANARY], b"x", 2, "unexpected extra argument"),
    ],
)
def test_what_add_refuses(command: Command, file: Path, words: list[str], stdin: bytes, code: int, said: str) -> None:
    result = command("passwd", "add", str(file), "--stdin", *words, stdin=stdin)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""
    assert file.read_text() == FIRST
    assert left_over(file) == []


def test_without_a_terminal_it_says_what_to_do(command: Command, file: Path) -> None:
    for words in (["add", str(file), "carl"], ["check", str(file), "alice"]):
        result = command("passwd", *words, stdin=b"x")
        assert result.exit_code == 2
        assert "no terminal to ask for the password; pipe it in and say --stdin." in result.stderr
    assert file.read_text() == FIRST


def test_a_file_with_mistakes_is_not_touched(command: Command, file: Path) -> None:
    broken = FIRST + f"carl:{CANARY}\nx\n"
    file.write_text(broken)
    for words in (["add", str(file), "eve", "--stdin"], ["rm", str(file), "alice"]):
        result = command("passwd", *words, stdin=b"x")
        assert result.exit_code == 2
        lines = result.stderr.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith(f"Error: {file}:6:6: user 'carl': this is no hash; does the password stand here")
        assert f"`broker passwd add {file} 'carl'` writes a new one" in lines[0]
        assert lines[1].startswith(f"{file}:7:1: this is not name:hash")
        assert CANARY not in result.output
    assert file.read_text() == broken


def test_the_remedy_that_is_named_mends_the_line(command: Command, file: Path) -> None:
    file.write_text(FIRST + f"carl:{CANARY}\ncarl:x\n{ALICE}")
    assert command("passwd", "rm", str(file), "alice").exit_code == 2  # carl is wrong still
    assert command("passwd", "rm", str(file), "carl").exit_code == 2  # alice is there twice, and cut off
    file.write_text(FIRST + f"carl:{CANARY}\ncarl:x")
    assert command("passwd", "add", str(file), "carl", "--stdin", stdin=b"c").exit_code == 0
    assert right(file, "carl", b"c")
    assert file.read_text().startswith(FIRST)
    assert len(PasswordFile.load(file).users) == 3


def test_add_to_a_file_without_users(command: Command, file: Path) -> None:
    for content in ("", "# nobody yet\n"):
        file.write_text(content)
        assert command("passwd", "add", str(file), "carl", "--stdin", stdin=b"c").exit_code == 0
        assert list(PasswordFile.load(file).users) == ["carl"]
        assert file.read_text().startswith(content)


def test_a_file_for_everybody_is_warned_of(command: Command, file: Path) -> None:
    file.chmod(0o644)
    result = command("passwd", "add", str(file), "carl", "--stdin", stdin=b"c")
    assert result.exit_code == 0
    assert f"and a broker refuses it: `chmod o-rwx {file}`." in result.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_link_stays_a_link(command: Command, file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to(file.name)
    assert command("passwd", "add", str(link), "carl", "--stdin", stdin=b"c").exit_code == 0
    assert link.is_symlink()
    assert right(file, "carl", b"c")
    assert left_over(file) == ["link"]


@pytest.mark.parametrize("place", ["nowhere/passwords", "file/passwords"])
def test_where_no_file_can_be(command: Command, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    result = command("passwd", "add", str(tmp_path / place), "al", "--stdin", stdin=b"x")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot write {tmp_path / place}: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_directory_is_no_file(command: Command, tmp_path: Path) -> None:
    result = command("passwd", "add", str(tmp_path), "al", "--stdin", stdin=b"x")
    assert (result.exit_code, result.stderr) == (2, f"Error: {tmp_path}:1:1: this is a directory; name a file in it\n")


@pytest.mark.parametrize("failing", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(28, "No space left on device"), 1, "No space left on device."),
        (PermissionError(1, "Operation not permitted"), 1, "run this as its owner"),
        (KeyboardInterrupt(), 1, "Aborted!"),
    ],
)
def test_what_fails_while_it_writes_leaves_the_old_file(
    command: Command,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"broker.cli.passwd.os.{failing}", fail)
    result = command("passwd", "rm", str(file), "alice")
    assert result.exit_code == code
    assert said in result.stderr
    assert file.read_text() == FIRST
    assert left_over(file) == []


def test_two_at_once_lose_nothing(command: Command, file: Path) -> None:
    names = [f"user-{count}" for count in range(3)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "broker", "passwd", "add", str(file), name, "--stdin"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in names
    ]
    for process in processes:
        _, said = process.communicate(b"x", timeout=60)
        assert process.returncode == 0, said
    assert set(PasswordFile.load(file).users) == {"alice", "bob", *names}


def test_it_does_not_wait_for_ever(command: Command, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwd, "PATIENCE", 0.05)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        result = command("passwd", "rm", str(file), "alice")
    finally:
        os.close(folder)
    assert (result.exit_code, file.read_text()) == (1, FIRST)
    assert "another `broker passwd` is changing a file in" in result.stderr


# -- at a terminal


def typed(words: list[str], *answers: bytes, end: int | None = None) -> tuple[int, str]:
    """Run `broker passwd …` at a terminal and answer its questions: its exit code, and all that was to be seen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "broker", "passwd", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    seen = b""
    left = list(answers)
    asked = 0
    try:
        while data := os.read(ours, 65_536):
            seen += data
            if seen.count(b": ") > asked and seen.endswith(b": "):
                asked += 1
                if left:
                    os.write(ours, left.pop(0) + b"\n")
                elif end is not None:
                    process.send_signal(end)
    except OSError:  # Linux says EIO when the other side is closed
        pass
    finally:
        watchdog.cancel()
        code = process.wait(30)
        os.close(ours)
    return code, seen.decode()


def test_a_terminal_is_asked_twice_and_shows_nothing(file: Path) -> None:
    code, seen = typed(["add", str(file), "carl"], CANARY.encode(), CANARY.encode())
    assert code == 0, seen
    assert "New password of carl: " in seen
    assert "The same again: " in seen
    assert CANARY not in seen
    assert right(file, "carl", CANARY.encode())


def test_two_that_differ_change_nothing(file: Path) -> None:
    code, seen = typed(["add", str(file), "carl"], CANARY.encode(), b"another")
    assert code == 1
    assert "the two passwords differ. Nothing was changed." in seen
    assert CANARY not in seen
    assert file.read_text() == FIRST


def test_ctrl_c_at_the_question_leaves_nothing_behind(file: Path) -> None:
    code, seen = typed(["add", str(file), "carl"], b"x", end=signal.SIGINT)
    assert code == 130
    assert "Traceback" not in seen
    assert file.read_text() == FIRST
    assert left_over(file) == []


def test_check_asks_at_a_terminal(file: Path) -> None:
    assert typed(["check", str(file), "alice"], b"a")[0] == 0
    code, seen = typed(["check", str(file), "alice"], CANARY.encode())
    assert code == 1
    assert CANARY not in seen


def test_stdin_at_a_terminal_is_a_mistake(file: Path) -> None:
    code, seen = typed(["check", str(file), "alice", "--stdin"])
    assert code == 2
    assert "without it you are asked" in seen


# -- rm


def test_rm(command: Command, file: Path) -> None:
    result = command("passwd", "rm", str(file), "alice")
    assert (result.exit_code, result.output) == (0, f"Removed 'alice' from {file}.\n")
    assert file.read_text() == f"# ours\n\n# theirs\n{BOB}\n"
    result = command("passwd", "rm", str(file), "bob")
    assert result.exit_code == 0
    assert "There is no user left, and a broker refuses such a file: `broker passwd add" in result.stderr
    assert file.read_text() == "# ours\n\n# theirs\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [("alise", "did you mean 'alice'?"), ("# ours", "there is no user"), (str(BOB).rpartition(":")[0], "no user")],
)
def test_rm_of_nobody(command: Command, file: Path, name: str, said: str) -> None:
    file.write_text(FIRST + "# ours: a comment\n")
    result = command("passwd", "rm", str(file), name)
    assert result.exit_code == 1
    assert said in result.stderr
    assert file.read_text() == FIRST + "# ours: a comment\n"


def test_rm_where_there_is_no_file(command: Command, tmp_path: Path) -> None:
    result = command("passwd", "rm", str(tmp_path / "nowhere"), "al")
    assert result.exit_code == 2
    assert "cannot be read: No such file or directory; `broker passwd add" in result.stderr
    assert list(tmp_path.iterdir()) == []


# -- check


def test_check_lists_the_users(command: Command, file: Path) -> None:
    imported = "$6$MDEyMzQ1Njc=$" + "A" * 86 + "=="
    file.write_text(f"{FIRST}an old one:{imported}\n")
    result = command("passwd", "check", str(file))
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "user        hash           cost                  scram",
        "alice       argon2id       19 MiB, t=2, p=1      -",
        "bob         argon2id       19 MiB, t=2, p=1      4,096 iterations",
        "an old one  sha512         1 iteration           -  weak",
    ]
    assert result.stderr.startswith("1 user has a hash that whoever steals the file breaks soon; `broker passwd add`")
    told = command("passwd", "check", str(file), "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    rows = json.loads(told.stdout)
    assert rows[1] == {
        "name": "bob",
        "hash": "argon2id",
        "cost": "19 MiB, t=2, p=1",
        "weak": False,
        "scram": True,
    }
    assert [row["weak"] for row in rows] == [False, False, True]


def test_check_of_a_password(command: Command, file: Path) -> None:
    result = command("passwd", "check", str(file), "alice", "--stdin", stdin=b"a\n")
    assert (result.exit_code, result.output) == (0, "This is the password of 'alice'.\n")
    result = command("passwd", "check", str(file), "alice", "--stdin", stdin=CANARY.encode())
    assert (result.exit_code, result.output) == (1, "Error: this is not the password of 'alice'.\n")
    result = command("passwd", "check", str(file), "alicia", "--stdin", stdin=b"a")
    assert (result.exit_code, result.output) == (
        1,
        f"Error: there is no user 'alicia' in {file}; did you mean 'alice'?\n",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [(["alice", "--json"], "leave NAME out"), (["--stdin"], "name the user behind FILE")],
)
def test_check_of_words_that_do_not_go_together(command: Command, file: Path, words: list[str], said: str) -> None:
    result = command("passwd", "check", str(file), *words, stdin=b"x")
    assert result.exit_code == 2
    assert said in result.stderr


def test_check_says_what_a_broker_would_refuse(command: Command, file: Path) -> None:
    file.chmod(0o644)
    result = command("passwd", "check", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"`chmod o-rwx {file}` keeps it to its owner" in result.stderr
    assert command("passwd", "check", str(file), "--allow-loose").exit_code == 0
    file.chmod(0o600)
    file.write_text("# nobody\n")
    result = command("passwd", "check", str(file), "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no user, only comments" in result.stderr


# -- import


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto_passwd is not installed")
def test_import_of_a_file_of_mosquitto(command: Command, tmp_path: Path, file: Path) -> None:
    source = tmp_path / "mosquitto"
    subprocess.run(["mosquitto_passwd", "-c", "-b", source, "new", "secret 7"], check=True)
    subprocess.run(["mosquitto_passwd", "-H", "sha512", "-b", source, "old", "secret 6"], check=True)
    source.chmod(0o644)
    result = command("passwd", "import", str(source), str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[0] == f"2 of 2 users came from {source} into {file}."
    assert result.stderr.splitlines()[1].startswith("2 users have hashes that whoever steals the file breaks soon;")
    assert file.read_text() == FIRST + source.read_text()
    assert right(file, "new", b"secret 7")
    assert right(file, "old", b"secret 6")
    again = command("passwd", "import", str(source), str(file))
    assert (again.exit_code, again.stderr.splitlines()[0]) == (
        0,
        f"0 of 2 users came from {source} into {file}; 2 were there already.",
    )
    fresh = tmp_path / "fresh"
    assert command("passwd", "import", str(source), str(fresh)).exit_code == 0
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o600
    assert command("passwd", "check", str(fresh), "old", "--stdin", stdin=b"secret 6").exit_code == 0


def test_import_names_plain_text_and_changes_nothing(command: Command, tmp_path: Path, file: Path) -> None:
    source = tmp_path / "mosquitto"
    source.write_text(f"al:{CANARY}\n{ALICE}\nbo:{CANARY}\n")
    result = command("passwd", "import", str(source), str(file))
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith(
        f"Error: {source}:1:4: user 'al': this is no hash; does the password stand here as plain"
    )
    assert lines[1].startswith(f"{source}:3:4: user 'bo': ")
    assert lines[2] == f"`mosquitto_passwd -U {source}` hashes passwords that stand there as plain text."
    assert CANARY not in result.output
    assert file.read_text() == FIRST


def test_import_does_not_overwrite(command: Command, tmp_path: Path, file: Path) -> None:
    source = tmp_path / "mosquitto"
    source.write_text(f"carl:{ALICE.hash.text}\nalice:{BOB.hash.text}\n")
    result = command("passwd", "import", str(source), str(file))
    assert result.exit_code == 1
    assert f"{file} has 'alice' with another password" in result.stderr
    assert file.read_text() == FIRST


def test_import_from_nowhere(command: Command, tmp_path: Path) -> None:
    result = command("passwd", "import", str(tmp_path / "nowhere"), str(tmp_path / "into"))
    assert result.exit_code == 2
    assert "cannot be read: No such file or directory" in result.stderr
    assert list(tmp_path.iterdir()) == []


# -- help


@pytest.mark.parametrize("words", [[], ["add"], ["rm"], ["check"], ["import"]])
def test_help_teaches(command: Command, words: list[str]) -> None:
    result = command("passwd", *words, "--help")
    assert result.exit_code == 0
    assert "  Examples:\n    broker passwd " in result.stdout
