package netpol

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Chain is the iptables chain that forwarded and incoming packets pass; those of the pods are
// named after it.
const Chain = "SK8S-NP"

// World is what the rules depend on. Pods are those with an IPv4 address of their own.
type World struct {
	Pods       []*core.Pod
	Namespaces map[string]labels.Set
	Policies   []*networking.NetworkPolicy
}

// Rules gives the iptables-restore text that enforces the policies, with one chain for each pod
// and direction that a policy selects, and without the chains in old that nothing needs any more.
//
// A packet that a pod's chain allows returns to Chain, where the other end's chain follows, and
// one that it does not allow is dropped.
func (w World) Rules(old []string) string {
	declared := []string{Chain}
	jumps := []string{fmt.Sprintf("-A %s -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", Chain)}
	var bodies []string
	for _, pod := range w.Pods {
		for _, direction := range []networking.PolicyType{networking.PolicyTypeEgress, networking.PolicyTypeIngress} {
			policies := w.selecting(pod, direction)
			if len(policies) == 0 {
				continue
			}
			chain := chainOf(pod, direction)
			declared = append(declared, chain)
			jumps = append(jumps, fmt.Sprintf("-A %s %s %s -m comment --comment \"%s %s/%s\" -j %s",
				Chain, near(direction), pod.Status.PodIP, direction, pod.Namespace, pod.Name, chain))
			for _, allowed := range w.allowed(pod, direction, policies) {
				bodies = append(bodies, fmt.Sprintf("-A %s %s -j RETURN", chain, allowed))
			}
			bodies = append(bodies, fmt.Sprintf("-A %s -j DROP", chain))
		}
	}
	var gone []string
	for _, chain := range old {
		if !slices.Contains(declared, chain) {
			declared = append(declared, chain) // a chain must be empty to be deleted
			gone = append(gone, "-X "+chain)
		}
	}
	lines := []string{"*filter"}
	for _, chain := range declared {
		lines = append(lines, fmt.Sprintf(":%s - [0:0]", chain))
	}
	lines = slices.Concat(lines, jumps, bodies, gone, []string{"COMMIT", ""})
	return strings.Join(lines, "\n")
}

// chainOf names a pod's chain; iptables allows 28 characters.
func chainOf(pod *core.Pod, direction networking.PolicyType) string {
	digest := sha256.Sum256([]byte(pod.Namespace + "/" + pod.Name + "/" + string(direction)))
	return fmt.Sprintf("%s-%x", Chain, digest[:8])
}

// near is the iptables option for the selected pod's end of a packet, far the one for the other end.
func near(direction networking.PolicyType) string {
	if direction == networking.PolicyTypeEgress {
		return "-s"
	}
	return "-d"
}

func far(direction networking.PolicyType) string {
	if direction == networking.PolicyTypeEgress {
		return "-d"
	}
	return "-s"
}

func (w World) selecting(pod *core.Pod, direction networking.PolicyType) []*networking.NetworkPolicy {
	var policies []*networking.NetworkPolicy
	for _, policy := range w.Policies {
		if policy.Namespace == pod.Namespace && slices.Contains(policy.Spec.PolicyTypes, direction) &&
			selects(&policy.Spec.PodSelector, labels.Set(pod.Labels)) {
			policies = append(policies, policy)
		}
	}
	return policies
}

// allowed gives the iptables matches of what the policies allow the pod, sorted and each once.
func (w World) allowed(pod *core.Pod, direction networking.PolicyType, policies []*networking.NetworkPolicy) []string {
	matches := map[string]bool{}
	add := func(peers []end, ports []networking.NetworkPolicyPort) {
		for _, peer := range peers {
			server := peer.pod
			if direction == networking.PolicyTypeIngress {
				server = pod
			}
			for _, port := range portMatches(ports, server) {
				matches[strings.TrimSpace(far(direction)+" "+peer.cidr+" "+port)] = true
			}
		}
	}
	for _, policy := range policies {
		if direction == networking.PolicyTypeIngress {
			for _, rule := range policy.Spec.Ingress {
				add(w.ends(policy.Namespace, rule.From), rule.Ports)
			}
		} else {
			for _, rule := range policy.Spec.Egress {
				add(w.ends(policy.Namespace, rule.To), rule.Ports)
			}
		}
	}
	return slices.Sorted(maps.Keys(matches))
}

