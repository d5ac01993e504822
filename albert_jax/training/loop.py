"""The training loop. Every task shares it."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from albert_jax.checkpoints.manager import Checkpoints, check_workdir
from albert_jax.config.records import flatten
from albert_jax.data.tokenizers.hf_folder import FOLDER as TOKENIZER_FOLDER
from albert_jax.data.tokenizers.hf_folder import save_tokenizer
from albert_jax.errors import InputError
from albert_jax.runtime import distributed, preemption, watchdog
from albert_jax.runtime.lock import locked
from albert_jax.runtime.supervisor import NoNotices, NoticeBoard, Supervisor
from albert_jax.training.best import BestCheckpoint
from albert_jax.training.compiled_step import CompiledStep, Executables
from albert_jax.training.device_batches import device_batches
from albert_jax.training.evaluation import Results, evaluate
from albert_jax.training.init_from import Pretrained, init_from, moments_from
from albert_jax.training.log.metrics import Progress, Writer, logged_splits, summary
from albert_jax.training.log.profiler import Profiler
from albert_jax.training.log.step_log import StepLog, is_due
from albert_jax.training.program import Program
from albert_jax.training.run_signature import check_signature, save_signature
from albert_jax.training.step import TrainState, check_finite
from albert_jax.training.task import TaskData


def train(
  program: Program,
  workdir: str,
  pretrained: Pretrained | None = None,
  *,
  allow_changes: Sequence[str] = (),
  notices: NoticeBoard | None = None,
  executables: Executables | None = None,
) -> Results:
  """Trains to the last step, from the newest checkpoint of the workdir if there is one.

  Args:
    program: what to train.
    workdir: folder of the run.
    pretrained: where a new run takes its first parameters from; those it lacks are new.
    allow_changes: what may differ from the run in the workdir, fields as in `run_signature.check_signature`.
    notices: tells when the run is to be saved and to end, see `preemption`; by default nothing does.
    executables: compiled programs of earlier runs; a step that differs in learning rate and seed only is found there.

  Returns:
    The metrics of the last evaluation, or of the best one if `eval.metric` names what is best, by split.

  Raises:
    InputError: the workdir holds another run, or too many consecutive steps were skipped.
    SystemExit: with `preemption.EXIT_CODE`; the run is saved.
  """
  notices = notices or NoNotices()
  check_workdir(workdir)
  step = CompiledStep(program, executables)  # checks the batch size
  with contextlib.ExitStack() as stack:
    data = program.task.load_data()  # whatever is wrong with it shows before anything is written
    distributed.check_same("training data", data.fingerprint)
    stack.enter_context(locked(workdir))
    run = resume_or_start(program, workdir, data, pretrained, allow_changes)
    stack.callback(run.close_log)
    supervisor = Supervisor(stack.enter_context(watchdog.watching(program.config.train.timeout)), notices)
    stack.enter_context(notices.graceful())
    try:
      _advance(run, step, supervisor)
      run.close_checkpoints(supervisor)
    except preemption.Stop:
      run.save(supervisor)
      run.close_checkpoints(supervisor)
      raise SystemExit(preemption.EXIT_CODE) from None
    except BaseException:
      run.drain(supervisor)
      raise
    return _final_results(run, supervisor)


@dataclasses.dataclass
class Run:
  """A run under way.

  Attributes:
    program: what is trained.
    workdir: its folder.
    data: what it is trained on.
    checkpoints: on disk.
    best: the best checkpoint by `eval.metric`.
    writer: of metrics.jsonl.
    progress: on the terminal.
    state: the train state, after `step`.
    step: the number of steps done.
    saved: the step of the newest checkpoint.
    must_evaluate: whether the evaluation of `step` is missing, since the run was saved because of a notice.
    results: of the last evaluation.
  """

  program: Program
  workdir: str
  data: TaskData
  checkpoints: Checkpoints
  best: BestCheckpoint
  writer: Writer
  progress: Progress
  state: TrainState
  step: int
  saved: int
  must_evaluate: bool
  results: Results = dataclasses.field(default_factory=dict)

  def save(self, supervisor: Supervisor) -> None:
    """Starts to write a checkpoint, unless this step has one.

    Raises:
      InputError: a parameter is not finite. Nothing is written.
    """
    if self.step != self.saved:
      check_finite(self.state.params, self.step, self.saved)
      with supervisor.slow():
        self.checkpoints.save(self.state, self.step)
      self.saved = self.step

  def evaluate(self, supervisor: Supervisor) -> None:
    """Evaluates the state, and keeps its parameters where they are the best."""
    self.results = evaluate(self.program, self.state.params, self.data.evaluations, supervisor)
    for split, metrics in self.results.items():
      self.writer.write(self.step, split, metrics)
    self.report(self.step, self.results)
    with supervisor.slow():
      self.best.add(self.step, self.results, self.state)

  def report(self, step: int, results: Results, note: str = "") -> None:
    """Prints the metrics of each split."""
    for split, metrics in results.items():
      self.progress.say(f"{note}{split} at step {step}: {summary(metrics)}")

  def drain(self, supervisor: Supervisor) -> None:
    """Waits for what a failed run is still writing: it is good, and the next run may use the same folder."""
    try:
      with supervisor.slow():
        self.checkpoints.wait()
    except Exception as error:  # the failure that ends the run matters more
      self.progress.say(f"warning: the newest checkpoint was not written: {error}")

  def close_checkpoints(self, supervisor: Supervisor) -> None:
    """Waits for what is being written."""
    with supervisor.slow():
      self.checkpoints.close()
      self.best.close()

  def close_log(self) -> None:
    """Ends the progress bar and closes metrics.jsonl."""
    self.progress.close()
    self.writer.close()


def resume_or_start(
  program: Program, workdir: str, data: TaskData, pretrained: Pretrained | None, allow_changes: Sequence[str]
) -> Run:
  """Opens the workdir. Nothing in it changes before the checkpoint has been restored.

  Raises:
    InputError: as `train`.
  """
  config = program.config
  checkpoints = Checkpoints(
    workdir, every=config.checkpoint.every, keep=config.checkpoint.keep, keep_every=config.checkpoint.keep_every
  )
  newest = checkpoints.latest()
  if newest == 0:
    raise InputError(
      f"{workdir} holds an imported model, and training there would remove it: give another --workdir, and "
      f"--config.init_from={workdir}"
    )
  first = newest or 0
  if first > program.steps:
    raise InputError(f"{workdir} is at step {first}, beyond train.steps {program.steps}: raise it to go on.")
  changes = check_signature(workdir, config, data, allow_changes) if first else {}
  progress = Progress(first, program.steps)
  state = checkpoints.restore(program.state, first) if first else new_state(program, pretrained, progress.say)
  must_evaluate = not distributed.value_of_first(set(data.evaluations) <= logged_splits(workdir, first))
  writer = Writer(workdir, first_step=first, log_to=config.train.log_to, config=flatten(config))
  best = BestCheckpoint(workdir, metric=config.eval.metric, patience=config.eval.patience, first_step=first)
  for key, (old, new) in changes.items():
    progress.say(f"{key} was {old}, from here on it is {new}")
  if jax.process_index() == 0:
    save_signature(workdir, config, data)
    save_tokenizer(data.tokenizer, Path(workdir) / TOKENIZER_FOLDER)
  if first:
    progress.say(f"resumed {workdir} at step {first}")
  must_evaluate &= first > 0 and is_due(first, program.eval_every, program.steps)
  return Run(program, workdir, data, checkpoints, best, writer, progress, state, first, first, must_evaluate)


def _advance(run: Run, compiled: CompiledStep, supervisor: Supervisor) -> None:
  """Trains to the last step, or until patience runs out."""
  program, best, config = run.program, run.best, run.program.config
  in_a_row = int(run.state.guard.in_a_row)
  log = StepLog(program, run.writer, run.progress, supervisor, skipped_in_a_row=in_a_row)
  profiler = Profiler(config.train.profile, run.workdir)
  if run.must_evaluate:
    run.evaluate(supervisor)
  last = run.step if best.exhausted else program.steps
  batches = device_batches(program, run.data.train, run.step, last, size=config.train.batch_size)
  with contextlib.closing(batches), contextlib.closing(profiler):
    for step, batch in enumerate(batches, run.step + 1):
      if not compiled.is_compiled_for(batch):
        with log.paused(), supervisor.slow():
          run.progress.say(compiled.compile_for(batch))
      with profiler.step(step):
        run.state, terms = compiled(run.state, batch)
      run.step = step
      log.add(step, terms)
      run.progress.step()
      supervisor.check()
      if is_due(step, program.eval_every, program.steps):
        with log.paused():
          run.evaluate(supervisor)
      if run.checkpoints.is_due(step) or step == program.steps or best.exhausted:
        with log.paused():
          run.save(supervisor)
      if best.exhausted:
        patience, metric = config.eval.patience, config.eval.metric
        run.progress.say(f"stopped at step {step}: no better {metric} for {patience} evaluations")
        break


def _final_results(run: Run, supervisor: Supervisor) -> Results:
  """The results of the best or the last parameters, which are evaluated if they have not just been."""
  best = run.best
  if best.step is not None and (best.step != run.step or not run.results):
    params = best.params(run.program.state.params)
    results = evaluate(run.program, params, run.data.evaluations, supervisor)
    run.report(best.step, results, "best, ")
    return results
  if not run.results:  # the run had already ended
    run.results = evaluate(run.program, run.state.params, run.data.evaluations, supervisor)
    run.report(run.step, run.results)
  return run.results


def new_state(program: Program, pretrained: Pretrained | None, say: Callable[[str], None]) -> TrainState:
  """A state at step 0, with what there is of pretrained parameters and, where the config wants them, moments."""
  state = program.init(program.config.seed)
  if pretrained is None:
    return state
  params, new, unused = init_from(pretrained, state.params)
  say(f"parameters from {pretrained.about}")
  if new:
    say(f"  not there, and so new: {', '.join(new)}")
  if unused:
    say(f"  not used: {', '.join(unused)}")
  opt = state.opt
  if program.config.init_optimizer != "new":
    opt = moments_from(pretrained, state.params, opt)
    say(f"  with the optimizer's moments, {program.config.init_optimizer}")
  return state._replace(params=params, opt=opt)
