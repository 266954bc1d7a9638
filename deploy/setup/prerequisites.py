"""What this machine must have before `make setup` can do the rest: Python 3.11 or newer, Java 17, Maven.

Run by whatever `python3` the machine has, before anything is installed: standard library only, no syntax newer than 3.7.
Prints the Python to use to standard output, everything for people to standard error. Exit status 1 when something is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON_LOWEST = (3, 11)
PYTHON_TRIED = (3, 13)
JAVA_SUPPORTED = 17
PYTHON_NAMES = ("python3", "python3.13", "python3.12", "python3.11", "python3.14")

HOW_TO = {
    "Python": "Debian or Ubuntu: apt install python3.11 python3.11-venv. macOS: brew install python@3.12.",
    "Python's venv module": "Debian or Ubuntu: apt install python3-venv (or python3.11-venv, for the version named).",
    "Java": "Debian or Ubuntu: apt install openjdk-17-jre-headless. macOS: brew install openjdk@17, and set JAVA_HOME to it.",
    "Maven": "Debian or Ubuntu: apt install maven. macOS: brew install maven.",
}


def output_of(command: list[str]) -> str | None:
    """What `command` prints to both outputs; None when it cannot be run or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def python_version(command: str) -> tuple[int, int] | None:
    """(major, minor) of a Python command; None when it does not run."""
    said = output_of([command, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    match = re.search(r"^(\d+)\.(\d+)$", (said or "").strip())
    return (int(match.group(1)), int(match.group(2))) if match else None


def find_python(wanted: str | None = None) -> tuple[str | None, str]:
    """(command or None, what was found): the first Python that is new enough, those the pins were tried with first."""
    tried = [(name, python_version(name)) for name in ([wanted] if wanted else PYTHON_NAMES)]
    found = [(name, version) for name, version in tried if version]
    fitting = sorted((each for each in found if each[1] >= PYTHON_LOWEST), key=lambda each: each[1] > PYTHON_TRIED)
    told = ", ".join(f"{name} is {version[0]}.{version[1]}" for name, version in found) or "none"
    return (fitting[0][0] if fitting else None), told


def java_command() -> str | None:
    """The java that Spark and Kafka run: that of JAVA_HOME when set, else that of PATH; None when there is none."""
    home = os.environ.get("JAVA_HOME")
    if not home:
        return shutil.which("java")
    java = Path(home) / "bin" / "java"
    return str(java) if java.exists() else None


def java_version(command: str) -> tuple[int, str] | None:
    """(major, text) of a java command; None when it does not run. Java 8 calls itself 1.8."""
    match = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', output_of([command, "-version"]) or "")
    return (int(match.group(2)), match.group(1)) if match else None


def problems() -> tuple[str | None, list[tuple[str, str, str]], list[str]]:
    """(the Python to use or None, what is missing as (what, found, needed), warnings)."""
    missing, warnings = [], []
    python, told = find_python(os.environ.get("PYTHON"))
    if python is None:
        missing.append(("Python", told, "3.11 or newer"))
    elif output_of([python, "-c", "import venv, ensurepip"]) is None:
        missing.append(("Python's venv module", f"{python} has none", "venv with ensurepip"))
    java = java_command()
    version = java_version(java) if java else None
    if version is None:
        home = os.environ.get("JAVA_HOME")
        missing.append(("Java", f"JAVA_HOME={home} has no working bin/java" if home else "none", "17"))
    elif version[0] < JAVA_SUPPORTED:
        missing.append(("Java", version[1], "17"))
    elif version[0] > JAVA_SUPPORTED:
        warnings.append(f"Java {version[1]} found. Spark 4.2 is built for Java 17; newer ones were not tried with it.")
    if shutil.which("mvn") is None:
        missing.append(("Maven", "none", "3.6 or newer, to fetch the jars"))
    return python, missing, warnings


def main() -> int:
    """Print what is missing and how to get it; print the Python to use when nothing is."""
    python, missing, warnings = problems()
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for what, found, needed in missing:
        sys.stderr.write(f"missing: {what}. Found: {found}. Needed: {needed}.\n         {HOW_TO[what]}\n")
    if missing:
        return 1
    print(python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
