"""The two files of a byte-level BPE vocabulary: `vocab.json` (token to id) and `merges.txt`.

Both write each byte as one visible character (Radford et al. 2019, `encoder.py` of openai/gpt-2):
a printable byte of Latin-1 as itself, the others from U+0100 on in their order, so that a space is
`Ġ` and a line end `Ċ`.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

# Of byte 0, byte 1, ...
_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_CHARACTERS = tuple(
    chr(byte if byte in _PRINTABLE else 0x100 + _OTHERS.index(byte)) for byte in range(256)
)
_BYTES = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}
# What published files begin with; "# #" further down is a rule.
_VERSION = "#version:"


def spell_bytes(content: bytes) -> str:
    """Return bytes as the characters that stand for them.

    >>> spell_bytes(" déjà".encode())
    'ĠdÃ©jÃł'
    """
    return "".join(BYTE_CHARACTERS[byte] for byte in content)


def token_bytes(token: str) -> bytes:
    """Return the bytes that a token stands for; one with other characters stands for itself.

    >>> token_bytes("ĠdÃ©jÃł").decode(), token_bytes("<mask>"), token_bytes("▁a").decode()
    (' déjà', b'<mask>', '▁a')
    """
    try:
        return bytes([_BYTES[character] for character in token])
    except KeyError:
        return token.encode("utf-8")


def read_token_ids(path: str | os.PathLike) -> list[str]:
    """Read a `vocab.json` as a list of tokens in the order of their ids.

    Raises:
        ValueError: if the file cannot be read or is not one object of strings to ids, has a token
            twice, or has ids that are not 0, 1, 2 and so on.
    """
    path = pathlib.Path(path)

    def without_duplicates(pairs):
        counts = collections.Counter(token for token, _ in pairs)
        if len(counts) < len(pairs):
            token = next(token for token, count in counts.items() if count > 1)
            raise ValueError(f"{path} has the token {token!r} twice; each token must occur once.")
        return dict(pairs)

    try:
        content = json.loads(_read_text(path), object_pairs_hook=without_duplicates)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold one JSON object from token to id; got a {type(content).__name__}."
        )
    return order_tokens(content, str(path))


def order_tokens(ids: Mapping[str, int], where: str = "the vocabulary") -> list[str]:
    """Return the tokens of a mapping to ids in the order of their ids.

    Raises:
        ValueError: if the ids are not 0, 1, 2 and so on.

    Example:
    >>> order_tokens({"a": 1, "<s>": 0})
    ['<s>', 'a']
    """
    tokens: list[str | None] = [None] * len(ids)
    for token, index in ids.items():
        if type(index) is not int or not 0 <= index < len(ids) or tokens[index] is not None:
            raise ValueError(
                f"{where}: the ids of {len(ids)} tokens must be 0 to {len(ids) - 1}, each once; "
                f"the token {token!r} has {index!r}."
            )
        tokens[index] = token
    return tokens


def read_merges(path: str | os.PathLike) -> list[tuple[str, str]]:
    """Read a `merges.txt`: one rule a line, two tokens with a space between, the first one first.

    Raises:
        ValueError: if the file cannot be read, or a line is not a rule.
    """
    path = pathlib.Path(path)
    # Not splitlines(): U+0085 and U+2028 are no line ends here. A last line may be blank.
    lines = _read_text(path).removesuffix("\n").split("\n")
    return parse_merges(lines, str(path))


def parse_merges(
    rules: Iterable[str | Sequence[str]], where: str = "the merges"
) -> list[tuple[str, str]]:
    """Return rules, written `"a b"` or `("a", "b")`, as pairs; a version in front is left out.

    >>> parse_merges(["#version: 0.2", "Ġ t", ("h", "e")])
    [('Ġ', 't'), ('h', 'e')]
    """
    merges = []
    for line, rule in enumerate(rules, start=1):
        if isinstance(rule, str):
            if line == 1 and (rule.startswith(_VERSION) or not rule):
                continue
            rule = rule.removesuffix("\r").split(" ")
        if len(rule) != 2 or not all(isinstance(part, str) and part for part in rule):
            raise ValueError(
                f"{where}, line {line}: a rule is two tokens with one space between; got "
                f"{' '.join(map(str, rule))!r}."
            )
        merges.append((rule[0], rule[1]))
    return merges


def check_merges(
    vocabulary: Sequence[str], merges: Sequence[tuple[str, str]], where: str = "the vocabulary"
) -> None:
    """Raise unless every byte and whatever the rules name and make has an id.

    Args:
        vocabulary: Tokens in the order of their ids.
        merges: Rules, the first one first.
        where: What to call the vocabulary in a message.

    Raises:
        ValueError: if a token is missing, or a rule is there twice.
    """
    known = set(vocabulary)
    missing = [byte for byte, character in enumerate(BYTE_CHARACTERS) if character not in known]
    if missing:
        byte = missing[0]
        raise ValueError(
            f"{where} lacks {len(missing)} of the 256 bytes, the first one 0x{byte:02X} "
            f"({BYTE_CHARACTERS[byte]!r}); a byte-level vocabulary has a token for each byte."
        )
    seen: set[tuple[str, str]] = set()
    for number, (left, right) in enumerate(merges, start=1):
        for token in (left, right, left + right):
            if token not in known:
                raise ValueError(
                    f"rule {number} of the merges ({left!r} and {right!r}) needs the token "
                    f"{token!r}, which {where} lacks; use the merges that belong to it."
                )
        if (left, right) in seen:
            raise ValueError(
                f"rule {number} of the merges ({left!r} and {right!r}) is a duplicate."
            )
        seen.add((left, right))


def write_token_ids(vocabulary: Sequence[str]) -> bytes:
    """Return the content of a `vocab.json`.

    >>> write_token_ids(["<s>", "Ġ"]).decode()
    '{"<s>": 0, "Ġ": 1}'
    """
    ids = {token: index for index, token in enumerate(vocabulary)}
    return json.dumps(ids, ensure_ascii=False).encode("utf-8")


def write_merges(merges: Iterable[tuple[str, str]]) -> bytes:
    r"""Return the content of a `merges.txt`.

    >>> write_merges([("Ġ", "t")]).decode()
    '#version: 0.2\nĠ t\n'
    """
    lines = [f"{_VERSION} 0.2", *(f"{left} {right}" for left, right in merges)]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _read_text(path: pathlib.Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"the vocabulary file {path} cannot be read: {reason}; give the path of the file."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (at byte {error.start}).") from error
