// Package provisioner gives every PersistentVolumeClaim a folder on the node, as the default
// StorageClasses of kind and minikube do. Its volumes are of type local, since fsGroup is applied
// to those and not to hostPath.
package provisioner

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// Name is what StorageClasses name as their provisioner.
const Name = "sentiment.local/folder"

// Run makes and deletes volumes below directory until ctx ends.
func Run(ctx context.Context, client kubernetes.Interface, directory string) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	controller.NewProvisionController(
		ctx, client, Name, folders(directory), controller.LeaderElection(false),
	).Run(ctx)
	return nil
}

// folders is the directory that holds one folder for each volume.
type folders string

func (f folders) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	if options.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished,
			errors.New("the StorageClass must have volumeBindingMode: WaitForFirstConsumer")
	}
	path := filepath.Join(string(f), options.PVName)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// Open to every user, past the umask: a container need not run as root nor with an fsGroup.
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return volume(options, path), controller.ProvisioningFinished, nil
}

func (f folders) Delete(_ context.Context, volume *core.PersistentVolume) error {
	// By name, not by the path in the volume, which a user may have edited.
	return os.RemoveAll(filepath.Join(string(f), filepath.Base(volume.Name)))
}

func volume(options controller.ProvisionOptions, path string) *core.PersistentVolume {
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			VolumeMode:                    options.PVC.Spec.VolumeMode,
			Capacity: core.ResourceList{
				core.ResourceStorage: options.PVC.Spec.Resources.Requests[core.ResourceStorage],
			},
			PersistentVolumeSource: core.PersistentVolumeSource{
				Local: &core.LocalVolumeSource{Path: path},
			},
			NodeAffinity: onNode(options.SelectedNodeName),
		},
	}
}

// onNode names the node by its label, which for ours is its name.
func onNode(name string) *core.VolumeNodeAffinity {
	return &core.VolumeNodeAffinity{Required: &core.NodeSelector{
		NodeSelectorTerms: []core.NodeSelectorTerm{{
			MatchExpressions: []core.NodeSelectorRequirement{{
				Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{name},
			}},
		}},
	}}
}
