#!/usr/bin/env bash
# A throw-away PostgreSQL for the tests, on loopback, from Debian's packages.
#
#   export RSRAG_TEST_POSTGRES="$(scripts/start_test_postgres.sh)"     start one and print its URL
#   scripts/start_test_postgres.sh stop "$RSRAG_TEST_POSTGRES"         end it and delete its data
#
# As root the package is installed if it is missing, and the server runs as user postgres; otherwise it runs as you.
# Exit code 3: there is no PostgreSQL here and none can be installed (the reason is on stderr).
set -euo pipefail

base="${TMPDIR:-/tmp}"

say() { echo "start_test_postgres: $*" >&2; }
cannot() { say "$*"; exit 3; }

binaries() {  # the folder of the newest installed server, or nothing
  local folder newest=""
  for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do
    [ -x "$folder/initdb" ] && newest="$folder"
  done
  if [ -z "$newest" ] && command -v initdb >/dev/null; then
    newest="$(dirname "$(readlink -f "$(command -v initdb)")")"
  fi
  echo "$newest"
}

install_server() {
  [ "$(id -u)" -eq 0 ] || cannot "no PostgreSQL server is installed, and only root can install one"
  command -v apt-get >/dev/null || cannot "no PostgreSQL server is installed, and there is no apt-get to install one"
  say "installing postgresql"
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then  # no permanent server beside ours
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
  fi
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -q && apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold postgresql; } \
    >&2 || cannot "apt-get could not install postgresql"
}

as_server() {  # root may not run the server
  if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

start() {
  local bin folder password port attempt
  bin="$(binaries)"
  if [ -z "$bin" ]; then
    install_server
    bin="$(binaries)"
  fi
  [ -n "$bin" ] || cannot "postgresql is installed, but its server programs are not in /usr/lib/postgresql/*/bin"

  password="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
  for attempt in 1 2 3 4 5; do
    port="$(free_port)"
    folder="$base/rsrag-test-postgres-$port"
    mkdir -m 700 "$folder" 2>/dev/null || continue
    echo "$password" > "$folder/password"
    [ "$(id -u)" -eq 0 ] && chown -R postgres "$folder"
    cd "$folder"
    if ! as_server "$bin/initdb" -D "$folder/data" -U rsrag --pwfile="$folder/password" -A scram-sha-256 \
        -E UTF8 --locale=C --no-sync > "$folder/initdb.log" 2>&1; then
      cat "$folder/initdb.log" >&2
      rm -rf "$folder"
      cannot "initdb failed"
    fi
    # The data are worth nothing, so nothing is forced to disk.
    if as_server "$bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -t 60 start >&2 -o "-p $port -h 127.0.0.1 \
        -k '' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=50"; then
      echo "postgresql+psycopg://rsrag:$password@127.0.0.1:$port/postgres"
      return
    fi
    say "attempt $attempt on port $port failed"
    cat "$folder/server.log" >&2 || true
    rm -rf "$folder"
  done
  cannot "the server did not start"
}

stop() {
  local url="${1:-${RSRAG_TEST_POSTGRES:-}}" port folder bin
  port="$(sed -nE 's#^.*@127\.0\.0\.1:([0-9]+)/.*$#\1#p' <<< "$url")"
  folder="$base/rsrag-test-postgres-$port"
  if [ -z "$port" ] || [ ! -d "$folder/data" ]; then
    say "give stop the URL that start printed"
    exit 2
  fi
  bin="$(binaries)"
  cd "$folder"
  as_server "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >&2 || say "the server had ended already"
  cd /
  rm -rf "$folder"
}

case "${1:-start}" in
  start) start ;;
  stop) stop "${2:-}" ;;
  *) say "usage: start_test_postgres.sh [start | stop URL]"; exit 2 ;;
esac
