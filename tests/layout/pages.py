"""Manifests as people write them: in any style that keeps to itself, and in none."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

WORDS = (
    "lan",
    "8GiB",
    "true",
    "~",
    "10.0.0.1/24",
    "a b",
    "qemu:///system",
    "{n}x",
    "web-{zone}",
    "日本",
    "-1",
    "*",
    "&x",
)
BODIES = ("one", "#cloud-config", "  deeper", "a: b # no comment", "", "tail  ", "\ttab", "日本")
COMMENTS = ("#", "# why", "#memory: 1", "#\ttab", "# ends   ", "# 日本  x")


class Scribe:
    """Writes a page by lot, the same one for the same lot. Each choice of layout is made anew each time."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.anchors: list[str] = []

    def page(self) -> str:
        lines = list(self.mapping(self.choice(0, 0, 0, 2), 0))
        ends = self.choice(["\n"], ["\n"], ["\r\n"], ["\n", "\r\n"], ["\n", "\r"])
        text = "".join(line + self.random.choice(ends) for line in self.between(lines))
        return self.choice("", "", "---\n", "# first\n\n\n\n", "\n") + self.choice(
            text, text, text.rstrip("\r\n")
        )

    def choice(self, *choices: object):
        return self.random.choice(choices[0] if len(choices) == 1 else choices)

    def blanks(self) -> str:
        return self.choice(*" " * 12, "  ", "  ", "   ", " \t")

    def between(self, lines: list[str]) -> Iterator[str]:
        for line in lines:
            yield line
            if self.random.random() < 0.05 and line == line.lstrip("\0"):
                yield from [""] * self.random.randrange(5)
            if self.random.random() < 0.03 and not line.startswith("\0"):
                yield self.choice("", "  ", "\t")

    def mapping(self, column: int, depth: int, first: str = "") -> Iterator[str]:
        """The lines of a mapping; `first` stands before its first key instead of the indentation."""
        lead = first or " " * column
        for number in range(self.choice(1, 2, 3)):
            if self.random.random() < 0.1 and not (first and number == 0):
                yield " " * self.choice(0, column, column, column + 2) + self.choice(COMMENTS)
            key = self.choice(
                f"key{number}", f"k{number}", f'"k {number}"', f"'{number}'", f"a-long-key-{number}"
            )
            colon = self.choice(":", ":", ":", ":", " :", "  :")
            yield from self.value(f"{lead}{key}{colon}", column, depth, in_list=False)
            lead = " " * column

    def sequence(self, column: int, depth: int) -> Iterator[str]:
        for _ in range(self.choice(1, 2, 3)):
            gap = self.choice(1, 1, 1, 2, 3)
            if depth < 3 and self.random.random() < 0.3:
                yield from self.mapping(column + 1 + gap, depth + 1, " " * column + "-" + " " * gap)
            else:
                yield from self.value(" " * column + "-", column, depth, in_list=True)

    def value(self, head: str, column: int, depth: int, *, in_list: bool) -> Iterator[str]:
        kind = self.random.random()
        anchor = ""
        if self.random.random() < 0.05:
            self.anchors.append(f"a{len(self.anchors)}")
            anchor = f"{self.blanks()}&{self.anchors[-1]}"
        deeper = column + self.choice(1, 2, 2, 2, 4, 4)
        if kind < 0.25 and depth < 4:
            yield head + anchor + self.comment()
            yield from self.mapping(deeper, depth + 1)
        elif kind < 0.4 and depth < 4:
            yield head + anchor + self.comment()
            yield from self.sequence(deeper if in_list else self.choice(column, deeper), depth + 1)
        elif kind < 0.5:
            yield from self.body(head + anchor, deeper, column)
        elif kind < 0.55:
            quote = self.choice("'", '"', "")
            yield head + anchor + self.blanks() + f"{quote}some words{self.choice('', '  ')}"
            yield from [self.choice("", "  ")] * self.choice(0, 0, 1)
            yield " " * deeper + f"and more{quote}" + self.comment()
        elif kind < 0.6:
            yield head + self.comment()
        elif kind < 0.65 and self.anchors[:-1]:
            yield f"{head}{self.blanks()}*{self.choice(self.anchors[:-1])}{self.comment()}"
        else:
            yield (
                head
                + anchor
                + self.blanks()
                + self.flow(0)
                + self.comment()
                + self.choice("", "", "", "  ", "\t")
            )

    def body(self, head: str, deeper: int, column: int) -> Iterator[str]:
        sign, chomp = self.choice("|", ">"), self.choice("", "-", "+")
        digit = str(deeper - column) if self.random.random() < 0.2 and column else ""
        yield f"{head}{self.blanks()}{sign}{digit}{chomp}{self.comment()}"
        lines = [self.choice(BODIES) for _ in range(self.choice(1, 2, 4))]
        for line in [self.choice("one", "two  "), *lines]:
            yield " " * deeper + line if line else " " * self.choice(0, 0, deeper, deeper + 2)
        yield from [""] * self.choice(0, 0, 1, 4)

    def flow(self, depth: int) -> str:
        if self.random.random() < 0.6 or depth > 2:
            word = self.choice(WORDS)
            return f'"{word}"' if any(sign in word for sign in "{}*&:") else word
        pad = self.choice("", "", " ", "  ")
        comma = self.choice("", "", " ") + "," + self.choice(" ", " ", "  ", "")
        inner = [self.flow(depth + 1) for _ in range(self.choice(0, 1, 2, 3))]
        if self.random.random() < 0.5:
            return f"[{pad}{comma.join(inner)}{pad}]"
        colon = self.choice(": ", ": ", " : ", ":  ")
        return f"{{{pad}{comma.join(f'k{number}{colon}{word}' for number, word in enumerate(inner))}{pad}}}"

    def comment(self) -> str:
        return self.blanks() + self.choice(COMMENTS) if self.random.random() < 0.2 else ""
