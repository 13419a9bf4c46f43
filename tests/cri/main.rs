//! The image on Kubernetes' nodes: containerd through the CRI, and the kubelet.

mod containerd;
mod kubelet;
mod node;
