"""Reading and checking a SentencePiece model file, and the changes that the graph needs in it.

The file is a protocol buffer, `ModelProto` of `sentencepiece_model.proto`: pieces (field 1), how
it was trained (2), how it normalises text (3), examples to test itself (4). It is read here by
its wire format, since the generated classes come with the sentencepiece library alone, and
checked as far as the C++ code that gets it later relies on it: the trie of the normalisation
rules is walked there without a look at its bounds.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

# `ModelProto.SentencePiece.Type`.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
# `TrainerSpec.ModelType`: a word model has no pieces inside of words.
WORD = 3
_PIECE, _TRAINER, _NORMALIZER, _SELF_TEST = 1, 2, 3, 4
_FIELDS = (_PIECE, _TRAINER, _NORMALIZER, _SELF_TEST, 5)  # 5: how text is made of pieces


@dataclasses.dataclass(frozen=True)
class SentencePieceModel:
    """What bertzoo needs to know of a model file.

    Attributes:
        content: The file.
        pieces: The pieces in the order of their ids.
        kinds: The kind of each: `NORMAL`, `UNKNOWN`, `CONTROL`, `USER_DEFINED` or a further one.
        is_word_model: Whether only whole words are pieces.
        rules: What the model's own normalisation makes of single code points; those that it
            leaves alone are not in it.
    """

    content: bytes
    pieces: list[str]
    kinds: list[int]
    is_word_model: bool
    rules: Mapping[int, str]

    def with_pieces(self, changes: Mapping[int, tuple[str, int]]) -> bytes:
        """Return the file with other text and kind of some pieces, by id, and no self-test."""
        result, last, index = [], 0, -1
        for number, _, begin, start, end in _fields(memoryview(self.content)):
            index += number == _PIECE
            if number == _PIECE and index in changes:
                text, kind = changes[index]
                keep = [
                    bytes(self.content[start + b : start + e])
                    for field, _, b, _, e in _fields(memoryview(self.content)[start:end])
                    if field not in (1, 3)
                ]
                encoded = text.encode()
                piece = b"\x0a" + _varint(len(encoded)) + encoded + b"".join(keep)
                piece += b"\x18" + _varint(kind)
                result += [self.content[last:begin], b"\x0a" + _varint(len(piece)) + piece]
                last = end
            elif number == _SELF_TEST:
                result.append(self.content[last:begin])
                last = end
        return b"".join([*result, self.content[last:]])


def read_model(model: str | os.PathLike | bytes) -> tuple[SentencePieceModel, str]:
    """Read a SentencePiece model, and say what messages call it.

    Args:
        model: Path of a file such as `spiece.model`, or its content.

    Returns:
        The model and its name for messages.

    Raises:
        ValueError: if the file cannot be read, is no SentencePiece model, is cut off or damaged,
            or has settings for which offsets and ids would not be right.
    """
    where, content = "the SentencePiece model", model
    if isinstance(model, str | os.PathLike):
        where = str(pathlib.Path(model))
        try:
            content = pathlib.Path(model).read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ValueError(
                f"the SentencePiece model {where} cannot be read: {reason}; give the path of a "
                "file such as spiece.model."
            ) from error
    if not isinstance(content, bytes):
        raise ValueError(
            f"a SentencePiece model is a path or bytes; got {model!r} ({type(model).__name__})."
        )
    try:
        return parse_model(content), where
    except ValueError as error:
        raise ValueError(f"{where}, {len(content):,} bytes: {error}") from error


def parse_model(content: bytes) -> SentencePieceModel:
    """Read the content of a model file; see `read_model`."""
    pieces: list[str] = []
    kinds: list[int] = []
    trainer: dict[int, int] = {}
    normalizer: dict[int, int] = {}
    charsmap = b""
    view = memoryview(content)
    try:
        for number, wire, _, start, end in _fields(view):
            # 200 and up are open to extensions.
            if wire != 2 or (number not in _FIELDS and number < 200):
                raise ValueError("is not a SentencePiece model; give a file such as spiece.model.")
            if number == _PIECE:
                text, kind = _piece(view[start:end])
                pieces.append(text)
                kinds.append(kind)
            elif number == _TRAINER:
                trainer |= _numbers(view[start:end])
            elif number == _NORMALIZER:
                normalizer |= _numbers(view[start:end])
                for field, inner, _, b, e in _fields(view[start:end]):
                    if (field, inner) == (2, 2):
                        charsmap = bytes(view[start + b : start + e])
    except (IndexError, UnicodeDecodeError):
        known = "is cut off or damaged" if pieces else "is not a SentencePiece model"
        raise ValueError(f"{known}; get the file again, or give the right one.") from None
    if not pieces:
        raise ValueError("is not a SentencePiece model: it has no pieces.")
    if not trainer and not normalizer:
        # They come behind the pieces, in every file that the library writes.
        raise ValueError("is cut off behind its pieces; get the file again.")
    seen: dict[str, int] = {}
    for index, piece in enumerate(pieces):
        if not piece or piece in seen:
            fault = f"is the same as piece {seen[piece]}, {piece!r}" if piece else "is empty"
            raise ValueError(f"piece {index} {fault}; each piece must occur once.")
        seen[piece] = index
    if kinds.count(UNKNOWN) != 1:
        raise ValueError(
            f"must have one piece of the unknown kind (<unk>); it has {kinds.count(UNKNOWN)}."
        )
    # The proto's defaults: spaces are trimmed and written as U+2581, in front of words.
    for values, field, wanted, what in (
        (normalizer, 4, 1, "remove_extra_whitespaces=false"),
        (normalizer, 5, 1, "escape_whitespaces=false"),
        (trainer, 24, 0, "treat_whitespace_as_suffix=true"),
    ):
        if bool(values.get(field, wanted)) != wanted:
            raise ValueError(
                f"was trained with {what}, which no BERT was; bertzoo does not read such models."
            )
    return SentencePieceModel(
        content=content,
        pieces=pieces,
        kinds=kinds,
        is_word_model=trainer.get(3, 1) == WORD,
        rules=_single_rules(charsmap),
    )


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    # (field number, wire type, its first byte, first and last byte of the value); IndexError if
    # the bytes end in the middle of a field.
    position = 0
    while position < len(view):
        begin = position
        key, position = _read_varint(view, position)
        wire = key & 7
        if wire == 0:
            start = position
            _, position = _read_varint(view, position)
        else:
            if wire == 2:
                size, position = _read_varint(view, position)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:  # groups, which the format does not use
                raise IndexError
            start, position = position, position + size
            if position > len(view):
                raise IndexError
        yield key >> 3, wire, begin, start, position


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    byte = view[position]
    if byte < 0x80:
        return byte, position + 1
    value, shift = 0, 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise IndexError


def _varint(value: int) -> bytes:
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def _piece(view: memoryview) -> tuple[str, int]:
    text, kind = "", NORMAL
    for field, wire, _, start, end in _fields(view):
        if (field, wire) == (1, 2):
            text = bytes(view[start:end]).decode("utf-8")
        elif (field, wire) == (3, 0):
            kind = _read_varint(view, start)[0]
    return text, kind


def _numbers(view: memoryview) -> dict[int, int]:
    return {
        field: _read_varint(view, start)[0]
        for field, wire, _, start, _ in _fields(view)
        if wire == 0
    }


def _single_rules(charsmap: bytes) -> dict[int, str]:
    # The rules of `NormalizerSpec.precompiled_charsmap` for one code point each: the trie's size,
    # a trie (darts-clone, see `normalizer_model.py`) from text to a place, and texts with a zero
    # byte behind each.
    if not charsmap:
        return {}
    damaged = ValueError("its normalisation rules are damaged; get the file again.")
    size = int.from_bytes(charsmap[:4], "little")
    if size % 4 or not 0 < size <= len(charsmap) - 4:
        raise damaged
    units = np.frombuffer(charsmap, "<u4", size // 4, 4)
    strings = charsmap[4 + size :]
    is_value = units >> 31 == 1
    offsets = units >> 10 << ((units & 1 << 9) >> 6)
    children = np.arange(len(units), dtype=np.uint32) ^ offsets
    inside = (children | 0xFF) < len(units)
    if not (inside | is_value).all() or not strings.endswith(b"\0"):
        raise damaged
    leaves = units[children[~is_value & (units >> 8 & 1 == 1)]]
    if (leaves >> 31 == 0).any() or ((leaves & 0x7FFFFFFF) >= len(strings)).any():
        raise damaged

    # All code points at once, byte by byte. What is not found stays at the root, which is no leaf.
    points = np.concatenate([np.arange(1, 0xD800), np.arange(0xE000, 0x110000)])
    nodes = np.zeros(len(points), np.int64)
    alive = np.ones(len(points), bool)
    for byte in _utf8_bytes(points):
        step = byte > 0
        following = children[nodes] ^ byte
        found = units[following] & (1 << 31 | 0xFF) == byte
        nodes = np.where(step, following, nodes)
        alive &= ~step | found
        nodes[~alive] = 0
    alive &= units[nodes] >> 8 & 1 == 1
    rules = {}
    for point, node in zip(points[alive].tolist(), nodes[alive].tolist(), strict=True):
        place = int(units[children[node]] & 0x7FFFFFFF)
        try:
            rules[point] = strings[place : strings.index(b"\0", place)].decode("utf-8")
        except UnicodeDecodeError:
            raise damaged from None
    return rules


def _utf8_bytes(points: np.ndarray) -> Iterator[np.ndarray]:
    # First to fourth byte of each code point; 0 where it has none.
    length = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)
    lead = np.array([0, 0, 0xC0, 0xE0, 0xF0])[length]
    yield lead | points >> 6 * (length - 1)
    for place in range(1, 4):
        shift = np.maximum(6 * (length - 1 - place), 0)
        yield np.where(place < length, 0x80 | points >> shift & 0x3F, 0)
