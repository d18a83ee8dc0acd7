// One binary with the cluster's DNS server, metrics server, volume provisioner and NetworkPolicy
// agent, chosen by the name it is started under. The first two are the upstream programs.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"path/filepath"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	metricsserver "sigs.k8s.io/metrics-server/cmd/metrics-server/app"

	"sentiment.local/addons/netpol"
	"sentiment.local/addons/provisioner"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "coredns":
		dnsserver.Directives = []string{"bind", "errors", "cache", "kubernetes"}
		coremain.Run()
	case "metrics-server":
		os.Exit(cli.Run(metricsserver.NewMetricsServerCommand(genericapiserver.SetupSignalHandler())))
	case "provisioner":
		directory := flag.String("directory", "", "folder on the node that holds the volumes")
		run(func(ctx context.Context, client kubernetes.Interface) error {
			return provisioner.Run(ctx, client, *directory)
		})
	case "netpol":
		run(netpol.Run)
	default:
		log.Fatal("start me as coredns, metrics-server, provisioner or netpol")
	}
}

// run gives a controller its client and stops it on SIGTERM or SIGINT.
func run(controller func(context.Context, kubernetes.Interface) error) {
	kubeconfig := flag.String("kubeconfig", "", "path of a kubeconfig")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(config)
	if err := controller(genericapiserver.SetupSignalContext(), client); err != nil {
		log.Fatal(err)
	}
}
