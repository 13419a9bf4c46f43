//! The shipped file, taken apart, executed step by step and put under load.

mod elf;
mod instructions;
mod load;
mod proof;
mod seccomp;