// end is an address at the far end of a connection; pod is nil for a block of addresses.
type end struct {
	cidr string
	pod  *core.Pod
}

// ends gives the addresses that a rule's peers stand for; no peers at all means everybody.
func (w World) ends(namespace string, peers []networking.NetworkPolicyPeer) []end {
	if len(peers) == 0 {
		return []end{{cidr: "0.0.0.0/0"}}
	}
	var ends []end
	for _, peer := range peers {
		if peer.IPBlock != nil {
			for _, prefix := range blockPrefixes(peer.IPBlock) {
				ends = append(ends, end{cidr: prefix.String()})
			}
			continue
		}
		for _, pod := range w.Pods {
			if w.matches(peer, namespace, pod) {
				ends = append(ends, end{cidr: pod.Status.PodIP, pod: pod})
			}
		}
	}
	return ends
}

func (w World) matches(peer networking.NetworkPolicyPeer, namespace string, pod *core.Pod) bool {
	if peer.NamespaceSelector == nil && pod.Namespace != namespace {
		return false
	}
	if peer.NamespaceSelector != nil && !selects(peer.NamespaceSelector, w.Namespaces[pod.Namespace]) {
		return false
	}
	return peer.PodSelector == nil || selects(peer.PodSelector, labels.Set(pod.Labels))
}

func selects(selector *meta.LabelSelector, set labels.Set) bool {
	s, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(set)
}

// blockPrefixes gives the IPv4 prefixes of the block without its excepts.
func blockPrefixes(block *networking.IPBlock) []netip.Prefix {
	whole, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !whole.Addr().Is4() {
		return nil
	}
	var excepts []netip.Prefix
	for _, except := range block.Except {
		if prefix, err := netip.ParsePrefix(except); err == nil && prefix.Addr().Is4() {
			excepts = append(excepts, prefix.Masked())
		}
	}
	return minus(whole.Masked(), excepts)
}

// minus halves the prefix until no part overlaps an except.
func minus(prefix netip.Prefix, excepts []netip.Prefix) []netip.Prefix {
	overlaps := false
	for _, except := range excepts {
		if except.Bits() <= prefix.Bits() && except.Contains(prefix.Addr()) {
			return nil
		}
		overlaps = overlaps || prefix.Contains(except.Addr())
	}
	if !overlaps {
		return []netip.Prefix{prefix}
	}
	upper := prefix.Addr().As4()
	upper[prefix.Bits()/8] |= 0x80 >> (prefix.Bits() % 8)
	return append(
		minus(netip.PrefixFrom(prefix.Addr(), prefix.Bits()+1), excepts),
		minus(netip.PrefixFrom(netip.AddrFrom4(upper), prefix.Bits()+1), excepts)...)
}

// portMatches gives the iptables matches of the ports on server, whose containers name the named
// ones; none means every port. A block of addresses (server is nil) has no named ports.
func portMatches(ports []networking.NetworkPolicyPort, server *core.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var matches []string
	for _, port := range ports {
		protocol := core.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := "-p " + strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			matches = append(matches, match)
		case port.Port.StrVal != "":
			for _, number := range namedPorts(server, port.Port.StrVal, protocol) {
				matches = append(matches, fmt.Sprintf("%s --dport %d", match, number))
			}
		case port.EndPort != nil:
			matches = append(matches, fmt.Sprintf("%s --dport %d:%d", match, port.Port.IntVal, *port.EndPort))
		default:
			matches = append(matches, fmt.Sprintf("%s --dport %d", match, port.Port.IntVal))
		}
	}
	return matches
}

func namedPorts(pod *core.Pod, name string, protocol core.Protocol) []int32 {
	var numbers []int32
	if pod == nil {
		return nil
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && port.Protocol == protocol { // the API server fills in TCP
				numbers = append(numbers, port.ContainerPort)
			}
		}
	}
	return numbers
}
