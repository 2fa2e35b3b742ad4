"""One manifest in two hundred hands: each writes in a style of its own and keeps to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from kvmdecl.source import BYTE_ORDER_MARK

TREE = {
    "apiVersion": "kvmdecl/v1",
    "cluster": "edge",
    "hosts": {"kvm-1": {"uri": "qemu+ssh://root@kvm-1.example/system", "reserve": {"cpus": "2"}}, "kvm-2": "qemu:///system"},
    "networks": {"lan": {"bridge": "br0"}, "storage": {"bridge": "br1"}},
    "storage": {"vms": "/srv/vms"},
    "profiles": {"small": {"memory": "1GiB", "cpus": {"count": "2", "max": "4"}}},
    "vms": {
        "web": {
            "count": "2",
            "profile": "small",
            "disk": "20GiB",
            "nics": ["lan", {"network": "storage", "model": "virtio"}],
            "cloud_init": {"user_data": "#cloud-config\nruncmd:\n  - echo one   # two\n\n  - echo 'three'\n"},
        },
        "db": {
            "memory": "4GiB",
            "clock": "localtime",
            "disk": {"size": "40GiB"},
            "description": "Holds what the shop sells, and to whom, for as long as the law asks for it",
            "disks": {"data": {"size": "200GiB", "bus": "virtio"},
                      "spare": {"size": "200GiB", "bus": "virtio"}},
            "nics": ["storage"],
        },
    },
}  # fmt: skip
COMMENTS = {
    "cluster": "in every address",
    "lan": "of the hosts",
    "memory": "plenty",
    "nics": "in this order",
    "db": "日本",
}
ABOVE = {
    "networks": ["Bridges that the hosts have:", "  lan, storage"],
    "web": ["", "Shops"],
    "nics": [" "],
    "db": ["older"],
}


@dataclass(frozen=True)
class Style:
    """How somebody lays out a manifest."""

    indent: int
    items: int
    dash: int
    flow: str
    brace: str
    bracket: str
    comma: str
    quote: str
    comment: int
    comment_column: int
    aligned: bool
    empty: int
    body: str
    folded: str
    line_end: str
    mark: str
    head: str
    anchors: bool


CHOICES = {
    "indent": (2, 4, 3),
    "items": (0, 2, 4),
    "dash": (1, 3),
    "flow": ("none", "leaves", "entries"),
    "brace": ("", " "),
    "bracket": ("", " "),
    "comma": (", ", ","),
    "quote": ("", "'", '"'),
    "comment": (1, 2, 3),
    "comment_column": (0, 0, 48),
    "aligned": (False, True),
    "empty": (0, 1, 2),
    "body": ("|", "|-", "|+", "|2", '"'),
    "folded": ("", ">", ">-", "plain", '"'),
    "line_end": ("\n", "\n", "\r\n"),
    "mark": ("", BYTE_ORDER_MARK),
    "head": ("", "---\n", "# yaml-language-server: $schema=x.json\n#\n#   edge \t(ours)\n\n", "%YAML 1.1\n---\n"),
    "anchors": (False, True),
}  # fmt: skip


def styles(count: int) -> Iterator[Style]:
    """Different ones, the same each time."""
    random = Random(200)
    seen: set[Style] = set()
    while len(seen) < count:
        style = Style(**{key: random.choice(values) for key, values in CHOICES.items()})
        if style not in seen:
            seen.add(style)
            yield style


def written(style: Style) -> str:
    """The manifest in a style."""
    hand = _Hand(style)
    lines = list(hand.mapping(TREE, 0))
    head = style.head.replace("\n", style.line_end)
    return style.mark + head + "".join(line + style.line_end for line in lines)


class _Hand:
    def __init__(self, style: Style) -> None:
        self.style = style

    def mapping(self, tree: dict, column: int, lead: str = "") -> Iterator[str]:
        style, longest = self.style, max(map(len, tree))
        for number, (key, value) in enumerate(tree.items()):
            first = lead if number == 0 and lead else " " * column
            if not column and number:
                yield from [""] * style.empty
            if not (lead and number == 0):
                yield from (
                    " " * column + f"# {text}".rstrip() if text else "" for text in ABOVE.get(key, ())
                )
            gap = " " * (longest - len(key) + 1) if style.aligned else " "
            yield from self.entry(f"{first}{key}:", gap, key, value, column)

    def entry(self, head: str, gap: str, key: str, value: object, column: int) -> Iterator[str]:
        style = self.style
        if isinstance(value, str) and "\n" in value:
            yield from self.body(head, gap, value, column)
        elif isinstance(value, str) and " " in value and style.folded:
            yield from self.folded(head, gap, value, column)
        elif self.is_flow(value, column):
            anchor = "&same " if style.anchors and key == "data" else ""
            text = "*same" if style.anchors and key == "spare" else self.flow(value)
            yield self.noted(f"{head}{gap}{anchor}{text}", key)
        elif isinstance(value, dict):
            yield self.noted(head, key)
            yield from self.mapping(value, column + style.indent)
        else:
            yield self.noted(head, key)
            for item in value:
                lead = " " * (column + style.items) + "-" + " " * style.dash
                if isinstance(item, dict) and not self.is_flow(item, column):
                    yield from self.mapping(item, len(lead), lead)
                else:
                    yield lead + self.flow(item)

    def body(self, head: str, gap: str, value: str, column: int) -> Iterator[str]:
        style = self.style
        if style.body == '"':
            escaped = value.replace('"', '\\"').replace("\n", "\\n")
            yield f'{head}{gap}"{escaped}"'
            return
        deeper = column + (2 if style.body == "|2" else style.indent)
        yield f"{head}{gap}{style.body}"
        yield from (" " * deeper + line if line else "" for line in value.split("\n")[:-1])

    def folded(self, head: str, gap: str, value: str, column: int) -> Iterator[str]:
        style = self.style
        deeper = " " * (column + style.indent)
        words = value.split()
        first, rest = " ".join(words[:7]), " ".join(words[7:])
        if style.folded.startswith(">"):
            yield from (f"{head}{gap}{style.folded}", deeper + first, deeper + rest)
        elif style.folded == '"':
            yield from (f'{head}{gap}"{first}', f'{deeper}{rest}"')
        else:
            yield from (f"{head}", deeper + first, deeper + rest)

    def is_flow(self, value: object, column: int) -> bool:
        if isinstance(value, str):
            return True
        if isinstance(value, dict) and any("\n" in text for text in value.values() if isinstance(text, str)):
            return False
        leaf = all(isinstance(each, str) for each in (value.values() if isinstance(value, dict) else value))
        deep = column >= 2 * self.style.indent
        return {"none": False, "leaves": leaf and column > 0, "entries": (leaf and column > 0) or deep}[
            self.style.flow
        ]

    def flow(self, value: object) -> str:
        style = self.style
        if isinstance(value, str):
            quote = style.quote or ('"' if "//" in value or "," in value else "")
            return f"{quote}{value}{quote}"
        if isinstance(value, dict):
            inner = style.comma.join(f"{key}: {self.flow(each)}" for key, each in value.items())
            return f"{{{style.brace}{inner}{style.brace}}}"
        return f"[{style.bracket}{style.comma.join(map(self.flow, value))}{style.bracket}]"

    def noted(self, line: str, key: str) -> str:
        if key not in COMMENTS:
            return line
        blanks = max(self.style.comment, self.style.comment_column - len(line))
        return line + " " * blanks + f"# {COMMENTS[key]}"
