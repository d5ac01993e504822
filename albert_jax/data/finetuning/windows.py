"""Windows on passages: one that is too long for a row is read in several parts (arXiv 1810.04805, released code)."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from albert_jax.data.finetuning.encode import Sequences
from albert_jax.data.finetuning.squad import Question
from albert_jax.data.tokenizers.base import Tokenizer
from albert_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class WindowSettings:
  """How questions and passages become rows, [CLS] question [SEP] part of the passage [SEP].

  Attributes:
    max_length: positions of a row at most, T.
    stride: tokens from the start of one window to that of the next.
    max_question: tokens of a question at most; its end is cut off.
  """

  max_length: int = 384
  stride: int = 128
  max_question: int = 64

  def __post_init__(self):
    if self.stride < 1 or self.max_question < 1:
      raise InputError(f"data.stride {self.stride} and data.max_question {self.max_question} must be at least 1.")
    if self.max_question + 3 >= self.max_length:
      raise InputError(
        f"data.max_length {self.max_length} leaves no room for a passage beside data.max_question "
        f"{self.max_question} and three special tokens."
      )


@dataclasses.dataclass(frozen=True)
class Windows:
  """X windows on the passages of Q questions, in the order of the questions.

  Attributes:
    questions: the questions.
    sequences: segment A is a question, segment B the part of its passage that a window sees.
    question_X: the number of each window's question.
    passage_Q2: where a question's passage begins and ends in `sequences.tokens`.
    characters: [n, 2] int32, first and one past the last character of its passage that a token stands for.
  """

  questions: Sequence[Question]
  sequences: Sequences
  question_X: np.ndarray
  passage_Q2: np.ndarray
  characters: np.ndarray

  def __len__(self):
    return len(self.question_X)

  def of(self, question: int) -> range:
    """Numbers of a question's windows."""
    return range(*np.searchsorted(self.question_X, [question, question + 1]).tolist())

  def offset(self, window: int) -> int:
    """Position in the row of the token that comes first in the window."""
    return int(self.sequences.sizes_X2[window, 0]) + 2

  def passage_slice(self, window: int) -> slice:
    """The positions of the row that hold the passage."""
    return slice(self.offset(window), self.offset(window) + int(self.sequences.sizes_X2[window, 1]))

  def labels(self) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the row of the answer's first and last token, int32 [X]; 0, [CLS], where it is not all there."""
    answers_Q2 = np.array([self._answer_tokens(q) for q in range(len(self.questions))])
    first_X, last_X = answers_Q2[self.question_X].T
    size_a_X, start_X = self.sequences.sizes_X2[:, 0], self.sequences.starts_X2[:, 1]
    is_here_X = (first_X >= start_X) & (last_X < start_X + self.sequences.sizes_X2[:, 1])
    return tuple(np.where(is_here_X, place - start_X + size_a_X + 2, 0).astype(np.int32) for place in (first_X, last_X))

  def has_most_context(self, question: int) -> list[np.ndarray]:
    """For each window of a question, bool [size]: whether its tokens have more context here than in the others.

    A token's context is the lesser of the numbers of tokens before and after it, plus a hundredth of the window's
    size, which decides between equals; then the first window has it.
    """
    windows = self.of(question)
    starts_K1 = self.sequences.starts_X2[windows, 1][:, None]
    sizes_K1 = self.sequences.sizes_X2[windows, 1][:, None]
    token_N = np.arange(*self.passage_Q2[question])
    before_KN, after_KN = token_N - starts_K1, starts_K1 + sizes_K1 - 1 - token_N
    context_KN = np.minimum(before_KN, after_KN)
    context_KN = np.where(context_KN >= 0, context_KN + 0.01 * sizes_K1, -np.inf)
    best_N = context_KN.argmax(axis=0) if len(token_N) else token_N
    return [(best_N == k)[context_KN[k] > -np.inf] for k in range(len(windows))]

  def _answer_tokens(self, question: int) -> tuple[int, int]:
    """The first and the last token that hold a character of the answer, or twice -1."""
    span = self.questions[question].span
    if span is None:
      return -1, -1
    start, stop = self.passage_Q2[question]
    characters = self.characters[start:stop]
    touched = start + np.flatnonzero((characters[:, 0] < span[1]) & (characters[:, 1] > span[0]))
    return (touched[0], touched[-1]) if len(touched) else (-1, -1)


def make_windows(questions: Sequence[Question], tokenizer: Tokenizer, settings: WindowSettings) -> Windows:
  """Encodes questions and passages, each passage once, and lays windows on them."""
  number = {context: i for i, context in enumerate(dict.fromkeys(question.context for question in questions))}
  passages = [tokenizer.encode_with_offsets(context) for context in number]
  asked = tokenizer.encode_batch([question.text for question in questions])
  parts = [*(ids for ids, _ in passages), *(ids[: settings.max_question] for ids in asked)]
  sizes = np.array([len(part) for part in parts])
  starts = np.cumsum(sizes) - sizes
  tokens = np.fromiter(itertools.chain.from_iterable(parts), np.int32, sizes.sum())
  characters = np.array([span for _, spans in passages for span in spans], np.int32).reshape(-1, 2)

  sequences, owners, passage_Q2 = [], [], []
  for q, question in enumerate(questions):
    a, b = len(passages) + q, number[question.context]
    passage_Q2.append((starts[b], starts[b] + sizes[b]))
    for first, size in cut_windows(sizes[b], settings.max_length - sizes[a] - 3, settings.stride):
      sequences.append(((starts[a], sizes[a]), (starts[b] + first, size)))
      owners.append(q)
  placed_X22 = np.array(sequences, np.int64)
  return Windows(
    questions,
    Sequences(tokens, placed_X22[:, :, 0], placed_X22[:, :, 1], paired=True),
    np.array(owners),
    np.array(passage_Q2),
    characters,
  )


def cut_windows(tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
  """Starts and sizes of the windows on a passage: each takes up all the room, but for the last, which ends with it."""
  step = min(room, stride)
  count = 1 + max(0, -(-(tokens - room) // step))
  return [(i * step, min(room, tokens - i * step)) for i in range(count)]
