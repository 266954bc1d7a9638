"""`millrace`: the commands of every part under one name, and what a failure looks like from outside.

Command modules are imported here, so they import nothing heavy at the top: `millrace --help` must not wait for Spark.
"""

import sys

import typer

from deploy.local import cli as local
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
app.add_typer(local.app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status. A refusal is printed with its code and remedy, without a traceback."""
    try:
        app(arguments, prog_name="millrace", standalone_mode=True)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(bool(done.code))
    except KeyboardInterrupt:
        return INTERRUPTED
    except MillraceError as refusal:
        print(f"{refusal}\n{refusal.remedy}", file=sys.stderr)
        return next((code for kind, code in EXIT_CODES.items() if isinstance(refusal, kind)), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
