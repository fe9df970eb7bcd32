"""Every command: where it is and its line of help, so that ``--help`` imports none of them."""

from __future__ import annotations

# name: ("module:attribute", one line of help)
Table = dict[str, tuple[str, str]]

COMMANDS: Table = {
    "history": ("pyengine.cli.image_details:history", "Show history of a specified image"),
    "image": ("", "Manage images"),
    "images": ("pyengine.cli.images:images", "List images in local storage"),
    "import": ("pyengine.cli.image_trees:import_", "Import a tarball to create an image"),
    "load": ("pyengine.cli.images:load", "Load image(s) from a tar archive"),
    "login": ("pyengine.cli.login:login", "Log in to a container registry"),
    "logout": ("pyengine.cli.login:logout", "Log out of a container registry"),
    "manifest": ("", "Manipulate manifest lists and image indexes"),
    "pull": ("pyengine.cli.images:pull", "Pull an image from a registry"),
    "push": ("pyengine.cli.push:push", "Push an image to a specified destination"),
    "save": ("pyengine.cli.image_details:save", "Save image(s) to an archive"),
    "rmi": ("pyengine.cli.images:rmi", "Remove one or more images from local storage"),
    "skopeo": ("pyengine.cli.skopeo:skopeo", "Copy and inspect images between registries"),
    "tag": ("pyengine.cli.images:tag", "Add an additional name to a local image"),
    "untag": ("pyengine.cli.images:untag", "Remove a name from a local image"),
    "container": ("", "Manage containers"),
    "create": ("pyengine.cli.run:create", "Create but do not start a container"),
    "events": ("pyengine.cli.events:events", "Show events"),
    "exec": ("pyengine.cli.exec:exec_", "Run a process in a running container"),
    "info": ("pyengine.cli.info:info", "Display pyengine system information"),
    "inspect": ("pyengine.cli.inspect:inspect", "Display the configuration of containers"),
    "kill": (
        "pyengine.cli.containers:kill",
        "Kill one or more running containers with a specific signal",
    ),
    "logs": ("pyengine.cli.logs:logs", "Fetch the logs of one or more containers"),
    "ps": ("pyengine.cli.ps:ps", "List containers"),
    "rm": ("pyengine.cli.containers:rm", "Remove one or more containers"),
    "run": ("pyengine.cli.run:run", "Run a command in a new container"),
    "search": ("pyengine.cli.search:search", "Search registry for image"),
    "start": ("pyengine.cli.containers:start", "Start one or more containers"),
    "stop": ("pyengine.cli.containers:stop", "Stop one or more containers"),
    "system": ("", "Manage pyengine"),
    "wait": ("pyengine.cli.containers:wait", "Block on one or more containers"),
    "version": ("pyengine.cli.system:version", "Display the pyengine version information"),
}

# The commands below a noun; the noun itself has a line without a module above.
GROUPS: dict[str, Table] = {
    "image": {
        "diff": ("pyengine.cli.image_trees:diff", "Inspect changes to the image's file systems"),
        "exists": ("pyengine.cli.images:exists", "Check if an image exists in local storage"),
        "history": ("pyengine.cli.image_details:history", "Show history of a specified image"),
        "inspect": (
            "pyengine.cli.image_details:inspect",
            "Display the configuration of an image",
        ),
        "import": ("pyengine.cli.image_trees:import_", "Import a tarball to create an image"),
        "list": ("pyengine.cli.images:images", "List images in local storage"),
        "load": ("pyengine.cli.images:load", "Load image(s) from a tar archive"),
        "ls": ("pyengine.cli.images:images", "List images in local storage"),
        "mount": ("pyengine.cli.image_trees:mount", "Mount an image's root filesystem"),
        "prune": ("pyengine.cli.images:prune", "Remove unused images"),
        "pull": ("pyengine.cli.images:pull", "Pull an image from a registry"),
        "push": ("pyengine.cli.push:push", "Push an image to a specified destination"),
        "rm": ("pyengine.cli.images:rmi", "Remove one or more images from local storage"),
        "save": ("pyengine.cli.image_details:save", "Save image(s) to an archive"),
        "search": ("pyengine.cli.search:search", "Search registry for image"),
        "sign": ("pyengine.cli.image_sign:sign", "Sign an image"),
        "tag": ("pyengine.cli.images:tag", "Add an additional name to a local image"),
        "tree": ("pyengine.cli.image_trees:tree", "Print layer hierarchy of an image"),
        "trust": ("pyengine.cli.trust:trust", "Manage container image trust policy"),
        "umount": ("pyengine.cli.image_trees:unmount", "Unmount an image's root filesystem"),
        "unmount": ("pyengine.cli.image_trees:unmount", "Unmount an image's root filesystem"),
        "untag": ("pyengine.cli.images:untag", "Remove a name from a local image"),
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
    "system": {
        "events": ("pyengine.cli.events:events", "Show events"),
        "df": ("pyengine.cli.df:df", "Show pyengine disk usage"),
        "info": ("pyengine.cli.info:info", "Display pyengine system information"),
    },
    "container": {
        "cleanup": ("pyengine.cli.containers:cleanup", "Clean up after a container that has ended"),
        "create": ("pyengine.cli.run:create", "Create but do not start a container"),
        "exec": ("pyengine.cli.exec:exec_", "Run a process in a running container"),
        "inspect": ("pyengine.cli.inspect:inspect", "Display the configuration of containers"),
        "kill": (
            "pyengine.cli.containers:kill",
            "Kill one or more running containers with a specific signal",
        ),
        "list": ("pyengine.cli.ps:ps", "List containers"),
        "logs": ("pyengine.cli.logs:logs", "Fetch the logs of one or more containers"),
        "ls": ("pyengine.cli.ps:ps", "List containers"),
        "ps": ("pyengine.cli.ps:ps", "List containers"),
        "rm": ("pyengine.cli.containers:rm", "Remove one or more containers"),
        "run": ("pyengine.cli.run:run", "Run a command in a new container"),
        "start": ("pyengine.cli.containers:start", "Start one or more containers"),
        "stop": ("pyengine.cli.containers:stop", "Stop one or more containers"),
        "wait": ("pyengine.cli.containers:wait", "Block on one or more containers"),
    },
}

# Where commands are declared with ``declare`` rather than click, which the frequent ones are.
DECLARED = {
    "pyengine.cli.containers", "pyengine.cli.exec", "pyengine.cli.logs", "pyengine.cli.ps",
    "pyengine.cli.run",
}  # fmt: skip
