"""What the YAML reader's complaints mean to somebody who writes a manifest."""

from __future__ import annotations

# What libyaml says, by the words it begins with: our summary, and what to do about it.
_SYNTAX = (
    (
        "mapping values are not allowed",
        "a `:` cannot stand here",
        "indent the key like its neighbours, or put text that contains `: ` in quotes",
    ),
    (
        "could not find expected ':'",
        "a key without `:`",
        "write `key: value`, or indent the text under its key",
    ),
    ("did not find expected key", "a key of this mapping was expected here", "indent it like its neighbours"),
    (
        "did not find expected '-'",
        "an item of this list was expected here",
        "begin it with `- `, or indent it like its neighbours",
    ),
    (
        "did not find expected ',' or ']'",
        "this list in brackets is not closed",
        "write `,` between items and `]` at the end",
    ),
    (
        "did not find expected ',' or '}'",
        "this mapping in braces is not closed",
        "write `,` between keys and `}` at the end",
    ),
    (
        "did not find expected node content",
        "a value was expected here",
        "write a value, or close the bracket",
    ),
    (
        "found unknown escape",
        "an unknown escape in double quotes",
        "double the backslash, or use single quotes",
    ),
    (
        "found unexpected ':'",
        "a `:` inside braces or brackets is neither followed by a space nor in quotes",
        "after a key write `: ` with the space; put a value that holds a `:` in quotes",
    ),
    ("found unexpected end of stream", "the quote is never closed", "close it where the text ends"),
    ("found a tab", "a tab is used for indentation", "indent with spaces"),
    ("found incompatible YAML", "this version of YAML is not supported", "remove the `%YAML` line"),
    ("found duplicate %", "a directive stands twice", "remove the line"),
    ("found undefined tag", "a tag with an unknown prefix", "remove the tag"),
    (
        "did not find expected <document start>",
        "the document ended above, yet there is more",
        "indent it like its neighbours",
    ),
)

_NO_TOKEN = "found character that cannot start"  # noqa: S105 - not a password: libyaml's words
_RESERVED = {
    "\t": ("a tab is used for indentation", "indent with spaces"),
    "@": ("a value cannot begin with `@`", "put it in quotes"),
    "`": ("a value cannot begin with a backtick", "put it in quotes"),
    "%": ("a value cannot begin with `%`", "put it in quotes"),
}


def explain_syntax(problem: str, char: str) -> tuple[str, str]:
    """Return a summary and a hint for libyaml's `problem` at the character `char`."""
    if problem.startswith(_NO_TOKEN) and char in _RESERVED:
        return _RESERVED[char]
    for words, summary, hint in _SYNTAX:
        if problem.startswith(words):
            return summary, hint
    return "this is not YAML", "check quotes, brackets and indentation here and in the line above"
