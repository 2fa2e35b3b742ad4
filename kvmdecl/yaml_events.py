"""YAML text -> libyaml's events, as columns of numbers. The only module that touches a YAML library.

An event is its kind and its place; what it says stands at that place in the text, or else in its details. A great
text is so read by a second process at next to no cost: events are handed over faster than libyaml makes them.
"""

from __future__ import annotations

import fcntl
import gc
import importlib.util
import os
import signal
import threading
from array import array
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from kvmdecl.diagnostics import Diagnostic, Rejected

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

# What an event is. A plain one is a scalar without quotes, anchor or tag that stands in the text as it is. Those behind
# DOCUMENT may have details.
PLAIN, END, DOCUMENT, SCALAR, MAPPING, SEQUENCE, ALIAS = range(7)

MAX_DEPTH = 64

# Both ends of a place in one integer: half the memory of two. A text has less than 2^26 characters.
END_BITS = 26
END_MASK = (1 << END_BITS) - 1

# Few enough that an event is still in the processor's cache when its columns are filled.
_BATCH = 2048
_PIPE_SIZE = 1024**2  # what Linux allows to anybody (proc(5), pipe-max-size): about 100,000 events
# Where the reading of a text takes longer than starting a process for it.
_GREAT = 1024**2


class Details(NamedTuple):
    """What its place does not tell of an event: the text of a scalar and its style, an anchor, and a tag."""

    text: str = ""
    style: str | None = None
    anchor: str | None = None
    tag: str | None = None


class Token(NamedTuple):
    """A word of YAML at its place: a scalar, a sign, or (without width) where a block collection begins or ends.

    The kind is the sign itself, `block-map`, `block-seq` or `end` of a block, or what stands there: `plain`, `quoted`
    or `block` text, `anchor`, `tag`, `alias`, `document` (a directive or mark). A key without `?` begins with `key`.
    """

    kind: str
    start: int
    end: int


class Batch(NamedTuple):
    """Events in order: their kinds, their places (both ends, packed), and details by number in this batch."""

    kinds: bytearray
    places: array[int]
    details: dict[int, Details]


class _Reader(NamedTuple):
    receiver: Connection
    process: BaseProcess


_begun: dict[str, _Reader] = {}


class YamlSyntaxError(Exception):
    """What libyaml says of a text that is no YAML.

    Attributes:
        problem: in libyaml's words.
        at: character offset, None if it has no place.
        context: what was being read, in libyaml's words.
        begun: where that began, None if there is nothing.
    """

    def __init__(self, problem: str, at: int | None, context: str, begun: int | None) -> None:
        super().__init__(problem, at, context, begun)
        self.problem, self.at, self.context, self.begun = problem, at, context, begun


def events(text: str) -> Generator[Batch]:
    """Read a text. Whoever does not read it to its end closes the generator.

    Raises:
        YamlSyntaxError: it is no YAML; all before that was yielded.
        Rejected: `yaml.no-reader`.
    """
    if importlib.util.find_spec("_ruamel_yaml") is None:
        raise Rejected(
            [
                Diagnostic(
                    "yaml.no-reader",
                    "the C reader of ruamel.yaml is not installed",
                    cause="Without it loading takes twenty times as long and nesting is not bounded.",
                    hint="install it: pip install ruamel.yaml.clib",
                )
            ]
        )
    begin(text)
    reader = _begun.pop(text, None)
    yield from _read(text) if reader is None else _receive(reader, text)


