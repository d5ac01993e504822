"""Pages of the documentation's site that are no files of docs/; MkDocs calls this (mkdocs.yml).

The README becomes the first page. Every room of the package gets a page of its modules' public docstrings.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "albert_jax"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
  """Adds results and API to the navigation."""
  results = [f"results/{path.name}" for path in sorted((ROOT / "docs" / "results").glob("*.md"))]
  config.nav += [{"Results": results}, {"API": [f"api/{room}.md" for room in api_pages()]}]
  return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds the pages."""
  readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
  for outside in ("LICENSE", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md"):
    readme = readme.replace(f"[{outside}]({outside})", f"`{outside}`")
  files.append(File.generated(config, "index.md", content=readme))
  for room, modules in api_pages().items():
    text = f"# albert_jax.{room}\n\n" + "".join(f"::: {module}\n\n" for module in modules)
    files.append(File.generated(config, f"api/{room}.md", content=text))
  return files


def api_pages() -> dict[str, list[str]]:
  """The modules of each room, without those whose names begin with an underscore."""
  pages = {}
  for room in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
    names = [path.relative_to(ROOT).with_suffix("").parts for path in sorted(room.rglob("*.py"))]
    pages[room.name] = [".".join(name) for name in names if not name[-1].startswith("_")]
  return pages
