"""Examples that ``--help`` shows: of each command, also under its noun."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "completion": ("completion bash", "completion zsh -f /usr/share/zsh/site-functions/_pyengine"),
    "container cleanup": ("container cleanup --latest", "container cleanup --all"),
    "container clone": (
        "container clone web web-copy",
        "container clone --destroy --memory 512m web",
        "container clone --run web web-new registry.example.com/web:2",
    ),
    "container exists": ("container exists web",),
    "container prune": ("container prune", "container prune --force --filter until=24h"),
    "create": ("create alpine ls", "create --name web -v /srv/www:/www:ro httpd"),
    "events": ("events --since 1h --stream=false", "events --filter event=died"),
    "exec": ("exec -it web sh", "exec -w /tmp -e A=b web env", "exec -u nobody web id"),
    "history": ("history alpine",),
    "image exists": ("image exists alpine",),
    "image prune": ("image prune", "image prune --all --force"),
    "images": ("images", "images --format json", "images --filter dangling=true"),
    "import": ("import root.tar localhost/root:1",),
    "info": ("info", "info --format json", "info --format '{{.Store.GraphRoot}}'"),
    "init": ("init web", "init --all"),
    "inspect": (
        "inspect web",
        "inspect --format '{{.State.Status}}' web",
        "inspect --type image alpine",
    ),
    "kill": ("kill web", "kill --signal HUP web db", "kill --all"),
    "load": ("load -i alpine.tar", "load -q -i alpine.tar.gz"),
    "login": ("login registry.example.com",),
    "logout": ("logout registry.example.com",),
    "logs": ("logs web", "logs -f --tail 10 web", "logs -t web db"),
    "pause": ("pause web", "pause --all"),
    "ps": (
        "ps -a",
        "ps -a --format '{{.ID}}  {{.Image}}  {{.Labels}}  {{.Mounts}}'",
        "ps --size --sort names",
        "ps --filter status=exited --filter label=tier=web -q",
    ),
    "pull": ("pull alpine", "pull quay.io/team/app:1"),
    "push": ("push alpine registry.example.com/alpine:1",),
    "rename": ("rename web web-old",),
    "restart": ("restart web db", "restart --running", "restart --time 3 --all"),
    "rm": ("rm web", "rm --force --volumes web", "rm --filter status=exited", "rm --all"),
    "rmi": ("rmi alpine", "rmi --force --all"),
    "run": (
        "run --rm -it alpine sh",
        "run -d --name web --network host -v /srv/www:/www:ro httpd",
        "run --rm --memory 64m --cpus 0.5 alpine sha256sum /dev/zero",
    ),
    "save": ("save -o alpine.tar alpine",),
    "search": ("search quay.io/alpine",),
    "start": ("start web", "start --attach --interactive web", "start --all"),
    "stop": ("stop web", "stop --time 2 web db", "stop --all", "stop --filter label=tier=web"),
    "system df": ("system df", "system df --verbose"),
    "system check": ("system check", "system check --repair"),
    "system info": ("system info",),
    "system prune": ("system prune", "system prune --all --volumes --force"),
    "system reset": ("system reset", "system reset --force"),
    "tag": ("tag alpine localhost/mine:1",),
    "unpause": ("unpause web", "unpause --all"),
    "untag": ("untag localhost/mine:1",),
    "update": ("update --memory 1g web", "update --cpus 2 --pids-limit 100 web"),
    "version": ("version", "version --format '{{.Client.Version}}'"),
    "wait": ("wait web", "wait --condition running --condition exited web db"),
}


def of(command_path: str) -> tuple[str, ...]:
    """The examples of ``pyengine container rm``, which are those of ``pyengine rm``."""
    name = command_path.partition(" ")[2]
    if name in EXAMPLES:
        return EXAMPLES[name]
    noun, _, verb = name.partition(" ")
    verb = {"ls": "ps", "list": "ps"}.get(verb, verb) if noun == "container" else verb
    found = EXAMPLES.get(verb, ()) if noun in ("container", "image") else ()
    return tuple(f"{noun} {line}" for line in found) if verb != "ps" else found
