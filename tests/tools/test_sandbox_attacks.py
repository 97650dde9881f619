"""What code tries in a box, in both jails, with the server as root and as anybody, and in a container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attacks import ATTEMPTS

from antiphon.sandbox import paths
from serving import PATIENCE

ROOT = Path(__file__).parents[2]
BOXED = Path(__file__).with_name("boxed.py")
REACH = ROOT / "src" / "antiphon" / "sandbox" / "reach.py"
ANYBODY = 1001
# What Docker leaves of root: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_*, sys_chroot …
CAPABILITIES = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_raw,+sys_chroot,+mknod"

WAYS = [
    pytest.param("bubblewrap", 0, False, id="bubblewrap, root"),
    pytest.param("bubblewrap", ANYBODY, False, id="bubblewrap, anybody"),
    pytest.param("landlock", 0, False, id="landlock, root"),
    pytest.param("landlock", ANYBODY, False, id="landlock, anybody"),
    pytest.param("auto", 0, True, id="in a container, root"),
    pytest.param("auto", ANYBODY, True, id="in a container, anybody"),
]

# What the first Landlock (Linux 5.13) does not hold, and seccomp has to.
OLD = tuple(
    attempt
    for attempt in ATTEMPTS
    if attempt.name.partition(" ")[0] in ("1", "3", "6", "6a", "6b", "6j", "9", "10c", "10d")
)


def as_user(user: int, container: bool, command: list[str]) -> list[str]:
    """The command, run by `user`: one who may read the interpreter, and in a container with a container's capabilities."""
    if os.geteuid() != 0:
        if user == 0:
            pytest.skip("only root can try what root's boxes are like")
        return command
    if container and user == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed")
        command = ["/usr/bin/setpriv", f"--bounding-set={CAPABILITIES}", f"--inh-caps={CAPABILITIES}", "--", *command]
    elif user == 0:
        return command
    covers = paths.barriers([*paths.python(), ROOT / "src", ROOT / "tests"])
    asked = {
        "covers": covers,
        "user": user,
        "command": command,
        "environment": {"SECRET": "hush-hush", "LANG": "C.UTF-8"},
    }
    return [sys.executable, "-B", str(REACH), json.dumps(asked)]


@cache
def seen(jail: str, user: int, container: bool, landlock: int | None = None) -> dict[str, Any]:
    """What came of all attempts; with an old Landlock of those that it makes a difference for."""
    attempts = ATTEMPTS if landlock is None else OLD
    cells = {attempt.name: [attempt.code, attempt.seconds] for attempt in attempts}
    asked = json.dumps({"jail": jail, "cells": cells, "container": container, "landlock": landlock})
    command = as_user(user, container, [sys.executable, "-B", str(BOXED), asked])
    environment = {"SECRET": "hush-hush", "LANG": "C.UTF-8"}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["jail"] is not None, found["reason"]
    return found


@pytest.mark.parametrize(("jail", "user", "container"), WAYS)
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_an_attempt_is_held(jail, user, container, attempt):
    found = seen(jail, user, container)
    assert attempt.fits(found["jail"], found["ran"][attempt.name]), found["ran"][attempt.name]


@pytest.mark.parametrize(("jail", "user", "container"), WAYS)
def test_nothing_outside_has_changed_and_nothing_is_left(jail, user, container):
    found = seen(jail, user, container)
    assert all(found["intact"])
    assert found["processes"] == [] and found["places"] == []


@pytest.mark.parametrize("version", [1, 3, 5])
def test_the_jail_holds_with_an_older_landlock(version):
    found = seen("landlock", ANYBODY, False, version)
    assert [attempt.name for attempt in OLD if not attempt.fits("landlock", found["ran"][attempt.name])] == []
    assert all(found["intact"])


@pytest.mark.parametrize("user", [0, ANYBODY])
def test_a_container_gets_the_jail_without_namespaces(user):
    assert seen("auto", user, True)["jail"] == "landlock"
