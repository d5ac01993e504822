"""Pages of the documentation that MkDocs makes while it builds: the overview and the reference of the Python interface.

mkdocs build        # pip install -e '.[docs]'
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
# What is called from Python, in the order of a first reading. The programs have their own help.
MODULES = (
  "predict.predictor",
  "predict.results",
  "interop.pretrained",
  "interop.huggingface",
  "interop.export",
  "interop.serving",
  "analysis.states",
  "analysis.similarity",
  "analysis.conflict",
  "analysis.growth",
  "models.sharing",
  "models.sizes",
  "models.encoder",
  "models.heads",
  "data.text.sources",
  "errors",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds the README as the overview, with its links as seen from docs/, and the reference."""
  overview = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
  files.append(File.generated(config, "index.md", content=overview))
  for name in ("LICENSE", "CITATION.cff"):  # the overview links to them
    files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
  sections = "\n\n".join(f"::: albert_jax.{module}" for module in MODULES)
  files.append(File.generated(config, "reference.md", content=f"# Python reference\n\n{sections}\n"))
  return files
