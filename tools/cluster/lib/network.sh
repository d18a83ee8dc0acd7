# shellcheck shell=bash
# The bridge that the pods and the node stand on, and the way between them.

network_up() {
    modprobe -qa br_netfilter overlay || true  # may be built in
    sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
    sysctl -qw net.ipv4.conf.all.route_localnet=1  # NodePorts on 127.0.0.1
    ip link show $BRIDGE >/dev/null 2>&1 || ip link add $BRIDGE type bridge
    ip addr replace "$NODE_IP/${POD_CIDR#*/}" dev $BRIDGE
    ip link set $BRIDGE up
    ip route replace $SERVICE_CIDR dev $BRIDGE
    local way
    for way in -i -o; do  # Docker sets the policy of FORWARD to DROP
        iptables -w -C FORWARD $way $BRIDGE -j ACCEPT 2>/dev/null || iptables -w -A FORWARD $way $BRIDGE -j ACCEPT
    done
}

network_down() {
    forget_rules iptables
    forget_rules ip6tables
    ip link del $BRIDGE 2>/dev/null || true
}

# Takes away what kube-proxy, the kubelet, CNI, the NetworkPolicy agent and network_up wrote; also
# after they were killed, when their own ways to clean up are gone.
forget_rules() {
    local ours='KUBE-|CNI-|SK8S-|sk8s-' rules
    rules=$("$1-save" 2>/dev/null) || return 0
    ! grep -qE "$ours" <<<"$rules" || grep -vE "$ours" <<<"$rules" | "$1-restore" -w
}
