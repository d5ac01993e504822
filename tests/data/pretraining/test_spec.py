import numpy as np
import pytest

from albert_jax.data.pretraining.spec import BatchSettings, Vocabulary
from albert_jax.errors import InputError

PAD, UNK, CLS, SEP, MASK = range(5)
SIZE = 500


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"mask_rate": 0.0}, ["mask_rate=0.0"]),
    ({"mask_rate": 1.0}, ["mask_rate=1.0"]),
    ({"max_ngram": 0}, ["max_ngram=0"]),
    ({"packing": 0}, ["packing=0"]),
    ({"max_length": 4}, ["max_length=4", "5 to"]),
    ({"max_length": 2**17}, ["max_length=131072"]),
    ({"max_predictions": 600}, ["max_predictions=600", "max_length=512"]),
    ({"max_predictions": -1}, ["max_predictions=-1"]),
    ({"seed": -1}, ["seed=-1"]),
    ({"mask_prob": 1.1}, ["mask_prob=1.1"]),
    ({"random_prob": 0.3}, ["random_prob=0.3"]),
    ({"pair_objective": "spo"}, ["spo", 'Did you mean "sop"?', "nsp", "none"]),
  ],
)
def test_bad_settings_name_the_key(settings, words):
  with pytest.raises(InputError) as error:
    BatchSettings(**settings)
  for word in words:
    assert word in str(error.value)


IDS = {"size": SIZE, "pad_id": PAD, "cls_id": CLS, "sep_id": SEP, "mask_id": MASK}
IDS |= {"special_ids": (PAD, UNK, CLS, SEP, MASK), "word_starts": np.ones(SIZE, bool)}


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"special_ids": (UNK, CLS, SEP, MASK)}, "special ids"),
    ({"sep_id": CLS}, "different"),
    ({"size": SIZE + 1}, "word_starts"),
    ({"special_ids": (PAD, UNK, CLS, SEP, MASK, SIZE)}, "outside"),
  ],
)
def test_bad_vocabularies(changes, words):
  with pytest.raises(InputError, match=words):
    Vocabulary(**IDS | changes)
