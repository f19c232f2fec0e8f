# Messages to the person at the terminal. Sourced by deploy/up, deploy/down and deploy/test.

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' plain=$'\e[0m'
else
  bold='' plain=''
fi

# A step begins.
say() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }

# Ends the program. $1 says what is wrong, $2 what to do.
die() {
  printf 'error: %s\n' "$1" >&2
  if [[ -n ${2:-} ]]; then printf '  %s\n' "$2" >&2; fi
  exit 1
}

# What a person needs of the log $1 to see why its program failed.
tail_of() {
  printf -- '--- the last lines of %s\n' "$1" >&2
  tail -n 25 "$1" >&2 || true
  printf -- '---\n' >&2
}
