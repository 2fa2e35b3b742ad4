"""What a change does to a running network: leases and names come at once, the rest when it is restarted."""

from __future__ import annotations

import pytest

from kvmdecl.libvirt_xml.network_impact import NetworkAssessment, assess_network, live_updates
from kvmdecl.plan import ChangeOrigin, Impact
from kvmdecl.state import ObservedNetwork, Origin

RANGE = "<range start='10.0.0.10' end='10.0.0.99'/>"
LEASE = "<host mac='52:54:00:00:00:01' name='web' ip='10.0.0.5'/>"
NAMES = "<host ip='10.0.0.2'><hostname>gw</hostname></host>"
TEXT = "<txt name='note' value='hello'/>"
SERVICE = "<srv service='ldap' protocol='tcp' target='gw' port='389'/>"


def net(dhcp: str = RANGE, dns: str = "", ip: str = "10.0.0.1", rest: str = "") -> str:
    names = f"<dns>{dns}</dns>" if dns else ""
    return (
        f"<network><name>n</name><bridge name='b'/>{rest}{names}"
        f"<ip address='{ip}' prefix='24'><dhcp>{dhcp}</dhcp></ip></network>"
    )


def assessed(
    desired: str, was: str, *, base: str | None = None, live: str | None = None, active: bool = True
) -> NetworkAssessment:
    observed = ObservedNetwork("n", "", was, active, True, live if active else None)
    return assess_network(desired, was if base is None else base, observed, Origin())


def calls(desired: str, was: str) -> list[tuple[str, str, str]]:
    return [(call.section, call.command, call.xml) for call in live_updates(desired, was, was)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (net(), net(RANGE + LEASE), [("ip-dhcp-host", "add", LEASE)]),
        (net(RANGE + LEASE), net(), [("ip-dhcp-host", "delete", LEASE)]),
        (net(RANGE + LEASE), net(RANGE + LEASE.replace(".5'", ".6'")),
         [("ip-dhcp-host", "modify", LEASE.replace(".5'", ".6'"))]),
        (net(), net(RANGE.replace(".99", ".199")),
         [("ip-dhcp-range", "delete", RANGE), ("ip-dhcp-range", "add", RANGE.replace(".99", ".199"))]),
        (net(), net(dns=TEXT), [("dns-txt", "add", TEXT)]),
        (net(dns=TEXT), net(dns=TEXT.replace("hello", "bye")),
         [("dns-txt", "delete", TEXT), ("dns-txt", "add", TEXT.replace("hello", "bye"))]),
        (net(dns=SERVICE), net(), [("dns-srv", "delete", SERVICE)]),
        (net(dns=NAMES), net(), [("dns-host", "delete", "<host ip='10.0.0.2'/>")]),
    ],
)  # fmt: skip
def test_an_entry_is_added_modified_or_deleted_by_itself(
    before: str, after: str, expected: list[tuple[str, str, str]]
):
    told = [(section, command, xml.replace('"', "'")) for section, command, xml in calls(after, before)]

    assert told == expected


def test_entries_leave_before_others_take_their_place():
    other = LEASE.replace("00:01", "00:02").replace("web", "db")

    assert [command for _, command, _ in calls(net(RANGE + other), net(RANGE + LEASE))] == ["delete", "add"]


def test_changed_names_of_an_address_are_deleted_and_added_with_all_their_names():
    more = NAMES.replace("</host>", "<hostname>gw2</hostname></host>")

    (gone, come) = calls(net(dns=more), net(dns=NAMES))

    assert gone[:2] == ("dns-host", "delete")
    assert come[:2] == ("dns-host", "add")
    assert come[2].count("<hostname>") == 2


def test_what_somebody_else_added_to_the_network_is_left_alone():
    declared, running = net(), net(RANGE + LEASE, dns=NAMES)

    assert live_updates(declared, declared, running) == ()


def test_leases_and_names_are_live_and_the_rest_waits_for_the_next_boot():
    told = assessed(net(RANGE + LEASE, dns=NAMES, rest="<domain name='d'/>"), net())

    assert {change.field: change.impact for change in told.changes} == {
        "ip/dhcp/host[52:54:00:00:00:01]": Impact.LIVE,
        "dns/host[10.0.0.2]": Impact.LIVE,
        "domain@name": Impact.NEXT_BOOT,
    }
    assert {change.how for change in told.changes if change.impact is Impact.LIVE} == {"virNetworkUpdate"}


def test_leases_of_another_subnet_wait_until_the_network_has_it():
    told = assessed(net(RANGE.replace("10.0.0", "10.1.0"), ip="10.1.0.1", dns=NAMES), net())

    impacts = {change.key: change.impact for change in told.changes}
    assert impacts == {"dhcp": Impact.NEXT_BOOT, "subnet": Impact.NEXT_BOOT, "dns.hosts": Impact.LIVE}
    assert [call.section for call in told.live] == ["dns-host"]


def test_a_forwarder_is_no_section_of_virnetworkupdate():
    told = assessed(net(dns="<forwarder addr='192.0.2.1'/>"), net())

    assert [change.impact for change in told.changes] == [Impact.NEXT_BOOT]
    assert told.live == ()


def test_a_stopped_network_is_only_defined():
    told = assessed(net(RANGE + LEASE), net(), active=False)

    assert ([change.impact for change in told.changes], told.live) == ([Impact.NONE], ())


def test_what_runs_already_and_is_not_defined_needs_no_call():
    told = assessed(net(RANGE + LEASE), net(), live=net(RANGE + LEASE))

    assert ([change.impact for change in told.changes], told.live) == ([Impact.NONE], ())
    assert told.changes[0].why == "the running network is so already"


def test_what_is_defined_and_does_not_run_is_made_up_for():
    wanted = net(RANGE + LEASE)

    told = assessed(wanted, wanted, live=net())

    assert [change.impact for change in told.changes] == [Impact.LIVE]
    assert [call.command for call in told.live] == ["add"]


def test_a_lease_that_somebody_took_away_is_drift():
    wanted = net(RANGE + LEASE)

    assert [change.origin for change in assessed(wanted, net(), base=wanted).changes] == [ChangeOrigin.DRIFT]
    assert [change.origin for change in assessed(wanted, net()).changes] == [ChangeOrigin.MANIFEST]
