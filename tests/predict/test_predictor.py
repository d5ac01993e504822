"""What all methods have in common, and what no pipeline of transformers shows."""

import jax
import numpy as np
import pytest

import albert_jax
from albert_jax.errors import InputError
from albert_jax.interop.huggingface import import_huggingface

MIXED = ["anna", "the garden " * 12, "in the town of bell", "", "the station is big. " * 7, "sees the market", "x y z"]


@pytest.fixture(scope="module")
def encoder(load):
  return load("BertModel")


@pytest.fixture
def reader(make_folder):
  return albert_jax.load(make_folder("BertForQuestionAnswering")[0])


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_batches_and_order_change_nothing(encoder, batch_size):
  alone = np.stack([encoder.encode(text) for text in MIXED])
  assert np.abs(alone[:, None] - alone[None]).max(-1)[~np.eye(len(MIXED), dtype=bool)].min() > 0.1
  np.testing.assert_allclose(encoder.encode(MIXED, batch_size=batch_size), alone, rtol=1e-5, atol=1e-5)
  order = [3, 5, 0, 6, 2, 1, 4]
  shuffled = encoder.encode([MIXED[i] for i in order], batch_size=batch_size)
  np.testing.assert_allclose(shuffled, alone[order], rtol=1e-5, atol=1e-5)


def test_each_bucket_of_lengths_is_compiled_for_once(make_folder):
  model = albert_jax.load(make_folder("BertModel")[0])
  lengths = [3, 5, 8, 9, 12, 16, 17, 24, 32, 40, 63, 72]  # with [CLS] and [SEP]: in rows of 8, 16, 32, 64 and 72
  for _ in range(2):
    for length in lengths:
      model.encode(" ".join(["the"] * (length - 2)))
  assert model._encode._cache_size() == 5
  texts = [" ".join(["the"] * (length - 2)) for length in lengths]
  for part in (texts, texts[:9], texts[::-1]):  # the shapes [4, T], which are new
    model.encode(part * 2, batch_size=4)
  assert model._encode._cache_size() <= 10


def test_nothing_in_nothing_out(encoder, load, reader):
  assert encoder.encode([]).shape == (0, 16)
  assert encoder.encode([]).dtype == np.float32
  assert load("BertForMaskedLM").fill_mask([]) == []
  assert load("BertForSequenceClassification").classify([]) == []
  assert reader.answer([], "the garden") == []


def test_one_text_in_one_result_out(encoder, load, reader):
  assert encoder.encode("anna").shape == (16,)
  classifier = load("BertForSequenceClassification")
  assert classifier.classify(("anna", "bell")) == classifier.classify([("anna", "bell")])[0]
  assert reader.answer("anna?", "the garden") == reader.answer(["anna?"], ["the garden"])[0]


def test_what_it_says_of_itself(load, make_folder):
  folder, theirs = make_folder("AlbertForMaskedLM")
  model = albert_jax.load(folder)
  assert model.num_parameters == sum(parameter.numel() for parameter in theirs.parameters())
  assert model.heads == ("mlm",)
  assert model.methods == ("encode", "fill_mask")
  assert model.config.layers == 2
  assert model.tokenizer.kind == "sentencepiece"
  assert "ALBERT" in repr(model)
  assert f"{model.num_parameters:,} parameters" in repr(model)
  assert repr(load("BertModel")).startswith("<BERT of ")


def test_a_workdir_gives_what_its_folder_gave(make_folder, tmp_path):
  folder, _ = make_folder("BertForSequenceClassification", num_labels=2)
  import_huggingface(folder, str(tmp_path / "run"))
  model = albert_jax.load(tmp_path / "run", step=0)
  assert model.classify(MIXED) == albert_jax.load(folder).classify(MIXED)
  with pytest.raises(InputError, match="holds no checkpoint of step 7"):
    albert_jax.load(tmp_path / "run", step=7)


def test_bfloat16_is_near(make_folder, encoder):
  folder, _ = make_folder("BertModel")
  half = albert_jax.load(folder, dtype="bfloat16").encode(MIXED, normalize=True)
  cosines = np.sum(half * encoder.encode(MIXED, normalize=True), axis=1)
  assert half.dtype == np.float32
  assert cosines.min() > 0.99
  assert cosines.max() != 1.0
  with pytest.raises(InputError, match=r'Unknown model\.dtype "half"'):
    albert_jax.load(folder, dtype="half")


