package netpol

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

func pod(namespace, name, address string) *core.Pod {
	return &core.Pod{
		ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: core.PodSpec{Containers: []core.Container{{
			Ports: []core.ContainerPort{{Name: "http", ContainerPort: 8000, Protocol: core.ProtocolTCP}},
		}}},
		Status: core.PodStatus{PodIP: address},
	}
}

// rules gives the rules of one policy in a world of three pods, its own two and a stranger.
func rules(t *testing.T, spec string) string {
	t.Helper()
	policy := &networking.NetworkPolicy{ObjectMeta: meta.ObjectMeta{Namespace: "own"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &policy.Spec); err != nil {
		t.Fatal(err)
	}
	world := World{
		Pods: []*core.Pod{
			pod("own", "server", "10.0.0.1"), pod("own", "database", "10.0.0.2"), pod("other", "stranger", "10.0.0.3"),
		},
		Namespaces: map[string]labels.Set{"own": {"team": "a"}, "other": {"team": "b"}},
		Policies:   []*networking.NetworkPolicy{policy},
	}
	return world.Rules(nil)
}

// allowed gives what the rules let through, without the names of chains.
func allowed(rules string) string {
	var matches []string
	for line := range strings.Lines(rules) {
		if strings.HasPrefix(line, "-A "+Chain+"-") && strings.HasSuffix(line, "-j RETURN\n") {
			words := strings.Fields(line)
			matches = append(matches, strings.Join(words[2:len(words)-2], " "))
		}
	}
	return strings.Join(matches, "; ")
}

func TestRules(t *testing.T) {
	for name, test := range map[string]struct{ spec, allowed string }{
		"a policy without rules allows nothing": {
			`{podSelector: {}, policyTypes: [Ingress, Egress]}`,
			"",
		},
		"an empty rule allows everything": {
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress], ingress: [{}]}`,
			"-s 0.0.0.0/0",
		},
		"a pod selector means pods of the policy's namespace": {
			`{podSelector: {matchLabels: {app: database}}, policyTypes: [Ingress],
			  ingress: [{from: [{podSelector: {}}], ports: [{port: 5432}]}]}`,
			"-s 10.0.0.1 -p tcp --dport 5432; -s 10.0.0.2 -p tcp --dport 5432",
		},
		"a namespace selector means every pod there": {
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress],
			  ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}`,
			"-s 10.0.0.3",
		},
		"both selectors of one peer must match": {
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress],
			  ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: database}}}]}]}`,
			"-s 10.0.0.2",
		},
		"a named port of ingress is the selected pod's": {
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress], ingress: [{ports: [{port: http}]}]}`,
			"-s 0.0.0.0/0 -p tcp --dport 8000",
		},
		"a named port of egress is the peer's, and a block of addresses has none": {
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Egress], egress: [
			  {to: [{podSelector: {matchLabels: {app: database}}}, {ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: http}]}]}`,
			"-d 10.0.0.2 -p tcp --dport 8000",
		},
		"a port alone allows it to everybody": {
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Egress],
			  egress: [{ports: [{port: 53, protocol: UDP}, {port: 53}]}]}`,
			"-d 0.0.0.0/0 -p tcp --dport 53; -d 0.0.0.0/0 -p udp --dport 53",
		},
		"a range of ports": {
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Egress],
			  egress: [{ports: [{port: 8000, endPort: 8010}]}]}`,
			"-d 0.0.0.0/0 -p tcp --dport 8000:8010",
		},
		"an except is cut out of its block": {
			`{podSelector: {matchLabels: {app: server}}, policyTypes: [Egress],
			  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.128.0.0/10]}}]}]}`,
			"-d 10.0.0.0/9; -d 10.192.0.0/10",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := allowed(rules(t, test.spec)); got != test.allowed {
				t.Errorf("allowed %q, not %q", got, test.allowed)
			}
		})
	}
}

func TestPodsThatNoPolicySelectsHaveNoChain(t *testing.T) {
	text := rules(t, `{podSelector: {matchLabels: {app: database}}, policyTypes: [Ingress]}`)
	if count := strings.Count(text, "-j DROP"); count != 1 {
		t.Errorf("%d chains drop packets:\n%s", count, text)
	}
}

func TestChainsThatNothingNeedsAreDeleted(t *testing.T) {
	text := World{}.Rules([]string{Chain + "-old"})
	if !strings.Contains(text, ":"+Chain+"-old - [0:0]\n") || !strings.Contains(text, "-X "+Chain+"-old\n") {
		t.Error(text)
	}
}

func TestIptablesAcceptsTheRules(t *testing.T) {
	text := rules(t, `{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{ports: [{port: http}]}],
		egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 1, endPort: 9}]}]}`)
	if _, err := exec.LookPath("iptables-restore"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs iptables and root")
	}
	if _, err := run(text, "iptables-restore", "--test", "--noflush"); err != nil {
		t.Error(err)
	}
}
