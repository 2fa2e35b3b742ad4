"""Fixtures for pytest: real hosts to test against. Installed with kvmdecl as a pytest plugin.

`lab` is a running lab of three hosts for the whole session, `lab_host` its first host, `clean_lab` the same
lab with nothing defined on it, `make_lab` starts a lab of its own for a test that breaks things. A test that
uses one of them is marked `lab`, so that `pytest -m 'not lab'` leaves them out. Where a lab cannot run, these
tests are skipped with the reason; with the environment variable KVMDECL_REQUIRE_LAB=1 they fail instead.

`try_manifest` compiles the text of a manifest for hosts that exist on paper only: for tests of plugins.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kvmdecl.cluster import PlacedCluster
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.lab import Lab, LabHost

MakeLab = Callable[..., "Lab"]
TryManifest = Callable[[str], "Trial"]
_FIXTURES = {"lab", "lab_host", "clean_lab", "make_lab"}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, so that --strict-markers knows it."""
    config.addinivalue_line(
        "markers", "lab: needs a lab of real libvirtd daemons (Linux, libvirt and QEMU installed)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a lab, before `-m` selects."""
    for item in items:
        if _FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("lab")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of three hosts, kvm-1 to kvm-3, for the whole session."""
    with temporary_lab(["kvm-1", "kvm-2", "kvm-3"]) as running:
        yield running


@pytest.fixture
def lab_host(lab: Lab) -> LabHost:
    """The first host of the session's lab."""
    return next(iter(lab.hosts.values()))


@pytest.fixture
def clean_lab(lab: Lab) -> Lab:
    """The session's lab, all hosts up and empty."""
    clean(lab)
    return lab


@pytest.fixture
def make_lab() -> Iterator[MakeLab]:
    """A function that starts a lab with the arguments of `temporary_lab`; it ends with the test."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(temporary_lab(*args, **options))


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a manifest: the vms with their hosts unless it was rejected, and all that was found."""

    placed: PlacedCluster | None
    diagnostics: tuple[Diagnostic, ...]


@pytest.fixture
def try_manifest(tmp_path: Path) -> TryManifest:
    """A function that compiles the text of a manifest with all installed plugins, and contacts nobody.

    Every host answers as `kvmdecl.scenario.example_host`: 16 CPUs, 64 GiB, bridge `br0`, empty.
    """
    return lambda text: _try_manifest(tmp_path / "cluster.yaml", text)


def _try_manifest(path: Path, text: str) -> Trial:
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.pipeline import compile_cluster, load_cluster
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.scenario import example_host

    path.write_text(text, encoding="utf-8")
    plugins = load_plugins()
    try:
        cluster = load_cluster(path, plugins)
        hosts = {host.name: example_host(host.name) for host in cluster.hosts}
        compiled = compile_cluster(cluster, hosts, plugins)
    except Rejected as rejected:
        return Trial(None, rejected.diagnostics)
    return Trial(compiled.placed, compiled.warnings)


@contextmanager
def temporary_lab(names: Sequence[str] = ("kvm-1",), **options: Any) -> Iterator[Lab]:  # noqa: ANN401 - passed on
    """Start a lab in a directory of its own; it ends with the block, or with this process.

    Args:
        names: of the hosts.
        options: of `kvmdecl.lab.up`.
    """
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.lab import down, up

    place = Path(tempfile.mkdtemp(prefix="kvmdecl-", dir="/tmp"))  # socket paths must be short
    try:
        try:
            running = up(place, names, tied=True, **options)
        except Rejected as rejected:
            (pytest.fail if os.environ.get("KVMDECL_REQUIRE_LAB") == "1" else pytest.skip)(
                f"no lab here: {rejected}"
            )
        yield running
    finally:
        down(place)


def clean(lab: Lab) -> None:
    """Bring every host up, and remove all domains, networks, pools and volumes, and filters but libvirt's own."""
    for name, host in lab.hosts.items():
        lab.power_on(name)
        lab.start(name)
        lab.thaw(name)
        empty(host)


def empty(host: LabHost) -> None:
    """Remove the same from one host, which is up."""
    _undefine_all(host.uri())
    for entry in (host.folder / "srv").iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _undefine_all(uri: str) -> None:
    import libvirt

    connection = libvirt.open(uri)
    try:
        for domain in connection.listAllDomains():
            if _end(domain):
                domain.undefineFlags(
                    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                )
        for thing in (*connection.listAllNetworks(), *connection.listAllStoragePools()):
            if _end(thing):
                thing.undefine()
        for found in connection.listAllNWFilters():
            if not Path(
                f"/etc/libvirt/nwfilter/{found.name()}.xml"
            ).exists():  # where a lab has libvirt's own from
                found.undefine()
        for secret in connection.listAllSecrets():
            secret.undefine()
    finally:
        connection.close()


def _end(thing: Any) -> bool:  # noqa: ANN401 - libvirt-python has no types
    """Stop what runs. Returns whether a definition is left; a transient thing is gone then, or went by itself."""
    import libvirt

    persistent = False
    try:
        persistent = bool(thing.isPersistent())
        thing.destroy()
    except libvirt.libvirtError as error:
        ended = {libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN}  # maybe since it was listed
        if error.get_error_code() not in ended:
            raise
    return persistent
