"""YAML text -> a light tree in which every key and value knows where it was written.

It consumes libyaml's event stream (`yaml_events`) and builds without recursion, so that hostile nesting can neither
crash nor exhaust the process: every limit stops the builder at the first node beyond it. Scalars stay the text that
was typed; the model's field decides later what they mean.
"""

from __future__ import annotations

import gc
import io
import os
import re
import stat
from bisect import bisect_right
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO

from kvmdecl import yaml_events
from kvmdecl.diagnostics import Diagnostic, Note, Rejected, Span
from kvmdecl.text import quoted, safe_text
from kvmdecl.yaml_events import (
    ALIAS,
    DOCUMENT,
    END,
    END_BITS,
    END_MASK,
    MAPPING,
    MAX_DEPTH,
    PLAIN,
    SCALAR,
    SEQUENCE,
    Details,
    YamlSyntaxError,
)
from kvmdecl.yaml_syntax import explain_syntax, hint_for_key, key_without_colon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Mapping as Map
    from pathlib import Path

    from kvmdecl.yaml_events import Batch

LOCK_ENDING = ".lock.yaml"
"""What the name of a placement lock file ends with: it is no part of the manifest that it stands beside."""
MAX_BYTES = 32 * 1024**2
MAX_EVENTS = 5_000_000
MAX_ALIASES = 10_000
MAX_NODES = 10_000_000
MAX_SCALAR = 1024**2
# One run shows fifty findings and counts the rest; a hostile file must not make it collect millions.
MAX_FINDINGS = 10_000

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# Plain texts that are no keys.
_NO_KEYS = _NULLS | {"<<"}
_NO_DETAILS = Details()
_LINE_END = re.compile(r"\r\n|\n|\r")
# What YAML 1.2 (5.1) does not allow, and the byte order mark, which no text needs in its middle. Spelt by what is
# bad, since a set of all that is good takes ten times as long to compile, in every command.
_NOT_YAML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
BYTE_ORDER_MARK = "\ufeff"
_INCLUDES = "name a folder as the manifest: all of its *.yaml are one, and nothing has to be included"
_CONFLICT = re.compile(r"^(?:<{7}|>{7})(?: .*)?$", re.MULTILINE)


@dataclass(slots=True, eq=False)
class Source:
    """One manifest file: its name as the user knows it, and its text without a byte order mark."""

    name: str
    text: str
    _starts: list[int] = field(default_factory=list)

    def span(self, at: int) -> Span:
        """Turn packed character offsets into lines and columns."""
        line, column = self._place(at >> END_BITS)
        end_line, end_column = self._place(at & END_MASK)
        return Span(self.name, line, column, end_line, end_column)

    def _place(self, offset: int) -> tuple[int, int]:
        if not self._starts:
            # Untranslated universal newlines are those of `_LINE_END`, found three times as fast. The space
            # keeps the end of the text on the last line, whether or not that line is ended.
            lines = io.StringIO(self.text + " ", newline="")
            self._starts = [0, *accumulate(map(len, lines))]
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def pack(start: int, end: int) -> int:
    """Keep a range of character offsets in one integer."""
    return start << END_BITS | max(start, end)


@dataclass(slots=True, eq=False)
class Scalar:
    """Text as typed. `plain` text has no quotes, so that it may also mean null, a number or a truth value."""

    source: Source
    at: int
    text: str
    plain: bool = True

    @property
    def span(self) -> Span:
        """Where the text was written."""
        return self.source.span(self.at)

    @property
    def is_null(self) -> bool:
        """Whether this is an empty value, `~` or `null`."""
        return self.plain and self.text in _NULLS

    def with_text(self, text: str) -> Scalar:
        """The same place, saying something else."""
        return Scalar(self.source, self.at, text, self.plain)


@dataclass(slots=True, eq=False)
class Sequence:
    """A list of nodes."""

    source: Source
    at: int
    items: list[Node] = field(default_factory=list)

    @property
    def span(self) -> Span:
        """From the first item (or the bracket) to the end of the last."""
        return self.source.span(self.at)


