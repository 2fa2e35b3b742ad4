"""`plan --deep` asks real libvirt, which knows more than a manifest's schema, and changes nothing."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import HOSTS, Story, qemu_pid

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
networks:
  lan: {bridge: br0}
  inner: {mode: nat, subnet: 192.168.150.0/24}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
defaults:
  vms: {image: tiny, memory: 64MiB, nics: [lan, inner]}
vms:
  good: {host: kvm-1}
  odd: {host: kvm-2}
"""
ODD = "  odd: {host: kvm-2, cpus: {count: 1, model: NoSuchCpu}}"


def test_networks_pools_and_disks_that_the_plan_will_make_are_not_missed(story: Story):
    story.write(CLUSTER)

    answer = story.run("plan", "--deep", "--detailed-exitcode")

    assert answer.code == 2, answer.out + answer.err
    assert answer.out == story.run("plan").out
    for host in HOSTS:
        with story.connect(host) as connection:
            assert not connection.listAllDomains(), "nothing was defined"


def test_an_unknown_cpu_model_passes_a_plain_plan_and_is_refused_by_a_deep_one_and_by_apply_at_its_line(
    story: Story,
):
    path = story.write(CLUSTER.replace("  odd: {host: kvm-2}", ODD))
    line = path.read_text().splitlines().index(ODD) + 1

    plain, deep = story.run("plan"), story.run("plan", "--deep")

    assert plain.code == 0, plain.out + plain.err
    assert deep.code == 1, deep.out + deep.err
    assert f"cluster.yaml:{line}:" in deep.err
    assert "error[plan.deep-refused]: kvm-2 could not start odd" in deep.err
    assert "Unknown CPU model NoSuchCpu" in deep.err
    assert "domain odd" not in deep.out
    assert "good" in deep.out

    applied = story.run("apply", "--yes")
    assert applied.code == 1
    assert f"cluster.yaml:{line}:" in applied.err
    assert "error[check.no-cpu-model]: kvm-2 cannot show its guests a CPU NoSuchCpu" in applied.err
    for host in HOSTS:
        with story.connect(host) as connection:
            assert not connection.listAllStoragePools(), "nothing is done by halves"


def test_a_change_of_a_running_guest_is_tried_on_its_present_definition(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    pid = qemu_pid(story, "kvm-2", "odd")
    with story.connect("kvm-2") as connection:
        before = connection.lookupByName("odd").XMLDesc()

    story.edit("odd: {host: kvm-2}", "odd: {host: kvm-2, cpus: {count: 1, max: 2}}")
    assert story.run("plan", "--deep", "--detailed-exitcode").code == 2
    story.edit("max: 2}", "max: 2, model: NoSuchCpu}")
    refused = story.run("plan", "--deep", "--format", "json")

    assert refused.code == 1
    assert [found["code"] for found in refused.plan["blocked"]] == ["plan.deep-refused"]
    assert qemu_pid(story, "kvm-2", "odd") == pid
    with story.connect("kvm-2") as connection:
        assert connection.lookupByName("odd").XMLDesc() == before


def test_files_hold_no_host_to_ask(story: Story):
    story.write(CLUSTER)

    answer = story.run("plan", "--deep", "--facts", "facts")

    assert answer.code == 64
    assert "--deep asks the hosts" in answer.err
