"""``features``: what pyrun knows of config.json (runtime-spec features.md, features-linux.md).

By the specification it tells what the runtime implements, not what the kernel has; only the
seccomp flags are those that kernel can do.
"""

from __future__ import annotations

import errno

from pyrun import syscalls
from pyrun.linux import capabilities, memory_policy, mounts, namespaces
from pyrun.linux.seccomp import compiler, filters
from pyrun.spec import shapes, validate
from pyrun.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.spec.types import JsonObject

OLDEST = "1.0.0"
# Annotations that change what pyrun does; those with a final dot are prefixes. "bundle" and
# "org.criu.config" are those of runc.
UNSAFE_ANNOTATIONS = (
    "bundle", "io.containers.trace-syscall", "org.criu.config", "org.systemd.property.", "run.oci.",
)  # fmt: skip


def features() -> JsonObject:
    """The features structure."""
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": f"1.{validate.NEWEST_MINOR}.0",
        "hooks": list(shapes.HOOK_KINDS),
        "mountOptions": mounts.known_options(),
        "linux": {
            "namespaces": sorted(namespaces.TYPES),
            "capabilities": list(capabilities.NAMES),
            "cgroup": dict.fromkeys(("v1", "v2", "systemd", "systemdUser", "rdma"), True),
            "seccomp": _seccomp(),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "memoryPolicy": {
                "modes": sorted(memory_policy.MODES),
                "flags": sorted(memory_policy.FLAGS),
            },
            "intelRdt": dict.fromkeys(("enabled", "schemata", "monitoring"), True),
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": _annotations(),
        "potentiallyUnsafeConfigAnnotations": list(UNSAFE_ANNOTATIONS),
    }


def _annotations() -> dict[str, str]:
    found = {
        "io.github.pyrun.version": VERSION,
        "org.opencontainers.runc.checkpoint.enabled": "true",  # callers of runc ask for this key
    }
    version = filters.library_version()
    if version:
        found["io.github.seccomp.libseccomp.version"] = version
    return found


def _seccomp() -> dict[str, Any]:
    if not filters.library_version():
        return {"enabled": False}
    return {
        "enabled": True,
        "actions": sorted(compiler.ACTIONS),
        "operators": sorted(compiler.OPERATORS),
        "archs": sorted(set(compiler.ARCHITECTURES) - {"SCMP_ARCH_NATIVE"}),
        "knownFlags": sorted(filters.FLAGS),
        "supportedFlags": sorted(name for name, bits in filters.FLAGS.items() if _has_flag(bits)),
    }


def _has_flag(bits: int) -> bool:
    """The kernel looks at the flags before it looks at the program (seccomp(2))."""
    if bits == syscalls.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV:
        bits |= syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER
    try:
        syscalls.seccomp(syscalls.SECCOMP_SET_MODE_FILTER, bits, None)
    except OSError as error:
        return error.errno == errno.EFAULT
    return False
