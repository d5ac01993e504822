"""Reads and writes the parts of a SentencePiece model that the library does not show: scores, kinds of pieces, rules.

The messages are those of sentencepiece's `sentencepiece_model.proto`, as far as they are needed here; other fields are
kept as they are. (The module that sentencepiece generates from it works with only some versions of protobuf.)
"""

from collections.abc import Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from albert_jax.errors import InputError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
UNIGRAM = 1

_TYPES = {"string": 9, "float": 2, "int32": 5, "bool": 8, "bytes": 12}
# message → (name, number, type), with a default after "="; a message's name in brackets is repeated
_MESSAGES = {
  "Piece": (("piece", 1, "string"), ("score", 2, "float"), ("type", 3, "int32=1")),
  "Trainer": (
    ("model_type", 3, "int32=1"),
    ("treat_whitespace_as_suffix", 24, "bool=false"),
    ("byte_fallback", 35, "bool=false"),
    ("unk_id", 40, "int32=0"),
    ("bos_id", 41, "int32=1"),
    ("eos_id", 42, "int32=2"),
    ("pad_id", 43, "int32=-1"),
    ("unk_piece", 45, "string"),
    ("pad_piece", 48, "string"),
  ),
  "Normalizer": (("name", 1, "string"), ("precompiled_charsmap", 2, "bytes"), ("add_dummy_prefix", 3, "bool=true")),
  "Model": (("pieces", 1, "[Piece]"), ("trainer_spec", 2, "Trainer"), ("normalizer_spec", 3, "Normalizer")),
}


def _declare() -> type[Message]:
  file = descriptor_pb2.FileDescriptorProto(name="sentencepiece_model", package="albert_jax", syntax="proto2")
  for message, fields in _MESSAGES.items():
    declared = file.message_type.add(name=message)
    for name, number, kind in fields:
      kind, _, default = kind.partition("=")
      field = declared.field.add(name=name, number=number, label=3 if kind.startswith("[") else 1)
      if kind in _TYPES:
        field.type = _TYPES[kind]
        if default:
          field.default_value = default
      else:
        field.type, field.type_name = 11, f".albert_jax.{kind.strip('[]')}"
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  return message_factory.GetMessageClass(pool.FindMessageTypeByName("albert_jax.Model"))


_Model = _declare()


def parse(content: bytes, path: str) -> Message:
  """The model in a file's content.

  Raises:
    InputError: it is damaged.
  """
  try:
    return _Model.FromString(content)
  except DecodeError as error:
    raise InputError(f"{path}: not a SentencePiece model, or a damaged one. Fetch it again.") from error


def build(
  vocabulary: Sequence[tuple[str, float]], specials: Sequence[str], charsmap: bytes, byte_fallback: bool
) -> bytes:
  """The content of a unigram model.

  Args:
    vocabulary: piece and log probability, in the order of their ids.
    specials: pad, unk and other pieces that are not matched in text.
    charsmap: the precompiled rules of normalisation.
    byte_fallback: whether pieces such as "<0xE2>" stand for the bytes of unknown characters.
  """
  pad, unk, *_ = specials
  model = _Model()
  kinds = dict.fromkeys(specials, CONTROL) | {unk: UNKNOWN}
  if byte_fallback:
    kinds |= {f"<0x{byte:02X}>": BYTE for byte in range(256)}
  for piece, score in vocabulary:
    # Training gives log probabilities; what a user defined has none.
    model.pieces.add(piece=piece, score=score, type=kinds.get(piece, NORMAL if score else USER_DEFINED))
  ids = {piece: i for i, (piece, _) in enumerate(vocabulary)}
  spec = model.trainer_spec
  spec.model_type, spec.byte_fallback = UNIGRAM, byte_fallback
  spec.unk_id, spec.unk_piece, spec.pad_id, spec.pad_piece = ids[unk], unk, ids[pad], pad
  spec.bos_id = spec.eos_id = -1
  model.normalizer_spec.precompiled_charsmap = charsmap
  return model.SerializeToString(deterministic=True)
