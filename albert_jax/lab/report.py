"""stub until the page is there"""
import json
from pathlib import Path
from albert_jax.files import new_file
from albert_jax.lab.results import collect
def report(workdir):
  """x"""
  r=collect(workdir)
  with new_file(Path(workdir)/"report"/"results.json") as p: p.write_text(json.dumps(r,indent=1)+"\n")
  return Path(workdir)/"report"
