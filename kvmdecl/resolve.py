"""Manifest -> ResolvedCluster: references linked, names and addresses derived. Pure: reads no file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from kvmdecl.candidates import Candidates, networks_of, pools_of
from kvmdecl.cloudinit import Identity, has_known_header, places, seed
from kvmdecl.cluster import (
    ResolvedCdrom,
    ResolvedCluster,
    ResolvedDisk,
    ResolvedFilter,
    ResolvedHost,
    ResolvedImage,
    ResolvedNetwork,
    ResolvedNic,
    ResolvedPool,
    ResolvedSecret,
    ResolvedVm,
    RetiredHost,
    RuleChoice,
)
from kvmdecl.conflicts import conflicts
from kvmdecl.diagnostics import Diagnostic, Note, Rejected, Span
from kvmdecl.ignition import configuration, fault
from kvmdecl.libvirt_xml.secret import usage_id
from kvmdecl.manifest import Disk, Rollout
from kvmdecl.manifest.cpus import numbers_of
from kvmdecl.manifest.guest_os import with_defaults
from kvmdecl.manifest.hosts import EVENLY
from kvmdecl.names import DIGEST_LENGTH, MIB, NAMESPACE, derive_mac, derive_uuid, format_size, parse_size
from kvmdecl.policy import MANIFEST, NO_POLICIES, Policies
from kvmdecl.policyfile import declared_policies
from kvmdecl.source import gc_paused
from kvmdecl.state import FileContent, Kind, Origin, SecretSource, SeedSecret
from kvmdecl.text import did_you_mean, hint_for_vm, is_member, members_of, safe_text, with_entries
from kvmdecl.waivers import Waiver

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.images import Inputs
    from kvmdecl.load import LoadedManifest
    from kvmdecl.manifest import CloudInit, Ignition, Limits, Network, NetworkFilter, Nic, Pool, Secret, Vm
    from kvmdecl.manifest.disk_sources import Source
    from kvmdecl.manifest.pools import Traits
    from kvmdecl.state import SeedContent
    from kvmdecl.uri import HostUri

# Mappings whose keys may be digits.
_NAMED = frozenset(
    {"disks", "cdroms", "pins", "iothread_pins", "modules", "timers", "shared_memory", "shares"}
)
_EXTENT = 4 * MIB  # what LVM counts in unless a volume group was made otherwise


def resolve(loaded: LoadedManifest, inputs: Inputs, revision: str = "") -> ResolvedCluster:
    """Link and derive everything. `revision` is the manifest's digest, where somebody is going to plan with it.

    Raises:
        Rejected: with every dangling reference, conflict and impossible combination of the manifest.
    """
    with gc_paused():
        linker = _Linker(loaded, inputs)
        cluster = linker.cluster(revision)
        found = [*linker.found, *conflicts(cluster)]
    if found:
        raise Rejected(found)
    return cluster


class _Keys(Mapping[str, Span]):
    """Where the keys of one object were written, looked up when asked: a table per vm would cost too much.

    It has an answer for every key (the nearest place that is written) and lists none.
    """

    __slots__ = ("_loaded", "_path")

    def __init__(self, loaded: LoadedManifest, *path: str) -> None:
        self._loaded = loaded
        self._path = path

    def __getitem__(self, key: str) -> Span:
        return self._loaded.span(*self._path, *parts_of(key))

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def parts_of(key: str) -> Iterator[str | int]:
    """`nics.0.network` -> "nics", 0, "network"; below names and sizes digits are one; the empty key has none.

    A PCI address, which has a dot of its own, is one part.
    """
    if key.startswith("sriov."):
        yield from key.split(".", 1)
        return
    before = ""
    for part in key.split(".") if key else ():
        is_name = before in _NAMED or before.endswith("iB")
        yield int(part) if part.isdigit() and not is_name else part
        before = part


class _Link(NamedTuple):
    """The vm whose devices are being linked."""

    name: str
    spec: Vm
    boot: Mapping[str, int]
    place: tuple[str | None, str]
    """What decides, beside a device itself, whether the vm may have it."""


class _Stored(NamedTuple):
    """What a disk in a pool comes to, whichever vm has it. `asked` is kept so that its identity stays its own."""

    asked: Disk | None
    spec: Disk
    pool: str
    clone: str | None
    encryption: str | None


class _Port(NamedTuple):
    """What a NIC is plugged into, whichever vm has it."""

    nic: Nic
    source: str
    is_bridge: bool
    failover: Literal["", "persistent", "transient"]


class _Linker:
    """Links what can be linked and collects what cannot, so that one run tells all."""

    def __init__(self, loaded: LoadedManifest, inputs: Inputs) -> None:
        self.found: list[Diagnostic] = []
        self._hints: dict[tuple[str, str], str] = {}
        self._macs: dict[str, tuple[str, int]] = {}
        # Disks and NICs that a vm in such a place may have. Sections that say the same are one, so that few are looked
        # at; they are kept here so that their identity stays their own.
        self._stored: dict[tuple[int, str | None, tuple[str | None, str]], _Stored] = {}
        self._ports: dict[tuple[int, tuple[str | None, str]], _Port] = {}
        self._loaded = loaded
        self._inputs = inputs
        self._manifest = loaded.manifest
        self._name = loaded.manifest.cluster
        self._hosts = {name: host for name, host in loaded.manifest.hosts.items() if host.state == "active"}
        self._labels = {label for host in self._hosts.values() for label in host.labels}
        self._secrets = {name: self._secret(name, spec) for name, spec in self._manifest.secrets.items()}
        self._pools = {name: self._pool(name, spec) for name, spec in self._manifest.storage.items()}
        self._networks = {name: self._network(name, spec) for name, spec in self._manifest.networks.items()}
        self._filters = {name: self._filter(name, spec) for name, spec in self._manifest.filters.items()}
        self._images = {name: self._image(name) for name in self._manifest.images}
        self._active_pools = [name for name, pool in self._pools.items() if pool.spec.state == "active"]
        # By the words that name a pool or network: every disk and NIC asks, and there may be many hosts.
        self._reach = {f"pool {name}": frozenset(pool.hosts) for name, pool in self._pools.items()}
        self._reach |= {f"network {name}": frozenset(net.hosts) for name, net in self._networks.items()}

    def cluster(self, revision: str) -> ResolvedCluster:
        vms = tuple(self._vm(name, spec) for name, spec in self._manifest.vms.items())
        self._refuse_homeless(vms)
        self._check_fragments()
        self._check_filters()
        self._check_omissions(vms)
        self._check_scopes()
        self._check_aliases()
        return ResolvedCluster(
            name=self._name,
            revision=revision,
            solver=self._manifest.placement.solver or usual_solver(vms),
            hosts=tuple(self._host(name, spec.uri) for name, spec in self._hosts.items() if spec.uri),
            pools=tuple(self._pools.values()),
            networks=tuple(self._networks.values()),
            images=tuple(self._images.values()),
            secrets=tuple(self._secrets.values()),
            vms=vms,
            sections=self._loaded.sections,
            retired=tuple(
                RetiredHost(name, spec.uri, self._origin("hosts", name))
                for name, spec in self._manifest.hosts.items()
                if spec.state == "absent"
            ),
            filters=tuple(self._filters.values()),
            devices=self._manifest.devices,
            origin=self._origin(),
            rules=self._rules(),
            rollout=self._rollout(),
            limits=self._limits(),
            policies=self._policies(),
        )

    def _policies(self) -> Policies:
        written = self._manifest.policies
        if not written:
            return NO_POLICIES
        return Policies(tuple(declared_policies(written, MANIFEST, self._loaded.span)))

    def _rollout(self) -> Rollout | None:
        spec = self._manifest.rollout
        if spec is None:
            return None
        self._check_hosts(spec.canary, "rollout", "canary")
        for number, hosts in enumerate(spec.waves):
            self._check_hosts(hosts, "rollout", "waves", number)
        if spec.by is not None:
            self._check_label(spec.by, "rollout", "by")
        for number, gate in enumerate(spec.gates):
            for place, name in enumerate(gate.vms):
                if not any(is_member(vm, name) for vm in self._manifest.vms):
                    at = ("rollout", "gates", number, "vms", place)
                    self._unknown("vm", name, with_entries(self._manifest.vms), *at)
        return spec

    def _limits(self) -> Limits:
        """Without the label that it counts by, a limit would bound nothing."""
        spec = self._manifest.limits
        for key, limit in (
            ("deletes", spec.deletes),
            ("restarts", spec.restarts),
            ("migrations", spec.migrations),
        ):
            for label in limit.label:
                self._check_label(label, "limits", key, "label", label)
        return spec

    def _check_label(self, label: str, *path: str) -> None:
        """Refuse a label that no host has."""
        if label not in self._labels:
            self._unknown("label", label, self._labels, *path)

    def _check_hosts(self, names: Iterable[str], *path: str | int) -> None:
        for place, name in enumerate(names):
            if name not in self._hosts:
                self._unknown("host", name, self._hosts, *path, place)

    def _rules(self) -> RuleChoice:
        spec = self._manifest.rules
        if not spec.said:
            return RuleChoice()
        waivers = tuple(
            Waiver(
                each.rule,
                each.on,
                each.until,
                each.reason,
                self._loaded.span("rules", "waive", number, "until"),
            )
            for number, each in enumerate(spec.waive)
        )
        named = [
            (name, self._loaded.span("rules", key, number))
            for key, names in (("select", spec.select), ("ignore", spec.ignore))
            for number, name in enumerate(names)
        ]
        named += [
            (each.rule, self._loaded.span("rules", "waive", number, "rule"))
            for number, each in enumerate(spec.waive)
        ]
        workloads = tuple(spec.workloads.items())
        known = self._baseline()
        return RuleChoice(spec.select, spec.ignore, waivers, known, spec.tenancy, workloads, tuple(named))

    def _baseline(self) -> frozenset[tuple[str, str, str]]:
        """What `kvmdecl rules --write-baseline` wrote: a line for each finding."""
        known: set[tuple[str, str, str]] = set()
        for number, line in enumerate(self._inputs.baseline.splitlines(), 1):
            words = line.partition("#")[0].split()
            if len(words) in {2, 3}:
                known.add((words[0], words[1], words[2] if len(words) > 2 else ""))
            elif words:
                self.found.append(
                    Diagnostic(
                        "rules.bad-baseline",
                        f"line {number} of the baseline is not a rule, an owner and a key",
                        self._loaded.span("rules", "baseline"),
                        "Each line is one finding that was there before the rules: `storage.thin vm/web-1 disks.data`.",
                        "write the file anew: `kvmdecl rules --write-baseline FILE`",
                    )
                )
        return frozenset(known)

    # -- what vms stand on ---------------------------------------------------------------------------------

    def _host(self, name: str, uri: HostUri) -> ResolvedHost:
        spec = self._hosts[name]
        pages = sorted(
            (parse_size(size), None if cell == EVENLY else int(cell), count)
            for size, counts in spec.huge_pages.items()
            for cell, count in counts.items()
        )
        ksm = tuple((key, int(getattr(spec.ksm, key))) for key in sorted(spec.ksm.said))
        return ResolvedHost(
            name,
            uri,
            spec.reserve.cpus,
            spec.reserve.memory,
            tuple(pages),
            ksm,
            numbers_of(spec.dedicated) if spec.dedicated else frozenset(),
            spec.overcommit,
            spec.labels,
            spec.maintenance,
            tuple(sorted(spec.sriov.items())),
            spec.migration_address or "",
            self._origin("hosts", name),
        )

    def _secret(self, name: str, spec: Secret) -> ResolvedSecret:
        value, folder = spec.value, ""
        if value.file is not None:
            folder = str(self._loaded.file_of("secrets", name, "value", "file").parent)
        file = os.path.normpath(f"{folder}/{value.file}") if value.file is not None else ""
        return ResolvedSecret(
            name,
            derive_uuid(self._name, Kind.SECRET, name),
            spec,
            usage_id(self._name, spec.usage, name),
            SecretSource(value.env or "", file, folder, value.encoding),
            self._origin("secrets", name),
        )

    def _secret_for(self, usage: str, name: str | None, *path: str) -> str | None:
        """The UUID of a secret that is used for this. Refuses one that is for something else."""
        if name is None:
            return None
        secret = self._secrets.get(name)
        if secret is None:
            self._unknown("secret", name, self._secrets, *path)
        elif secret.spec.usage != usage:
            self._refuse(
                "reference.secret-usage",
                f"secret {name} is of usage {secret.spec.usage}, and here is one of usage {usage} needed",
                self._loaded.span(*path),
                "libvirt gives a secret only to what it was made for.",
                f"say `usage: {usage}` of it, or name another one",
            )
        elif secret.spec.state == "absent" and not self._goes(path[0], path[1]):
            self._refuse(
                "reference.absent",
                f"secret {name} shall be absent and is used here",
                self._loaded.span(*path),
                "Without it, nothing opens what is used here.",
                "use another one, or take `state: absent` back",
            )
        return secret.uuid if secret else None

    def _goes(self, section: str, name: str) -> bool:
        """Whether a vm or pool shall be absent itself."""
        entries: Mapping[str, Vm | Pool] = self._manifest.vms if section == "vms" else self._manifest.storage
        return entries[name].state == "absent"

    def _pool(self, name: str, spec: Pool) -> ResolvedPool:
        hosts = self._hosts_of("storage", name, spec.hosts)
        usage = "ceph" if spec.type == "rbd" else "iscsi"
        secret = self._secret_for(
            usage, spec.auth.secret if spec.auth else None, "storage", name, "auth", "secret"
        )
        return ResolvedPool(
            name, derive_uuid(self._name, Kind.POOL, name), spec, hosts, secret, self._origin("storage", name)
        )

    def _network(self, name: str, spec: Network) -> ResolvedNetwork:
        return ResolvedNetwork(
            name,
            derive_uuid(self._name, Kind.NETWORK, name) if spec.has_object else "",
            spec,
            (spec.bridge and spec.bridge.name) or _bridge_name(self._name, name),
            self._hosts_of("networks", name, spec.hosts),
            self._origin("networks", name),
        )

    def _filter(self, name: str, spec: NetworkFilter) -> ResolvedFilter:
        named = {rule.filter for rule in spec.rules if rule.filter} & self._manifest.filters.keys()
        uuid_ = derive_uuid(self._name, Kind.NWFILTER, name)
        return ResolvedFilter(name, uuid_, spec, tuple(sorted(named)), self._origin("filters", name))

    def _image(self, name: str) -> ResolvedImage:
        format_ = self._manifest.images[name].format
        given = self._inputs.images[name]
        return ResolvedImage(
            name,
            ".".join(
                filter(None, (name, given.sha256[:DIGEST_LENGTH], format_))
            ),  # unread files have no digest
            format_,
            FileContent(given.path, given.sha256, given.size),
            self._origin("images", name),
        )

    def _hosts_of(self, section: str, name: str, named: tuple[str, ...] | None) -> tuple[str, ...]:
        """The hosts that get a pool or network, in order of the manifest."""
        known = tuple(self._hosts)
        if named is None:
            return known
        unknown = [number for number, host in enumerate(named) if host not in self._hosts]
        for number in unknown:
            self._unknown("host", named[number], known, section, name, "hosts", number)
        # With a host misspelt, nothing that follows from the others is worth telling.
        return known if unknown else tuple(host for host in known if host in named)

    # -- vms -----------------------------------------------------------------------------------------------

    def _vm(self, name: str, spec: Vm) -> ResolvedVm:
        if spec.host is not None and spec.host not in self._hosts:
            self._unknown("host", spec.host, self._hosts, "vms", name, "host")
        spec = with_defaults(spec)
        uuid_ = spec.uuid or derive_uuid(self._name, Kind.DOMAIN, name)
        self._check_after(name, spec)
        vm = _Link(name, spec, _boot_order(spec), (spec.host, spec.state))
        self._check_listened(vm)
        disks = tuple(disk for disk in self._disks(vm) if disk is not None)
        content = self._seed(name, uuid_, spec)
        return ResolvedVm(
            name=name,
            uuid=uuid_,
            host=spec.host,
            spec=spec,
            type=spec.type,
            disks=disks,
            nics=tuple(self._nics(vm)),
            cdroms=tuple(self._cdroms(vm)),
            tpm_secret=self._secret_for(
                "vtpm", spec.tpm.secret if spec.tpm else None, "vms", name, "tpm", "secret"
            ),
            seed=content,
            seed_pool=self._seed_pool(vm, disks) if content else "",
            origin=self._origin("vms", name),
        )

    def _check_after(self, name: str, spec: Vm) -> None:
        for index, other in enumerate(spec.after):
            there = self._manifest.vms.get(other.vm)
            if there is None:
                self._unknown("vm", other.vm, self._manifest.vms, "vms", name, "after", index, "vm")
            elif other.until == "agent" and not there.agent:
                self._refuse(
                    "reference.no-agent",
                    f"{other.vm} has no guest agent to wait for",
                    self._loaded.span("vms", name, "after", index, "until"),
                    "Its manifest says `agent: false`, so nothing in it could answer.",
                    "wait until it is `running`, or give it its agent back",
                )

    def _disks(self, vm: _Link) -> Iterator[ResolvedDisk | None]:
        if vm.spec.has_root_disk:
            yield self._disk(vm, "root", vm.spec.disk, vm.spec.image, ("disk",))
        for name, disk in vm.spec.disks.items():
            yield self._disk(vm, name, disk, None, ("disks", name))

    def _disk(
        self, vm: _Link, name: str, disk: Disk | None, image: str | None, key: tuple[str, ...]
    ) -> ResolvedDisk | None:
        """None if it cannot be linked, which was told."""
        image = image or (disk.image if disk else None)
        if disk is not None and disk.source is not None:
            self._check_bus(vm, disk, key)
            return ResolvedDisk(
                name=name,
                spec=disk,
                pool="",
                volume="",
                image=None,
                boot_order=vm.boot.get(name),
                encryption=self._encryption(vm, disk, key),
                server_secret=self._server_secret(vm, disk.source, key),
            )
        stored = self._stored.get((id(disk), image, vm.place)) or self._store(vm, disk, image, key)
        if stored is None:
            return None
        return ResolvedDisk(
            name=name,
            spec=stored.spec,
            pool=stored.pool,
            volume=stored.spec.volume or f"{vm.name}.{name}.{stored.spec.format}",
            image=image,
            boot_order=vm.boot.get(name),
            encryption=stored.encryption,
            server_secret=self._pools[stored.pool].secret,
            clone=stored.clone,
        )

    def _store(self, vm: _Link, disk: Disk | None, image: str | None, key: tuple[str, ...]) -> _Stored | None:
        before = len(self.found)
        pool = self._pool_of(vm, disk.pool if disk else None, key)
        self._check_image(vm, disk, image, key)
        self._check_bus(vm, disk, key)
        if pool is None:
            return None
        spec = self._in_pool(vm, disk or Disk(image=image), image, self._pools[pool], key)
        clone = self._clone(vm, spec, image, pool, key)
        stored = _Stored(disk, spec, pool, clone, self._encryption(vm, spec, key))
        if len(self.found) == before:
            self._stored[id(disk), image, vm.place] = stored
        return stored

    def _clone(self, vm: _Link, disk: Disk, image: str | None, pool: str, key: tuple[str, ...]) -> str | None:
        """The volume, as `POOL/VOLUME`, that a disk begins as a full copy of; None if it begins otherwise."""
        if disk.clone is not None:
            named = disk.clone.pool
            source = pool if named is None else self._file_pool_of(vm, named, (*key, "clone"))
            return f"{source}/{disk.clone.volume}" if source else None
        if not disk.full_copy:
            return None
        if image is None:
            at = self._loaded.span("vms", vm.name, *key, "full_copy")
            hint = "add `image:`, or `clone:` for a volume that the host has"
            self._refuse("manifest.bad-disk", "there is no image to copy", at, "A new disk is empty.", hint)
        known = self._images.get(image or "")
        return f"{pool}/{known.volume}" if known else None

    def _encryption(self, vm: _Link, disk: Disk, key: tuple[str, ...]) -> str | None:
        named = disk.encryption.secret if disk.encryption else None
        return self._secret_for("volume", named, "vms", vm.name, *key, "encryption", "secret")

    def _server_secret(self, vm: _Link, source: Source, key: tuple[str, ...]) -> str | None:
        usage = "ceph" if source.protocol == "rbd" else "iscsi"
        named = source.auth.secret if source.auth else None
        return self._secret_for(usage, named, "vms", vm.name, *key, "source", "auth", "secret")

    def _in_pool(
        self, vm: _Link, spec: Disk, image: str | None, pool: ResolvedPool, key: tuple[str, ...]
    ) -> Disk:
        """What a disk is in this pool. Refuse what such a pool cannot hold."""
        kind, traits = pool.spec.type, pool.spec.traits
        wrong = next(_unfit(spec, image, kind, traits), None)
        if wrong is not None:
            name, summary, cause, hint = wrong
            path = (
                ("image",)
                if name == "image" and vm.spec.image == image and key == ("disk",)
                else (*key, name)
            )
            self._refuse(
                "reference.unfit-pool", summary, self._loaded.span("vms", vm.name, *path), cause, hint
            )
        if traits.holds == "files" or "format" in spec.model_fields_set:
            return spec
        return spec.model_copy(update={"format": "raw"})

    def _cdroms(self, vm: _Link) -> Iterator[ResolvedCdrom]:
        for name, drive in vm.spec.cdroms.items():
            boot = vm.boot.get(name)
            if drive.image is None:
                yield ResolvedCdrom(name, drive, "", "", "", boot)
                continue
            pool = self._file_pool_of(vm, drive.pool, ("cdroms", name))
            image = self._images.get(drive.image)
            if image is None:
                self._unknown("image", drive.image, self._images, "vms", vm.name, "cdroms", name, "image")
            elif image.format != "raw":
                self._refuse(
                    "image.no-medium",
                    f"image {image.name} is in {image.format} format, and a drive takes a raw one",
                    self._loaded.span("vms", vm.name, "cdroms", name, "image"),
                    "The guest would see the file as it is, and find no file system in it.",
                    "use an ISO image, with `format: raw` in `images`",
                )
            elif pool is not None:
                yield ResolvedCdrom(name, drive, image.name, pool, image.volume, boot)

    def _pool_of(self, vm: _Link, named: str | None, key: tuple[str, ...]) -> str | None:
        """The pool of a disk (or seed): the one that it names, else the only one that there is."""
        if named is None:
            if len(self._active_pools) != 1:
                self._refuse_choice(vm, key)
                return None
            named = self._active_pools[0]
        pool = self._pools.get(named)
        if pool is None:
            self._unknown("pool", named, self._pools, "vms", vm.name, *key, "pool")
            return None
        self._check_standing(vm, pool, f"pool {named}", *key, "pool")
        return named

    def _file_pool_of(self, vm: _Link, named: str | None, key: tuple[str, ...]) -> str | None:
        """The pool of an image or a seed, which are files."""
        pool = self._pool_of(vm, named, key)
        if pool is None or self._pools[pool].spec.traits.holds == "files":
            return pool
        self._refuse(
            "reference.unfit-pool",
            f"pool {pool} holds no files",
            self._loaded.span("vms", vm.name, *key, "pool"),
            "Images, cloud-init seeds and what is cloned are files on the host.",
            "name a pool of type dir, fs or netfs with `pool:`",
        )
        return None

    def _refuse_choice(self, vm: _Link, key: tuple[str, ...]) -> None:
        at = self._loaded.span("vms", vm.name, *key)
        if self._active_pools:
            known = ", ".join(sorted(self._active_pools))
            hint = f"say which: `{{pool: {min(self._active_pools)}, ...}}`"
            self._refuse("reference.which-pool", "the disk names no pool", at, f"Pools are {known}.", hint)
        else:
            hint = "add `storage: {vms: /srv/vms}`"
            self._refuse(
                "reference.no-pool", "there is no pool for the disk", at, "The manifest has none.", hint
            )

    def _check_image(self, vm: _Link, disk: Disk | None, image: str | None, key: tuple[str, ...]) -> None:
        if image is None:
            return
        if image not in self._images:
            path = ("image",) if vm.spec.image == image and key == ("disk",) else (*key, "image")
            self._unknown("image", image, self._images, "vms", vm.name, *path)
            return
        if disk is None:
            return
        if (disk.format == "raw" and not disk.full_copy) or disk.preallocation != "off":
            self._refuse(
                "image.cannot-back",
                "a raw or preallocated disk cannot begin as an image",
                self._loaded.span(
                    "vms", vm.name, *key, "preallocation" if disk.preallocation != "off" else "format"
                ),
                f"It would hold only what differs from image {image}, and only a sparse qcow2 volume can.",
                "use `format: qcow2` and `preallocation: off`, or `full_copy: true` for one that stands on its own",
            )
        self._check_size(vm, disk.size, image, key)

    def _check_bus(self, vm: _Link, disk: Disk | None, key: tuple[str, ...]) -> None:
        """The bus may be one that the vm's `os` chose after the disk was checked."""
        if disk is not None and disk.misplaced is not None:
            name, summary, hint = disk.misplaced
            at = self._loaded.span("vms", vm.name, *key, name)
            self._refuse("manifest.bad-disk", summary, at, "The bus follows from the vm's `os`.", hint)

    def _check_size(self, vm: _Link, size: int | None, image: str, key: tuple[str, ...]) -> None:
        needed = self._inputs.images[image].virtual_size
        if size is not None and needed is not None and size < needed:
            self._refuse(
                "image.disk-too-small",
                f"the disk has {format_size(size)} and image {image} needs {format_size(needed)}",
                self._loaded.span("vms", vm.name, *key, "size"),
                "The end of the image would be cut off.",
                f"write at least `{format_size(needed)}`, or leave the size out to get that",
            )

    def _nics(self, vm: _Link) -> Iterator[ResolvedNic]:
        """All NICs. The one of a team that goes has the MAC address of the one that stays, unless it is given one."""
        plugged = list(self._plugged(vm))
        stays = {}
        if any(nic.failover for _, nic in plugged):
            stays = {nic.spec.team: nic.mac for _, nic in plugged if nic.failover == "persistent"}
            self._check_teams(vm, plugged)
        for index, nic in plugged:
            shared = stays.get(nic.spec.team) if nic.failover == "transient" else None
            mac = nic.spec.mac or shared or nic.mac
            if vm.spec.state != "absent" and mac != shared:
                self._claim_mac(mac, vm.name, index)
            yield nic if mac == nic.mac else replace(nic, mac=mac)

    def _plugged(self, vm: _Link) -> Iterator[tuple[int, ResolvedNic]]:
        ordinals: dict[str, int] = {}
        boot = vm.boot.get("network")
        for index, nic in enumerate(vm.spec.nics):
            # Counted per network, so that neither another NIC's network nor the order of networks matters.
            plug = nic.network or f"{nic.kind}:{nic.plug}"
            ordinal = ordinals[plug] = ordinals.get(plug, -1) + 1
            port = self._ports.get((id(nic), vm.place)) or self._plug(vm, nic, index)
            if port is None:
                continue
            mac = nic.mac or derive_mac(self._name, vm.name, f"{plug}/{ordinal}")
            yield (
                index,
                ResolvedNic(mac, nic, port.source, port.is_bridge, boot if nic.boot else None, port.failover),
            )
            boot = boot if boot is None or not nic.boot else boot + 1

    def _plug(self, vm: _Link, nic: Nic, index: int) -> _Port | None:
        """What a NIC is plugged into, None if it names a network that is unknown."""
        before = len(self.found)
        network = self._network_of(vm, nic, index)
        if nic.network is not None and network is None:
            return None
        if nic.misplaced is not None:
            self._refuse_misplaced(vm.name, index, nic.misplaced, nic.model)
        if nic.filter is not None and vm.spec.state != "absent":
            self._check_not_absent(nic.filter.name, "vms", vm.name, "nics", index, "filter", "name")
        port = _port(nic, network)
        if len(self.found) == before:
            self._ports[id(nic), vm.place] = port
        return port

    def _refuse_misplaced(self, vm: str, number: int, key: str, model: str) -> None:
        """Its model may be one that the vm's `os` chose after the NIC was checked."""
        self._refuse(
            "manifest.bad-nic",
            f"{key} is for virtio, not {model}",
            self._loaded.span("vms", vm, "nics", number, key),
            "The model follows from the vm's `os`.",
            "add `model: virtio`, or leave it out",
        )

    def _check_teams(self, vm: _Link, plugged: Iterable[tuple[int, ResolvedNic]]) -> None:
        """A team is one NIC that stays and one that goes."""
        teams: dict[str, list[tuple[int, ResolvedNic]]] = {}
        for index, nic in plugged:
            if nic.spec.team is not None:
                teams.setdefault(nic.spec.team, []).append((index, nic))
        for name, members in teams.items():
            if sorted(nic.failover for _, nic in members) != ["persistent", "transient"]:
                self._refuse(
                    "manifest.bad-nic",
                    f"team {name} is not one NIC that stays and one that goes",
                    self._loaded.span("vms", vm.name, "nics", members[-1][0], "team"),
                    "Only a PCI function, or a NIC on a `hostdev` network, leaves the guest while it is migrated.",
                    "give the word to one virtio NIC and to one such function",
                )

    def _network_of(self, vm: _Link, nic: Nic, index: int) -> ResolvedNetwork | None:
        """The network that a NIC is plugged into, None if it is into none or that is unknown."""
        if nic.network is None:
            return None
        at = ("vms", vm.name, "nics", index)
        network = self._networks.get(nic.network)
        if network is None:
            self._unknown("network", nic.network, self._networks, *at, "network")
            return None
        self._check_standing(vm, network, f"network {nic.network}", *at, "network")
        self._check_port(vm.name, index, nic, network)
        return network

    def _check_listened(self, vm: _Link) -> None:
        """Refuse networks that a console cannot listen on: the host has its own address only in libvirt's networks."""
        graphics = vm.spec.graphics
        for key, screen in (("graphics",), graphics), (("graphics", "also"), graphics.also):
            name = screen.network if screen is not None else None
            if name is None:
                continue
            at = ("vms", vm.name, *key, "network")
            network = self._networks.get(name)
            if network is None:
                self._unknown("network", name, self._networks, *at)
                continue
            self._check_standing(vm, network, f"network {name}", *at)
            if network.spec.mode not in _LISTENED:
                self._refuse(
                    "reference.no-address",
                    f"a console cannot listen on network {name}",
                    self._loaded.span(*at),
                    f"libvirt gives the host no address of its own in a network of mode {network.spec.mode}.",
                    "write the host's address: `listen: 192.0.2.1`",
                )

    def _check_port(self, vm: str, number: int, nic: Nic, network: ResolvedNetwork) -> None:
        """Refuse what ports of such a network do not have."""
        mode, at = network.spec.mode, ("vms", vm, "nics", number)
        groups = network.spec.portgroups
        if nic.portgroup is not None and nic.portgroup not in groups and network.spec.mode != "existing":
            self._unknown("portgroup", nic.portgroup, groups, *at, "portgroup")
        said = self._manifest.vms[vm].nics[number].said  # beside what the vm's `os` says of it
        lacking = [key for key in _NO_PORT_OF.get(mode, ()) if key in said]
        if nic.vlan is not None and not network.spec.may_have_vlans:
            lacking.append("vlan")
        for key in lacking:
            self._refuse(
                _NO_PORT_CODES.get(mode, "reference.no-vlan"),
                f"network {network.name} has no {key} for a NIC",
                self._loaded.span(*at, key),
                _WHY_NO_PORT.get(mode, "Its bridge is an ordinary one, which does not look at tags."),
                _INSTEAD.get(mode, "leave it out, or use a bridge of Open vSwitch, or `mode: hostdev`"),
            )

    def _claim_mac(self, mac: str, vm: str, index: int) -> None:
        other, there = self._macs.setdefault(mac, (vm, index))
        if (other, there) == (vm, index):
            return
        first = self._loaded.span("vms", other, "nics", there, "mac")
        self.found.append(
            Diagnostic(
                "reference.duplicate-mac",
                f"a NIC of {other} and one of {vm} have the same MAC address {mac}",
                self._loaded.span("vms", vm, "nics", index, "mac"),
                "On one network, switches would send the frames of both to whichever spoke last.",
                "give one of them another `mac:`, or leave it out to have one derived",
                (Note("the other one is here", first),),
            )
        )

    # -- cloud-init ----------------------------------------------------------------------------------------

    def _ignition(self, name: str, given: Ignition) -> SeedContent | None:
        key = "config_file" if given.config is None else "config"
        text = given.config if given.config is not None else self._inputs.texts.get((name, "ignition"))
        if text is None:
            return None  # the file cannot be read, which was told
        if why := fault(text):
            self._refuse(
                "ignition.bad-config",
                "Ignition would not take this configuration",
                self._loaded.span("vms", name, "ignition", key),
                safe_text(f"In it, {why}."),
                "write a Butane file and let `butane --strict` make the JSON of it",
            )
        return configuration(text)

    def _seed(self, name: str, uuid_: str, spec: Vm) -> SeedContent | None:
        if spec.ignition is not None:
            return self._ignition(name, spec.ignition)
        given = spec.cloud_init
        if given is None:
            from_image = spec.image or (spec.disk and spec.disk.image)
            return seed(Identity(name, uuid_), None) if from_image else None
        texts = self._inputs.texts
        user_data = texts.get((name, "user_data_file"), given.user_data)
        vendor_data = texts.get((name, "vendor_data_file"), given.vendor_data)
        for what, text in (("user_data", user_data), ("vendor_data", vendor_data)):
            if text is None or has_known_header(text):
                continue
            key = f"{what}_file" if getattr(given, what) is None else what
            self._refuse(
                "cloud-init.header",
                f"the {what.replace('_', '-')} begin with no header that cloud-init knows",
                self._loaded.span("vms", name, "cloud_init", key),
                "cloud-init would ignore them, and the guest would come up without what they say.",
                "begin with `#cloud-config` for YAML, or `#!` and an interpreter for a script",
            )
        network_config = texts.get((name, "network_config_file"), given.network_config)
        meta = given.meta_data
        machine = Identity(
            meta.local_hostname or name,
            meta.instance_id or uuid_,
            meta.public_keys,
            given.on_change == "rerun",
        )
        secrets: tuple[SeedSecret, ...] = ()
        if given.secrets:
            written = (user_data, network_config, vendor_data)
            secrets = self._seed_secrets(name, given, "".join(text for text in written if text))
        return seed(machine, user_data, network_config, vendor_data, secrets)

    def _seed_secrets(self, name: str, given: CloudInit, texts: str) -> tuple[SeedSecret, ...]:
        """The secrets that go into a seed. Each has a place in it, and each place a secret."""
        at, there = ("vms", name, "cloud_init", "secrets"), places(texts)
        for place in sorted(there ^ given.secrets.keys()):
            known = place in given.secrets
            self._refuse(
                "cloud-init.secret-place",
                f"the texts have no place for secret {place}"
                if known
                else f"there is no secret for ${{secret:{place}}}",
                self._loaded.span(*at, place) if known else self._loaded.span(*at),
                "Whatever has a place is put there, and nothing is said that has none.",
                f"write `${{secret:{place}}}` where it belongs" if known else f"add `{place}: NAME` here",
            )
        for place, secret in given.secrets.items():
            self._secret_for("cloud-init", secret, *at, place)
        found = ((place, self._secrets.get(secret)) for place, secret in sorted(given.secrets.items()))
        return tuple(
            SeedSecret(place, secret.name, secret.spec.version, secret.source)
            for place, secret in found
            if secret is not None
        )

    def _seed_pool(self, vm: _Link, disks: tuple[ResolvedDisk, ...]) -> str:
        """The seed lies where the manifest says, else beside the first disk whose volume is a file."""
        named = vm.spec.cloud_init.pool if vm.spec.cloud_init else None
        if named is None:
            for disk in disks:
                if disk.pool and self._pools[disk.pool].spec.traits.holds == "files":
                    return disk.pool
            if len(disks) < len(vm.spec.disks) + vm.spec.has_root_disk:
                return ""  # a disk without a pool was refused already
        return self._file_pool_of(vm, named, ("cloud_init",)) or ""

    # -- refusals ------------------------------------------------------------------------------------------

    def _refuse_homeless(self, vms: Iterable[ResolvedVm]) -> None:
        """A vm that names no host needs one that has all that it stands on."""
        candidates = Candidates(self._hosts, self._pools.values(), self._networks.values())
        for vm in vms:
            if vm.host or vm.state == "absent" or not self._hosts or candidates.of(vm):
                continue
            needs = [f"pool {name}" for name in sorted(pools_of(vm))]
            needs += [f"network {name}" for name in sorted(networks_of(vm))]
            self._refuse(
                "reference.no-common-host",
                f"no host has all of {', '.join(needs)}",
                vm.origin.at,
                "A vm runs on a host that has all of its pools and networks.",
                "widen `hosts:` of one of them, or choose others",
            )

    def _check_standing(
        self, vm: _Link, thing: ResolvedPool | ResolvedNetwork, what: str, *key: str | int
    ) -> None:
        """Refuse a pool or network that goes away, or that the vm's own host does not get."""
        if vm.spec.state == "absent":
            return
        if thing.spec.state == "absent":
            self._refuse(
                "reference.absent",
                f"{what} shall be absent and is used here",
                self._loaded.span("vms", vm.name, *key),
                "It would be taken away from under the guest.",
                "use another one, or take `state: absent` back",
            )
        elif vm.spec.host in self._hosts and vm.spec.host not in self._reach[what]:
            self._refuse(
                "reference.not-on-host",
                f"{what} is not on host {vm.spec.host}",
                self._loaded.span("vms", vm.name, *key),
                f"It is on {', '.join(thing.hosts) or 'no host'}.",
                f"add {vm.spec.host} to its `hosts:`, or choose another one",
            )

    def _check_filters(self) -> None:
        """No filter of the manifest names one that goes away."""
        for name, filter_ in self._filters.items():
            if filter_.spec.state == "absent":
                continue
            for index, rule in enumerate(filter_.spec.rules):
                if rule.filter is None:
                    continue
                self._check_not_absent(rule.filter, "filters", name, "rules", index, "filter")

    def _check_not_absent(self, name: str, *path: str | int) -> None:
        filter_ = self._filters.get(name)
        if filter_ is not None and filter_.spec.state == "absent":
            self._refuse(
                "reference.absent",
                f"filter {name} shall be absent and is used here",
                self._loaded.span(*path),
                "It would be taken away from under the guest.",
                "use another one, or take `state: absent` back",
            )

    def _check_scopes(self) -> None:
        """Vms are kept apart or together by what hosts say of themselves."""
        scopes = {"host", *self._labels}
        for name, spec in self._manifest.vms.items():
            if spec.apart is None and spec.together is None and not spec.host_labels:
                continue  # as most
            for key, kept in (("apart", spec.apart), ("together", spec.together)):
                if kept is not None and kept.scope not in scopes:
                    self._unknown("label", kept.scope, scopes, "vms", name, key)
            for label in spec.host_labels:
                self._check_label(label, "vms", name, "host_labels", label)

    def _check_aliases(self) -> None:
        """Devices are named by names that there are, and are where hosts are."""
        for name, alias in self._manifest.devices.items():
            for host in alias.at.keys() - self._manifest.hosts.keys():
                self._unknown("host", host, self._hosts, "devices", name, "at", host)
        for name, spec in self._manifest.vms.items():
            for key, request in spec.device_requests:
                if request.alias is not None and request.alias not in self._manifest.devices:
                    section, _, number = key.partition(".")
                    path = (section, int(number), *(("vf",) if section == "nics" else ()), "alias")
                    self._unknown("device", request.alias, self._manifest.devices, "vms", name, *path)

    def _check_fragments(self) -> None:
        """Every `xml:` is a fragment that can be laid over a definition."""
        sections = (
            ("vms", Kind.DOMAIN, self._manifest.vms),
            ("networks", Kind.NETWORK, self._manifest.networks),
            ("storage", Kind.POOL, self._manifest.storage),
        )
        for section, kind, entries in sections:
            for name, spec in entries.items():
                if spec.xml is not None:
                    self._check_fragment(spec.xml, kind, section, name)

    def _check_fragment(self, text: str, kind: Kind, section: str, name: str) -> None:
        from kvmdecl.libvirt_xml.declared import parse_fragment
        from kvmdecl.libvirt_xml.safe import BadXml

        try:
            parse_fragment(text, kind)
        except BadXml as error:
            self._refuse(
                "xml.bad-fragment",
                f"the xml of {name} cannot be laid over its {kind}",
                self._loaded.span(section, name, "xml"),
                safe_text(str(error)),
                f"write elements as they stand in libvirt's <{kind}>, for example `<title>mine</title>`",
            )

    def _check_omissions(self, vms: Iterable[ResolvedVm]) -> None:
        """What is left out of a definition is in it, or else somebody believes something that is not so."""
        from kvmdecl.libvirt_xml.declared import without
        from kvmdecl.libvirt_xml.domain import domain_xml

        pools = {pool.name: pool.spec for pool in self._pools.values()}
        for vm in vms:
            if not vm.spec.omit or not all(disk.pool in {"", *pools} for disk in vm.disks):
                continue
            for path in without(domain_xml(vm, pools), vm.spec.omit)[1]:
                self._refuse(
                    "xml.bad-omission",
                    f"the keys of {vm.name} imply no {safe_text(path)}",
                    self._loaded.span("vms", vm.name, "omit", vm.spec.omit.index(path)),
                    "Only what would be declared can be left out.",
                    f"`kvmdecl show {vm.name}` prints what is declared",
                )

    def _unknown(self, kind: str, name: str, known: Iterable[str], *path: str | int) -> None:
        if kind == "host" and name in self._manifest.hosts:
            self._refuse(
                "reference.absent",
                f"host {name} shall be absent and is used here",
                self._loaded.span(*path),
                "It is taken for gone, and nothing is put on it any more.",
                "use another one, or take `state: absent` back",
            )
            return
        if (kind, name) not in self._hints:
            names = sorted(known)
            listed = f"known are {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
            self._hints[kind, name] = (
                (hint_for_vm(name, names) if kind == "vm" else members_of(name, names))
                or did_you_mean(name, names)
                or (listed if names else f"the manifest defines no {kind}s")
            )
        at = self._loaded.span(*path)
        self._refuse(
            f"reference.unknown-{kind}", f"there is no {kind} {name}", at, hint=self._hints[kind, name]
        )

    def _refuse(self, code: str, summary: str, at: Span | None, cause: str = "", hint: str = "") -> None:
        self.found.append(Diagnostic(code, summary, at, cause, hint))

    def _origin(self, *path: str) -> Origin:
        return Origin(_Keys(self._loaded, *path))


