# Programs that run on after the shell that started them: start, find and stop. Sourced by deploy/up and deploy/down.
#
# Each is remembered in $data/run/NAME.pid as "PID TICKS", TICKS being the kernel's start time of that process. A pid
# that was given to another program since has other ticks, and is never touched.

# Prints the start time of process $1, in clock ticks since boot; fails if it is gone or dead already.
ticks_of() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # Fields count from the end of the name, which may itself hold spaces and brackets.
  read -ra stat <<<"${stat##*) }"
  if [[ ${stat[0]} == Z ]]; then return 1; fi
  printf '%s\n' "${stat[19]}"
}

# Remembers process $2 as NAME $1.
remember() { printf '%s %s\n' "$2" "$(ticks_of "$2")" >"$data/run/$1.pid"; }

# Whether NAME $1 runs; sets pid.
running() {
  local ticks
  pid=
  [[ -f $data/run/$1.pid ]] || return 1
  read -r pid ticks <"$data/run/$1.pid" || return 1
  [[ -n $ticks && $(ticks_of "$pid") == "$ticks" ]]
}

# Starts "${@:2}" as NAME $1, in a session of its own, so that Ctrl-C reaches deploy/up alone, which then stops the
# programs in order. What they write goes to $data/logs/NAME.log.
launch() {
  local name=$1
  shift
  # No program keeps descriptor 9, the lock that deploy/up holds while it works.
  setsid "$@" >>"$data/logs/$name.log" 2>&1 </dev/null 9>&- &
  remember "$name" $!
}

# Stops NAME $1: asks, waits $2 seconds, then kills it and whatever is left of its session.
halt() {
  local name=$1 grace_s=$2 waited
  if running "$name"; then
    kill -TERM "$pid" 2>/dev/null || true
    for ((waited = 0; waited < grace_s * 10; waited++)); do
      running "$name" || break
      sleep 0.1
    done
  fi
  # While a member of a process group lives, its number is not given to another process. So: either the leader is
  # still ours, or it is gone and the group, if there is one, is ours.
  if [[ -n $pid ]] && { running "$name" || [[ ! -e /proc/$pid ]]; }; then
    kill -KILL -- "-$pid" 2>/dev/null || true
  fi
  rm -f "$data/run/$name.pid"
}

# Names of all that $data/run remembers, in the order in which they are to be stopped: who pushes, who works, who serves.
remembered() {
  local kind file
  for kind in demo 'worker-*' orchestrator; do
    # shellcheck disable=SC2231  # the pattern is meant
    for file in "$data"/run/$kind.pid; do
      if [[ -e $file ]]; then basename "$file" .pid; fi
    done
  done
}

# Stops all of it. Workers hand their work back first, which takes them as long as a segment at most.
halt_all() {
  local name
  for name in $(remembered); do
    case $name in
      worker-*) halt "$name" 20 ;;
      *) halt "$name" 10 ;;
    esac
  done
  rm -f "$data/run.json"
}
