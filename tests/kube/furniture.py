"""What stands in a cluster before anyone comes: nodes, classes, KServe's own objects."""

import json

from tests.kube.errors import Object
from tests.kube.plane import Plane
from tests.kube.timeline import Scenario


def furnish(plane: Plane, scenario: Scenario, kserve: str = "0.20.0") -> None:
    for index in range(scenario.nodes):
        plane.create(node(f"gpu-node-{index + 1}", scenario.gpus_per_node))
    plane.create(storage_class())
    plane.create(settings())
    plane.create(controller(kserve))


def node(name: str, gpus: int) -> Object:
    """127.0.0.1 is its address, so that node ports can be reached."""
    amounts = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "900Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64"}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
        labels |= {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
            "nvidia.com/gpu.count": str(gpus),
            "nvidia.com/gpu.memory": "81559",
        }
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [taint]} if gpus else {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.8.0-79-generic",
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.36.2",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "Ubuntu 24.04.3 LTS",
                "systemUUID": "",
            },
        },
    }


def storage_class() -> Object:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": default},
        "provisioner": "rancher.io/local-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def settings() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "inferenceservice-config", "namespace": "kserve"},
        "data": {
            "deploy": json.dumps({"defaultDeploymentMode": "Standard"}),
            "ingress": json.dumps({"ingressDomain": "example.com", "urlScheme": "http"}),
        },
    }


def controller(kserve: str) -> Object:
    labels = {"control-plane": "kserve-controller-manager"}
    image = f"kserve/kserve-controller:v{kserve}"
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "kserve-controller-manager",
            "namespace": "kserve",
            "labels": {**labels, "app.kubernetes.io/name": "kserve-controller-manager"},
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "manager", "image": image}]},
            },
        },
        "status": {"readyReplicas": 1, "replicas": 1, "availableReplicas": 1},
    }
