"""`kvmdecl lab`: a throw-away cluster of real libvirtd daemons on this machine."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from kvmdecl.lab import Lab, Topology

app = typer.Typer(
    name="lab",
    help="Start and break a throw-away cluster of real libvirtd daemons on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Host = Annotated[str, typer.Argument(help="Name of a host of the lab.", show_default=False)]
Command = Annotated[list[str], typer.Argument(help="Command and its arguments.", show_default=False)]
_AS_GIVEN = {"allow_interspersed_args": False}  # options behind the command's name are the command's own
_DEFAULT_HOSTS = 3


@app.callback()
def lab(
    context: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", envvar="KVMDECL_LAB", help="The lab's directory.", show_default="~/.cache/kvmdecl/lab"
        ),
    ] = None,
) -> None:
    """Start and break a throw-away cluster of real libvirtd daemons on this machine.

    Each host has its own name, UUID, storage, networks and sockets, and the real QEMU driver. No root is
    needed where unprivileged user namespaces are allowed. Nothing outlives `kvmdecl lab down`.

    Examples:
      kvmdecl lab up --hosts 3 && eval "$(kvmdecl lab env)"
      kvmdecl plan my-cluster.yaml
      kvmdecl lab down
    """
    context.obj = directory


@app.command()
def up(
    context: typer.Context,
    hosts: Annotated[
        int | None,
        typer.Option(min=1, max=250, help="Number of hosts, named kvm-1, kvm-2, ...", show_default="3"),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Make the hosts that this manifest, or folder of manifests, names.",
            show_default=False,
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Make certificates and listen on TLS.")] = False,
    ssh: Annotated[bool, typer.Option("--ssh", help="Make keys and run sshd.")] = False,
    pacemaker: Annotated[
        bool, typer.Option("--pacemaker", help="Make hosts that can form a Pacemaker cluster. Needs root.")
    ] = False,
    topology: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[HOST=]default|FILE",
            help="Show fabricated NUMA cells and PCI devices on all hosts, or on one. May be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start a lab.

    Examples:
      kvmdecl lab up --hosts 8
      kvmdecl lab up --from clusters/demo --tls --topology kvm-2=default
    """
    from kvmdecl import lab as labs

    if hosts is not None and manifest is not None:
        raise typer.BadParameter("--hosts and --from exclude each other")
    names = _names_of(manifest) if manifest else [f"kvm-{i + 1}" for i in range(hosts or _DEFAULT_HOSTS)]
    began = time.monotonic()
    running = labs.up(
        _directory(context),
        names,
        tls=tls,
        ssh=ssh,
        topologies=_topologies(names, topology or []),
        pacemaker=pacemaker,
    )
    _print_hosts(running)
    count = "1 host" if len(names) == 1 else f"{len(names)} hosts"
    common.say(
        f'{count} up in {time.monotonic() - began:.1f} s. To plan against the lab: eval "$(kvmdecl lab env)"'
    )


@app.command()
def status(context: typer.Context) -> None:
    """List the hosts: what each is doing, its address and socket."""
    _print_hosts(_load(context))


@app.command()
def env(context: typer.Context) -> None:
    """Print the shell command that makes kvmdecl use this lab.

    While KVMDECL_LAB is set, plan and apply reach each host of a manifest at the lab host of the same name,
    whatever its `uri:` says.
    """
    common.say(f"export KVMDECL_LAB={shlex.quote(str(_load(context).directory))}")


@app.command()
def uri(
    context: typer.Context,
    host: Host,
    transport: Annotated[
        Literal["unix", "tcp", "tls", "ssh"],
        typer.Argument(help="All but unix work inside the lab's network only: kvmdecl lab exec."),
    ] = "unix",
) -> None:
    """Print the libvirt URI of a host."""
    common.say(_load(context).host(host).uri(transport))


@app.command("exec", context_settings=_AS_GIVEN)
def run_in_network(context: typer.Context, command: Command) -> None:
    """Run a command in the lab's network.

    Hosts are known by name there, and TCP, TLS and SSH work.

    Examples:
      kvmdecl lab exec -- virsh -c qemu+tcp://kvm-1/system list --all
    """
    _become(_load(context).command(command))


