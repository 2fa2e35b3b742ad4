"""What a lab cannot do is said before anything is started, with the way out."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import kvmdecl.lab
from kvmdecl import lab as labs
from kvmdecl.diagnostics import Rejected
from kvmdecl.lab import Lab, probes, refusals, seccomp
from kvmdecl.lab.record import new_hosts, write_record


@pytest.mark.parametrize(
    "names", [["Kvm-1"], ["a b"], ["../a"], ["-a"], ["a..b"], ["a" * 64], [""], ["kvm-1", "kvm-1"]]
)
def test_a_host_name_that_is_no_host_name_is_refused(tmp_path: Path, names: list[str]):
    with pytest.raises(Rejected, match=r"lab\.bad-name"):
        labs.up(tmp_path / "lab", names)
    assert not (tmp_path / "lab").exists()


def test_a_directory_too_deep_for_a_unix_socket_is_refused(tmp_path: Path):
    with pytest.raises(Rejected, match=r"lab\.path-too-long"):
        labs.up(tmp_path / ("deep" * 20), ["kvm-1"])


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(refusals, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(Rejected) as rejected:
        labs.up(tmp_path / "lab", ["kvm-1"])
    findings = {d.summary: d.hint for d in rejected.value.diagnostics}
    assert findings["the program `libvirtd` is not installed"].startswith(
        "install the package libvirt-daemon-system"
    )
    assert len(findings) == 7
    assert {d.code for d in rejected.value.diagnostics} == {"lab.missing-tool"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2}', '{"version": 1, "transports": [], "hosts": [{"name": "a"}]}', "\xff"],
)
def test_a_record_that_is_damaged_is_refused(tmp_path: Path, text: str):
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(Rejected, match=r"lab\.state-broken"):
        Lab.load(tmp_path)


def test_a_record_is_read_as_it_was_written(tmp_path: Path):
    hosts = new_hosts(tmp_path, ["kvm-1", "rack2.example"], tls=True, ssh=False)
    write_record(tmp_path, hosts)
    loaded = Lab.load(tmp_path)
    assert tuple(loaded.hosts.values()) == hosts
    assert loaded.hosts["rack2.example"].uri("unix") == (
        f"qemu+unix:///system?socket={tmp_path}/hosts/rack2.example/run/libvirt/libvirt-sock"
    )
    assert loaded.hosts["kvm-1"].address == "10.77.0.11"


def test_a_machine_without_a_probe_cache_still_starts_labs(tmp_path: Path):
    assert not probes.recall(tmp_path / "absent", tmp_path / "host")
    (tmp_path / "file").touch()
    probes.remember(tmp_path / "host", tmp_path / "file/below")
    assert not (tmp_path / "file/below").exists()


def test_the_filter_answers_its_own_calls_and_no_other():
    program = seccomp.compile_filter(["identity"], "x86_64")
    assert len(program) == 8 * (3 + 11 + 2)
    with pytest.raises(KeyError):
        seccomp.compile_filter(["identity"], "sparc")


def test_every_code_of_the_lab_has_a_page():
    source = "".join(path.read_text() for path in Path(kvmdecl.lab.__file__).parent.glob("*.py"))
    used = set(re.findall(r'"(lab\.[a-z-]+)"', source)) - {"lab.json"}
    pages = Path(inspect.getfile(kvmdecl)).parent / "codes"
    assert used == {page.stem for page in pages.glob("lab.*.md")}
    assert all((pages / f"{code}.md").read_text().startswith(f"# {code}: ") for code in used)