def tokens(text: str) -> Iterator[Token]:
    """The words that a text is made of, in order. Between them stand blanks, ends of lines and comments alone.

    Raises:
        YamlSyntaxError: it is no YAML; all before that was yielded.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    _, parser = YAML(typ="safe").get_constructor_parser(text)
    kinds = _token_kinds()
    try:
        for token in iter(parser.get_token, None):
            start, end = token.start_mark.index, token.end_mark.index
            kind = kinds.get(token.__class__)
            if kind == "plain" and token.style:
                kind = "block" if token.style in "|>" else "quoted"
            elif kind == "?" and start == end:
                kind = "key"
            if kind is not None:
                yield Token(kind, start, end)
    except YAMLError as error:
        raise _fault(error) from error


def begin(text: str) -> None:
    """Have a second process begin to read a text, if that is worth it, while this one does other things."""
    if len(text) < _GREAT or text in _begun or len(os.sched_getaffinity(0)) < 2:
        return
    # A fork takes along the locks of other threads, and nobody to open them.
    if threading.active_count() == 1 and threading.current_thread() is threading.main_thread():
        _begun[text] = _start(text)


def _read(text: str) -> Generator[Batch]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    # Not YAML.parse: that generator asks twice for every event and doubles the time.
    _, parser = YAML(typ="safe").get_constructor_parser(text)
    found = iter(parser.get_event, None)
    depth = 0
    # Nobody asks for what is nested too deep, and libyaml takes ever longer for more of it.
    while depth <= MAX_DEPTH:
        events: list[Any] = []
        try:
            events.extend(islice(found, _BATCH))
        except YAMLError as error:
            yield _columns(text, events)  # what came before the mistake
            raise _fault(error) from error
        if not events:
            return
        batch = _columns(text, events)
        depth += sum(map(batch.kinds.count, (MAPPING, SEQUENCE))) - batch.kinds.count(END)
        yield batch


def _columns(text: str, events: Iterable[Any]) -> Batch:
    """Each of many hundred thousand events passes here."""
    from ruamel.yaml.events import ScalarEvent

    kind_of = _kinds()
    told: list[Any] = [event for event in events if event.__class__ in kind_of]
    places = array("Q", [event.start_mark.index << END_BITS | event.end_mark.index for event in told])
    kinds = bytearray(
        [
            PLAIN
            if event.__class__ is ScalarEvent
            and not event.style
            and event.anchor is event.ctag is None
            and event.value == text[at >> END_BITS : at & END_MASK]
            else kind_of[event.__class__]
            for event, at in zip(told, places, strict=True)
        ]
    )
    details = {
        number: _details(event)
        for number, (kind, event) in enumerate(zip(kinds, told, strict=True))
        if kind > DOCUMENT and (kind == SCALAR or event.anchor is not None or event.ctag is not None)
    }
    return Batch(kinds, places, details)


@cache
def _kinds() -> dict[type, int]:
    """Kinds by ruamel's classes, of those that tell something; scalars may be plain, too."""
    from ruamel.yaml import events

    return {
        events.ScalarEvent: SCALAR,
        events.MappingStartEvent: MAPPING,
        events.SequenceStartEvent: SEQUENCE,
        events.MappingEndEvent: END,
        events.SequenceEndEvent: END,
        events.AliasEvent: ALIAS,
        events.DocumentStartEvent: DOCUMENT,
    }


@cache
def _token_kinds() -> dict[type, str]:
    from ruamel.yaml import tokens

    return {
        tokens.ScalarToken: "plain",
        tokens.KeyToken: "?",
        tokens.ValueToken: ":",
        tokens.BlockEntryToken: "-",
        tokens.FlowEntryToken: ",",
        tokens.FlowMappingStartToken: "{",
        tokens.FlowMappingEndToken: "}",
        tokens.FlowSequenceStartToken: "[",
        tokens.FlowSequenceEndToken: "]",
        tokens.BlockMappingStartToken: "block-map",
        tokens.BlockSequenceStartToken: "block-seq",
        tokens.BlockEndToken: "end",
        tokens.AnchorToken: "anchor",
        tokens.AliasToken: "alias",
        tokens.TagToken: "tag",
        tokens.DirectiveToken: "document",
        tokens.DocumentStartToken: "document",
        tokens.DocumentEndToken: "document",
    }


def _details(event: Any) -> Details:  # noqa: ANN401 - as above
    tag = getattr(event, "ctag", None)
    return Details(
        getattr(event, "value", ""),
        getattr(event, "style", None),
        getattr(event, "anchor", None),
        None if tag is None else str(tag),
    )


def _fault(error: Any) -> YamlSyntaxError:  # noqa: ANN401 - not every YAMLError has marks
    at, begun = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    return YamlSyntaxError(
        str(getattr(error, "problem", None) or error),
        at.index if at is not None else None,
        str(getattr(error, "context", None) or ""),
        begun.index if begun is not None else None,
    )


def _start(text: str) -> _Reader:
    from multiprocessing import Pipe, get_context

    receiver, sender = Pipe(duplex=False)
    with suppress(OSError):  # the reader shall not wait for who is late; without that it only takes longer
        fcntl.fcntl(sender.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    # A fork has the text already, and all that it needs of Python.
    process = get_context("fork").Process(target=_send, args=(sender, text), daemon=True)
    process.start()
    sender.close()
    return _Reader(receiver, process)


def _receive(reader: _Reader, text: str) -> Generator[Batch]:
    count = 0
    try:
        while (received := reader.receiver.recv()) is not None:
            if isinstance(received, YamlSyntaxError):
                raise received
            yield received
            count += 1
    except EOFError:  # somebody killed it, or there was no memory for two
        yield from islice(_read(text), count, None)
    finally:
        reader.receiver.close()
        reader.process.kill()
        reader.process.join()


def _send(sender: Connection, text: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what it means is told by the process that was asked
    gc.disable()  # nothing here is a cycle, and the collector would walk through the events of every batch
    try:
        for batch in _read(text):
            sender.send(batch)
        sender.send(None)
    except YamlSyntaxError as fault:
        sender.send(fault)
    except BrokenPipeError:  # it was told enough
        return
