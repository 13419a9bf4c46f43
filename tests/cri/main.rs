//! The image on Kubernetes' nodes: containerd through the CRI, the kubelet, a cluster.

mod cluster;
mod kubernetes;
mod node;
mod pods;
