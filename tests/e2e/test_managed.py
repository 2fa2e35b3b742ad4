"""Guests that a cluster manager runs: their disks and files are put onto the hosts, and they are never stopped.

What Pacemaker's agent does with a file (`virsh create FILE`) is done here by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.e2e.conftest import HOSTS, Story

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts: {"kvm-{1..3}": "qemu+tls://{name}.example/system"}
networks: {lan: {bridge: br0}}
storage:
  vms: {path: FOLDER, shared: true}
  defs: {path: /srv/defs}
ha:
  fencing: {agent: fence_ipmilan, address: "{name}-bmc", password: /etc/bmc, own_power: true}
  links: ["10.1.0.{n}", "10.2.0.{n}"]
  definitions: defs
vms:
  db: {memory: {size: 64MiB, max: 96MiB}, disk: {size: 1MiB, pool: vms}, nics: [{network: lan}], ha: true}
"""


@pytest.fixture
def ha(story: Story) -> Iterator[Story]:
    """With a pool under /var/tmp, which the lab's hosts do not have to themselves."""
    path = Path(mkdtemp(prefix="kvmdecl-managed-", dir="/var/tmp"))
    path.chmod(0o755)
    story.write(CLUSTER.replace("FOLDER", str(path)))
    yield story
    shutil.rmtree(path)


def file(story: Story, host: str) -> Path:
    return story.lab.hosts[host].folder / "srv/defs/db.xml"


def begin(story: Story, host: str) -> None:
    """Start the guest as the agent does."""
    with story.connect(host) as connection:
        connection.createXML(file(story, host).read_text())


def domain(story: Story, host: str) -> dict[str, object]:
    with story.connect(host) as connection:
        found = connection.lookupByName("db")
        return {"id": found.ID(), "persistent": bool(found.isPersistent()), "xml": found.XMLDesc()}


def steps(story: Story, *args: str) -> list[tuple[str, str, str, str]]:
    plan = story.run("plan", "--format", "json", *args).plan
    return [
        (each["action"], "/".join(each["address"].values()), each["impact"], each["task"]["task"])
        for each in plan["steps"]
    ]


def in_order(story: Story) -> None:
    assert story.ok("plan", "--detailed-exitcode").out.startswith("No changes:")


def test_disks_and_files_are_put_there_and_a_guest_is_changed_where_it_runs(ha: Story):
    # Each host's libvirt is asked about what would be in its file.
    ha.edit("ha: true}", "ha: true, cpus: {count: 1, model: NoSuchCpu}}")
    refused = {
        each["subject"]: each["code"] for each in ha.run("plan", "--deep", "--format", "json").plan["blocked"]
    }
    assert refused == {f"{host}/volume/defs/db.xml": "plan.deep-refused" for host in HOSTS}
    ha.edit("ha: true, cpus: {count: 1, model: NoSuchCpu}}", "ha: true}")
    assert not ha.run("plan", "--deep", "--format", "json").plan["blocked"]

    ha.ok("apply", "--yes")
    for host in HOSTS:
        with ha.connect(host) as connection:
            assert connection.listAllDomains() == []
    begin(ha, "kvm-2")
    in_order(ha)

    # A link goes down at once, a further CPU waits for the next start.
    before = domain(ha, "kvm-2")
    ha.edit("nics: [{network: lan}]", "nics: [{network: lan, link: down}], cpus: 2")
    assert steps(ha) == [
        ("update", "kvm-1/volume/defs/db.xml", "next-boot", "write-definition"),
        ("update", "kvm-2/volume/defs/db.xml", "next-boot", "write-definition"),
        ("update", "kvm-2/domain/db", "live", "update-domain"),
        ("update", "kvm-3/volume/defs/db.xml", "next-boot", "write-definition"),
    ]
    ha.ok("apply", "--yes")
    after = domain(ha, "kvm-2")
    assert (after["id"], after["persistent"]) == (before["id"], False)
    assert "<link state='down'/>" in str(after["xml"])
    assert all('<link state="down"/>' in file(ha, host).read_text() for host in HOSTS)
    told = ha.ok("plan", "--detailed-exitcode")
    assert told.out.startswith("No changes:")
    assert "db gets at its next start: vcpu" in told.err

    # Somebody edits a file, and it is a shorter one when it is put right: its end is filled up.
    file(ha, "kvm-3").write_text(file(ha, "kvm-3").read_text().replace("db", "xx") + "<!-- longer -->\n")
    assert ha.run("drift").code == 2
    ha.ok("apply", "--yes")
    assert file(ha, "kvm-3").read_text().rstrip() == file(ha, "kvm-1").read_text().rstrip()


def test_ha_is_switched_off_and_on_under_a_guest_that_runs_on_and_its_file_goes_with_it(ha: Story):
    ha.ok("apply", "--yes")
    begin(ha, "kvm-3")
    running = domain(ha, "kvm-3")["id"]

    ha.edit(", ha: true", ", autostart: true")
    ha.ok("apply", "--yes")
    assert (domain(ha, "kvm-3")["id"], domain(ha, "kvm-3")["persistent"]) == (running, True)
    left = ha.ok("plan", "--detailed-exitcode")
    assert left.out.startswith("No changes:")
    assert left.err.count("plan.definition-left") == 3

    ha.edit(", autostart: true", ", cpus: 2, ha: true")
    assert ("update", "kvm-3/domain/db", "next-boot", "hand-over-domain") in steps(ha)
    ha.ok("apply", "--yes")
    assert (domain(ha, "kvm-3")["id"], domain(ha, "kvm-3")["persistent"]) == (running, False)

    assert "destroy.managed" in ha.run("destroy").err

    # What runs is not stopped, and keeps its file; what Pacemaker has stopped loses it.
    ha.edit(", ha: true", ", ha: true, state: absent")
    assert ha.ok("plan", "--detailed-exitcode").err.count("plan.still-managed") == 4
    with ha.connect("kvm-3") as connection:
        connection.lookupByName("db").destroy()
    consent = ha.consents(*(f"{host}/volume/defs/db.xml" for host in HOSTS))
    ha.ok("apply", "--yes", *consent)
    assert not any(file(ha, host).exists() for host in HOSTS)
