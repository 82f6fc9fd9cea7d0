"""Which tokens of each row are masked: single tokens, whole words, or runs of words.

Each function takes the rows at once, with static shapes and 32-bit integers (TPU, XLA), and draws
nothing itself: ranks and lengths come in. All return bool `[B, T]` in the order of the row.
"""

import tensorflow as tf

# B batch  T length  G groups (words)

LAST = 2**31 - 1  # the rank of what may not be chosen


def choose_first(ranks, room):
    """Choose the tokens with the lowest ranks, as many as there is room for.

    Args:
        ranks: Int32 or float `[B, T]`, no two of a row equal but for those not to be chosen.
        room: Int32 `[B]`, at most as many as may be chosen.

    Example:
    >>> choose_first(tf.constant([[5, 3, 4]]), tf.constant([2])).numpy().tolist()
    [[False, True, True]]
    """
    order = tf.argsort(ranks, axis=1, stable=True)  # (B, T): places by rank
    length = ranks.shape[1]
    taken = tf.range(length)[None] < room[:, None]
    return _back_in_place(taken, order)


def choose_words(ranks, candidates, starts, room):
    """Choose whole words by rank; one that does not fit is skipped, later ones may still fit.

    This is the loop of google-research/bert `create_masked_lm_predictions`, in a few rounds: of
    the words that fit at all, those in front that fit together are taken; then room is counted
    anew.

    Args:
        ranks: Int32 `[B, T]`, the same for all tokens of a word, otherwise different.
        candidates: Bool `[B, T]`, what may be chosen.
        starts: Bool `[B, T]`, where a word begins; between two starts only its own tokens.
        room: Int32 `[B]`, tokens that may be chosen.

    Example:
    >>> true, false = True, False
    >>> choose_words(tf.constant([[2, 2, 1, 3]]), tf.constant([[true] * 4]),
    ...              tf.constant([[true, false, true, true]]), tf.constant([2])).numpy().tolist()
    [[False, False, True, True]]
    """
    first, last = _word_bounds(candidates, starts)
    places = tf.range(ranks.shape[1])[None]
    order = tf.argsort(tf.where(candidates, ranks, LAST), axis=1, stable=True)
    size = tf.gather(last - first + 1, order, batch_dims=1)
    rest = tf.gather(last - places, order, batch_dims=1)  # tokens of the word behind this one

    def take_a_round(alive, taken):
        left = room - tf.reduce_sum(tf.cast(taken, tf.int32), axis=1)  # (B,)
        alive &= size <= left[:, None]
        until = tf.cumsum(tf.cast(alive, tf.int32), axis=1) + rest  # tokens until the word's end
        fits = alive & (until <= left[:, None])
        return alive & ~fits, taken | fits

    alive = tf.gather(candidates, order, batch_dims=1)
    _, taken = tf.while_loop(
        lambda alive, taken: tf.reduce_any(alive),
        take_a_round,
        [alive, tf.zeros_like(alive)],
    )
    return _back_in_place(taken, order)


