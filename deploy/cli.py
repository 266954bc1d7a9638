"""`millrace`: the commands of every part under one name, and what a failure looks like from outside.

Command modules are imported here, so they import nothing heavy at the top: `millrace --help` must not wait for Spark.
"""

import atexit
import inspect
import os
import re
import sys
from typing import NoReturn

import typer

from deploy import doctor
from deploy.demo import cli as demo
from deploy.local import cli as local
from deploy.simulate import cli as simulate
from pipelines.cli import dead_letters, decode, explain, ledger, reconcile, run, schemas, validate
from schemas.errors import ConfigError, InDoubt, MillraceError, Retryable, Terminal

EXIT_CODES: dict[type[MillraceError], int] = {ConfigError: 2, Retryable: 3, InDoubt: 3, Terminal: 4}
INTERRUPTED = 130

app = typer.Typer(
    name="millrace",
    help="Exact mirrors and history of Aerospike XDR change events, through Kafka and Spark.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables would print passwords.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("validate")(validate.validate)
app.command("explain")(explain.explain)
app.command("decode")(decode.decode)
app.command("run")(run.run)
app.command("ledger")(ledger.ledger)
app.command("reconcile")(reconcile.reconcile)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.add_typer(dead_letters.app)
app.add_typer(local.app)
app.add_typer(simulate.app)
app.add_typer(schemas.app)


def _give_summaries(group: typer.Typer) -> None:
    """Lists of commands show each one's whole first sentence; by default it is cut at 45 characters."""
    for command in group.registered_commands:
        command.short_help = command.short_help or _first_sentence(command.help or inspect.getdoc(command.callback) or "")
    for sub in group.registered_groups:
        if sub.typer_instance:
            sub.short_help = sub.short_help or _first_sentence(str(sub.typer_instance.info.help or ""))
            _give_summaries(sub.typer_instance)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?]) ", " ".join(text.split()), maxsplit=1)[0]


_give_summaries(app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status. A refusal is printed with its code and remedy, without a traceback."""
    try:
        app(arguments, prog_name="millrace")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(bool(done.code))
    except KeyboardInterrupt:
        return INTERRUPTED
    except MillraceError as refusal:
        print(f"{refusal}\n{refusal.remedy}", file=sys.stderr)
        return next((code for kind, code in EXIT_CODES.items() if isinstance(refusal, kind)), 1)
    return 0


def entry() -> NoReturn:
    """The process's way in and out: `main`, exit handlers, then gone with its status.

    The interpreter's own end would cut daemon threads of C++ libraries in the middle of a call, which now and then aborts the
    process and with it the exit status somebody waits for.
    """
    status = main()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    entry()
