//! How the test's init is linked: as pause is, but at a fixed address, so that it may have tables of texts and
//! functions.

#[allow(dead_code, reason = "it has a main of its own")]
#[path = "../../build.rs"]
mod pause;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=linker.ld");
    pause::link(&["-static", "-no-pie"], &["--no-pie"]);
}
