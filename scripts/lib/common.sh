# Shared by the shell scripts in scripts/. Source it from the project's folder.

say() { printf '%s\n' "$*" >&2; }

die() {
  printf 'Error: %s\n' "$*" >&2
  exit 1
}

# True when the command is on the PATH.
has() { command -v "$1" >/dev/null 2>&1; }

# retry TIMES CMD...: runs CMD until it succeeds, waiting 2 s, 4 s, ... in between. For what talks to a network.
retry() {
  retry_left=$1
  shift
  retry_wait=2
  until "$@"; do
    retry_left=$((retry_left - 1))
    [ "$retry_left" -gt 0 ] || return 1
    say "Failed, trying again in $retry_wait s: $*"
    sleep "$retry_wait"
    retry_wait=$((retry_wait * 2))
  done
}

is_debian_root() { [ "$(id -u)" = 0 ] && has apt-get; }

# apt_install PACKAGE...: by name, without questions. Returns 1 where that is not possible.
apt_install() {
  is_debian_root || return 1
  say "Installing $* with apt-get"
  apt_log=$(mktemp)
  if apt_try "$@" >"$apt_log" 2>&1 || { retry 3 apt-get update >>"$apt_log" 2>&1 && apt_try "$@" >>"$apt_log" 2>&1; }; then
    rm -f "$apt_log"
    return 0
  fi
  cat "$apt_log" >&2
  rm -f "$apt_log"
  return 1
}

apt_try() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }

# Prints the major version of java, for example 17; nothing when there is none.
java_major() {
  java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1
}

BUN=./node_modules/.bin/bun