def choose_runs(ranks, candidates, starts, lengths, longest, room, overlap=False):
    """Choose runs of words, one after the other, each from an anchor.

    Without `overlap` this is ALBERT's n-gram masking: a run that has no room is tried shorter, one
    that meets a chosen token is skipped. With `overlap` it is SpanBERT's: a run may go on over
    tokens chosen before, and its tokens are taken as long as there is room. No run goes over a
    special token.

    Args:
        ranks: Int32 `[B, T]`, the order of the anchors; `LAST` for what is none.
        candidates: Bool `[B, T]`.
        starts: Bool `[B, T]`, where a word begins.
        lengths: Int32 `[B, T]`, words of the run from each anchor on.
        longest: The most that `lengths` may hold, an integer.
        room: Int32 `[B]`, tokens that may be chosen.
        overlap: See above.

    Returns:
        Bool `[B, T]`, and int32 `[B, T]`: the anchor of the run that each token was chosen with.
    """
    first, last = _word_bounds(candidates, starts)
    ends = _run_ends(candidates, last, longest)  # (B, T, longest)
    places = tf.range(ranks.shape[1])[None]
    least = tf.ones_like(ranks) if overlap else last - first + 1

    def take_a_run(ranks, left, taken, owners):
        # An anchor whose one word has no room would be tried in vain.
        ranks = tf.where(taken | (least > left[:, None]), LAST, ranks)
        anchor = tf.argmin(ranks, axis=1, output_type=tf.int32)[:, None]  # (B, 1)
        begin, count = _at(first, anchor), _at(lengths, anchor)
        ends_here = _at(ends, anchor)[:, 0]  # (B, longest), they never fall
        if not overlap:  # the longest run of at most `count` words that has room
            fits = ends_here - begin < left[:, None]
            count = tf.minimum(count, tf.reduce_sum(tf.cast(fits, tf.int32), 1, keepdims=True))
        end = _at(ends_here, tf.maximum(count - 1, 0))
        new = (places >= begin) & (places <= end) & (_at(ranks, anchor) != LAST)
        if overlap:
            new &= ~taken
            new &= tf.cumsum(tf.cast(new, tf.int32), axis=1) <= left[:, None]
        else:
            new &= ~tf.reduce_any(new & taken, axis=1, keepdims=True)
        ranks = tf.where(places == anchor, LAST, ranks)
        left -= tf.reduce_sum(tf.cast(new, tf.int32), axis=1)
        return ranks, left, taken | new, tf.where(new, anchor, owners)

    _, _, taken, owners = tf.while_loop(
        lambda ranks, *_: tf.reduce_any(ranks != LAST),
        take_a_run,
        [ranks, room, tf.zeros_like(candidates), tf.zeros_like(ranks)],
    )
    return taken, owners


def word_starts(candidates, continues):
    """Return where words begin: at tokens that continue none, and behind special tokens.

    >>> word_starts(tf.constant([[False, True, True]]), tf.constant([[False, True, True]])
    ...             ).numpy().tolist()
    [[False, True, False]]
    """
    before = tf.pad(candidates[:, :-1], [[0, 0], [1, 0]])
    return candidates & ~(continues & before)


def words_left(candidates, starts):
    """Return how many words there are from each token's on to the next special token, at least 1.

    >>> words_left(tf.constant([[True, True, True, False]]),
    ...            tf.constant([[True, False, True, False]])).numpy().tolist()
    [[2, 2, 1, 1]]
    """
    words = tf.cumsum(tf.cast(starts, tf.int32), axis=1)  # at most T
    length = words.shape[1]
    # Words never fall along a row, so the least of the ends to the right is the nearest one's.
    ends = tf.where(candidates, 0, length - words)
    ends = tf.concat([ends[:, :-1], tf.maximum(ends, length - words)[:, -1:]], axis=1)
    until = length - tf.reverse(_running_max(tf.reverse(ends, axis=[1])), axis=[1])
    return tf.maximum(until - words + 1, 1)


def _word_bounds(candidates, starts):
    # The first and the last place of each token's word, int32 (B, T).
    length = candidates.shape[1]
    places = tf.range(length)[None]
    first = _running_max(tf.where(starts | ~candidates, places, 0))
    ends = tf.pad((starts | ~candidates)[:, 1:], [[0, 0], [0, 1]], constant_values=True)
    mirrored = tf.reverse(tf.where(ends, length - 1 - places, 0), axis=[1])
    return first, length - 1 - tf.reverse(_running_max(mirrored), axis=[1])


def _run_ends(candidates, last, longest):
    # The last place of 1, 2, ... words from each token's word on, not over a special token.
    length = candidates.shape[1]
    ends = [last]
    for _ in range(longest - 1):
        following = tf.minimum(ends[-1] + 1, length - 1)
        goes_on = _at(candidates, following) & (ends[-1] < length - 1)
        ends.append(tf.where(goes_on, _at(last, following), ends[-1]))
    return tf.stack(ends, axis=-1)


def _running_max(values):
    # Of values that are not negative; by doubling, as there is no op for it.
    length, step = values.shape[1], 1
    while step < length:
        values = tf.maximum(values, tf.pad(values[:, :-step], [[0, 0], [step, 0]]))
        step *= 2
    return values


def _back_in_place(taken, order):
    # From the order of ranks to the order of the row: sort the pairs (place, taken) by place.
    packed = tf.sort(order * 2 + tf.cast(taken, tf.int32), axis=1)
    return tf.bitwise.bitwise_and(packed, 1) == 1


def _at(values, places):
    return tf.gather(values, places, batch_dims=1)  # (B, T), (B, 1) -> (B, 1)