@dataclass(slots=True, eq=False)
class Mapping:
    """Nodes by key, in the order of the file; an entry holds its key as a node: keys have places too."""

    source: Source
    at: int
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)

    @property
    def span(self) -> Span:
        """From the first key (or the brace) to the end of the last value."""
        return self.source.span(self.at)

    def get(self, key: str) -> Node | None:
        """The value of a key; None if there is no such key."""
        entry = self.entries.get(key)
        return entry[1] if entry is not None else None


Node = Scalar | Sequence | Mapping
Plain = None | str | list[Any] | dict[str, Any]


def places(node: Node) -> tuple[int, int]:
    """Where a node begins and ends in the text of its file, in characters."""
    return node.at >> END_BITS, node.at & END_MASK


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the cycle collector away while a great tree grows: its walks would cost most of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def to_data(node: Node) -> Plain:
    """Return plain dicts, lists, text and None, as pydantic takes them. Depth is bounded by MAX_DEPTH."""
    if isinstance(node, Scalar):
        return None if node.plain and node.text in _NULLS else node.text
    if isinstance(node, Sequence):
        return [to_data(item) for item in node.items]
    # Most values are texts that mean what they say; they are spared the call.
    return {
        key: value.text if value.__class__ is Scalar and value.text not in _NULLS else to_data(value)
        for key, (_, value) in node.entries.items()
    }


def find_files(path: Path) -> tuple[Path, ...]:
    """The manifest files that `path` means: itself, or a folder's `*.yaml` and `*.yml` but for locks, sorted by name.

    Raises:
        Rejected: `manifest.unreadable`, or `manifest.empty` for a folder without manifests.
    """
    try:
        if not path.is_dir():
            return (path,)
        found = sorted(
            entry
            for entry in path.iterdir()
            if entry.suffix in {".yaml", ".yml"} and not entry.name.startswith(".")
            if not entry.name.endswith(LOCK_ENDING)
        )
    except (OSError, ValueError) as error:
        raise Rejected([_unreadable(path, error)]) from error
    if not found:
        raise Rejected(
            [
                Diagnostic(
                    "manifest.empty",
                    f"{quoted(str(path))} holds no manifest",
                    _whole_file(path),
                    "A folder is read as all of its *.yaml and *.yml files, and there are none.",
                    "name the right folder, or begin one with `kvmdecl init`",
                )
            ]
        )
    return tuple(found)


def read_file(path: Path) -> tuple[Mapping, list[Diagnostic]]:
    """Read one manifest file.

    Returns:
        The tree, and the findings that did not stop the reader (a duplicate key, a tag).

    Raises:
        Rejected: the file cannot be read, is no YAML, breaks a limit or holds no mapping.
    """
    return parse(Source(str(path), read_text(path)))


def read_text(path: Path) -> str:
    """The text of a manifest file, without a byte order mark and with line ends as they are.

    Raises:
        Rejected: the file cannot be read, is too large or is not UTF-8.
    """
    return _decode(path, _read_bytes(path))


def read_stream(name: str, stream: BinaryIO) -> tuple[str, str]:
    """The byte order mark, if there is one, and the text of a stream with a name for messages; see `read_text`."""
    from pathlib import Path

    data = _read_all(Path(name), stream)
    mark = BYTE_ORDER_MARK if data.startswith(BYTE_ORDER_MARK.encode()) else ""
    return mark, _decode(Path(name), data)


def read_ahead(path: Path) -> None:
    """Begin to read a manifest whose files are great while the caller imports what it needs for it."""
    with suppress(Rejected):  # is told by who reads it
        for file in find_files(path):
            yaml_events.begin(read_text(file))


def parse(source: Source) -> tuple[Mapping, list[Diagnostic]]:
    """Build the tree of one source; see `read_file`."""
    _refuse_unreadable_text(source)
    builder = _Builder(source)
    try:
        with closing(yaml_events.events(source.text)) as batches:
            builder.run(batches)
    except YamlSyntaxError as fault:
        broken = _syntax_error(source, fault)
        if _is_of_a_key_in(broken, builder.found):
            raise Rejected(builder.found) from fault
        raise Rejected([*builder.found, broken]) from fault
    root = builder.root
    if root is None or (isinstance(root, Scalar) and root.is_null):
        raise Rejected([_empty(source)])
    if not isinstance(root, Mapping):
        raise Rejected(
            [
                *builder.found,
                Diagnostic(
                    "manifest.wrong-type",
                    "a manifest is a mapping of sections",
                    root.span,
                    "The file holds a list or a single value instead.",
                    "begin with `apiVersion: kvmdecl/v1` and `cluster: NAME`",
                ),
            ]
        )
    return root, builder.found