@pytest.mark.parametrize(("dtype", "precision"), [("float32", "float32"), ("bfloat16", None)])
def test_float32_is_multiplied_as_float32_on_every_device(make_folder, dtype, precision):
  model = albert_jax.load(make_folder("BertModel")[0], dtype=dtype)
  seen = []

  def forward(params, batch, pooling):
    seen.append(jax.config.jax_default_matmul_precision)
    return (np.zeros((len(batch["tokens"]), 16), np.float32),)

  model._encode = forward
  model.encode("anna")
  assert seen == [precision]


def test_filled_sentences(load):
  model = load("BertForMaskedLM")
  fillings = model.fill_mask("Anna sees the [MASK].", top=model.tokenizer.vocab_size)
  sentences = {model.tokenizer.pieces([filling.token])[0]: filling.sentence for filling in fillings}
  assert sentences["garden"] == "Anna sees the garden."
  assert sentences["##s"] == "Anna sees thes."  # continues the word before
  first, second = model.fill_mask("[MASK] sees [MASK]", top=1)
  assert first[0].sentence == f"{first[0].text} sees [MASK]"
  assert second[0].sentence.startswith("[MASK] sees")
  albert = load("AlbertForMaskedLM")
  fillings = albert.fill_mask("Anna sees [MASK]!", top=albert.tokenizer.vocab_size)
  sentences = {albert.tokenizer.pieces([filling.token])[0]: filling.sentence for filling in fillings}
  assert sentences["▁market"] == "Anna sees market!"
  assert sentences["n"] == "Anna seesn!"


def test_masks_that_cannot_be_filled(load):
  model = load("BertForMaskedLM")
  with pytest.raises(InputError, match=r"There is no \[MASK\] in 'anna'"):
    model.fill_mask(["[MASK]", "anna"])
  with pytest.raises(InputError, match=r"has 83 tokens, the model reads 72, and a \[MASK\] is beyond"):
    model.fill_mask("the " * 80 + "[MASK]")
  assert len(model.fill_mask("[MASK]" + " the" * 80)) == 5  # only what is not asked for is cut
  for top in (0, 1000):
    with pytest.raises(InputError, match="top must be between 1 and"):
      model.fill_mask("[MASK]", top=top)


def test_long_texts_are_cut_which_is_said_once(make_folder, capsys):
  model = albert_jax.load(make_folder("BertModel")[0])
  short, long = "the " * 70, "the " * 500
  np.testing.assert_allclose(model.encode(long), model.encode(short), rtol=1e-5, atol=1e-5)
  model.encode(long)
  assert capsys.readouterr().err.count("1 of 1 texts cut to 72 tokens") == 1


def put(reader, **scores: float):
  """Makes the reader give these pieces logits as starts and as ends, and other tokens less."""
  ids = {piece: i for i, piece in enumerate(reader.tokenizer.pieces(range(reader.tokenizer.vocab_size)))}

  def forward(params, batch):
    logits_BT = np.full(batch["tokens"].shape, -10.0, np.float32)
    for piece, score in scores.items():
      logits_BT[batch["tokens"] == ids[piece.replace("CLS", "[CLS]")]] = score
    return logits_BT, logits_BT

  reader._span = forward


def test_an_answer_far_into_a_long_context(reader):
  put(reader, harbour=3.0)
  context = "the GARDEN is big. " * 60 + "Bell sees the Harbour of anna. " + "the town is small. " * 60
  answer = reader.answer("what sees bell in the town?", context)
  assert answer.text == "Harbour"
  assert (answer.start, answer.end) == (context.index("Harbour"), context.index("Harbour") + 7)
  assert answer.probability > 0.9


def test_answers_in_their_order(reader):
  put(reader, market=3.0, town=2.0, garden=1.0)
  context = "anna in the town, bell in the market"
  best, second = reader.answer("in?", context, top=2)
  # "market" alone, then all from "town" on to "market"
  assert [a.text for a in (best, second)] == ["market", "town, bell in the market"]
  assert best.probability > second.probability
  answers = reader.answer(["in?", "of?"], [context, "a garden"])
  assert [a.text for a in answers] == ["market", "garden"]
  assert reader.answer(["in?", "of?"], context) == [best, reader.answer("of?", context)]
  assert len(reader.answer("in?", context, top=50)) > 20


