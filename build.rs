//! How the freestanding program is linked: without start files or libc, position-independent, laid out by
//! linker.ld. The arguments are for the program alone; the tests and the tool link as any other.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=linker.ld");
    let mut linker_arguments = vec!["--no-dynamic-linker"];
    // The debug build keeps its symbols and sections for the debugger.
    if env("PROFILE") == "release" {
        linker_arguments.extend(["-z", "nosectionheader"]);
    }
    // Without addresses relative to the program counter, position independence would take x86 tables of addresses.
    if env("CARGO_CFG_TARGET_ARCH") == "x86" {
        linker_arguments.push("--defsym=fixed_address=0x400000");
    }
    link(&["-static-pie"], &linker_arguments);
}

/// Links without start files or libc, by the linker.ld of the package; the first arguments are for a C compiler.
pub fn link(compiler_arguments: &[&str], linker_arguments: &[&str]) {
    let linker_script = format!("--script={}/linker.ld", env("CARGO_MANIFEST_DIR"));
    let linker_arguments = [&[&linker_script, "--no-eh-frame-hdr", "--build-id=none"], linker_arguments].concat();
    // The tool calls the linker itself, so that no architecture needs a C compiler; cargo alone calls it through one.
    let (compiler_arguments, prefix) = if env("CARGO_ENCODED_RUSTFLAGS").contains("linker-flavor=ld.lld") {
        (vec![], "")
    } else {
        ([&["-nostartfiles", "-nostdlib"], compiler_arguments].concat(), "-Wl,")
    };
    for argument in compiler_arguments {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    for argument in linker_arguments {
        println!("cargo::rustc-link-arg-bins={prefix}{argument}");
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
