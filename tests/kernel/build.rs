//! How the test's init is linked: without start files or libc as pause is, but as an ordinary file at a fixed address, so
//! that it may have tables of texts and functions. The tool builds it, which calls the linker itself.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=linker.ld");
    let script = format!("--script={}/linker.ld", env!("CARGO_MANIFEST_DIR"));
    for argument in [&*script, "--no-pie", "--no-eh-frame-hdr", "--build-id=none"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
