"""Files that are no specs because they are no YAML, or none that a spec can be: what they hold and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BrokenSpec:
    """A file, what is said of it (without the file's name before each line), and the exit code."""

    title: str
    content: bytes
    findings: tuple[str, ...]
    exit_code: int = 2


def file(title: str, content: str | bytes, *findings: str) -> BrokenSpec:
    """Return a case with the whole file's content."""
    return BrokenSpec(title, content if isinstance(content, bytes) else content.encode(), findings)


def spec(title: str, *findings: str, exit_code: int = 2, **sections: str) -> BrokenSpec:
    """Return a valid spec with some sections written otherwise, left out ("") or added at its end (from line 7)."""
    lines = VALID | sections
    return BrokenSpec(title, "".join(f"{line}\n" for line in lines.values() if line).encode(), findings, exit_code)


VALID = {
    "name": "name: broken",
    "dataset": "dataset: digits",
    "models": "models: [small-cnn]",
    "seeds": "seeds: [1]",
    "correctors": "correctors: [vbi]",
    "adapters": "adapters: [deep-coral]",
}

WANTED = (
    'expected a mapping with name, dataset, models, correctors and adapters. See "harness experiments" for examples.'
)

MULTIPLYING = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)

BROKEN_YAML = [
    file("an empty file", "", f"1:1: is empty; {WANTED}"),
    file("a list at the top", "- digits\n- small-cnn\n", f"1:1: got a list, {WANTED}"),
    file("a text at the top", "digits\n", f'1:1: got "digits", {WANTED}'),
    file("a number at the top", "7\n", f"1:1: got 7, {WANTED}"),
    file("not UTF-8", b"name: caf\xe9\n", "is not UTF-8 text (byte 10); save it as UTF-8"),
    file("UTF-16", "name: a\n".encode("utf-16"), "is not UTF-8 text (byte 1); save it as UTF-8"),
    file(
        "a control character", "name: a\x07b\n", "1:8: holds the character U+0007, which cannot be printed; remove it"
    ),
    file(
        "an escaped null character",
        'name: "a\\0b"\n',
        "1:7: holds the character U+0000, which cannot be printed; remove it",
    ),
    file(
        "half a surrogate pair",
        'name: "\\ud800"\n',
        "1:7: holds the character U+D800, which cannot be printed; remove it",
    ),
    file(
        "a tab as indentation",
        "name: a\nmodels:\n\t- small-cnn\n",
        "3:1: is not YAML: a tab stands where a line is indented; indent with spaces",
    ),
    file(
        "a double quote not closed",
        'name: "a\ndataset: digits\n',
        "1:7: is not YAML: the quote that opens here is not closed",
    ),
    file(
        "a single quote not closed",
        "name: a\ndataset: 'digits\n",
        "2:10: is not YAML: the quote that opens here is not closed",
    ),
    file(
        "a bracket not closed",
        "name: a\nmodels: [small-cnn\nseeds: [1]\n",
        '3:6: is not YAML: expected "," or "]", for the list that opens in line 2, column 9 is not closed',
    ),
    file(
        "a brace not closed",
        "name: a\nbaseline: {epochs: 3\n",
        '3:1: is not YAML: expected "," or "}", for the mapping that opens in line 2, column 11 is not closed',
    ),
    file("a bracket that closes nothing", "models: ]\n", '1:9: is not YAML: "]" stands where a value is expected'),
    file(
        "a comma missing in a mapping",
        "baseline: {epochs: 3 lr: 1}\n",
        '1:24: is not YAML: expected "," or "}", for the mapping that opens in line 1, column 11 is not closed',
    ),
    file(
        "two colons in a line",
        "name: digits: two\n",
        '1:13: is not YAML: a ":" stands where none is expected; put text that holds ": " in quotes, or mend the indentation',
    ),
    file(
        "a line indented too far",
        "name: a\n  dataset: digits\n",
        '2:10: is not YAML: a ":" stands where none is expected; put text that holds ": " in quotes, or mend the indentation',
    ),
    file(
        "a list item indented too little",
        "models:\n  - small-cnn\n - resnet18\n",
        "3:2: is not YAML: the indentation does not fit the lines above",
    ),
    file(
        "a key without a colon", "name: a\ndataset\n", '2:1: is not YAML: expected "key: value"; the colon is missing'
    ),
    file("a key after a list", "- a\nname: b\n", "2:1: is not YAML: the indentation does not fit the lines above"),
    file(
        "two documents",
        "name: a\n---\nname: b\n",
        '2:1: is not YAML: a second document begins here; expected one a file, without "---" or "..."',
    ),
    file(
        "a document that ends early",
        "name: a\n...\nname: b\n",
        '3:1: is not YAML: a second document begins here; expected one a file, without "---" or "..."',
    ),
    file(
        "an alias of nothing",
        "name: *other\n",
        '1:7: is not YAML: "*other" refers to nothing; put text that begins with "*" in quotes',
    ),
    file(
        "a star alone",
        "models: *\n",
        '1:10: is not YAML: a name is expected after "*" or "&"; put text that begins with them in quotes',
    ),
    file(
        "text that begins with an at sign",
        "name: @home\n",
        '1:7: is not YAML: text cannot begin with "@"; put it in quotes',
    ),
    file(
        "text that begins with a backtick",
        "name: `a`\n",
        '1:7: is not YAML: text cannot begin with "`"; put it in quotes',
    ),
    file(
        "an unknown escape",
        'name: "C:\\quark"\n',
        '1:11: is not YAML: "\\q" means nothing between double quotes; use single quotes, or write "\\\\"',
    ),
    file("a tag", "name: !mine a\n", '1:7: the tag "!mine" is not understood here; remove it'),
    file(
        "a Python tag",
        "name: !!python/object:os.system ls\n",
        '1:7: the tag "!!python/object:os.system" is not understood here; remove it',
    ),
    file("a set", "name: a\nmodels: !!set {small-cnn}\n", '2:9: the tag "!!set" is not understood here; remove it'),
    file(
        "a text tagged as a number",
        "name: !!int abc\n",
        '1:7: "abc" does not read as !!int; remove the tag or mend the value',
    ),
    file(
        "a directive in the middle",
        "%name: a\ndataset: b\n",
        "2:1: is not YAML: the document ends before this line; mend what stands above",
    ),
    file(
        "a merge key",
        "baseline: &b {epochs: 3}\nadaptation: {<<: *b, steps: 3}\n",
        '2:14: the merge key "<<" is not understood here; write the keys out',
    ),
    file("a list that contains itself", "models: &m [*m]\n", "1:9: contains itself; write it out instead of an alias"),
    file(
        "a mapping that contains itself",
        "baseline: &b {epochs: *b}\n",
        "1:11: contains itself; write it out instead of an alias",
    ),
    file("aliases that multiply", MULTIPLYING, "1:1: has more than 100,000 entries once its aliases are written out"),
    file(
        "lists nested too deeply",
        "models: " + "[" * 40 + "]" * 40 + "\n",
        "1:38: is nested too deeply; expected at most 30 levels",
    ),
    file(
        "lists nested far too deeply",
        "models: " + "[" * 3000 + "]" * 3000 + "\n",
        "is nested too deeply; expected at most 30 levels",
    ),
    file(
        "a number of five thousand digits",
        f"seeds: [{'9' * 5000}]\n",
        "1:9: got a number of 5,000 digits, expected a shorter one",
    ),
    spec(
        "a key twice", '7:1: the key "seeds" stands twice in one mapping, first in line 4; keep one', extra="seeds: [2]"
    ),
    spec(
        "a key twice in a section",
        '7:32: the key "epochs" stands twice in one mapping, first in line 7; keep one',
        extra="baseline: {epochs: 3, lr: 0.1, epochs: 4}",
    ),
    spec(
        "a key twice in an entry",
        '5:38: the key "steps" stands twice in one mapping, first in line 5; keep one',
        correctors="correctors: [{attack: bim, steps: 3, steps: 4}]",
    ),
    spec(
        "two keys twice",
        '7:19: the key "lr" stands twice in one mapping, first in line 7; keep one',
        '8:21: the key "lr" stands twice in one mapping, first in line 8; keep one',
        extra="baseline: {lr: 1, lr: 2}\nadaptation: {lr: 1, lr: 2}",
    ),
    spec("a number as key", "7:1: expected a name as key, got 1; put it in quotes", extra="1: a"),
    spec(
        "a truth value as key", "7:12: expected a name as key, got true; put it in quotes", extra="baseline: {true: 3}"
    ),
    spec("nothing as key", "7:1: expected a name as key, got nothing", extra=": a"),
    spec("a list as key", "7:3: expected a name as key, got a list", extra="? [a, b]\n: c"),
    spec("a mapping as key", "7:3: expected a name as key, got a mapping", extra="? {a: b}\n: c"),
]
