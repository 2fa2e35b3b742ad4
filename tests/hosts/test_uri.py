"""A manifest's URI becomes fields, or is refused; libvirt only ever gets what is rebuilt from the fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from kvmdecl.manifest.hosts import Host
from kvmdecl.uri import HostUri, Transport, parse_manifest_uri

ACCEPTED = {
    "qemu+tls://kvm-1.example/system": HostUri("qemu", "tls", "/system", "kvm-1.example"),
    "qemu://kvm-1.example/system": HostUri("qemu", "tls", "/system", "kvm-1.example"),
    "qemu+tls://h:16515/system?pkipath=/etc/pki/lab": HostUri(
        "qemu", "tls", "/system", "h", port=16515, parameters=(("pkipath", "/etc/pki/lab"),)
    ),
    "qemu+ssh://root@[2001:DB8::7]:2222/session": HostUri(
        "qemu", "ssh", "/session", "2001:db8::7", "root", 2222
    ),
    "qemu+ssh://h/system?keyfile=/home/a/.ssh/id": HostUri(
        "qemu", "ssh", "/system", "h", parameters=(("keyfile", "/home/a/.ssh/id"),)
    ),
    "qemu+libssh2://h/system?sshauth=agent,privkey&known_hosts=/etc/known": HostUri(
        "qemu",
        "libssh2",
        "/system",
        "h",
        parameters=(("known_hosts", "/etc/known"), ("sshauth", "agent,privkey")),
    ),
    "qemu+tcp://10.0.0.7/system": HostUri("qemu", "tcp", "/system", "10.0.0.7"),
    "qemu+unix:///system?socket=/run/libvirt%2Flibvirt-sock": HostUri(
        "qemu", "unix", "/system", parameters=(("socket", "/run/libvirt/libvirt-sock"),)
    ),
    "qemu:///system": HostUri("qemu", "local", "/system"),
    "qemu:///session": HostUri("qemu", "local", "/session"),
    "test:///default": HostUri("test", "local", "/default"),
    "test:///srv/nodes/a.xml": HostUri("test", "local", "/srv/nodes/a.xml"),
}

_SSH = "qemu+ssh://kvm-1/system"
_TRANSPORTS = ("tls", "tcp", "ssh", "libssh2")
_RUNS = ("command", "netcat", "proxy", "COMMAND", "Command", "c%6Fmmand", "%63ommand", "nEtCaT")
_UNVERIFIED = ("no_verify", "NO_VERIFY", "no_sanity", "known_hosts_verify", "tls_priority", "no%5Fverify")
_OTHERS = ("no_tty", "authfile", "auth", "name", "root", "x", "", "keyfile%00", "socket ", "pki_path")
_HOSTS = (
    "-oProxyCommand=id",
    "%2DoProxyCommand=id",
    "a..b",
    ".a",
    "a.",
    "-a.example",
    "a-.example",
    "a.-b",
    "a b",
    "a%20b",
    "a%00",
    "a%0Ab",
    "a;id",
    "$(id)",
    "`id`",
    "a|id",
    "a&b",
    "a'b",
    'a"b',
    "a\\b",
    "a%2Fb",
    "a%3Fcommand=id",
    "a,b",
    "*",
    "~",
    "{name}",
    "127.1",
    "1",
    "0x7f.1",
    "256.1.1.1",
    "1.2.3.4.5",
    "[::1",
    "::1",
    "[]",
    "[1.2.3.4]",
    "[fe80::1%25eth0]",
    "%5B::1",
    "%5B%3A%3A1",
    "a" * 64,
    ".".join(["a" * 60] * 5),
    "b\u00fccher.example",
    "\u202ekvm",
    "kvm\u200b",
)
_USERS = (
    "-l",
    "%2Dl",
    "a%20b",
    "a:b",
    "a%3Ab",
    "",
    "a%00",
    "$(id)",
    "a;b",
    "a%0Ab",
    "a" * 65,
    "..%2F",
    "a%40b",
)
_PATHS = (
    "",
    "/",
    "/System",
    "/system/",
    "/system/..",
    "/embed",
    "//system",
    "/system%00",
    "/%2e%2e/system",
    "system",
)
_PORTS = ("0", "65536", "-1", "22x", "", "022", "%32%32", "99999999999")
_VALUES = (
    "",
    "relative",
    "/a/../b",
    "/./a",
    "/a//b",
    "/a b",
    "/a%20b",
    "/a%00b",
    "/a;id",
    "/$(id)",
    "/a%26command=id",
    "~/x",
    "/a`id`",
    "-oProxyCommand=id",
    "/a|b",
)
REFUSED = [
    *(f"qemu+{transport}://kvm-1/system?{name}=/bin/id" for transport in _TRANSPORTS for name in _RUNS),
    *(f"qemu+unix:///system?{name}=/bin/id" for name in _RUNS),
    *(f"qemu+tls://kvm-1/system?{name}=1" for name in _UNVERIFIED),
    *(f"{_SSH}?{name}=1" for name in _OTHERS),
    *(f"qemu+ssh://{host}/system" for host in _HOSTS),
    *(f"qemu+ssh://{user}@kvm-1/system" for user in _USERS),
    *(f"qemu+ssh://kvm-1{path}" for path in _PATHS),
    *(f"qemu+ssh://kvm-1:{port}/system" for port in _PORTS),
    *(f"{_SSH}?keyfile={value}" for value in _VALUES),
    *(f"{_SSH}?mode={value}" for value in ("", "x", "AUTO", "auto%0A")),
    f"{_SSH}?keyfile=/a&keyfile=/b",
    f"{_SSH}?keyfile=/a&command=/b",
    f"{_SSH}?keyfile=/a;command=/b",
    f"{_SSH}#?command=/b",
    f"{_SSH}?keyfile=/a#x",
    f" {_SSH}",
    f"{_SSH} ",
    f"{_SSH}\n",
    f"{_SSH}\x1b[2J",
    f"{_SSH}?keyfile=/{'a' * 3000}",
    "qemu+ext://kvm-1/system",
    "qemu+ext://kvm-1/system?command=/bin/id",
    "qemu+libssh://kvm-1/system",
    "qemu+local://kvm-1/system",
    "qemu+local:///system",
    "qemu+vxhs://kvm-1/system",
    "xen+ssh://kvm-1/system",
    "lxc:///system",
    "esx://kvm-1/system",
    "test+tcp://kvm-1/default",
    "test://kvm-1/default",
    "test:///../etc/passwd",
    "test:///default?command=/bin/id",
    "test:///default?mode=auto",
    "QEMU:///system",
    "qemu:/system",
    "qemu:system",
    "qemu:///system?socket=/run/x",
    "qemu+unix://kvm-1/system",
    "qemu+unix:///system?keyfile=/a",
    "qemu+ssh:///system",
    "qemu+tls://root@kvm-1/system",
    "qemu+tcp://kvm-1/system?pkipath=/a",
    "file:///etc/passwd",
    "http://kvm-1/system",
    "kvm-1",
    "/bin/id",
    "",
]


@pytest.mark.parametrize(("text", "uri"), ACCEPTED.items())
def test_a_libvirt_uri_becomes_fields(text: str, uri: HostUri):
    assert parse_manifest_uri(text) == uri


@pytest.mark.parametrize("text", [*ACCEPTED, f"{_SSH}?"])
def test_what_libvirt_gets_reads_back_as_the_same_fields(text: str):
    uri = parse_manifest_uri(text)
    assert parse_manifest_uri(str(uri)) == uri


def test_there_are_at_least_150_hostile_or_wrong_uris_below():
    assert len(set(REFUSED)) >= 150


@pytest.mark.parametrize("text", REFUSED)
def test_a_hostile_or_wrong_uri_is_refused(text: str):
    with pytest.raises(PydanticCustomError) as refused:
        parse_manifest_uri(text)
    assert refused.value.type.startswith("uri.")
    assert refused.value.context
    assert refused.value.context["hint"]
    assert refused.value.message().isprintable()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"{_SSH}?command=/bin/id", "uri.runs-program"),
        (f"{_SSH}?CommanD=/bin/id", "uri.runs-program"),
        ("qemu+ext://kvm-1/system", "uri.runs-program"),
        (f"{_SSH}?no_verify=1", "uri.unverified"),
        ("qemu+ssh://root:secret@kvm-1/system", "uri.password"),
        ("qemu+ssh://-oProxyCommand=id/system", "uri.bad-host"),
        (f"{_SSH}?no_tty=1", "uri.unknown-parameter"),
    ],
)
def test_each_danger_has_its_own_code(text: str, code: str):
    with pytest.raises(PydanticCustomError) as refused:
        parse_manifest_uri(text)
    assert refused.value.type == code


def test_a_refused_password_is_not_repeated():
    with pytest.raises(PydanticCustomError) as refused:
        parse_manifest_uri("qemu+ssh://root:hunter2@kvm-1/system")
    assert "hunter2" not in refused.value.message()


_WORDS = (
    "qemu test + ssh tls unix :// / ? & = @ : [ ] ::1 kvm-1 %2d command socket system default root 22 -o #"
)
_WORD = st.sampled_from([*_WORDS.split(), "\n", "\u202e", " "])


@given(st.one_of(st.text(), st.lists(_WORD, max_size=14).map("".join)))
def test_any_text_is_refused_or_rebuilt_to_the_same_fields(text: str):
    try:
        uri = parse_manifest_uri(text)
    except PydanticCustomError:
        return
    assert parse_manifest_uri(str(uri)) == uri
    assert str(uri).isascii()
    assert str(uri).isprintable()
    assert "command" not in [name for name, _ in uri.parameters]


@given(
    transport=st.sampled_from(["ssh", "libssh2"]),
    user=st.from_regex(r"\A[a-z_][a-z0-9_.-]{0,20}\Z"),
    host=st.one_of(st.from_regex(r"\A[a-z]([a-z0-9-]{0,20}[a-z0-9])?\Z"), st.ip_addresses().map(str)),
    port=st.none() | st.integers(1, 65535),
    keyfile=st.none() | st.from_regex(r"\A(/[a-z0-9_@+=,-][a-z0-9_.@+=,-]{0,8}){1,4}\Z"),
)
def test_any_fields_survive_being_written_and_read(
    transport: Transport, user: str, host: str, port: int | None, keyfile: str | None
):
    parameters = () if keyfile is None else (("keyfile", keyfile),)
    uri = HostUri("qemu", transport, "/system", host, user, port, parameters)
    assert parse_manifest_uri(str(uri)) == uri


def test_a_manifest_model_takes_the_text_and_gives_it_back():
    host = Host.model_validate("qemu+ssh://root@kvm-1/system")
    assert host.uri == HostUri("qemu", "ssh", "/system", "kvm-1", "root")
    assert host.model_dump(mode="json")["uri"] == "qemu+ssh://root@kvm-1/system"
    assert Host.model_validate({"uri": host.uri}) == host


def test_pydantic_reports_a_refused_uri_with_its_code():
    with pytest.raises(ValidationError) as refused:
        Host.model_validate({"uri": f"{_SSH}?command=/bin/id"})
    assert [error["type"] for error in refused.value.errors()] == ["uri.runs-program"]


def test_the_json_schema_of_a_uri_is_a_string_with_an_example():
    class Model(BaseModel):
        uri: HostUri

    schema = Model.model_json_schema()["properties"]["uri"]
    assert schema["type"] == "string"
    assert [str(parse_manifest_uri(example)) for example in schema["examples"]] == schema["examples"]


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("qemu+tls://kvm-1.example", "end the URI with `/system`"),
        ("qemu+tls://kvm-1.example/", "end the URI with `/system`"),
        ("qemu:///sytem", "did you mean `/system`?"),
    ],
)
def test_a_uri_without_its_end_is_told_which(uri: str, told: str) -> None:
    with pytest.raises(PydanticCustomError, match="libvirtd") as refused:
        parse_manifest_uri(uri)
    assert refused.value.context is not None
    assert told in refused.value.context["hint"]
