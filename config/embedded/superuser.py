"""PostgreSQL refuses to run as root; as root, its programs run as another user."""

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Users that own nothing much, in order of preference; the last is on every system.
_CANDIDATES = ("postgres", "nobody")


def stand_in(data: Path) -> pwd.struct_passwd:
    """Whose name the server of `data` runs in: the owner of its files, or a user without rights."""
    home = data / "postgres"
    if home.exists() and home.stat().st_uid != 0:
        return pwd.getpwuid(home.stat().st_uid)
    names = {user.pw_name: user for user in pwd.getpwall()}
    return next(names[name] for name in _CANDIDATES if name in names)


def demote(command: Sequence[str], data: Path) -> tuple[Sequence[str], dict[str, Any]]:
    """`command` and the arguments of subprocess.run that make it run as the stand-in.

    Where a directory above the program or the data is closed to that user (/root, a private temporary directory),
    the command keeps the right to pass closed doors rather than have them opened for everyone.
    """
    user = stand_in(data)
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    setpriv = shutil.which("setpriv")
    if setpriv is None or all(_may_pass(path, user.pw_uid) for path in (Path(command[0]), data / "postgres")):
        return command, identity
    who = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    # The last one is for access(), which PostgreSQL asks about its own programs and which else forgets capabilities.
    doors = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    return (setpriv, *who, *doors, "--", *command), {}


def _may_pass(path: Path, uid: int) -> bool:
    for directory in path.resolve().parents:
        status = directory.stat()
        if not status.st_mode & (0o100 if status.st_uid == uid else 0o001):
            return False
    return os.access(path, os.F_OK)
