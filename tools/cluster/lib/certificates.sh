# shellcheck shell=bash
# The cluster's authority, its certificates, and a kubeconfig for each client.

certificates() {
    [ ! -d "$PKI" ] || return 0
    rm -rf "$PKI.new"
    mkdir -m 700 "$PKI.new"
    (cd "$PKI.new" && authority && servers && clients)
    mv "$PKI.new" "$PKI"
}

authority() {
    new_key ca
    openssl req -x509 -new -key ca.key -days 365 -subj /CN=sentiment-cluster -out ca.crt
    new_key sa
    openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
}

servers() {
    local api=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost
    issue apiserver /CN=kube-apiserver "$api,IP:127.0.0.1,IP:$NODE_IP,IP:$API_IP"
    issue kubelet "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP"
}

clients() {
    issue apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
    issue front-proxy-client /CN=front-proxy-client
    issue admin /O=system:masters/CN=admin
    local name
    for name in kube-controller-manager kube-scheduler kube-proxy; do issue $name "/CN=system:$name"; done
    for name in admin kubelet kube-controller-manager kube-scheduler kube-proxy; do kubeconfig_for $name; done
}

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$1.key"; }

issue() { # NAME SUBJECT [NAMES]
    new_key "$1"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    {
        echo extendedKeyUsage=serverAuth,clientAuth
        [ -z "${3:-}" ] || echo "subjectAltName=$3"
    } >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 \
        -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

kubeconfig_for() { # NAME
    cat >"$1.conf" <<END
apiVersion: v1
kind: Config
current-context: sentiment
clusters:
- name: sentiment
  cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: $(base64 -w0 ca.crt)}
contexts:
- name: sentiment
  context: {cluster: sentiment, user: $1}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}
END
}
