"""Reading and checking a vocabulary file: one token a line, UTF-8, the line number is the id."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable, Sequence

# tensorflow-text's FastWordpiece cannot hold longer tokens.
MAX_TOKEN_BYTES = 256

# Vocabularies that were published with a blank line, which takes an id and never occurs in text.
# Known by their SHA-256, as in any other file a blank line is a mistake that shifts all later ids.
_PUBLISHED_WITH_A_BLANK_LINE = {
    "f0a650346e51ede8996710f79ba65d83fdb8da05b159f17037b74ba4e3a36c6f": "SciBERT uncased",
    "f99aae27d5a572628760968078207b9d79ff241cc75de4b9e4323feabc61fd6b": "SciBERT cased",
}


def read_vocabulary(path: str | os.PathLike) -> list[str]:
    """Read a vocabulary file, unchanged, as a list of tokens in the order of their ids.

    Args:
        path: A text file in UTF-8 with one token a line.

    Returns:
        The tokens.

    Raises:
        ValueError: if the file is missing, is not UTF-8, begins with a byte order mark, or has
            Windows line ends.
    """
    path = pathlib.Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"the vocabulary file {path} cannot be read: {reason}; give the path of a text file "
            "with one token a line."
        ) from error
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError(
            f"{path}, line 1: begins with a byte order mark, which would become part of the first "
            "token; save the file as UTF-8 without one."
        )
    if b"\r" in content:
        line = content[: content.index(b"\r")].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: has a carriage return, which would become part of the token; "
            "save the file with Unix line ends (LF)."
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: is not UTF-8 ({error.reason}); save the file as UTF-8."
        ) from error
    # Not splitlines(): published vocabularies have U+2028 as a token.
    return text.removesuffix("\n").split("\n") if text else []


def check_vocabulary(
    tokens: Sequence[str],
    special_tokens: Iterable[tuple[str, str]] = (),
    size: int | None = None,
    where: str = "the vocabulary",
    max_token_bytes: int | None = MAX_TOKEN_BYTES,
) -> None:
    """Raise for the first fault of a vocabulary.

    Args:
        tokens: The tokens in the order of their ids.
        special_tokens: Pairs of an argument's name and the token that must be there.
        size: How many tokens there must be, or None.
        where: What to call the vocabulary in a message; with a file name, lines are given.
        max_token_bytes: No token may be longer; None for no limit.

    Raises:
        ValueError: if a token is not a string, blank, repeated or too long, a special token is
            missing, or the size is wrong.
    """
    seen: dict[str, int] = {}
    for line, token in enumerate(tokens, start=1):
        if not isinstance(token, str):
            raise ValueError(
                f"{where}, line {line}: a token must be a string; got {token!r} "
                f"({type(token).__name__})."
            )
        if token in seen:
            raise ValueError(
                f"{where}, line {line}: the token {token!r} is a duplicate of line "
                f"{seen[token]}; each token must occur once."
            )
        seen[token] = line
        if "\n" in token or "\r" in token:
            raise ValueError(f"{where}, line {line}: the token {token!r} holds a line end.")
        try:
            size_in_bytes = len(token.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{where}, line {line}: the token {token!r} cannot be written as UTF-8."
            ) from error
        if max_token_bytes is not None and size_in_bytes > max_token_bytes:
            raise ValueError(
                f"{where}, line {line}: the token has {len(token)} characters; a token may have "
                f"at most {max_token_bytes} bytes."
            )
    if "" in seen and _digest(tokens) not in _PUBLISHED_WITH_A_BLANK_LINE:
        raise ValueError(
            f"{where}, line {seen['']}: is blank, which shifts the ids of all later tokens; "
            "remove the line, or, if its id belongs to the model, write a placeholder there."
        )
    for argument, token in special_tokens:
        if token not in seen:
            raise ValueError(
                f"{where} with {len(seen)} tokens lacks the special token {token!r}; add it or "
                f"name the one to use with {argument}=."
            )
    if size is not None and len(tokens) != size:
        raise ValueError(
            f"{where} has {len(tokens)} tokens; the model has {size} rows in its token table. "
            "Use the vocabulary that belongs to the model."
        )


def write_vocabulary(tokens: Iterable[str]) -> bytes:
    r"""Return the content of a vocabulary file.

    >>> write_vocabulary(["[PAD]", "a"])
    b'[PAD]\na\n'
    """
    return "".join(token + "\n" for token in tokens).encode("utf-8")


def _digest(tokens: Sequence[str]) -> str:
    return hashlib.sha256(write_vocabulary(tokens)).hexdigest()
