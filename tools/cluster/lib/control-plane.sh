# shellcheck shell=bash
# The upstream programs, in the order in which they need each other.

up() {
    build
    lock
    mkdir -p "$STATE"/{pid,log,cni}
    network_up
    certificates
    configure
    control_plane
    node
    addons
    ready
    echo "$KUBECONFIG"
}

# Fills in config/: ${NAME} is one of our variables.
configure() {
    local file name text
    for file in containerd.toml kubelet.yaml Corefile resolv.conf cni/10-bridge.conflist addons.yaml; do
        text=$(<"$HERE/config/$file")
        for name in STATE PKI SOCKET KUBECONFIG NODE_IP POD_CIDR BRIDGE; do
            text=${text//"\${$name}"/${!name}}
        done
        echo "$text" >"$STATE/$file"
    done
}

control_plane() {
    start containerd containerd --config "$STATE/containerd.toml"
    start etcd etcd --data-dir "$STATE/etcd" --unsafe-no-fsync
    start kube-apiserver kube-apiserver \
        --etcd-servers=http://127.0.0.1:2379 --advertise-address=$NODE_IP \
        --service-cluster-ip-range=$SERVICE_CIDR --authorization-mode=Node,RBAC --allow-privileged \
        --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
        --client-ca-file="$PKI/ca.crt" \
        --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
        --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
        --kubelet-client-certificate="$PKI/apiserver-kubelet-client.crt" \
        --kubelet-client-key="$PKI/apiserver-kubelet-client.key" \
        --requestheader-client-ca-file="$PKI/ca.crt" --requestheader-allowed-names=front-proxy-client \
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --proxy-client-cert-file="$PKI/front-proxy-client.crt" \
        --proxy-client-key-file="$PKI/front-proxy-client.key" --enable-aggregator-routing
    wait_for 60 kube-apiserver kubectl get --raw /readyz
    # The autoscaler looks and comes down sooner than upstream's 15 s and 5 min: tests wait for it.
    start kube-controller-manager kube-controller-manager \
        --kubeconfig="$PKI/kube-controller-manager.conf" --bind-address=127.0.0.1 --leader-elect=false \
        --use-service-account-credentials --root-ca-file="$PKI/ca.crt" \
        --service-account-private-key-file="$PKI/sa.key" \
        --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
        --horizontal-pod-autoscaler-sync-period=5s \
        --horizontal-pod-autoscaler-downscale-stabilization=30s
    start kube-scheduler kube-scheduler \
        --kubeconfig="$PKI/kube-scheduler.conf" --bind-address=127.0.0.1 --leader-elect=false
}

node() {
    wait_for 30 containerd containerd_do version
    pause_image
    start kubelet kubelet --config="$STATE/kubelet.yaml" --kubeconfig="$PKI/kubelet.conf" \
        --hostname-override=$NODE --node-ip=$NODE_IP --root-dir="$STATE/kubelet"
    # The zeros leave the host's own settings of connection tracking as they are.
    start kube-proxy kube-proxy --kubeconfig="$PKI/kube-proxy.conf" --hostname-override=$NODE \
        --cluster-cidr=$POD_CIDR --proxy-mode=iptables --nodeport-addresses=127.0.0.0/8 \
        --healthz-bind-address=127.0.0.1 --oom-score-adj=0 --conntrack-max-per-core=0 \
        --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
}

addons() {
    start coredns coredns -conf "$STATE/Corefile"
    start metrics-server metrics-server --kubeconfig="$KUBECONFIG" \
        --authentication-kubeconfig="$KUBECONFIG" --authorization-kubeconfig="$KUBECONFIG" \
        --bind-address=$NODE_IP --secure-port=4443 --cert-dir="$STATE/metrics-server" \
        --kubelet-insecure-tls --kubelet-preferred-address-types=InternalIP \
        --metric-resolution=10s --kubelet-request-timeout=5s
    start provisioner provisioner -kubeconfig "$KUBECONFIG" -directory "$STATE/volumes"
    start netpol netpol -kubeconfig "$KUBECONFIG"
    kubectl apply -f "$STATE/addons.yaml" >/dev/null
}

# Without the second no pod is admitted; without the third helm and kubectl cannot list all kinds.
ready() {
    local for="kubectl wait --timeout=1s --for"
    wait_for 60 kubelet $for=condition=Ready "node/$NODE"
    wait_for 60 kube-controller-manager $for=create serviceaccount/default
    wait_for 60 metrics-server $for=condition=Available apiservice/v1beta1.metrics.k8s.io
}

containerd_do() { ctr --address "$SOCKET" --namespace k8s.io "$@"; }

load() { # FILE.tar...
    [ $# -gt 0 ] || die "which image? docker save NAME -o FILE.tar && cluster load FILE.tar"
    as_root
    running containerd || die "the cluster is down: cluster up"
    local archive
    for archive in "$@"; do containerd_do images import "$archive" >/dev/null; done
}

# No registry holds this image for us: an archive as `docker save` writes it, of one static binary.
pause_image() (
    [ -z "$(containerd_do images ls -q name==localhost/pause:1)" ] || return 0
    local image=$STATE/pause layer config
    mkdir -p "$image"
    cd "$image"
    tar -cf layer.tar -C "$BIN" pause
    layer=$(sha256sum layer.tar | cut -d' ' -f1)
    cat >config.json <<END
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "config": {"Entrypoint": ["/pause"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}}
END
    config=$(sha256sum config.json | cut -d' ' -f1).json
    mv config.json "$config"
    echo "[{\"Config\": \"$config\", \"RepoTags\": [\"localhost/pause:1\"], \"Layers\": [\"layer.tar\"]}]" >manifest.json
    tar -cf ../pause.tar manifest.json "$config" layer.tar
    load "$STATE/pause.tar"
    rm -rf "$image" "$STATE/pause.tar"
)
