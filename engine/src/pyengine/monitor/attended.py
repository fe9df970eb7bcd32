"""The exit command of a container that a foreground pyengine attends.

usage: attended.py LOCK PROGRAM [ARGUMENT...]

The foreground pyengine holds LOCK while it lives and cleans up after its container itself, which
removes LOCK. Only if LOCK is still there once its lock is free (pyengine was killed, or detached)
is PROGRAM, the full clean-up, executed. A script of its own because importing pyengine costs more
than a container's whole exit.
"""

import fcntl
import os
import sys

lock_path = sys.argv[1]
try:
    lock_fd = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC)
except FileNotFoundError:
    os._exit(0)
fcntl.flock(lock_fd, fcntl.LOCK_EX)
if not os.path.exists(lock_path):
    os._exit(0)
os.execv(sys.argv[2], sys.argv[2:])
