"""Every command: where it is and its line of help, so that ``--help`` imports none of them."""

from __future__ import annotations

# name: ("module:attribute", one line of help)
Table = dict[str, tuple[str, str]]

# These stand at the top and below their noun.
_OF_CONTAINERS: Table = {
    "attach": ("pyengine.cli.exec:attach", "Attach to a running container"),
    "commit": ("pyengine.cli.trees:commit", "Create new image based on the changed container"),
    "cp": ("pyengine.cli.cp:cp", "Copy files or folders between a container and the host"),
    "create": ("pyengine.cli.run:create", "Create but do not start a container"),
    "diff": ("pyengine.cli.trees:diff", "Display the changes to the object's file system"),
    "exec": ("pyengine.cli.exec:exec_", "Run a process in a running container"),
    "export": (
        "pyengine.cli.trees:export",
        "Export container's filesystem contents as a tar archive",
    ),
    "init": ("pyengine.cli.containers:init", "Initialize one or more containers"),
    "kill": (
        "pyengine.cli.containers:kill",
        "Kill one or more running containers with a specific signal",
    ),
    "logs": ("pyengine.cli.logs:logs", "Fetch the logs of one or more containers"),
    "mount": ("pyengine.cli.trees:mount", "Mount a working container's root filesystem"),
    "pause": ("pyengine.cli.containers:pause", "Pause all the processes in one or more containers"),
    "port": ("pyengine.cli.top:port", "List port mappings for the container"),
    "ps": ("pyengine.cli.ps:ps", "List containers"),
    "rename": ("pyengine.cli.naming:rename", "Rename an existing container"),
    "restart": ("pyengine.cli.containers:restart", "Restart one or more containers"),
    "rm": ("pyengine.cli.removal:rm", "Remove one or more containers"),
    "run": ("pyengine.cli.run:run", "Run a command in a new container"),
    "start": ("pyengine.cli.containers:start", "Start one or more containers"),
    "stats": ("pyengine.cli.stats:stats", "Display a live stream of container resource usage"),
    "stop": ("pyengine.cli.containers:stop", "Stop one or more containers"),
    "top": ("pyengine.cli.top:top", "Display the running processes of a container"),
    "umount": ("pyengine.cli.trees:unmount", "Unmount working container's root filesystem"),
    "unmount": ("pyengine.cli.trees:unmount", "Unmount working container's root filesystem"),
    "unpause": (
        "pyengine.cli.containers:unpause",
        "Unpause the processes in one or more containers",
    ),
    "update": ("pyengine.cli.changing:update", "Update the limits of a container"),
    "wait": ("pyengine.cli.waiting:wait", "Block on one or more containers"),
    "why": ("pyengine.cli.why:why", "Say why a container ended"),
}
_OF_IMAGES: Table = {
    "history": ("pyengine.cli.image_details:history", "Show history of a specified image"),
    "import": ("pyengine.cli.image_trees:import_", "Import a tarball to create an image"),
    "load": ("pyengine.cli.images:load", "Load image(s) from a tar archive"),
    "pull": ("pyengine.cli.images:pull", "Pull an image from a registry"),
    "push": ("pyengine.cli.push:push", "Push an image to a specified destination"),
    "save": ("pyengine.cli.image_details:save", "Save image(s) to an archive"),
    "search": ("pyengine.cli.search:search", "Search registry for image"),
    "tag": ("pyengine.cli.images:tag", "Add an additional name to a local image"),
    "untag": ("pyengine.cli.images:untag", "Remove a name from a local image"),
}

COMMANDS: Table = {
    **_OF_CONTAINERS,
    **_OF_IMAGES,
    "__complete": ("pyengine.cli.completing:complete", "Print what a word may become"),
    "__completeNoDesc": ("pyengine.cli.completing:complete_bare", "As __complete, words only"),
    "completion": ("pyengine.cli.completing:completion", "Generate shell completion scripts"),
    "container": ("", "Manage containers"),
    "events": ("pyengine.cli.events:events", "Show events"),
    "healthcheck": ("", "Run health checks on containers"),
    "image": ("", "Manage images"),
    "images": ("pyengine.cli.images:images", "List images in local storage"),
    "info": ("pyengine.cli.info:info", "Display pyengine system information"),
    "inspect": ("pyengine.cli.inspect:inspect", "Display the configuration of containers"),
    "login": ("pyengine.cli.login:login", "Log in to a container registry"),
    "logout": ("pyengine.cli.login:logout", "Log out of a container registry"),
    "manifest": ("", "Manipulate manifest lists and image indexes"),
    "rmi": ("pyengine.cli.images:rmi", "Remove one or more images from local storage"),
    "secret": ("", "Manage secrets"),
    "skopeo": ("pyengine.cli.skopeo:skopeo", "Copy and inspect images between registries"),
    "system": ("", "Manage pyengine"),
    "unshare": ("pyengine.cli.unshare:unshare", "Run a command in a modified user namespace"),
    "version": ("pyengine.cli.system:version", "Display the pyengine version information"),
    "volume": ("", "Manage volumes"),
}

