# Installs Debian packages that are missing, and says so first. Sourced by deploy/up and deploy/test.
# MILLRACE_PACKAGES=no skips it, for systems that have no apt.

# FFmpeg's libraries are installed from the system and linked by the media child alone.
readonly packages_build=(
  build-essential ca-certificates clang cmake libclang-dev pkg-config
  libavcodec-dev libavdevice-dev libavfilter-dev libavformat-dev libavutil-dev libswresample-dev libswscale-dev
)
readonly packages_run=(curl ffmpeg jq util-linux)

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "installing packages needs root, and there is no sudo" "run as root: $*"
  fi
}

has_package() { [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

# Installs those of the packages named that are missing.
need_packages() {
  if [[ ${MILLRACE_PACKAGES:-yes} == no ]]; then return; fi
  command -v apt-get >/dev/null ||
    die "this machine has no apt: only Debian and Ubuntu are known here" \
      "install what these packages hold, then set MILLRACE_PACKAGES=no: $*"
  local name missing=()
  for name; do has_package "$name" || missing+=("$name"); done
  if ((${#missing[@]} == 0)); then return; fi
  say "installing by apt: ${missing[*]}"
  local lock=(-o DPkg::Lock::Timeout=300)
  as_root apt-get "${lock[@]}" update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get "${lock[@]}" install -y --no-install-recommends "${missing[@]}"
}

# Node comes from apt only where there is none, so that a newer one of the user's own is left alone.
need_node() {
  local missing=()
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  if ((${#missing[@]})); then need_packages "${missing[@]}"; fi
}

need_pip() {
  if ! python3 -m pip --version >/dev/null 2>&1; then need_packages python3 python3-pip; fi
}

need_rust() {
  if ! command -v cargo >/dev/null && [[ -f $HOME/.cargo/env ]]; then
    # shellcheck source=/dev/null
    source "$HOME/.cargo/env"
  fi
  command -v cargo >/dev/null ||
    die "cargo is not there" "install Rust 1.95 or newer from https://rustup.rs, then run this again"
}
