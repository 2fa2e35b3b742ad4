"""`kvmdecl version`."""

from __future__ import annotations

from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
) -> None:
    """Say which kvmdecl this is and what it stands on: the first lines of a bug report.

    Examples:
      kvmdecl version
      kvmdecl version --format json

    Exit codes: 0 shown.
    """
    import json

    versions = _versions()
    if format_ is common.Format.JSON:
        common.say(json.dumps(versions, indent=2))
        return
    width = max(map(len, versions))
    common.say("\n".join(f"{name:<{width}}  {value}" for name, value in versions.items()))


def _versions() -> dict[str, str]:
    import platform

    from kvmdecl import __version__

    return {
        "kvmdecl": __version__,
        "python": f"{platform.python_version()} ({platform.machine()} {platform.system()})",
        "libvirt": _libvirt(),
        "yaml reader": _yaml_reader(),
    }


def _libvirt() -> str:
    """The version of the C library in use, and the one that the Python module was built for."""
    try:
        import libvirt
    except ImportError as error:
        return f"not usable: {error}"
    number = libvirt.getVersion()
    major, minor, patch = number // 1_000_000, number // 1_000 % 1_000, number % 1_000
    from importlib.metadata import version

    return f"{major}.{minor}.{patch} (libvirt-python {version('libvirt-python')})"


def _yaml_reader() -> str:
    from importlib.metadata import version
    from importlib.util import find_spec

    if find_spec("_ruamel_yaml") is None:
        return "missing: install ruamel.yaml.clib"
    return f"libyaml through ruamel.yaml {version('ruamel.yaml')}"
