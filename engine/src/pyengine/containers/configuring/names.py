"""The options of the section ``names`` that an ordinary container does not have."""

from __future__ import annotations

import _socket
import os

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig, NameSettings

MAX_FILE_BYTES = 1 << 20


def configure(config: ContainerConfig, wanted: ContainerOptions) -> None:
    """Write what the options mean into ``config``.

    Raises:
        ConfigError: an option has no meaning, or contradicts another.
    """
    refuse_pods(wanted)
    _check_network(config["network"], wanted)
    found: NameSettings = {}
    if wanted.annotation:
        found["annotations"] = _annotations(wanted.annotation)
    for option, path in (("conmon_pidfile", wanted.conmon_pidfile), ("pidfile", wanted.pidfile)):
        if path:
            found[option] = os.path.abspath(path)  # type: ignore[literal-required]  # both are keys
    _resolver(found, wanted, config["network"])
    _hosts(found, wanted)
    if wanted.no_hostname:
        found["no_hostname"] = True
    if wanted.label_file:
        lines = [line for path in wanted.label_file for line in _label_lines(path)]
        labels = dict(line.partition("=")[::2] for line in lines)
        given = [text.partition("=")[0] for text in wanted.labels]
        config["labels"].update({k: v for k, v in labels.items() if k not in given})
    if wanted.expose or wanted.publish or wanted.publish_all:
        from pyengine.containers.configuring import ports

        ports.configure(config, wanted)
    config["names"] = found


def refuse_pods(wanted: ContainerOptions) -> None:
    """Raise ConfigError where a pod is asked for: there are none yet."""
    if wanted.pod and wanted.pod_id_file:
        raise ConfigError("cannot specify both --pod and --pod-id-file")
    if wanted.init_ctr and not (wanted.pod or wanted.pod_id_file):
        raise ConfigError("must specify pod value with init-ctr")
    if wanted.pod:
        raise ConfigError(
            f"no pod with name or ID {wanted.pod} found: no such pod: this version has no pods"
        )
    if wanted.pod_id_file:
        raise ConfigError(f"--pod-id-file {wanted.pod_id_file}: this version has no pods")


def _check_network(network: str, wanted: ContainerOptions) -> None:
    """Addresses and aliases belong to bridged networks, which are not there yet."""
    given = {
        "--ip": wanted.ip, "--ip6": wanted.ip6, "--mac-address": wanted.mac_address,
        "--link-local-ip": wanted.link_local_ip, "--network-alias": wanted.network_alias,
    }  # fmt: skip
    for option, value in given.items():
        if value:
            raise ConfigError(
                f"{option} can only be set when the network mode is bridge, not {network}: invalid"
                " argument"
            )


def _annotations(texts: tuple[str, ...]) -> dict[str, str]:
    for text in texts:
        if "=" not in text or text.startswith("="):
            raise ConfigError(f"--annotation {text}: annotations must be formatted KEY=VALUE")
    return dict(text.partition("=")[::2] for text in texts)


def _resolver(found: NameSettings, wanted: ContainerOptions, network: str) -> None:
    given = {"dns": wanted.dns, "dns-search": wanted.dns_search, "dns-option": wanted.dns_option}
    for option, values in given.items():
        # podman: a resolver cannot be reached without a network, and another's is not ours
        if values and (network == "none" or network.startswith("container:")):
            raise ConfigError(f"conflicting options: {option} and the network mode: {network}")
    for server in wanted.dns:
        if server == "none":
            if len(wanted.dns) > 1 or wanted.dns_search or wanted.dns_option:
                raise ConfigError(
                    "cannot set other dns options with --dns=none: the image's /etc/resolv.conf is"
                    " left as it is"
                )
        else:
            check_address("--dns", server)
    if wanted.dns:
        found["dns"] = list(wanted.dns)
    if wanted.dns_search:
        found["dns_searches"] = list(wanted.dns_search)
    if wanted.dns_option:
        found["dns_options"] = list(wanted.dns_option)


def _hosts(found: NameSettings, wanted: ContainerOptions) -> None:
    if wanted.no_hosts:
        for option, value in (("add-host", wanted.add_host), ("hosts-file", wanted.hosts_file)):
            if value:
                raise ConfigError(f"--no-hosts and --{option} cannot be set together")
        found["no_hosts"] = True
    if wanted.host_ip:
        if wanted.host_ip != "none":
            check_address("host_containers_internal_ip", wanted.host_ip)
        found["host_ip"] = wanted.host_ip
    if wanted.hosts_file:
        found["hosts_file"] = _hosts_file(wanted.hosts_file)
    for text in wanted.add_host:
        names, colon, address = text.partition(":")
        if not (names and colon and address):
            raise ConfigError(f'bad format for add-host: "{text}"')
        listed = " ".join(names.split(";"))
        if address == "host-gateway":
            found.setdefault("host_gateway", []).append(listed)
            continue
        check_address("add-host", address.strip("[]"))
        found.setdefault("hosts", []).append(f"{address.strip('[]')}\t{listed}")


def _hosts_file(path: str) -> str:
    if path in ("image", "none"):
        return path
    if not os.path.isfile(path):
        raise ConfigError(f"--hosts-file {path}: no such file: give a file, image or none")
    return os.path.abspath(path)


def check_address(option: str, text: str) -> None:
    """Raise ConfigError where ``text`` is no IP address."""
    family = _socket.AF_INET6 if ":" in text else _socket.AF_INET
    try:
        _socket.inet_pton(family, text)
    except (OSError, ValueError) as error:
        raise ConfigError(f'invalid IP address in {option}: "{text}"') from error


def _label_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"unable to process labels: open {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"unable to process labels: {path}: not UTF-8: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
