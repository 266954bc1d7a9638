"""The command line as a whole: what it loads, its exit statuses, how a refusal looks."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from deploy import cli
from schemas.errors import ConfigError, InDoubt, MillraceError, Retryable, Terminal

HEAVY = ("pyspark", "delta", "pyarrow", "pandas", "numpy", "aerospike", "confluent_kafka", "deltalake", "pydantic")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def failing() -> Iterator[Callable[[BaseException], None]]:
    """Adds a hidden command `fail` to the command line, for one test."""
    before = list(cli.app.registered_commands)
    raised: list[BaseException] = []

    def fail() -> None:
        raise raised[0]

    cli.app.command("fail", hidden=True)(fail)
    yield raised.append
    cli.app.registered_commands[:] = before


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    code = f"""
import sys
from deploy import cli
status = cli.main(["--help"])
print("LOADED", sorted(set({HEAVY!r}) & set(sys.modules)))
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "LOADED []" in done.stdout
    for command in ("validate", "explain", "run", "ledger", "reconcile", "doctor", "demo", "local", "simulate"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("E101", "an option is unknown"), 2),
        (Retryable("E220", "nobody answered"), 3),
        (InDoubt("E310", "who knows"), 3),
        (Terminal("E410", "5 in, 4 out"), 4),
    ],
    ids=["config", "retryable", "in-doubt", "terminal"],
)
def test_a_refusal_has_its_status_code_and_remedy_and_no_traceback(
    failing: Callable[[BaseException], None], error: MillraceError, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert cli.main(["fail"]) == status
    printed = capsys.readouterr()
    assert printed.err == f"[{error.code}] {error.message}\n{error.remedy}\n"
    assert not printed.out


def test_interrupted_and_left_early(failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    assert cli.main(["fail"]) == cli.INTERRUPTED == 130


def test_a_command_chooses_its_own_status(failing: Callable[[BaseException], None]) -> None:
    failing(typer.Exit(1))
    assert cli.main(["fail"]) == 1


def test_a_defect_keeps_its_traceback(failing: Callable[[BaseException], None]) -> None:
    failing(ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["fail"])


def test_a_wrong_call_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["local", "up", "--duplicates", "2"]) == 2
    assert "'--duplicates'" in capsys.readouterr().err
    assert cli.main(["no-such-command"]) == 2


def test_every_family_of_errors_has_a_status() -> None:
    assert set(MillraceError.__subclasses__()) == set(cli.EXIT_CODES)


def test_the_console_script_is_this_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "deploy.cli", "no-such-command"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "no-such-command" in done.stderr
