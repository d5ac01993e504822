"""Trains a tokenizer and writes it to a file.

  python scripts/train_tokenizer.py --source='files:corpus/*.txt' --kind=sentencepiece --vocab_size=30000 \
    --output=corpus.model
"""

from absl import flags

from albert_jax import cli
from albert_jax.data.text.sources import open_source
from albert_jax.data.tokenizers import registry

SOURCE = flags.DEFINE_string("source", "pydoc", "Text: pydoc, files:GLOB or tfds:NAME/CONFIG.")
TEXT_KEY = flags.DEFINE_string("text_key", "text", "The field that holds the text (.jsonl, .parquet, TFDS).")
KIND = flags.DEFINE_enum("kind", "sentencepiece", ["sentencepiece", "wordpiece"], "ALBERT's or BERT's.")
VOCAB_SIZE = flags.DEFINE_integer("vocab_size", 30_000, "Pieces, the five special ones included.", lower_bound=6)
OUTPUT = flags.DEFINE_string("output", None, "The file to write: .model or .txt.", required=True)
LOWERCASE = flags.DEFINE_bool("lowercase", True, "Lower-case the text and strip its accents.")
CHARACTERS = flags.DEFINE_integer("characters", None, "Text to train on; 1,000 a piece if not given.", lower_bound=1)


def main(_: list[str]) -> None:
  """Trains, writes, and shows how the vocabulary splits a sentence."""
  characters = CHARACTERS.value or VOCAB_SIZE.value * registry.CHARACTERS_PER_PIECE
  source = open_source(SOURCE.value, text_key=TEXT_KEY.value)
  texts = registry.sample_texts(source, characters)
  trained = registry.train_tokenizer(KIND.value, texts, VOCAB_SIZE.value, OUTPUT.value, lowercase=LOWERCASE.value)
  print(f"{OUTPUT.value}: {trained.vocab_size} pieces, {trained.kind}")
  print(*trained.pieces(trained.encode("Sharing parameters between layers costs 0.5 points.")))


if __name__ == "__main__":
  cli.run(main)
