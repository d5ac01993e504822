#!/usr/bin/env bash
# Starts a training command again each time it dies, until it ends well or gets nowhere.
#
#   scripts/supervise.sh WORKDIR COMMAND …
#   scripts/supervise.sh runs/mine python train.py --config=configs/mine.py
#
# Status 0 (done) and 2 (a mistake of the user's) are final. After 75 (preempted; all is saved) the command starts
# again. After anything else, too, but later each time (DELAY seconds, doubled up to 5 minutes), and no more than RETRIES
# times in a row without a new checkpoint in WORKDIR. SIGTERM and SIGINT go to the command, whose
# status is then final.
set -uo pipefail

if (($# < 2)); then
  echo "usage: scripts/supervise.sh WORKDIR COMMAND …" >&2
  exit 2
fi
workdir=$1
shift
retries=${RETRIES:-5}
delay=${DELAY:-10}
child=0
stopped= # the signal that asks to stop
forwarded=

checkpoints() { # all below the workdir: a run with several seeds has several folders of them
  find "$workdir" -path '*/checkpoints/*' -prune -regex '.*/[0-9]+' 2>/dev/null | sort
}

forward() {
  ((child)) && kill -s "$stopped" "$child" 2>/dev/null && forwarded=1
}
start() { # in the background; a signal that came before the number of the child was known is forwarded now
  [[ $stopped ]] && exit $((128 + $(kill -l "$stopped")))
  "$@" &
  child=$!
  [[ $stopped && ! $forwarded ]] && forward
}
trap 'stopped=TERM; forward' TERM
trap 'stopped=INT; forward' INT
set -m # the command gets a process group of its own: Ctrl-C reaches it once, through the trap

failures=0
while true; do
  before=$(checkpoints)
  start "$@"
  wait "$child"
  status=$?
  while kill -0 "$child" 2>/dev/null; do # a trapped signal ends `wait` before the command ends
    wait "$child"
    status=$?
  done
  child=0
  [[ $stopped || $status == 0 || $status == 2 ]] && exit "$status"
  [[ $(comm -13 <(echo "$before") <(checkpoints)) ]] && failures=0 # there is a new one
  ((++failures > retries)) && break
  pause=0
  ((status == 75)) || pause=$((delay << (failures - 1)))
  pause=$((pause < 300 ? pause : 300))
  echo "supervise: status $status; starting again in $pause s ($failures of $retries without a new checkpoint)" >&2
  start sleep "$pause"
  wait "$child"
  child=0
  [[ $stopped ]] && exit "$status"
done
echo "supervise: status $status; no new checkpoint in $retries restarts, giving up" >&2
exit "$status"
