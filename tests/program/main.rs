//! The shipped file, taken apart and executed step by step.

mod elf;
mod instructions;
mod proof;
mod seccomp;
