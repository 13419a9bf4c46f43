//! How the test's init is linked: as pause is, without start files or libc, but at a fixed address, so that it may
//! have tables of texts and functions.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=linker.ld");
    let linker_script = format!("--script={}/linker.ld", env("CARGO_MANIFEST_DIR"));
    let linker_arguments = ["--no-pie", &linker_script, "--no-eh-frame-hdr", "--build-id=none"];
    // The tool calls the linker itself; cargo alone calls it through a C compiler.
    let (through_compiler, prefix): (&[&str], _) = if env("CARGO_ENCODED_RUSTFLAGS").contains("linker-flavor=ld.lld") {
        (&[], "")
    } else {
        (&["-nostartfiles", "-nostdlib", "-static", "-no-pie"], "-Wl,")
    };
    for argument in through_compiler {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    for argument in linker_arguments {
        println!("cargo::rustc-link-arg-bins={prefix}{argument}");
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