# The commands below a noun; the noun itself has a line without a module above.
GROUPS: dict[str, Table] = {
    "container": {
        **_OF_CONTAINERS,
        "checkpoint": (
            "pyengine.cli.checkpointing:checkpoint",
            "Checkpoint one or more containers",
        ),
        "cleanup": ("pyengine.cli.removal:cleanup", "Clean up after a container that has ended"),
        "clone": ("pyengine.cli.changing:clone", "Clone an existing container"),
        "exists": ("pyengine.cli.naming:exists", "Check if a container exists in local storage"),
        "inspect": (
            "pyengine.cli.inspect:inspect_containers",
            "Display the configuration of containers",
        ),
        "list": ("pyengine.cli.ps:ps", "List containers"),
        "ls": ("pyengine.cli.ps:ps", "List containers"),
        "prune": ("pyengine.cli.removal:prune", "Remove all non running containers"),
        "restore": (
            "pyengine.cli.checkpointing:restore",
            "Restore one or more containers from a checkpoint",
        ),
        "runlabel": (
            "pyengine.cli.runlabel:runlabel",
            "Execute the command described by an image label",
        ),
    },
    "healthcheck": {
        "run": ("pyengine.cli.supervision:check", "Run the health check of a container"),
    },
    "image": {
        **_OF_IMAGES,
        "diff": ("pyengine.cli.image_trees:diff", "Inspect changes to the image's file systems"),
        "exists": ("pyengine.cli.images:exists", "Check if an image exists in local storage"),
        "inspect": ("pyengine.cli.image_details:inspect", "Display the configuration of an image"),
        "list": ("pyengine.cli.images:images", "List images in local storage"),
        "ls": ("pyengine.cli.images:images", "List images in local storage"),
        "mount": ("pyengine.cli.image_trees:mount", "Mount an image's root filesystem"),
        "prune": ("pyengine.cli.images:prune", "Remove unused images"),
        "rm": ("pyengine.cli.images:rmi", "Remove one or more images from local storage"),
        "scp": ("pyengine.cli.image_scp:scp", "Copy an image to another user or machine"),
        "sign": ("pyengine.cli.image_sign:sign", "Sign an image"),
        "tree": ("pyengine.cli.image_trees:tree", "Print layer hierarchy of an image"),
        "trust": ("pyengine.cli.trust:trust", "Manage container image trust policy"),
        "umount": ("pyengine.cli.image_trees:unmount", "Unmount an image's root filesystem"),
        "unmount": ("pyengine.cli.image_trees:unmount", "Unmount an image's root filesystem"),
    },
    "manifest": {
        "add": ("pyengine.cli.manifest:add", "Add images to a manifest list or image index"),
        "annotate": ("pyengine.cli.manifest:annotate", "Change information on a list's image"),
        "create": ("pyengine.cli.manifest:create", "Create manifest list or image index"),
        "exists": ("pyengine.cli.manifest:exists", "Check if a manifest list exists"),
        "inspect": ("pyengine.cli.manifest:inspect", "Display the contents of a manifest list"),
        "push": ("pyengine.cli.manifest:push", "Push a manifest list or image index"),
        "remove": ("pyengine.cli.manifest:remove", "Remove an image from a manifest list"),
        "rm": ("pyengine.cli.manifest:rm_list", "Remove manifest lists from local storage"),
    },
    "secret": {
        "create": ("pyengine.cli.secret:create", "Create a new secret"),
        "exists": ("pyengine.cli.secret:exists", "Check if a secret exists"),
        "inspect": ("pyengine.cli.secret:inspect", "Inspect a secret"),
        "list": ("pyengine.cli.secret:list_", "List secrets"),
        "ls": ("pyengine.cli.secret:list_", "List secrets"),
        "remove": ("pyengine.cli.secret:remove_secrets", "Remove one or more secrets"),
        "rm": ("pyengine.cli.secret:remove_secrets", "Remove one or more secrets"),
    },
    "system": {
        "boot": ("pyengine.cli.supervision:boot", "Start what runs after each boot"),
        "check": ("pyengine.cli.system:check", "Check the storage, and repair it if asked to"),
        "df": ("pyengine.cli.df:df", "Show pyengine disk usage"),
        "events": ("pyengine.cli.events:events", "Show events"),
        "info": ("pyengine.cli.info:info", "Display pyengine system information"),
        "migrate": ("pyengine.cli.system:migrate", "Stop containers and leave their namespaces"),
        "prune": ("pyengine.cli.system:prune", "Remove unused data"),
        "renumber": ("pyengine.cli.system:renumber", "Renumber locks, which have no numbers here"),
        "reset": ("pyengine.cli.system:reset", "Reset the storage to its initial state"),
    },
    "volume": {
        "create": ("pyengine.cli.volume:create", "Create a new volume"),
        "exists": ("pyengine.cli.volume:exists", "Volume exists"),
        "export": ("pyengine.cli.volume:export", "Export volumes"),
        "import": ("pyengine.cli.volume:import_", "Import a tarball contents into a volume"),
        "inspect": ("pyengine.cli.volume:inspect", "Display detailed information on volumes"),
        "list": ("pyengine.cli.volume:list_", "List volumes"),
        "ls": ("pyengine.cli.volume:list_", "List volumes"),
        "mount": ("pyengine.cli.volume:mount", "Mount volume"),
        "prune": ("pyengine.cli.volume:prune", "Remove all unused volumes"),
        "reload": ("pyengine.cli.volume:reload", "Reload all volumes from volume plugins"),
        "remove": ("pyengine.cli.volume:remove_volumes", "Remove one or more volumes"),
        "rm": ("pyengine.cli.volume:remove_volumes", "Remove one or more volumes"),
        "unmount": ("pyengine.cli.volume:unmount", "Unmount volume"),
    },
}

# Where commands are declared with ``declare`` rather than click, which the frequent ones are.
DECLARED = {
    "pyengine.cli.changing",
    "pyengine.cli.containers", "pyengine.cli.cp", "pyengine.cli.exec", "pyengine.cli.inspect",
    "pyengine.cli.logs", "pyengine.cli.naming",
    "pyengine.cli.ps", "pyengine.cli.removal", "pyengine.cli.run", "pyengine.cli.supervision",
    "pyengine.cli.waiting",
}  # fmt: skip
