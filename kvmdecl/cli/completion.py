"""What a shell offers on TAB: commands, options, their choices, names of the manifest, rules, codes and runs.

A shell asks at every TAB, so nothing is imported for it that is not needed: what commands take is prepared beside this
module (`make help-texts`), and names are read from the manifest's text alone. Nothing is checked, no host is asked, and
of a manifest that takes long to read there are no names. What is not answered here typer answers.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kvmdecl.cli.places import DEFAULT_PATH, journal_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kvmdecl.source import Mapping as Tree
    from kvmdecl.source import Node

    Given = Mapping[str, Any]
    """What the line says already, by the names of parameters."""

WORDS = Path(__file__).with_name("words.json")
"""What each command takes: its subcommands, or its options and arguments, as `help_texts` writes them."""
_MOST_BYTES = 512 * 1024
_MOST_MEMBERS = 100
_PLAIN = re.compile(r"[A-Za-z0-9_./@+:{}-]+")
_RANGE = re.compile(r"\{(\d{1,4})\.\.(\d{1,4})\}")


class Offer(NamedTuple):
    """A word, and what it is for; nothing is said of names."""

    word: str
    help: str = ""


# -- as shells ask ---------------------------------------------------------------------------------------------


def answer(said: Mapping[str, str]) -> tuple[str, int] | None:
    """What is printed for a shell, and the exit code; None if that is not known here.

    Args:
        said: the environment, in which the shells' scripts (`--show-completion`) pass what they want to know.
    """
    shell = said.get("_KVMDECL_COMPLETE", "")
    line = said.get("COMP_WORDS" if shell == "complete_bash" else "_TYPER_COMPLETE_ARGS", "")
    try:
        words = shlex.split(line)[1:]
        if shell == "complete_bash":
            at = int(said["COMP_CWORD"]) - 1
            words, begun = words[:at], words[at] if at < len(words) else ""
        else:
            begun = words.pop() if words and not line.endswith(" ") else ""
    except (ValueError, KeyError):
        return None
    offers = offered(words, begun)
    if offers is None or shell not in _PRINTED:
        return None
    return _PRINTED[shell](offers, said)


def _for_bash(offers: Sequence[Offer], _said: Mapping[str, str]) -> tuple[str, int]:
    return "".join(f"{offer.word}\n" for offer in offers), 0


def _for_zsh(offers: Sequence[Offer], _said: Mapping[str, str]) -> tuple[str, int]:
    """An argument of `eval`: what the words hold must not be run by it."""
    described = "\n".join(
        f'"{_escaped(word)}":"{_escaped(text)}"' if text else f'"{_escaped(word)}"' for word, text in offers
    )
    return (f"_arguments '*: :(({described}))'\n" if offers else "_files\n"), 0


def _escaped(text: str) -> str:
    for sign, instead in (('"', '""'), ("'", "''"), ("$", "\\$"), ("`", "\\`"), (":", r"\\:")):
        text = text.replace(sign, instead)
    return text


def _for_fish(offers: Sequence[Offer], said: Mapping[str, str]) -> tuple[str, int]:
    if said.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return "", 0 if offers else 1
    return "".join(f"{word}\t{text}\n" if text else f"{word}\n" for word, text in offers), 0


_PRINTED: Mapping[str, Callable[[Sequence[Offer], Mapping[str, str]], tuple[str, int]]] = {
    "complete_bash": _for_bash, "complete_zsh": _for_zsh, "complete_fish": _for_fish,
}  # fmt: skip


def offered(words: Sequence[str], begun: str) -> list[Offer] | None:
    """What can come where `begun` is being written, after these words; None if that is not known here."""
    table: dict[str, Any] = json.loads(WORDS.read_text("utf-8"))
    path, rest = "", list(words)
    while rest and rest[0] in table[path].get("commands", ()):
        path = f"{path} {rest.pop(0)}".strip()
    if "commands" in table[path]:
        if rest:
            return None
        inner = table[path]["options" if begun.startswith("-") else "commands"]
        return [Offer(word, text) for word, text in inner.items() if word.startswith(begun)]
    return _Line(table[path], rest).offers(begun)


class _Line:
    """The part of a line behind the name of its command, held against what that takes."""

    def __init__(self, takes: Mapping[str, Any], words: Sequence[str]) -> None:
        self._takes = takes
        self._by_word = {word: option for option in takes["options"] for word in option["words"]}
        self._given: dict[str, Any] = {}
        self._waiting: Mapping[str, Any] | None = None
        self._plain = False
        arguments = list(takes["arguments"])
        for word in words:
            self._read(word, arguments)
        self._next = arguments[0] if arguments else None

    def _read(self, word: str, arguments: list[Mapping[str, Any]]) -> None:
        name, sign, value = word.partition("=")
        if self._waiting is not None:
            self._given[self._waiting["name"]] = word
            self._waiting = None
        elif word == "--" and not self._plain:
            self._plain = True
        elif name in self._by_word and not self._plain:
            option = self._by_word[name]
            self._given[option["name"]] = value
            if option["value"] and not sign:
                self._waiting = option
        elif arguments and (self._plain or not word.startswith("-")):
            self._given[arguments[0]["name"]] = word
            if not arguments[0]["many"]:
                arguments.pop(0)

    def offers(self, begun: str) -> list[Offer]:
        name, sign, value = begun.partition("=")
        if self._waiting is not None:
            return self._values(self._waiting, begun)
        if begun.startswith("-") and not self._plain:
            if sign and name in self._by_word:
                return self._values(self._by_word[name], value)
            return [
                Offer(word, option["help"])
                for option in self._takes["options"]
                if option["many"] or option["name"] not in self._given
                for word in option["words"]
                if word.startswith(begun)
            ]
        return self._values(self._next, begun) if self._next is not None else []

    def _values(self, taken: Mapping[str, Any], begun: str) -> list[Offer]:
        if names := BY_PARAMETER.get(taken["name"]):
            return [Offer(name) for name in names(self._given, begun)]
        return [Offer(choice) for choice in taken["choices"] if choice.startswith(begun)]


# -- names -----------------------------------------------------------------------------------------------------


def hosts(given: Given, incomplete: str) -> list[str]:
    """Names of hosts."""
    return _beginning(_entries(given, "hosts"), incomplete)


def vms(given: Given, incomplete: str) -> list[str]:
    """Names of vms."""
    return _beginning(_entries(given, "vms"), incomplete)


def subjects(given: Given, incomplete: str) -> list[str]:
    """What `explain` explains: codes, and vms as `vm/NAME`."""
    if incomplete.startswith("vm/"):
        return _beginning((f"vm/{name}" for name in _entries(given, "vms")), incomplete)
    from kvmdecl.explain import codes

    return _beginning(("vm/", *codes()), incomplete)


def rules(_given: Given, incomplete: str) -> list[str]:
    """Codes of rules and their groups; what is no rule but of a plugin, too, since plugins take long to load."""
    from kvmdecl.explain import codes, core_codes

    known = sorted(codes().keys() - core_codes())
    return _beginning(
        ("advice", "all", *dict.fromkeys(code.partition(".")[0] for code in known), *known), incomplete
    )


def runs(given: Given, incomplete: str) -> list[str]:
    """Names of runs, the newest first."""
    said = given.get("journal") or os.environ.get("KVMDECL_JOURNAL")
    folder = journal_directory(Path(said) if said else None)
    try:
        names = sorted((file.stem for file in folder.glob("*.jsonl")), reverse=True)
    except OSError:
        return []
    return _beginning(("last", *names), incomplete)


def keys(given: Given, incomplete: str) -> list[str]:
    """Keys of the manifest as it is written, one step at a time: `vms.`, `vms.web.`, `vms.web.memory`."""
    roots = list(_roots(given))
    found = _beginning((key for root in roots for key in _keys_in(root, incomplete)), incomplete)
    while len(found) == 1 and found[0].endswith("."):  # a shell would put a blank behind the only answer
        found = [key for root in roots for key in _keys_in(root, found[0])]
    return found


def _keys_in(root: Tree, begun: str) -> Iterator[str]:
    from kvmdecl.source import Mapping, Scalar, Sequence

    lead, dot, _ = begun.rpartition(".")
    node: Node | None = root
    for part in lead.split(".") if lead else ():
        if isinstance(node, Mapping):
            node = node.get(part)
        else:
            items = node.items if isinstance(node, Sequence) and part.isdecimal() else []
            node = items[int(part)] if items and int(part) < len(items) else None
    entries = node.entries.items() if isinstance(node, Mapping) else ()
    inner: list[tuple[object, Node]] = [(key, value) for key, (_, value) in entries]
    inner += enumerate(node.items if isinstance(node, Sequence) else ())
    for key, value in inner:
        yield f"{lead}{dot}{key}{'' if isinstance(value, Scalar) else '.'}"


BY_PARAMETER: dict[str, Callable[[Given, str], list[str]]] = {
    "host": hosts, "vm": vms, "vms": vms, "update": vms, "what": subjects, "key": keys,
    "select": rules, "ignore": rules, "run": runs, "resume": runs,
}  # fmt: skip
"""What is offered for a parameter of this name, of whichever command."""


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    """Those that begin so. A shell evaluates what it is offered: what is no plain word is kept from it."""
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete) and _PLAIN.fullmatch(name)]


def _entries(given: Given, section: str) -> Iterator[str]:
    """Names of a section's entries with their members; those that a `for` makes are not worked out."""
    from kvmdecl.source import Mapping, Scalar

    for root in _roots(given):
        entries = root.get(section)
        for name, (_, entry) in entries.entries.items() if isinstance(entries, Mapping) else ():
            count = entry.get("count") if isinstance(entry, Mapping) else None
            if isinstance(count, Scalar) and count.text.isdecimal():
                yield from (
                    f"{name}-{number}" for number in range(1, min(int(count.text), _MOST_MEMBERS) + 1)
                )
            elif found := _RANGE.search(name):
                numbers = range(int(found[1]), min(int(found[2]), int(found[1]) + _MOST_MEMBERS) + 1)
                yield from (f"{name[: found.start()]}{number}{name[found.end() :]}" for number in numbers)
            elif "{" not in name:
                yield name


def _roots(given: Given) -> Iterator[Tree]:
    """The files of the manifest that the command line, the environment or nobody names."""
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.source import find_files, read_file

    said = given.get("path") or os.environ.get("KVMDECL_CLUSTER") or DEFAULT_PATH
    try:
        files = find_files(Path(said))
        if sum(file.stat().st_size for file in files) > _MOST_BYTES:
            return
    except (Rejected, OSError):
        return
    for file in files:
        try:
            yield read_file(file)[0]
        except Rejected:
            continue
