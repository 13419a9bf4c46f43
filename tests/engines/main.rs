//! The image in what runs or carries it, each in a sandbox of its own.

mod clients;
mod deploy;
mod engine;
mod gvisor;
mod ports;
mod registry;
mod release;
mod runtimes;
