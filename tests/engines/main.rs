//! The image in what runs or carries it, each in a sandbox of its own.

mod clients;
mod containerfile;
mod deploy;
mod docker;
mod engine;
mod gvisor;
mod podman;
mod ports;
mod registry;
mod release;
mod runtimes;
