"""Labelled data by name: `glue:TASK`, `race` and `text_files`."""

import ml_collections

from albert_jax.config import make_settings
from albert_jax.data.finetuning import samples
from albert_jax.data.finetuning.glue import GlueFiles
from albert_jax.data.finetuning.race import RaceFiles
from albert_jax.data.finetuning.text_files import TextFiles
from albert_jax.data.finetuning.types import Reader
from albert_jax.errors import unknown


def open_reader(data: ml_collections.ConfigDict) -> Reader:
  """Opens what `data.source` names, in the folder `data.dir`; "sample" is a folder of rule-made examples.

  Raises:
    InputError: there is no such source.
  """
  kind, _, name = data.source.partition(":")
  directory = data.dir
  if directory == samples.NAME:
    directory = samples.write_sample(kind, name, data.cache_dir)
  if kind == "glue":
    return GlueFiles(name, directory)
  if kind == "race":
    return RaceFiles(directory)
  if kind == "text_files":
    return make_settings(TextFiles, {**data, "dir": directory, "labels": tuple(data.labels)})
  raise unknown("data.source", data.source, ("glue:TASK", "race", "text_files"))
