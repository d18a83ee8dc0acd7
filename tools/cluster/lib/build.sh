# shellcheck shell=bash disable=SC2153
# What is compiled and installed before the cluster can start.

PACKAGES=(containerd runc containernetworking-plugins iptables iproute2 kmod openssl procps gcc libc6-dev)

packages() {
    local package missing=()
    for package in "${PACKAGES[@]}" "$@"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "install what these Debian packages hold: ${missing[*]}"
    [ "$(id -u)" = 0 ] || die "run as root, or install these packages: ${missing[*]}"
    say "installing ${missing[*]}"
    retry apt-get update -qq
    DEBIAN_FRONTEND=noninteractive retry apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Only for what a registry or a package mirror may fail at.
retry() { "$@" || "$@" || "$@"; }

build() {
    packages
    mkdir -p "$BIN"
    compile kube kube . "$(version_flags)"
    compile addons addons .
    link kube etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl
    link addons coredns metrics-server provisioner netpol
    pause
}

version_flags() { # what `kubectl version` and the API server say they are
    local package=k8s.io/component-base/version version
    version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$HERE/kube/go.mod")
    echo "-X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$version")"
}

# compile MODULE OUTPUT PACKAGE [LDFLAGS]: nothing is done when it was made from the same sources.
compile() {
    local module=$HERE/$1 output=$BIN/$2 sources
    sources=$(cd "$module" && find . -name '*.go' -o -name 'go.*' | sort | xargs cksum | cksum)
    [ "$(cat "$output.cksum" 2>/dev/null)" != "$sources" ] || return 0
    command -v go >/dev/null || die "Go is needed, the version that $module/go.mod names: https://go.dev/dl"
    say "compiling $2: some minutes, once"
    (cd "$module" && CGO_ENABLED=0 retry go build -trimpath -ldflags "-s -w ${4:-}" -o "$output.new" "$3")
    mv "$output.new" "$output"
    echo "$sources" >"$output.cksum"
}

link() { # BINARY NAME...: the names under which the binary is several programs
    local name
    for name in "${@:2}"; do ln -sf "$1" "$BIN/$name"; done
}

# The process that holds a pod's namespaces: upstream's own source.
pause() {
    [ ! -x "$BIN/pause" ] || return 0
    local kubernetes
    kubernetes=$(module_folder kube k8s.io/kubernetes)
    gcc -static -Os -s -DVERSION=sentiment -o "$BIN/pause.new" "$kubernetes/build/pause/linux/pause.c"
    mv "$BIN/pause.new" "$BIN/pause"
}

module_folder() { # MODULE DEPENDENCY: where its sources are
    cd "$HERE/$1"
    retry go mod download "$2"
    go list -m -f '{{.Dir}}' "$2"
}
