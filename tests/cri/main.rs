//! The image on Kubernetes' nodes: containerd through the CRI, the kubelet, a cluster.

mod cluster;
mod containerd;
mod kubelet;
mod node;
