# shellcheck shell=bash
# The way back. Nothing is asked to end well, since nothing is kept: so `down` does the same after
# a `cluster up` that was killed half-way, after a crash and after a reboot.

down() {
    lock
    kill_daemons
    kill_pods
    unmount
    network_down
    forget_files
}

kill_daemons() {
    local name
    for name in $(daemons); do
        ! running "$name" || kill -9 "$(cat "$STATE/pid/$name")"
    done
    wait_gone 10 some_daemon
}

some_daemon() {
    local name
    for name in $(daemons); do ! running "$name" || return 0; done
    return 1
}

# Pods outlive their runtime; each is held by a shim that names our socket.
kill_pods() {
    local shim
    for shim in $(shims); do kill_tree "$shim"; done
    wait_gone 30 shims
    remove_cgroups
}

shims() { pgrep -f "^[^ ]*containerd-shim[^ ]* .*-address $SOCKET( |\$)"; }

kill_tree() { # PID: its children first, so that it cannot outlive them unseen
    local child
    for child in $(pgrep -P "$1"); do kill_tree "$child"; done
    kill -9 "$1" 2>/dev/null || true
}

remove_cgroups() {
    local group
    for group in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
        [ ! -d "$group" ] || wait_gone 10 remove_cgroup "$group"
    done
}

# Succeeds while it is still there.
remove_cgroup() { find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; [ -d "$1" ]; }

wait_gone() { # SECONDS COMMAND...: until the command fails
    local deadline=$((SECONDS + $1))
    while "${@:2}" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || die "still there after $1 s: ${*:2}"
        sleep 0.1
    done
}

# A mount that stays would have its files deleted with the state folder.
unmount() {
    mounts | sort -r | xargs -r -d '\n' -n 1 umount -l
    [ -z "$(mounts)" ] || die "cannot unmount $(mounts)"
}

mounts() { awk -v state="$STATE/" 'index($2, state) == 1 {print $2}' /proc/mounts; }

# The programs write some files outside the state folder, and no setting says where.
forget_files() {
    local pod file
    for pod in "$STATE"/containerd/state/io.containerd.runtime.v2.task/k8s.io/*; do
        rm -f /var/lib/cni/results/*-"$(basename "$pod")"-*
    done
    for file in /run/containerd/s/*; do  # sockets on which no shim listens
        grep -qF "$file" /proc/net/unix || rm -f "$file"
    done
    rm -f /var/lib/kubelet/device-plugins/{kubelet.sock,kubelet_internal_checkpoint}
    rmdir -p --ignore-fail-on-non-empty /var/lib/cni/results /var/lib/kubelet/device-plugins /run/containerd/s \
        2>/dev/null || true
    rm -rf "$STATE"
    find /var/log/containers -xtype l -delete 2>/dev/null || true
}
