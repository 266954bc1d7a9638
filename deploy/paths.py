"""Where the parts of an installation are: project folder, jars, the ignored working folder."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
"""The folder that holds the packages: a clone, or the application folder of an image."""


def work_folder() -> Path:
    """The ignored folder for everything made on this machine: `$MILLRACE_HOME`, else `.millrace` in the project."""
    return Path(os.environ.get("MILLRACE_HOME") or PROJECT / ".millrace").absolute()


def jars_folder(kind: str) -> Path:
    """The folder with the jars of `kind`, "spark" or "kafka": `$MILLRACE_JARS` or `$MILLRACE_KAFKA_JARS` when set."""
    named = os.environ.get({"spark": "MILLRACE_JARS", "kafka": "MILLRACE_KAFKA_JARS"}[kind])
    return Path(named) if named else work_folder() / "jars" / kind


__all__ = ["PROJECT", "jars_folder", "work_folder"]