_LISTENED = frozenset({"nat", "route", "open", "isolated", "existing"})
_NO_PORT_OF: Mapping[str, tuple[str, ...]] = {
    "macvtap": ("filter", "isolated", "tap", "coalesce", "mtu"),
    "hostdev": (
        *("filter", "isolated", "tap", "bandwidth", "mtu", "coalesce", "driver", "offloads", "queues"),
        *("link", "model"),
    ),
}
"""Keys of NICs that mean nothing on networks of a mode; libvirt would refuse some and forget the others."""
_NO_PORT_CODES = {"macvtap": "reference.macvtap-nic", "hostdev": "reference.hostdev-nic"}
_WHY_NO_PORT = {
    "macvtap": "Its traffic goes by the host's bridges and firewall, straight to the device.",
    "hostdev": "The guest works with the network card itself, and the host does not see its traffic.",
}
_INSTEAD = {
    "macvtap": "leave it out, use `macvtap_mode: private` to keep guests apart, or another network",
    "hostdev": "leave it out, or use another network",
}


def usual_solver(vms: Iterable[ResolvedVm]) -> str:
    """The solver for a manifest that names none: one that knows cells, if a vm asks for what only that one does."""
    asks_much = (vm.spec.is_placed or vm.spec.apart is not None or vm.spec.together is not None for vm in vms)
    return "numa" if any(asks_much) else "spread"


