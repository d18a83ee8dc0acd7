# shellcheck shell=bash
# Processes: one pid file and one log for each, below the state folder.

# One command at a time changes the cluster. What a killed command had begun holds the lock until
# it ends (a daemon: until its pid is written), so that the next command sees all of it.
lock() {
    as_root
    exec 9>/run/sentiment-cluster.lock
    flock -n 9 || { say "waiting for another cluster command"; flock 9; }
}

as_root() { [ "$(id -u)" = 0 ] || die "run this as root"; }

start() { # NAME COMMAND...
    local name=$1 pid=$STATE/pid/$1
    shift
    ! running "$name" || return 0
    rm -f "$pid"
    # shellcheck disable=SC2016  # $0, $$ and $@ are the inner shell's
    CLUSTER_DAEMON=$name setsid bash -c 'echo $$ >"$0" && exec "$@" 9>&-' "$pid" "$@" \
        </dev/null >>"$STATE/log/$name.log" 2>&1 &
    until [ -s "$pid" ]; do sleep 0.01; done
}

# A pid may be a stranger's after a reboot: ours say so in their environment.
running() { # NAME
    local pid
    pid=$(cat "$STATE/pid/$1" 2>/dev/null) && grep -qszxF "CLUSTER_DAEMON=$1" "/proc/$pid/environ"
}

wait_for() { # SECONDS DAEMON COMMAND...: until the command succeeds
    local deadline=$((SECONDS + $1)) daemon=$2
    until "${@:3}" >/dev/null 2>&1; do
        running "$daemon" || die "$daemon ended: $(tail -n 3 "$STATE/log/$daemon.log")"
        [ $SECONDS -lt $deadline ] || die "$daemon is not ready after $1 s; see $STATE/log/$daemon.log"
        sleep 0.2
    done
}

daemons() { ls "$STATE/pid" 2>/dev/null || true; }

status() {
    local name
    as_root
    for name in $(daemons); do
        if running "$name"; then echo "$name: running"; else echo "$name: stopped"; fi
    done
    running kube-apiserver || { echo "The cluster is down: cluster up"; return 1; }
    kubectl get nodes -o wide
}
