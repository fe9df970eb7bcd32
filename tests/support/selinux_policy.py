"""A small SELinux policy for a guest that is thrown away: run as a program, it loads it.

Everything may do everything but for ``container_t``: it writes to no file of the host and to none
of another container's categories. A loaded policy cannot be taken out again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

FILESYSTEM = "/sys/fs/selinux"
PROCESS, FILES = "system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0"
# A type of the policy that no process may change to.
CLOSED = "system_u:system_r:closed_t:s0"
# Linux: security/selinux/include/initial_sid_to_string.h, in its order
_INITIAL = [
    "kernel", "security", "unlabeled", "fs", "file", "file_labels", "init", "any_socket", "port",
    "netif", "netmsg", "node", "igmp_packet", "icmp_socket", "tcp_socket", "sysctl_modprobe",
    "sysctl", "sysctl_fs", "sysctl_kernel", "sysctl_net", "sysctl_net_unix", "sysctl_vm",
    "sysctl_dev", "kmod", "policy", "scmp_packet", "devnull",
]  # fmt: skip
_CATEGORIES = [f"c{number}" for number in range(1024)]
_ALL = "((s0) (s0 (range c0 c1023)))"
_HOST = "(system_u object_r host_t ((s0) (s0)))"
# What can be relabelled has to have a class; a permission that is not named is allowed.
_OTHER_FILES = ["dir", "lnk_file", "chr_file", "blk_file", "sock_file", "fifo_file"]
_RULES = f"""
(handleunknown allow)
(mls true)
(policycap nnp_nosuid_transition)
(class process (transition dyntransition))
(class file (write append entrypoint))
(class key (view))
(classorder (process file key {" ".join(_OTHER_FILES)}))
(sensitivity s0)
(sensitivityorder (s0))
(categoryorder ({" ".join(_CATEGORIES)}))
(sensitivitycategory s0 (range c0 c1023))
(user system_u)
(role system_r)
(role object_r)
(userrole system_u system_r)
(userrole system_u object_r)
(userlevel system_u (s0))
(userrange system_u {_ALL})
(sidorder ({" ".join(_INITIAL)}))
(sidcontext kernel (system_u system_r kernel_t {_ALL}))
(allow kernel_t container_t (process (transition)))
(allow kernel_t every (file (write append entrypoint)))
(allow kernel_t every (key (view)))
(allow container_t every (file (entrypoint)))
(allow container_t container_file_t (file (write append)))
(allow container_t container_t (key (view)))
(mlsconstrain (file (write append)) (dom h1 h2))
(typeattribute every)
(typeattributeset every (kernel_t host_t container_t container_file_t closed_t))
"""


def text() -> str:
    """The policy in CIL."""
    lines = [f"(category {name})" for name in _CATEGORIES]
    lines += [f"(type {name}_t)" for name in ("kernel", "host", "container", "container_file")]
    lines += ["(type closed_t)"]
    lines += [f"(roletype system_r {name}_t)" for name in ("kernel", "container", "closed")]
    lines += [f"(roletype object_r {name}_t)" for name in ("host", "container_file")]
    for name in _OTHER_FILES:
        lines += [f"(class {name} (relabelto))", f"(allow kernel_t every ({name} (relabelto)))"]
    lines += [f"(sid {name})" for name in _INITIAL]
    lines += [f"(sidcontext {name} {_HOST})" for name in _INITIAL if name != "kernel"]
    lines += [f"(fsuse xattr {name} {_HOST})" for name in ("ext4", "overlay")]
    lines += [f"(fsuse trans {name} {_HOST})" for name in ("tmpfs", "devpts", "mqueue")]
    return "\n".join([*lines, _RULES])


def load() -> None:
    """Compile the policy, load it and enforce it."""
    if not os.path.exists(f"{FILESYSTEM}/load"):
        subprocess.run(["mount", "-t", "selinuxfs", "selinuxfs", FILESYSTEM], check=True)
    with tempfile.TemporaryDirectory() as top:
        with open(f"{top}/policy.cil", "w") as source:
            source.write(text())
        words = ["secilc", "-c", "33", "-o", f"{top}/policy", "-f", os.devnull, source.name]
        subprocess.run(words, check=True)
        with open(f"{top}/policy", "rb") as compiled, open(f"{FILESYSTEM}/load", "wb", 0) as kernel:
            kernel.write(compiled.read())
    with open(f"{FILESYSTEM}/enforce", "w") as switch:
        switch.write("1")


if __name__ == "__main__":
    load()
    os.execvp(sys.argv[1], sys.argv[1:])
