"""The Java that runs Kafka and Spark: where it is and which version."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from schemas.errors import ConfigError

SUPPORTED_MAJOR = 17


def java_command() -> str:
    """The `java` to run: `$JAVA_HOME/bin/java`, else the one on PATH, as Spark chooses it. Raises ConfigError E110."""
    home = os.environ.get("JAVA_HOME")
    if home:
        candidate = Path(home) / "bin" / "java"
        if candidate.exists():
            return str(candidate)
        raise ConfigError("E110", f"JAVA_HOME is {home}, but there is no bin/java in it", remedy="Correct or unset JAVA_HOME.")
    found = shutil.which("java")
    if not found:
        raise ConfigError("E110", "no java on PATH", remedy="Install a Java 17 runtime, for example openjdk-17-jre-headless.")
    return found


def java_version(command: str) -> tuple[int, str]:
    """The major version and the full version text of `command`. Raises ConfigError E110 when it does not tell.

    `java -version` writes `openjdk version "17.0.15" 2025-04-15` to stderr; Java 8 called itself "1.8.0".
    """
    said = subprocess.run([command, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', said)
    if not match:
        raise ConfigError("E110", f"{command} -version says no version: {said.strip()[:200]!r}")
    return int(match.group(2)), match.group(1)


__all__ = ["SUPPORTED_MAJOR", "java_command", "java_version"]
