"""Where the parts of an installation are: project folder, jars, the ignored working folder."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
"""The folder that holds the packages: a clone, or the application folder of an image."""

_VARIABLES = {"spark": "MILLRACE_JARS", "kafka": "MILLRACE_KAFKA_JARS", "registry": "MILLRACE_REGISTRY_JARS"}


def work_folder() -> Path:
    """The ignored folder for everything made on this machine: `$MILLRACE_HOME`, else `.millrace` in the project."""
    return Path(os.environ.get("MILLRACE_HOME") or PROJECT / ".millrace").absolute()


def jars_folder(kind: str) -> Path:
    """The folder with the jars of `kind`, "spark", "kafka" or "registry".

    `$MILLRACE_JARS`, `$MILLRACE_KAFKA_JARS` or `$MILLRACE_REGISTRY_JARS` when set.
    """
    named = os.environ.get(_VARIABLES[kind])
    return Path(named) if named else work_folder() / "jars" / kind


__all__ = ["PROJECT", "jars_folder", "work_folder"]
