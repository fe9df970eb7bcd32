"""What is checked, opened and computed for init before anything is made."""

from __future__ import annotations

import posix

from pyrun import names, syscalls
from pyrun.container import init, process
from pyrun.container.request import listen_environment
from pyrun.container.stage import hook_state, is_extended
from pyrun.errors import ConfigError
from pyrun.linux import mounts, namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrun.container.init import Task
    from pyrun.container.request import Request
    from pyrun.spec.load import Bundle
    from pyrun.spec.types import JsonObject


def prepare(bundle: Bundle, request: Request, inherited: int) -> Task:
    """Everything of init that can be checked, opened and computed before anything is made.

    Args:
        bundle: read.
        request: what is asked for.
        inherited: how many descriptors from 3 on the container gets.

    Raises:
        ConfigError: config.json asks for what this host or this version does not have.
        ContainerError: a namespace, the rootfs or the console socket cannot be reached.
    """
    config = bundle.config
    extend(config)
    if names.environment("NOTIFY_SOCKET"):
        from pyrun.container import notify

        notify.offer(config, f"{request.root}/{request.container_id}")
    if config.get("hooks"):
        from pyrun.container import hooks

        hooks.redirect(config.get("annotations") or {})  # init cannot open the files any more
    settings = config.get("process") or {}  # start misses it, create does not
    linux = config.get("linux") or {}
    task = init.Task()
    task.bundle = bundle.path
    task.config = config
    task.rootfs = names.real(names.join(bundle.path, config["root"]["path"]))
    task.plan = namespaces.plan(linux.get("namespaces") or ())
    task.in_cgroup = False
    task.entered = []
    task.parents_fds = []
    task.hierarchies = []
    task.use_pivot = not request.no_pivot
    task.keyring_name = "" if request.no_new_keyring else f"_ses.{request.container_id}"
    task.fifo_fd = -1
    task.trees = {}
    task.nodes = {}
    if any(
        mounts.COPY_UP & set(entry.get("options") or ()) for entry in config.get("mounts") or ()
    ):
        __import__("pyrun.linux.mount_copy")  # init may not reach our modules any more
    _check_namespaces(config, task.plan)
    process.check_labels(settings)
    profile, compiled = linux.get("seccomp"), None
    if profile:
        from pyrun.linux.seccomp import filters

        compiled = filters.prepare(profile, filters.cache_directories(request.root))
    task.identity = process.Identity(
        settings, linux, compiled, user_namespace=task.plan.has(syscalls.CLONE_NEWUSER)
    )
    if linux.get("mountLabel") and not init.label_option(config):  # docs/adr/0030
        problem = "this kernel has no SELinux: its files have no labels"
        task.identity.warnings.append(f"/linux/mountLabel: {problem}")
    task.identity.keep_groups = process.keeps_groups(config)
    task.identity.env += listen_environment()
    task.first_free_fd = 3 + inherited
    task.console_fd = request.console_fd
    if settings.get("terminal"):
        from pyrun.linux import console

        if request.console_socket:
            task.console_fd = console.connect(request.console_socket)
    task.state = hook_state(bundle, request.container_id)
    if profile and profile.get("listenerPath"):
        from pyrun.container import listener

        task.identity.listener = listener.connect(compiled, task.state)
    return task


def extend(config: JsonObject) -> None:
    """Have crun's annotations change ``config``.

    Raises:
        ConfigError: one of them asks for what pyrun does not do.
    """
    annotations = config.get("annotations") or {}
    if is_extended(annotations):
        from pyrun.container import extensions

        extensions.apply(config)


def make_trees(task: Task) -> None:
    """Detached mounts of what init may not reach by its path, and idmapped ones.

    Raises:
        ConfigError: a mapping has no meaning.
        KernelError: the kernel refused.
    """
    outside = task.plan.has(syscalls.CLONE_NEWUSER) and posix.geteuid() == 0
    if outside or _has_idmap(task.config.get("mounts") or ()):
        from pyrun.container import mount_trees

        task.trees = mount_trees.make(task)


def make_nodes(task: Task, prefix: str) -> None:
    """Devices that the root of a user namespace may not make; ``prefix`` is of their paths.

    Raises:
        KernelError: the kernel refused.
    """
    linux = task.config.get("linux") or {}
    if not task.plan.new & syscalls.CLONE_NEWUSER or not linux.get("devices"):
        return
    if posix.geteuid() == 0:
        from pyrun.linux import devices
        from pyrun.linux.cgroups import ownership

        def owner(inside: int, kind: str) -> int:
            return ownership.host_id(inside, linux.get(f"{kind}Mappings") or [])

        task.nodes = devices.make_nodes(linux["devices"], prefix, owner)


def _has_idmap(entries: Iterable[JsonObject]) -> bool:
    return any(
        entry.get("uidMappings") or any(map(mounts.is_idmap, entry.get("options") or ()))
        for entry in entries
    )


def _check_namespaces(config: JsonObject, plan: namespaces.Plan) -> None:
    """Refuse settings that would change the host for want of a namespace."""
    linux = config.get("linux") or {}
    own = plan.new
    for flag in plan.joined:
        own |= flag
    if linux.get("sysctl"):
        from pyrun.linux import sysctl

        sysctl.check(linux["sysctl"], own)
    if not own & syscalls.CLONE_NEWNS:
        for name, value in (
            ("/linux/maskedPaths", linux.get("maskedPaths")),
            ("/linux/readonlyPaths", linux.get("readonlyPaths")),
            ("/root/readonly", config["root"].get("readonly")),
        ):
            if value:
                raise ConfigError(name, "needs a mount namespace in /linux/namespaces")