def test_no_answer(reader):
  context = "the garden is in the town"
  put(reader, CLS=1.0, garden=0.5)
  assert reader.answer("of?", context).text == "garden"
  silent = reader.answer("of?", context, no_answer=True)
  assert (silent.text, silent.start, silent.end) == ("", 0, 0)
  assert [a.text for a in reader.answer("of?", context, no_answer=True, top=2)] == ["", "garden"]
  reader._data = {"version": 2}  # of a run on SQuAD 2.0
  assert reader.answer("of?", context).text == ""
  reader._data = {"version": 2, "null_threshold": 2.0}
  assert [a.text for a in reader.answer("of?", context, top=2)] == ["garden", ""]
  assert reader.answer("of?", "").text == ""  # nothing to point at


@pytest.mark.parametrize(
  ("name", "method", "hint"),
  [
    ("BertModel", "fill_mask", r"cannot fill_mask, only encode\. Load a model as pretraining leaves it"),
    ("BertModel", "classify", r"cannot classify, only encode\. .*--config=configs/text_classification.py"),
    ("BertForMaskedLM", "answer", r"cannot answer, only encode, fill_mask\. .*--config=configs/squad.py"),
    ("BertForSequenceClassification", "choose", r"cannot choose, only encode, classify\. .*--config=configs/race.py"),
    ("BertForMultipleChoice", "classify", r"cannot classify, only encode, choose\."),
  ],
)
def test_methods_without_a_head(load, name, method, hint):
  arguments = ("anna [MASK]", "bell") if method in ("answer", "choose") else ("anna [MASK]",)
  with pytest.raises(InputError, match=hint):
    getattr(load(name), method)(*arguments)


def test_mistakes(load, encoder, reader, tmp_path):
  for call, message in [
    (lambda: encoder.encode(["anna", 3]), "A text must be a string, not 3"),
    (lambda: encoder.encode(None), "A text must be a string, not None"),
    (lambda: encoder.encode("anna", pooling="meen"), 'Did you mean "mean"'),
    (lambda: encoder.encode("anna", batch_size=0), "batch_size must be at least 1"),
    (lambda: reader.answer(["a", "b"], ["c"]), "2 questions, 1 contexts"),
    (lambda: albert_jax.load(tmp_path), "config.json cannot be read"),
  ]:
    with pytest.raises(InputError, match=message):
      call()
  classifier = load("BertForSequenceClassification")
  with pytest.raises(InputError, match="either texts or pairs"):
    classifier.classify(["anna", ("anna", "bell")])
  with pytest.raises(AttributeError, match="no attribute 'lode'"):
    albert_jax.lode  # noqa: B018


def test_a_folder_without_a_tokenizer(make_folder, wordpiece, sentencepiece, tmp_path):
  folder, model = make_folder("BertModel")
  model.save_pretrained(tmp_path)
  with pytest.raises(InputError, match=r"has no tokenizer: .*load\(path, tokenizer=FILE\)"):
    albert_jax.load(tmp_path)
  loaded = albert_jax.load(tmp_path, tokenizer=wordpiece.path)
  np.testing.assert_array_equal(loaded.encode(MIXED), albert_jax.load(folder).encode(MIXED))


@pytest.mark.parametrize("texts", ["\ud800", ["fine", "\udfff"]])
def test_half_a_surrogate_pair_is_refused(encoder, texts):
  with pytest.raises(InputError, match="surrogate"):
    encoder.encode(texts)


@pytest.mark.parametrize("bad", ["\ud800", "anna\udfff", 3, None])
def test_every_method_refuses_what_is_no_text(load, bad):
  filler, classifier = load("BertForMaskedLM"), load("BertForSequenceClassification")
  chooser, reader = load("BertForMultipleChoice"), load("BertForQuestionAnswering")
  for call in (
    lambda: filler.encode(bad),
    lambda: filler.fill_mask(bad),
    lambda: filler.fill_mask(["[MASK]", bad]),
    lambda: classifier.classify(bad),
    lambda: classifier.classify([("anna", bad)]),
    lambda: chooser.choose(bad, ["bell"]),
    lambda: chooser.choose("anna", ["bell", bad]),
    lambda: chooser.choose("anna", bad),
    lambda: chooser.choose("anna", ["bell"], question=bad),
    lambda: reader.answer(bad, "anna"),
    lambda: reader.answer("anna", bad),
    lambda: reader.answer(["anna"], [bad]),
  ):
    with pytest.raises(InputError, match=r"surrogate|string|options must be a list"):
      call()


@pytest.mark.parametrize("texts", [[("a", None)], [("a", 3)], [("a", "\ud800")]])
def test_a_pair_is_two_texts(load, texts):
  with pytest.raises(InputError, match="text"):
    load("BertForSequenceClassification").classify(texts)
