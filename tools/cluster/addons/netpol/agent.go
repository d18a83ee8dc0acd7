// Package netpol enforces NetworkPolicies on one node with iptables, for pods on a bridge whose
// traffic br_netfilter hands to iptables. It knows IPv4 only. What starts on the node itself
// (probes, host processes) is never filtered, and connections survive a change of the rules.
package netpol

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// A rollout changes many objects at once; one update of the rules is enough for all of them.
const settle = 100 * time.Millisecond

const retry = 10 * time.Second

// Run keeps the node's rules in step with the cluster until ctx ends; the rules then stay.
func Run(ctx context.Context, client kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
		factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		if _, err := informer.AddEventHandler(notify(changed)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	applied := ""
	for {
		world, err := observe(factory)
		if err != nil {
			return err
		}
		if rules := world.Rules(podChains()); rules != applied {
			if err := apply(rules); err != nil {
				log.Printf("%v; tried again in %s\n%s", err, retry, rules)
			} else {
				applied = rules
				log.Printf("enforcing %d policies on %d pods", len(world.Policies), len(world.Pods))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		case <-changed:
			time.Sleep(settle)
		}
	}
}

func notify(changed chan<- struct{}) cache.ResourceEventHandler {
	poke := func(any) {
		select {
		case changed <- struct{}{}:
		default: // a notice is waiting already
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: poke, UpdateFunc: func(_, updated any) { poke(updated) }, DeleteFunc: poke,
	}
}

func observe(factory informers.SharedInformerFactory) (World, error) {
	world := World{Namespaces: map[string]labels.Set{}}
	pods, err := factory.Core().V1().Pods().Lister().List(labels.Everything())
	if err != nil {
		return world, err
	}
	namespaces, err := factory.Core().V1().Namespaces().Lister().List(labels.Everything())
	if err != nil {
		return world, err
	}
	world.Policies, err = factory.Networking().V1().NetworkPolicies().Lister().List(labels.Everything())
	if err != nil {
		return world, err
	}
	for _, namespace := range namespaces {
		world.Namespaces[namespace.Name] = namespace.Labels
	}
	for _, pod := range pods {
		if ownsAddress(pod) {
			world.Pods = append(world.Pods, pod)
		}
	}
	slices.SortFunc(world.Pods, func(a, b *core.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return world, nil
}

// ownsAddress says whether the pod has an IPv4 address that is not the node's; an ended pod's
// address may be another's by now.
func ownsAddress(pod *core.Pod) bool {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	ended := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
	return err == nil && address.Is4() && !pod.Spec.HostNetwork && !ended
}

// apply replaces the rules in one transaction and leads the packets there.
func apply(rules string) error {
	if _, err := run(rules, "iptables-restore", "-w", "--noflush"); err != nil {
		return err
	}
	for _, hook := range []string{"FORWARD", "INPUT"} {
		if _, err := run("", "iptables", "-w", "-C", hook, "-j", Chain); err == nil {
			continue
		}
		if _, err := run("", "iptables", "-w", "-I", hook, "-j", Chain); err != nil {
			return err
		}
	}
	return nil
}

func podChains() []string {
	rules, err := run("", "iptables", "-w", "-S")
	if err != nil {
		return nil
	}
	var chains []string
	for line := range strings.Lines(rules) {
		if chain, found := strings.CutPrefix(strings.TrimSpace(line), "-N "); found && strings.HasPrefix(chain, Chain+"-") {
			chains = append(chains, chain)
		}
	}
	return chains
}

func run(input string, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = strings.NewReader(input)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, output)
	}
	return string(output), nil
}