def _port(nic: Nic, network: ResolvedNetwork | None) -> _Port:
    is_bridge = network is not None and network.spec.mode == "bridge" and not network.spec.has_object
    source = "" if network is None else network.bridge if is_bridge else network.name
    goes = nic.kind in {"pci", "vf"} or (network is not None and network.spec.mode == "hostdev")
    return _Port(nic, source, is_bridge, "" if nic.team is None else "transient" if goes else "persistent")


def _unfit(spec: Disk, image: str | None, kind: str, traits: Traits) -> Iterator[tuple[str, str, str, str]]:
    """Keys of a disk that a pool of this kind has nothing for: key, summary, cause, hint."""
    if not traits.makes and spec.volume is None:
        summary = f"a disk in {kind} storage names no volume"
        yield (
            "pool",
            summary,
            "Its volumes are made on the storage server.",
            "add `volume:`, one that is there",
        )
    if traits.holds == "files":
        if spec.volume is not None and "format" not in spec.model_fields_set:
            cause = "In the wrong format a disk is garbage, or its content chooses which file of the host is opened."
            hint = "add `format: qcow2` or `format: raw`; `qemu-img info` on the host tells"
            yield "volume", "the format of a volume that is there already is never guessed", cause, hint
        return
    holds = f"A volume of {kind} storage holds the disk's bytes as they are."
    if image is not None:
        hint = "use a pool of type dir, fs or netfs"
        yield "image", f"a disk in {kind} storage cannot begin as an image", holds, hint
    if spec.clone is not None:
        hint = "use a pool of type dir, fs or netfs"
        yield "clone", f"a disk in {kind} storage cannot begin as a copy", holds, hint
    if spec.format != "raw" and "format" in spec.model_fields_set:
        yield "format", f"a disk in {kind} storage has no format {spec.format}", holds, "leave `format` out"
    if spec.encryption is not None and kind != "logical":
        cause, hint = (
            "libvirt encrypts files and logical volumes.",
            "use a pool of type dir, fs, netfs or logical",
        )
        yield "encryption", f"a disk in {kind} storage is not encrypted", cause, hint
    for key in ("cluster_size", "lazy_refcounts", "nocow"):
        if key in spec.said:
            yield key, f"a disk in {kind} storage has no {key}", holds, f"leave `{key}` out"
    allowed = ("off", "full") if traits.holds == "devices" else ("off",)
    if spec.preallocation not in allowed:
        hint = f"use {' or '.join(f'`{one}`' for one in allowed)}"
        summary = f"a disk in {kind} storage is not preallocated by {spec.preallocation}"
        yield "preallocation", summary, holds, hint
    if kind == "logical" and spec.size is not None and spec.size % _EXTENT:
        cause = "libvirt would round it up, and the next plan would see a disk larger than declared."
        yield "size", "the size of a logical volume is a multiple of 4MiB", cause, "round it up yourself"


def _boot_order(spec: Vm) -> dict[str, int]:
    """Numbers from 1 by device; the NICs count up from that of `network`.

    By default only one thing has a number: a disk or NIC more must not renumber the others.
    """
    disks = ("root",) if spec.has_root_disk else tuple(spec.disks)
    order: dict[str, int] = {}
    number = 1
    for device in (disks[:1] or ("network",)) if spec.boot is None else spec.boot:
        order[device] = number
        number += sum(nic.boot for nic in spec.nics) if device == "network" else 1
    return order


def _bridge_name(cluster: str, network: str) -> str:
    """A name of 13 characters; Linux takes 15 at most (IFNAMSIZ)."""
    return f"virbr{uuid.uuid5(NAMESPACE, f'{cluster}/bridge/{network}').hex[-8:]}"
