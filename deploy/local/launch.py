"""Become a process group of one's own, leave a pid file, then become the command.

Run as a script between the starter and the command. The child writes its own pid file before it becomes the command, so a
starter killed at any moment leaves either no process or one that `down` can find.

The identity of a process is its pid and the time it started: pids are handed out again, start times are not.
Standard library only: it runs isolated, before any package is importable.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path


def start_mark(pid: int) -> str | None:
    """When process `pid` started, as an opaque text that no later process with this pid shares. None: no such process.

    Linux: boot id and start tick from /proc/<pid>/stat, field 22 (proc_pid_stat(5)). A zombie counts as no process.
    Elsewhere: what `ps` prints as the start time, to the second.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The command name, in brackets, may hold blanks and brackets: count fields from the last bracket.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # A killed process of many threads is a zombie while the last of them still holds its sockets: field 20 is their number.
        if fields[0] in "ZX" and int(fields[17]) <= 1:
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{fields[19]}"
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = found.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def main(arguments: list[str]) -> None:
    """`launch.py PID_FILE COMMAND...`: never returns."""
    pid_file, command = Path(arguments[0]), arguments[1:]
    # The starter asked for a new session already; a plain run from a shell gets one here.
    with contextlib.suppress(PermissionError):
        os.setsid()
    entry = {"pid": os.getpid(), "started": start_mark(os.getpid()), "command": command}
    temporary = pid_file.with_name(f"{pid_file.name}.{os.getpid()}")
    temporary.write_text(json.dumps(entry))
    temporary.replace(pid_file)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
