"""The fence agent of a lab's hosts, called by Pacemaker: options by key on standard input, or on the command line.

Its first argument is the socket of the lab's power controller. A socket with a path is reached across network
namespaces, so that fencing does not share the cluster's network. Runs by itself: standard library only.
"""

from __future__ import annotations

import socket
import sys

_METADATA = """<?xml version="1.0"?>
<resource-agent name="fence_kvmdecl_lab" shortdesc="Power switches of a kvmdecl lab">
<longdesc>Takes the power from a host of the lab, or gives it back.</longdesc>
<vendor-url>none</vendor-url>
<parameters>
<parameter name="action" unique="0" required="1"><getopt mixed="-o, --action=[action]"/>
<content type="string" default="reboot"/><shortdesc lang="en">What to do</shortdesc></parameter>
<parameter name="port" unique="0" required="0"><getopt mixed="-n, --plug=[host]"/>
<content type="string"/><shortdesc lang="en">Host of the lab</shortdesc></parameter>
</parameters>
<actions><action name="on" automatic="0"/><action name="off"/><action name="reboot"/><action name="status"/>
<action name="list"/><action name="monitor"/><action name="metadata"/><action name="validate-all"/></actions>
</resource-agent>
"""
_OFF = 2  # what fence agents end with for the status of a machine that is off
_SPELLINGS = {
    "-o": "action",
    "--action": "action",
    "-n": "port",
    "--plug": "port",
    "plug": "port",
    "option": "action",
}
_TIMEOUT = 50.0


def main(switch: str, arguments: list[str]) -> int:
    """Do what is asked and return the exit code."""
    options = _options(arguments)
    action = options.get("action", "reboot")
    if action == "metadata":
        print(_METADATA, end="")  # noqa: T201 - the answer of an agent
        return 0
    if action in {"monitor", "validate-all"}:
        return 0 if _ask(switch, "list", "") else 1
    answer = _ask(switch, action, options.get("port") or options.get("nodename", ""))
    if action == "list":
        print("\n".join(f"{name}," for name in answer.split()))  # noqa: T201 - as above
        return 0
    return {"ok": 0, "on": 0, "off": _OFF}.get(answer, 1)


def _options(arguments: list[str]) -> dict[str, str]:
    if not arguments:
        pairs = [line.strip().partition("=") for line in sys.stdin]
    else:
        words = [word for each in arguments for word in each.split("=", 1)]
        pairs = [(name, "=", value) for name, value in zip(words[::2], words[1::2], strict=False)]
    return {_SPELLINGS.get(name, name): value for name, _, value in pairs}


def _ask(switch: str, action: str, host: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(switch)
        connection.sendall(f"{action} {host}\n".encode())
        with connection.makefile() as answer:
            return answer.readline().strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
