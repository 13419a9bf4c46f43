//! The shipped file, taken apart and put under load.

mod elf;
mod instructions;
mod load;
mod proof;
mod seccomp;
