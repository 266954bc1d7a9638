"""The Java that runs Kafka and Spark, or a refusal that says how to get one."""

import os

from deploy.setup import prerequisites
from schemas.errors import ConfigError


def java_command() -> str:
    """The `java` to run. Raises ConfigError E110 when there is none."""
    found = prerequisites.java_command()
    if found is None:
        home = os.environ.get("JAVA_HOME")
        what = f"JAVA_HOME is {home}, but there is no bin/java in it" if home else "no java on PATH"
        raise ConfigError("E110", what, remedy=prerequisites.HOW_TO["Java"])
    return found


__all__ = ["java_command"]
