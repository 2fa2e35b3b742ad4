"""Values mean what the field says, never what they look like: what other YAML readers get wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.load.conftest import Loader

# YAML 1.1 readers turn these into numbers, truth values, dates or nothing.
TRICKY = [
    "52:54:00:11:22:33", "10:20:30:40:50:59", "0000:01:00.0", "1:20", "190:20:30", "1.10", "1.0", "010",
    "0o17", "0x1f",
    "0b101", "1_000", "1e3", "1E400", ".5", "5.", "+1", "-0", ".inf", "-.INF", ".nan", "NaN", "on",
    "off", "On", "OFF",
    "yes", "no", "Yes", "NO", "y", "n", "Y", "N", "true", "True", "TRUE", "false", "False", "2026-11-23",
    "2026-11-23T10:00:00Z", "2026-11-23 10:00:00", "12:30:45", "=", "none", "None", "NONE", "nil",
    "undefined",
    "\uff11\uff16", "٣", "½", "²", "00", "007", "9" * 40, "0x" + "f" * 100, "1,000", "1 000", "4GiB",
    "40%", "1e", "e1", "0.0.0.0",
    "::1", "fe80::1", "a:b", "a#b", "1/2", "..", "...", "---x", "$x", "${x}", "x: y"[:2].strip(":"), "∞",
    "日本",
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKY)
@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_text_stays_the_text_that_was_typed(manifest: Loader, text: str, quote: str) -> None:
    loaded = manifest.load(f"vms:\n  web:\n    description: {quote}{text}{quote}\n")
    assert loaded.manifest.vms["web"].description == text


@pytest.mark.parametrize(
    "mac", ["52:54:00:11:22:33", "10:20:30:40:50:59", "00:00:00:00:00:01", "52:54:00:1e:10:00"]
)
def test_a_mac_address_of_digits_stays_a_mac_address(manifest: Loader, mac: str) -> None:
    loaded = manifest.load(f"vms:\n  web:\n    nics:\n      - network: lan\n        mac: {mac}\n")
    assert loaded.manifest.vms["web"].nics[0].mac == mac


@pytest.mark.parametrize(
    "name", ["1.10", "010", "no", "on", "0x1f", "1e3", "2026-11-23", "null-1", "true", "0"]
)
def test_a_name_is_what_was_typed(manifest: Loader, name: str) -> None:
    loaded = manifest.load(f"vms:\n  {name}: {{}}\n")
    assert [*loaded.manifest.vms] == [name]


@pytest.mark.parametrize(
    "text",
    [
        "010",
        "0x10",
        "0o7",
        "1_000",
        "1e3",
        "1.0",
        "+1",
        "\uff11\uff16",
        "٣",
        "½",
        "",
        " ",
        "'2 '",
        "yes",
        "9" * 19,
        "--1",
        "1,0",
    ],
)
def test_only_decimal_digits_are_a_number(manifest: Loader, text: str) -> None:
    assert manifest.codes(f"vms:\n  web:\n    cpus: {text}\n") == ["manifest.wrong-type"]


@pytest.mark.parametrize(("text", "number"), [("2", 2), ("'2'", 2), ('"16"', 16)])
def test_a_number_is_a_number_with_or_without_quotes(manifest: Loader, text: str, number: int) -> None:
    assert manifest.load(f"vms: {{web: {{cpus: {text}}}}}\n").manifest.vms["web"].cpus.count == number


@pytest.mark.parametrize("text", ["yes", "no", "on", "off", "True", "FALSE", "1", "0", "y", "~", "''", "t"])
def test_only_true_and_false_are_truth_values(manifest: Loader, text: str) -> None:
    assert manifest.codes(f"vms: {{web: {{rng: {text}}}}}\n") == ["manifest.wrong-type"]


@pytest.mark.parametrize(
    "text", ["40G", "40g", "40GB", "40", "4e9", "\uff11\uff16GiB", "-1GiB", "0x4GiB", "1.5", "4 Gib", "inf"]
)
def test_a_size_has_one_meaning_or_is_refused(manifest: Loader, text: str) -> None:
    (code,) = manifest.codes(f"vms: {{web: {{memory: {text}}}}}\n")
    assert code in {"unit.ambiguous", "unit.bad-size"}


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
@pytest.mark.parametrize(
    "where", ["vms: {{web: {0}}}", "vms: {0}", "vms: {{web: {{memory: {0}}}}}", "hosts: {{a: {0}}}"]
)
def test_an_empty_value_never_means_nothing(manifest: Loader, where: str, text: str) -> None:
    assert manifest.codes(where.format(text) + "\n") == ["manifest.wrong-type"]