def _is_of_a_key_in(broken: Diagnostic, found: Iterable[Diagnostic]) -> bool:
    """Whether YAML breaks on a line whose key was refused: braces that mean text are one mistake."""
    lines = {other.at.line for other in found if other.at is not None and other.code == "yaml.bad-key"}
    return broken.at is not None and broken.at.line in lines


def line_reader(texts: Map[Path, str] | None = None) -> Callable[[str, int], str | None]:
    """Return a function that gives line N (from 1) of a file for a snippet; None if there is no such line.

    Args:
        texts: of files as they are going to be.
    """
    files = {str(path): _LINE_END.split(text) for path, text in (texts or {}).items()}

    def read_line(name: str, number: int) -> str | None:
        if name not in files:
            files[name] = _lines_for_display(name)
        lines = files[name]
        return lines[number - 1] if 0 < number <= len(lines) else None

    return read_line


def _lines_for_display(name: str) -> list[str]:
    from pathlib import Path

    try:
        data = _read_bytes(Path(name))
    except Rejected:
        return []
    return _LINE_END.split(data.decode("utf-8", "backslashreplace").removeprefix(BYTE_ORDER_MARK))


def _read_bytes(path: Path) -> bytes:
    try:
        # A FIFO would block and a device never end; look at what was opened, not at what the name meant.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise Rejected([_unreadable(path, error)]) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Rejected([_unreadable(path, OSError("it is not a regular file"))])
    with os.fdopen(handle, "rb") as file:
        return _read_all(path, file)


def _read_all(path: Path, file: BinaryIO) -> bytes:
    try:
        data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Rejected([_unreadable(path, error)]) from error
    if len(data) > MAX_BYTES:
        raise Rejected(
            [
                Diagnostic(
                    "yaml.too-large",
                    f"{quoted(str(path))} is larger than {MAX_BYTES // 1024**2} MiB",
                    _whole_file(path),
                    "Reading stops here so that no file can exhaust this machine.",
                    "use `count`, `for` and profiles, or split it into a folder of files",
                )
            ]
        )
    return data


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix(BYTE_ORDER_MARK)
        source = Source(str(path), before + "\ufffd")
        raise Rejected(
            [
                Diagnostic(
                    "yaml.not-utf8",
                    f"byte 0x{data[error.start]:02x} is not UTF-8",
                    source.span(pack(len(before), len(before) + 1)),
                    "A manifest is UTF-8 text; any other reading of this byte would be a guess.",
                    "save the file as UTF-8",
                )
            ]
        ) from error


def _refuse_unreadable_text(source: Source) -> None:
    if bad := _NOT_YAML.search(source.text):
        raise Rejected(
            [
                Diagnostic(
                    "yaml.control-character",
                    f"the character {safe_text(bad.group())} cannot stand in a manifest",
                    source.span(pack(bad.start(), bad.end())),
                    "YAML allows no control characters, because they hide what a reviewer sees.",
                    'remove it; a value that needs it takes an escape in double quotes, for example "\\x1b"',
                )
            ]
        )
    if "<<<<<<<" not in source.text and ">>>>>>>" not in source.text:
        return
    marks = list(_CONFLICT.finditer(source.text))
    if marks:
        begun = [
            mark for mark in marks if mark.group().startswith("<")
        ]  # a conflict has two, and is told once
        raise Rejected(
            Diagnostic(
                "yaml.merge-conflict",
                "a merge conflict was left in the file",
                source.span(pack(mark.start(), mark.end())),
                "Which side was meant cannot be known.",
                "settle the conflict and remove its markers",
            )
            for mark in (begun or marks)[:MAX_FINDINGS]
        )


@dataclass(slots=True, eq=False)
class _Anchor:
    """What an alias repeats: the node, how many nodes that is when written out, and which levels it takes up.

    Until it is complete, `size` is how many nodes were before it.
    """

    node: Node
    at: int
    size: int = 1
    level: int = 0
    deepest: int = 0
    complete: bool = True

    @property
    def height(self) -> int:
        """How many collections lie in each other; none for a scalar."""
        return self.deepest - self.level


