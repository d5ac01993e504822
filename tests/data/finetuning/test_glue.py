import numpy as np
import pytest
import tensorflow_datasets as tfds

from albert_jax.data.finetuning.glue import GLUE, GlueFiles
from albert_jax.errors import InputError

# The headers of the official files, and a row of each; A and B are the texts.
PAIR = "index\tsentence1\tsentence2\tlabel"
TRAIN = {
  "cola": "gj04\t0\t*\tA\n",
  "sst2": "sentence\tlabel\nA\t0\n",
  "mrpc": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t70\t72\tA\tB\n",
  "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
  "0\tg\tf\t2012\t1\tn\tn\tA\tB\t3.800\n",
  "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n133273\t1\t2\tA\tB\t0\n402555\t3\t4\tA\n",
  "mnli": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
  "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
  "0\t1\t1n\tg\t(\t(\t(\t(\tA\tB\tneutral\tcontradiction\n",
  "qnli": "index\tquestion\tsentence\tlabel\n0\tA\tB\tnot_entailment\n",
  "rte": f"{PAIR}\n0\tA\tB\tnot_entailment\n",
  "wnli": f"{PAIR}\n0\tA\tB\t1\n",
}
LABELS = {"cola": 0, "sst2": 0, "mrpc": 0, "stsb": 3.8, "qqp": 0, "mnli": 2, "qnli": 1, "rte": 1, "wnli": 1}
TEST = {
  "cola": "index\tsentence\n0\tA\n",
  "sst2": "index\tsentence\n0\tA\n",
  "mrpc": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tA\tB\n",
  "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\n0\tg\tf\t1\t1\t\t\tA\tB\n",
  "qqp": "id\tquestion1\tquestion2\n0\tA\tB\n",
  "mnli": "index\tpromptID\tpairID\tgenre\tp\tp\tp\tp\tsentence1\tsentence2\n0\t1\t1\tg\t(\t(\t(\t(\tA\tB\n",
  "qnli": "index\tquestion\tsentence\n0\tA\tB\n",
  "rte": "index\tsentence1\tsentence2\n0\tA\tB\n",
  "wnli": "index\tsentence1\tsentence2\n0\tA\tB\n",
}


def write_task(folder, name, *, test=True):
  """The official files of a task, one row each."""
  folder.mkdir(parents=True)
  dev, stems = TRAIN[name], ("_matched", "_mismatched") if name == "mnli" else ("",)
  if name == "mnli":  # dev files have the labels of five people
    dev = dev.replace("label1", "\t".join(f"label{i}" for i in range(1, 6))).replace("\tneutral", "\tneutral" * 5)
  (folder / "train.tsv").write_text(TRAIN[name])
  for stem in stems:
    (folder / f"dev{stem}.tsv").write_text(dev)
    if test:
      (folder / f"test{stem}.tsv").write_text(TEST[name])
  return folder


@pytest.mark.parametrize("name", GLUE)
def test_the_nine_official_formats(tmp_path, name):
  write_task(tmp_path / GLUE[name].folder, name)
  splits = GlueFiles(name, str(tmp_path)).read()
  second = None if name in ("cola", "sst2") else ["B"]
  both = ("_matched", "_mismatched") if name == "mnli" else ("",)
  assert list(splits.evaluations) == [f"valid{stem}" for stem in both]
  assert list(splits.predictions_only) == [f"test{stem}" for stem in both]
  for texts in (splits.train, *splits.evaluations.values(), *splits.predictions_only.values()):
    assert (texts.first, texts.second) == (["A"], second)
  for texts in (splits.train, *splits.evaluations.values()):
    np.testing.assert_array_equal(texts.labels, np.array([LABELS[name]], np.float32 if name == "stsb" else np.int32))
  assert all(texts.labels is None for texts in splits.predictions_only.values())


def test_the_folder_of_the_task_itself_without_a_test_split(tmp_path):
  splits = GlueFiles("rte", str(write_task(tmp_path / "mine", "rte", test=False))).read()
  assert len(splits.train) == 1
  assert splits.predictions_only == {}


def test_mrpc_as_it_is_downloaded(tmp_path):
  for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"):
    (tmp_path / name).write_text(TRAIN["mrpc"])
  splits = GlueFiles("mrpc", str(tmp_path)).read()
  assert [len(splits.train), len(splits.evaluations["valid"])] == [1, 1]


def test_names_of_files_to_submit():
  assert GlueFiles("sst2").file_name("test") == "SST-2.tsv"
  assert GlueFiles("sst2").file_name("valid") == "SST-2-valid.tsv"
  assert GlueFiles("mnli").file_name("test_matched") == "MNLI-m.tsv"
  assert GlueFiles("mnli").file_name("test_mismatched") == "MNLI-mm.tsv"


def test_mistakes_are_named(tmp_path):
  with pytest.raises(InputError, match=r"holds no SST-2/train\.tsv: --config\.data\.dir must name"):
    GlueFiles("sst2", str(tmp_path)).read()
  with pytest.raises(InputError, match=r'Unknown GLUE task "sst"\. Did you mean "sst2"'):
    GlueFiles("sst", str(tmp_path)).read()
  folder = write_task(tmp_path / "SST-2", "sst2")
  (folder / "dev.tsv").unlink()
  with pytest.raises(InputError, match=r"dev\.tsv cannot be read"):
    GlueFiles("sst2", str(tmp_path)).read()
  (folder / "train.tsv").write_text("sentence\tlabel\nA\tpositive\n")
  with pytest.raises(
    InputError, match=r"train\.tsv:2: unknown label 'positive' in column 'label'; the labels are 0, 1"
  ):
    GlueFiles("sst2", str(tmp_path)).read()


with tfds.core.registered.skip_registration():

  class Glue(tfds.core.GeneratorBasedBuilder):
    """GLUE's MNLI as TFDS has it, two rows a split."""

    VERSION = tfds.core.Version("2.0.0")
    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="mnli"),)

    def _info(self):
      text, label = tfds.features.Text(), tfds.features.ClassLabel(names=GLUE["mnli"].labels)
      features = {"premise": text, "hypothesis": text, "label": label, "idx": np.int32}
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True)

    def _split_generators(self, dl_manager):
      both = ("matched", "mismatched")
      splits = ["train", *(f"validation_{s}" for s in both), *(f"test_{s}" for s in both)]
      return {split: self._generate_examples(split) for split in splits}

    def _generate_examples(self, split):
      for i in range(2):
        label = -1 if split.startswith("test") else i + 1
        yield i, {"premise": f"Café {split}", "hypothesis": str(i), "label": label, "idx": i}


def test_tfds(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  Glue(config="mnli", data_dir=tmp_path, file_format="array_record").download_and_prepare()
  splits = GlueFiles("mnli").read()
  assert splits.train.first == ["Café train"] * 2
  assert splits.train.second == ["0", "1"]
  assert splits.train.labels.tolist() == [1, 2]
  assert splits.evaluations["valid_mismatched"].first[0] == "Café validation_mismatched"
  assert splits.predictions_only["test_matched"].labels is None


def test_tfds_out_of_reach(tmp_path, monkeypatch):
  def unreachable(name):
    raise InputError("TFDS cannot prepare it.")

  monkeypatch.setattr("albert_jax.data.finetuning.tfds.open_builder", unreachable)
  with pytest.raises(InputError, match=r"cannot prepare it\. Or name a folder of the official files with --config"):
    GlueFiles("sst2").read()
