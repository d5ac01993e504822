"""From logits to answers, and the task that learns them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from albert_jax.data.finetuning.squad import Question
from albert_jax.data.finetuning.windows import WindowSettings, make_windows
from albert_jax.data.tokenizers.registry import load_tokenizer, train_tokenizer
from albert_jax.errors import InputError
from albert_jax.tasks import make_task
from albert_jax.tasks.squad_answers import AnswerSettings, find_answers
from albert_jax.tasks.squad_scores import squad1_scores
from albert_jax.training.loop import train
from albert_jax.training.program import make_program
from configs import squad
from tests.builders import override

# Passages, and answers that begin and end with words.
TROUBLE = {
  "In 2008, 1,234 people paid ``15,000'' dollars.": ["2008", "2008, 1,234 people", "``15,000''", "1,234"],
  "İstanbul’da  Ünïcödé\u00a0ΣΑΣ ﬁnds ½ of 6½ sacks…": ["İstanbul", "Ünïcödé\u00a0ΣΑΣ", "ﬁnds ½", "6½ sacks", "sacks…"],
  "Cafe\u0301 Zu\u0308rich, nai\u0308ve (résumé)": ["Cafe\u0301", "Zu\u0308rich", "nai\u0308ve (résumé)", "résumé"],
  "x\u200by the\u200e left\u200e mark, so\u00adft": ["left", "mark", "the\u200e left"],
  "東京 is 首都; 北京 too. 한국어 \u1112\u1161\u11ab": ["東京", "首都", "北京 too", "한국어", "\u1112\u1161\u11ab"],
  "a 🦊 met 👩‍👩‍👧 at 10 °C ﷺ end": ["🦊", "👩‍👩‍👧", "10 °C", "🦊 met 👩‍👩‍👧", "end"],
  "tabs\tand\n lines   and a ´ or ¨": ["tabs\tand\n lines", "lines   and"],
  "'twas \"quoted\", 'well-known'": ["quoted", "\"quoted\"", "well-known", "'twas"],
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tokenizers")
  prose = "\n".join(f"{text} {i} in 200{i % 10}, 1{i % 10},5 and paid" for i in range(20) for text in TROUBLE)
  return {
    "sentencepiece": train_tokenizer("sentencepiece", [prose], 120, str(folder / "a.model")),
    "wordpiece": train_tokenizer("wordpiece", [prose], 150, str(folder / "a.txt")),
  }


def gold_logits(windows):
  """Logits that are sure of the labels."""
  length = int(windows.sequences.lengths.max())
  return [np.where(np.arange(length) == label[:, None], 9.0, -9.0).astype(np.float32) for label in windows.labels()]


@pytest.mark.parametrize("length", [512, 48])
@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
def test_gold_answers_come_back_as_they_are_written(tokenizers, kind, length):
  questions, end = [], " and so on" * 6
  for context, answers in TROUBLE.items():
    for text in answers:
      whole = f"{end} {context}{end}"
      questions.append(Question(str(len(questions)), "what ?", whole, ((text, whole.index(text)),)))
  windows = make_windows(questions, tokenizers[kind], WindowSettings(max_length=length, stride=4, max_question=8))
  assert length == 512 or len(windows) > 3 * len(questions)
  answers = find_answers(windows, *gold_logits(windows), AnswerSettings())
  texts = [answer.best.text for answer in answers]
  assert [(answer.best.text, answer.best.start) for answer in answers] == [q.answers[0] for q in questions]
  assert squad1_scores(texts, [[q.answers[0][0]] for q in questions]) == {"exact_match": 100, "f1": 100}


@pytest.fixture
def letters(tmp_path):
  path = tmp_path / "letters.txt"
  path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijxyz"]) + "\n")
  return load_tokenizer(str(path))


def make_case(letters, context, length=16, stride=4):
  """Windows on one passage of single letters, and logits of -5 everywhere; [CLS] x [SEP] takes three positions."""
  windows = make_windows([Question("q", "x", context, ())], letters, WindowSettings(length, stride, max_question=1))
  return windows, *(np.full((len(windows), length), -5.0, np.float32) for _ in range(2))


def answer(case, **settings):
  return find_answers(*case, AnswerSettings(**settings))[0]


def texts(found):
  return [candidate.text for candidate in found.candidates]


def test_best_spans_in_order(letters):
  _, start, end = case = make_case(letters, "a b c d")
  start[0, 3:7] = [1, 4, 0, 0]
  end[0, 3:7] = [2.5, -1, 2, 0]
  # From b to a would be 4 + 2.5, but ends before it starts.
  found = answer(case, n_best=3)
  assert texts(found) == ["b c", "b c d", "a"]
  assert [c.score for c in found.candidates] == [6, 4, 3.5]
  assert (found.best.start_logit, found.best.end_logit) == (4, 2)
  assert texts(answer(case, n_best=3, max_answer=2)) == ["b c", "a", "b"]
  assert len(answer(case, n_best=100).candidates) == 10


def test_answers_lie_in_the_passage(letters):
  _, start, end = case = make_case(letters, "a b")
  start[0], end[0] = 0, 0
  start[0, [0, 1, 2, 5, 6]] = end[0, [0, 1, 2, 5, 6]] = 9  # [CLS], question, both [SEP], padding
  assert sorted(texts(answer(case))) == ["a", "a b", "b"]


def test_a_text_counts_once(letters):
  _, start, end = case = make_case(letters, "a b a")
  start[0, [3, 5]] = end[0, [3, 5]] = [2, 3]
  found = answer(case)
  assert texts(found)[0] == "a"
  assert len(set(texts(found))) == len(found.candidates) == 5
  assert found.best.score == 6


def test_spans_start_where_they_have_most_context(letters):
  """Windows abcd and cdef: c has more context in the first, d in the second."""
  windows, start, end = case = make_case(letters, "a b c d e f", length=8, stride=2)
  assert len(windows) == 2
  start[0, 6], end[0, 6] = 9, 9  # d in the first window
  start[1, 4], end[1, 5] = 5, 5  # d to e in the second
  assert answer(case).best.text == "d e"


def test_no_answer_is_as_likely_as_in_its_least_likely_window(letters):
  _, start, end = case = make_case(letters, "a b c d e f", length=8, stride=2)
  start[:, 0], end[:, 0] = [4, 3], [1, 0]
  start[0, 3], end[0, 3] = 2, 2
  found = answer(case)
  assert (found.null.start_logit, found.null.end_logit, found.null_odds) == (3, 0, 3 - 4)
  (best, p), (second, q) = found.probabilities(with_null=True)[:2]
  assert (best.text, second.text) == ("a", "")
  assert p / q == pytest.approx(np.exp(1))
  assert sum(p for _, p in found.probabilities(with_null=True)) == pytest.approx(1)
  assert "" not in [c.text for c, _ in found.probabilities(with_null=False)]


def test_an_empty_passage_has_no_answer(letters):
  found = answer(make_case(letters, ""))
  assert (found.best.text, found.null_odds, found.candidates) == ("", 0, [])
  assert [c.text for c, _ in found.probabilities(with_null=False)] == [""]


@pytest.fixture
def make(tmp_path):
  def make(arguments, **values):
    config = squad.get_config(f"{arguments},test")
    return override(config, {"data.cache_dir": str(tmp_path), **values})

  return make


@pytest.mark.parametrize("version", [1, 2])
def test_scores_and_files_of_gold_logits(make, tmp_path, version):
  task = make_task(make(f"v{version}"))
  rows = task.load_data().evaluations["valid"]
  batch = rows.batch(0, rows.num_rows, 0, rows.num_rows)
  logits = [np.where(np.arange(40) == batch[key][:, None], 9.0, -9.0) for key in ("starts", "ends")]
  outputs = {"start_logits": list(logits[0]), "end_logits": list(logits[1])}
  scores = task.scores("valid", outputs)
  assert {name for name in scores if "thresh" not in name and scores[name] != 100} == set()
  assert ("HasAns_f1" in scores) == (version == 2)
  paths = task.write_predictions("valid", outputs, tmp_path / "out")
  files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
  assert set(files) == {"predictions.json", "nbest_predictions.json"} | ({"null_odds.json"} if version == 2 else set())
  path = tmp_path / "sample" / f"squad{version}" / f"dev-v{('1.1', '2.0')[version - 1]}.json"
  qas = [p["qas"][0] for p in json.loads(path.read_text())["data"][0]["paragraphs"]]
  assert files["predictions.json"] == {qa["id"]: qa["answers"][0]["text"] if qa["answers"] else "" for qa in qas}
  for key, candidates in files["nbest_predictions.json"].items():
    assert 0 < len(candidates) <= 20 + 1
    assert set(candidates[0]) == {"text", "probability", "start_logit", "end_logit"}
    assert sum(c["probability"] for c in candidates) == pytest.approx(1)
    assert candidates[0]["text"] == files["predictions.json"][key]
  if version == 2:
    assert {key: odds > 0 for key, odds in files["null_odds.json"].items()} == {q["id"]: not q["answers"] for q in qas}


def test_null_threshold_decides(make, tmp_path):
  values = {}
  for threshold in (-100.0, 100.0):
    task = make_task(make("v2", **{"data.null_threshold": threshold}))
    rows = task.load_data().evaluations["valid"]
    zeros = [np.zeros(40, np.float32)] * rows.num_rows
    outputs = {"start_logits": zeros, "end_logits": zeros}
    path = task.write_predictions("valid", outputs, tmp_path)[0]
    values[threshold] = set(json.loads(path.read_text()).values()), task.scores("valid", outputs)["NoAns_exact"]
  assert values[-100.0] == ({""}, 100)
  assert "" not in values[100.0][0]
  assert values[100.0][1] < 100


def test_squad1_always_answers(make, tmp_path):
  task = make_task(make("v1"))
  logits = [np.where(np.arange(40) == 0, 9.0, 0.0)] * task.load_data().evaluations["valid"].num_rows
  path = task.write_predictions("valid", {"start_logits": logits, "end_logits": logits}, tmp_path)[0]
  assert "" not in json.loads(path.read_text()).values()


def test_loss_by_hand(make):
  task = make_task(make("v1", **{"model.layers": 1}))
  rows = task.load_data().train
  batch = {name: jnp.array(array) for name, array in rows.batch(0, 6, 0, 6).items()}
  empty = {name: array.at[5].set(0) for name, array in batch.items()}
  params = task.init(jax.random.key(0))

  def loss(params):
    terms, outputs = task.forward(params, empty, None)
    return terms["loss"][0], (terms, outputs)

  gradient, (terms, outputs) = jax.jit(jax.grad(loss, has_aux=True))(params)
  expected = []
  for row in range(5):
    real = np.asarray(batch["example_ids"][row]) > 0
    for name in ("start", "end"):
      logits = np.asarray(outputs[f"{name}_logits"][row], np.float64)
      expected.append(np.log(np.exp(logits[real]).sum()) - logits[batch[f"{name}s"][row]])
  total, weight = terms["loss"]
  assert (float(total), float(weight)) == (pytest.approx(sum(expected) / 2, rel=1e-5), 5)
  assert task.loss_weights(empty) == {"loss": 5}
  assert float(terms["start_accuracy"][1]) == 5
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_specs_are_those_of_the_longest_batch(make):
  task = make_task(make("v2"))
  batch = task.load_data().train.batch(0, 16, 0, 16)
  specs = task.batch_specs(16)
  assert list(specs) == list(batch)
  assert {n: (s.shape, s.dtype) for n, s in specs.items()} == {n: (a.shape, a.dtype) for n, a in batch.items()}


def test_a_run_from_beginning_to_end(make, tmp_path):
  steps = {"train.steps": 4, "optimizer.warmup_steps": 1, "eval.every": 2, "checkpoint.every": 4}
  config = make("v2", **steps, **{"train.batch_size": 16, "eval.batch_size": 16, "model.layers": 1})
  results = train(make_program(config, make_task(config), jax.devices()[:1]), str(tmp_path / "run"))
  assert {"loss", "exact", "f1", "HasAns_f1", "NoAns_f1", "best_f1", "best_f1_thresh"} <= set(results["valid"])
  line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
  assert 0 <= line["f1"] <= 100


def test_published_recipes():
  first, second = squad.get_config("v1"), squad.get_config("v2")
  assert (first.optimizer.learning_rate, first.train.batch_size, first.train.steps) == (5e-5, 48, 3649)
  assert (second.optimizer.learning_rate, second.train.batch_size, second.train.steps) == (3e-5, 48, 8144)
  assert (first.optimizer.warmup_steps, second.optimizer.warmup_steps) == (365, 814)
  assert {(c.data.max_length, c.data.stride, c.data.max_question, c.eval.metric) for c in (first, second)} == {
    (384, 128, 64, "f1")
  }
  assert squad.get_config() == first


@pytest.mark.parametrize(
  ("arguments", "values", "message"),
  [
    ("v1,v2", {}, "not both"),
    ("v3", {}, 'Unknown config argument "v3"'),
    ("v1", {"data.version": 3}, "data.version"),
    ("v1", {"data.stride": 0}, "data.stride must be at least 1"),
    ("v1", {"data.max_answer": 0}, "data.max_answer must be at least 1"),
    ("v1", {"data.max_length": 80}, "data.max_length 80 is more than model.positions 64"),
  ],
)
def test_mistakes_are_named(make, arguments, values, message):
  with pytest.raises(InputError, match=message):
    make_task(make(arguments, **values))