class _Builder:
    """Consumes events. One stack, no recursion; every limit is checked before the node is made."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Diagnostic] = []
        self.root: Node | None = None
        # Collections that are being filled, each with the key of the one around it that it is the value of.
        self._stack: list[tuple[Sequence | Mapping, Scalar | None]] = []
        self._top: Sequence | Mapping | None = None
        self._key: Scalar | None = None
        self._anchors: dict[str, _Anchor] = {}
        self._open_anchors: list[_Anchor] = []
        self._texts: dict[str, str] = {}
        self._end = 0
        self._size = 0
        self._aliases = 0
        self._documents = 0

    def run(self, batches: Iterable[Batch]) -> None:
        left = MAX_EVENTS
        for batch in batches:
            self._feed(batch, left)
            left -= len(batch.kinds)
            if left < 0:
                at = batch.places[left - 1]
                raise self._stop("yaml.too-large", at, f"more than {MAX_EVENTS} YAML events")

    def _feed(self, batch: Batch, limit: int) -> None:
        """The hot path: nearly every event of a manifest is plain text, most of it a mapping's key or value."""
        source, text, known, details = self.source, self.source.text, self._texts, batch.details
        top, key, end, since = self._top, self._key, self._end, 0
        for number, (kind, at) in enumerate(zip(batch.kinds[:limit], batch.places, strict=False)):
            if kind != PLAIN:
                self._key, self._end = key, end
                self._size += number - since
                if kind == END:
                    self._close(at)
                else:
                    self._other(kind, at, details.get(number, _NO_DETAILS))
                top, key, end, since = self._top, self._key, self._end, number + 1
                continue
            start, end = at >> END_BITS, at & END_MASK
            said = text[start:end]
            if end - start < 64:
                said = known.setdefault(said, said)
            elif end - start > MAX_SCALAR:
                raise self._too_long(at)
            node = Scalar(source, at, said)
            if top.__class__ is not Mapping:
                self._attach(node)
            elif key is None:
                key = node if said not in _NO_KEYS else self._as_key(node)
            else:
                self._enter(top.entries, key, node)
                key = None
        self._key, self._end = key, end
        self._size += min(len(batch.kinds), limit) - since

    def _other(self, kind: int, at: int, details: Details) -> None:
        if kind in {MAPPING, SEQUENCE}:
            self._open(kind, at, details)
        elif kind == SCALAR:
            self._marked_scalar(at, details)
        elif kind == ALIAS:
            self._alias(at, details.anchor or "")
        elif kind == DOCUMENT:
            self._document(at)

    def _document(self, at: int) -> None:
        self._documents += 1
        if self._documents > 1:
            start = at >> END_BITS
            raise Rejected(
                [
                    *self.found,
                    Diagnostic(
                        "yaml.many-documents",
                        "a second YAML document begins here",
                        self.source.span(pack(start, start + 3)),
                        "A manifest is one document; some readers would ignore the second, others the first.",
                        "remove the `---`, or put the rest into a file of its own in the same folder",
                    ),
                ]
            )

    def _marked_scalar(self, at: int, details: Details) -> None:
        start, self._end = at >> END_BITS, at & END_MASK
        if len(details.text) > MAX_SCALAR:
            raise self._too_long(at)
        if details.style in {"|", ">"}:
            self._end = start + len(self.source.text[start : self._end].rstrip())
        node = Scalar(self.source, start << END_BITS | self._end, details.text, not details.style)
        self._size += 1
        if details.anchor is not None:
            self._anchors[details.anchor] = _Anchor(node, node.at)
        if details.tag is not None:
            self._refuse_tag(at, details.tag)
        self._attach(node)

    def _too_long(self, at: int) -> Rejected:
        return self._stop("yaml.too-large", at, f"a value of more than {MAX_SCALAR // 1024} KiB")

    def _open(self, kind: int, at: int, details: Details) -> None:
        level = len(self._stack)
        if level >= MAX_DEPTH:
            raise self._stop("yaml.too-deep", at, f"nesting deeper than {MAX_DEPTH} levels")
        start = at & ~END_MASK
        node = Mapping(self.source, start) if kind == MAPPING else Sequence(self.source, start)
        if details.tag is not None:
            self._refuse_tag(at, details.tag)
        if details.anchor is not None:
            anchor = _Anchor(node, at, self._size, level, complete=False)
            self._anchors[details.anchor] = anchor
            self._open_anchors.append(anchor)
        self._stack.append((node, self._key))
        self._top, self._key = node, None
        self._size += 1
        if self._open_anchors:
            self._reach(level + 1)

    def _close(self, at: int) -> None:
        node, self._key = self._stack.pop()
        self._top = self._stack[-1][0] if self._stack else None
        # A block collection's own end mark has no width and stands at the next token, lines below: its last child
        # ends it.
        start, end = at >> END_BITS, at & END_MASK
        if start < end:
            self._end = end
        node.at |= self._end
        if self._open_anchors and self._open_anchors[-1].node is node:
            anchor = self._open_anchors.pop()
            anchor.size = self._size - anchor.size
            anchor.complete = True
            self._reach(anchor.deepest)
        self._attach(node)

    def _alias(self, at: int, name: str) -> None:
        anchor = self._anchors.get(name)
        if anchor is None or not anchor.complete:
            raise self._bad_alias(at, name, anchor)
        self._aliases += 1
        self._size += anchor.size
        if self._aliases > MAX_ALIASES:
            raise self._stop("yaml.alias-bomb", at, f"more than {MAX_ALIASES} aliases")
        if self._size > MAX_NODES:
            raise self._stop("yaml.alias-bomb", at, f"aliases that stand for more than {MAX_NODES} values")
        if len(self._stack) + anchor.height > MAX_DEPTH:
            raise self._stop(
                "yaml.too-deep", at, f"nesting deeper than {MAX_DEPTH} levels, aliases written out"
            )
        self._reach(len(self._stack) + anchor.height)
        self._end = at & END_MASK
        self._attach(anchor.node, at)

    def _reach(self, level: int) -> None:
        """Depths matter inside of anchors alone; the innermost one tells those around it when it ends."""
        if self._open_anchors:
            anchor = self._open_anchors[-1]
            anchor.deepest = max(anchor.deepest, level)

    def _attach(self, node: Node, alias_at: int | None = None) -> None:
        top, key = self._top, self._key
        if top is None:
            self.root = node
        elif isinstance(top, Sequence):
            top.items.append(node)
        elif key is None:
            self._key = self._as_key(node, alias_at)
        else:
            self._enter(top.entries, key, node)
            self._key = None

    def _enter(self, entries: dict[str, tuple[Scalar, Node]], key: Scalar, node: Node) -> None:
        if key.text in entries:
            self._report(duplicate_key(key, entries[key.text][0]))
        elif key.text:
            entries[key.text] = (key, node)

    def _as_key(self, node: Node, alias_at: int | None = None) -> Scalar:
        """The key that a node is; one without text if it can be none, which was told then."""
        at = node.at if alias_at is None else alias_at
        if not isinstance(node, Scalar) or node.is_null or not node.text:
            self._refuse_key(node, at)
        elif node.text == "<<":
            self._refuse(
                "yaml.merge-key",
                "a merge key `<<`",
                at,
                "Merge keys left the YAML standard, and readers disagree about which value wins.",
                "put what is shared into `profiles:` and refer to it by `profile: NAME`",
            )
        else:
            return node if alias_at is None else Scalar(self.source, at, node.text, node.plain)
        return Scalar(self.source, at, "")

    def _refuse_key(self, node: Node, at: int) -> None:
        if self.source.text.startswith("{{", at >> END_BITS):
            return  # its own first key is one, and has been told
        what = "an empty key" if isinstance(node, Scalar) else "a list or mapping as a key"
        cause = "Keys are names; this one could never be referred to."
        self._refuse("yaml.bad-key", what, at, cause, hint_for_key(self.source.text, at >> END_BITS))

    def _refuse_tag(self, at: int, name: str) -> None:
        start, end = at >> END_BITS, at & END_MASK
        tag = re.search(r"![^\s,\[\]{}]*", self.source.text[start:end] or "!")
        self._refuse(
            "yaml.tag",
            f"the tag {quoted(tag.group() if tag else name)}",
            pack(start, max(end, start + 1)),
            "Tags make a reader build other things than text; a manifest is text alone.",
            _INCLUDES
            if "include" in name.lower()
            else "remove the tag; the field decides how its value is read",
        )

    def _refuse(self, code: str, what: str, at: int, cause: str, hint: str) -> None:
        self._report(Diagnostic(code, f"{what} is not allowed here", self.source.span(at), cause, hint))

    def _report(self, diagnostic: Diagnostic) -> None:
        self.found.append(diagnostic)
        if len(self.found) > MAX_FINDINGS:
            raise Rejected(self.found)

    def _stop(self, code: str, at: int, what: str) -> Rejected:
        cause = "Reading stops here so that no file can exhaust this machine."
        hint = "use `count`, `for` and profiles instead of repetition"
        place = self.source.span(at)
        return Rejected([*self.found, Diagnostic(code, f"the file holds {what}", place, cause, hint)])

    def _bad_alias(self, alias_at: int, anchor_name: str, anchor: _Anchor | None) -> Rejected:
        name = quoted(f"*{anchor_name}")
        at = self.source.span(alias_at)
        if anchor is None:
            hint = f"define {quoted(f'&{anchor_name}')} above, or put text that begins with `*` in quotes"
            found = Diagnostic("yaml.unknown-alias", f"{name} refers to no anchor", at, hint=hint)
        else:
            found = Diagnostic(
                "yaml.alias-bomb",
                f"{name} stands inside of what it refers to",
                at,
                "Written out it would never end.",
                "remove the alias",
                (Note("the anchor is here", self.source.span(anchor.at)),),
            )
        return Rejected([*self.found, found])


