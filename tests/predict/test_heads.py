"""Every method against transformers: its pipelines where there are any, else its models."""

import numpy as np
import pytest
import torch
import transformers

import albert_jax

TEXTS = ["anna sees the big garden.", "bell", "the library of the town is in the market, anna finds"]


def open_tokenizer(folder: str):
  names = ["input_ids", "token_type_ids", "attention_mask"]  # transformers' models take types 0 where none are given
  return transformers.AutoTokenizer.from_pretrained(folder, model_input_names=names)


def tensors(tokenizer, first, second=None):
  """What a model of transformers takes."""
  return tokenizer(first, second, return_tensors="pt", padding=True, truncation=True, max_length=72)


def pipeline(task: str, folder: str, **options):
  return transformers.pipeline(task, model=folder, tokenizer=open_tokenizer(folder), device="cpu", **options)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "AlbertForMaskedLM"])
def test_fill_mask(load, make_folder, name):
  folder, _ = make_folder(name)
  prompts = ["anna sees the [MASK].", "[MASK] helps", "the [MASK] garden, in the [MASK] is [MASK]"]
  found = load(name).fill_mask(prompts, top=4)
  expected = pipeline("fill-mask", folder)(prompts, top_k=4)
  assert len(found[0]) == 4
  assert [len(fillings) for fillings in found[2]] == [4, 4, 4]
  for mine, theirs in zip([*found[:2], *found[2]], [*expected[:2], *expected[2]], strict=True):
    assert [filling.token for filling in mine] == [one["token"] for one in theirs]
    np.testing.assert_allclose([filling.probability for filling in mine], [one["score"] for one in theirs], rtol=1e-4)


@pytest.mark.parametrize("name", ["BertModel", "AlbertModel", "BertForMaskedLM"])
def test_encode(load, make_folder, name):
  folder, model = make_folder(name)
  mine = load(name)
  inputs = tensors(open_tokenizer(folder), TEXTS)
  with torch.no_grad():
    x_BTD = getattr(model, model.base_model_prefix, model)(**inputs).last_hidden_state.numpy()
  inside_BT1 = inputs["attention_mask"].numpy()[..., None]
  mean_BD = (x_BTD * inside_BT1).sum(1) / inside_BT1.sum(1)
  np.testing.assert_allclose(mine.encode(TEXTS), mean_BD, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(mine.encode(TEXTS, pooling="cls"), x_BTD[:, 0], rtol=1e-4, atol=1e-5)
  unit_BD = mean_BD / np.linalg.norm(mean_BD, axis=1, keepdims=True)
  np.testing.assert_allclose(mine.encode(TEXTS, normalize=True), unit_BD, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "AlbertForSequenceClassification"])
def test_classify(make_folder, name):
  folder, _ = make_folder(name, id2label={0: "good", 1: "bad", 2: "other"})
  pairs = [(text, other) for text, other in zip(TEXTS, reversed(TEXTS))]
  model = albert_jax.load(folder)
  theirs = pipeline("text-classification", folder, top_k=None)
  expected = theirs(TEXTS) + [theirs({"text": a, "text_pair": b}) for a, b in pairs]
  for mine, scores in zip([*model.classify(TEXTS), *model.classify(pairs)], expected, strict=True):
    assert mine.label == scores[0]["label"]
    assert mine.probability == mine.probabilities[mine.label]
    assert list(mine.probabilities) == ["good", "bad", "other"]
    assert mine.probabilities == pytest.approx({one["label"]: one["score"] for one in scores}, rel=1e-4)


def test_classify_of_a_regression_gives_numbers(make_folder):
  folder, model = make_folder("BertForSequenceClassification", num_labels=1, problem_type="regression")
  with torch.no_grad():
    logits_BC = model(**tensors(open_tokenizer(folder), TEXTS)).logits
  assert albert_jax.load(folder).classify(TEXTS) == pytest.approx(logits_BC[:, 0].tolist(), rel=1e-4)


def test_choose(load, make_folder):
  folder, model = make_folder("BertForMultipleChoice")
  options = ["is big.", "is in the small town.", "finds anna"]
  inputs = tensors(open_tokenizer(folder), [TEXTS[0]] * 3, options)
  with torch.no_grad():
    expected = torch.softmax(model(**{name: tensor[None] for name, tensor in inputs.items()}).logits[0], 0).numpy()
  choice = load("BertForMultipleChoice").choose(TEXTS[0], options)
  np.testing.assert_allclose(choice.probabilities, expected, rtol=1e-4)
  assert (choice.number, choice.option) == (expected.argmax(), options[expected.argmax()])
  asked = load("BertForMultipleChoice").choose(TEXTS[0], ["garden", "town"], question="the _ is big.")
  filled = load("BertForMultipleChoice").choose(TEXTS[0], ["the garden is big.", "the town is big."])
  assert asked.probabilities == filled.probabilities


@pytest.mark.parametrize("name", ["BertForQuestionAnswering", "AlbertForQuestionAnswering"])
def test_answer(load, make_folder, name):
  folder, model = make_folder(name)
  question, context = "the garden is in the?", "Anna sees a big market  in the town,\nbell finds the small library."
  tokenizer = open_tokenizer(folder)
  encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
  offsets = encoded.pop("offset_mapping")[0].numpy()
  with torch.no_grad():
    output = model(**encoded)
  start_T, end_T = output.start_logits[0].numpy(), output.end_logits[0].numpy()
  inside = [t for t, segment in enumerate(encoded.sequence_ids()) if segment == 1]
  scores = {(i, j): start_T[i] + end_T[j] for i in inside for j in inside if 0 <= j - i < 30}
  i, j = max(scores, key=scores.get)
  answer = load(name).answer(question, context)
  assert context[answer.start : answer.end] == answer.text == context[offsets[i, 0] : offsets[j, 1]].strip()
  null = start_T[0] + end_T[0]
  silent = load(name).answer(question, context, no_answer=True)
  assert silent.text == ("" if null > scores[i, j] else answer.text)