@app.command("sh", context_settings=_AS_GIVEN)
def run_on_host(context: typer.Context, host: Host, command: Command) -> None:
    """Run a command on a host of the lab. A single word is a line for its shell.

    Examples:
      kvmdecl lab sh kvm-1 -- ps -ef
      kvmdecl lab sh kvm-1 'ls /srv/vms | wc -l'
    """
    words = command[1:] if command[0] == "--" else command
    _become(_load(context).host_command(host, words if len(words) > 1 else ["sh", "-c", *words]))


@app.command()
def freeze(context: typer.Context, host: Host) -> None:
    """Stop a host's libvirtd with SIGSTOP, so that it never answers."""
    _load(context).freeze(host)


@app.command()
def thaw(context: typer.Context, host: Host) -> None:
    """Let a frozen libvirtd go on."""
    _load(context).thaw(host)


@app.command()
def kill(context: typer.Context, host: Host) -> None:
    """Kill a host's libvirtd with SIGKILL; its guests go on."""
    _load(context).kill(host)


@app.command()
def start(context: typer.Context, host: Host) -> None:
    """Start a host's libvirtd again."""
    _load(context).start(host)


@app.command()
def cluster(
    context: typer.Context,
    conf: Annotated[Path, typer.Argument(help="A corosync.conf with the lab's hosts.", show_default=False)],
) -> None:
    """Form a Pacemaker cluster of a lab's hosts.

    The lab was started with --pacemaker. All hosts get the file, and a key. Their rings are 10.78.0.N and 10.79.0.N,
    N from 1 in the order of the hosts; what lies in /srv/shared they share. The fence agent fence_kvmdecl_lab, with
    the host's name for its plug, takes the power from a host and gives it back.

    Examples:
      kvmdecl lab cluster corosync.conf
      kvmdecl lab sh kvm-1 crm_mon -1
    """
    from kvmdecl.source import read_text

    _load(context).start_cluster(read_text(conf))


@app.command("power-off")
def power_off(context: typer.Context, host: Host) -> None:
    """Take the power from a host: all but its disks is gone at once."""
    _load(context).power_off(host)


@app.command("power-on")
def power_on(context: typer.Context, host: Host) -> None:
    """Switch a host on again."""
    _load(context).power_on(host)


@app.command()
def down(context: typer.Context) -> None:
    """End the lab; nothing of it is left, however broken it was."""
    from kvmdecl import lab as labs
    from kvmdecl.text import safe_text

    directory = _directory(context)
    found = labs.down(directory)
    common.say(f"The lab in {safe_text(str(directory))} is gone." if found else "There is no lab to end.")


def _directory(context: typer.Context) -> Path:
    from kvmdecl.lab import default_directory

    chosen = context.obj
    return chosen if isinstance(chosen, Path) else default_directory()


def _load(context: typer.Context) -> Lab:
    from kvmdecl.lab import Lab

    return Lab.load(_directory(context))


def _names_of(manifest: Path) -> list[str]:
    from kvmdecl.load import host_names

    return list(host_names(manifest))


def _topologies(names: list[str], options: list[str]) -> dict[str, Topology]:
    """Topology by host name; what is said about one host overrides what is said about all."""
    from kvmdecl.lab import load_topology, require_host

    for_all: dict[str, Topology] = {}
    for_one: dict[str, Topology] = {}
    for option in options:
        host, separator, spec = option.partition("=")
        if separator:
            for_one[require_host(host, names)] = load_topology(spec)
        else:
            for_all = dict.fromkeys(names, load_topology(option))
    return for_all | for_one


def _print_hosts(running: Lab) -> None:
    from kvmdecl.text import safe_text

    width = max(map(len, running.hosts), default=0)
    for name, state in running.status().items():
        host = running.hosts[name]
        common.say(f"{safe_text(name):{width}}  {state:11}  {host.address:12}  {safe_text(host.uri())}")


def _become(command: list[str]) -> NoReturn:
    os.execvp(command[0], command)  # noqa: S606 - terminal, signals and exit code are the command's