def duplicate_key(again: Scalar, first: Scalar) -> Diagnostic:
    """A key that stands twice in one mapping, which may come from several files."""
    return Diagnostic(
        "yaml.duplicate-key",
        f"the key {quoted(again.text)} stands twice",
        again.span,
        "Which of the two was meant cannot be known.",
        "remove one of them, or join their contents",
        (Note("first defined here", first.span),),
    )


def _unreadable(path: Path, error: Exception) -> Diagnostic:
    reason = getattr(error, "strerror", None) or str(error)
    hint = "check the path; a manifest is a file, or a folder of *.yaml files"
    if isinstance(error, FileNotFoundError):
        hint = "name a manifest: a file, or a folder of *.yaml files; `kvmdecl init` begins one"
    return Diagnostic(
        "manifest.unreadable",
        f"cannot read {quoted(str(path))}",
        _whole_file(path),
        safe_text(f"The system says: {reason}."),
        hint,
    )


def _whole_file(path: Path) -> Span:
    return Span(str(path), 1, 1, 1, 1)


def _empty(source: Source) -> Diagnostic:
    return Diagnostic(
        "manifest.empty",
        "the file says nothing",
        source.span(pack(0, 0)),
        "An empty manifest would mean a cluster without vms, which is never what an empty file means.",
        "begin with `apiVersion: kvmdecl/v1` and `cluster: NAME`",
    )


def _syntax_error(source: Source, fault: YamlSyntaxError) -> Diagnostic:
    """Translate libyaml's finding; the place of an opening that is never closed is the opening."""
    problem, begun = fault.problem, fault.begun
    offset = _last_text(source.text, fault.at) if fault.at is not None else 0
    cause = f"The YAML reader says: {safe_text(problem)}."
    if found := key_without_colon(source.text, problem, offset, begun):
        at = source.span(pack(found.start, found.end))
        return Diagnostic("yaml.syntax", "a key without `: `", at, cause, found.hint)
    summary, hint = explain_syntax(problem, source.text, offset)
    notes: tuple[Note, ...] = ()
    if begun is not None and begun < offset:
        opening = source.span(pack(begun, begun + 1))
        if "unexpected end" in problem or not source.text[offset:].strip():
            offset = begun
        else:
            notes = (Note(f"{safe_text(fault.context)}, which begins here", opening),)
    at = source.span(pack(offset, min(offset + 1, len(source.text))))
    return Diagnostic("yaml.syntax", summary, at, cause, hint, notes)


def _last_text(text: str, offset: int) -> int:
    """An error at the very end is shown after the last thing written, not on an empty line below it."""
    return offset if offset < len(text) else len(text.rstrip())
