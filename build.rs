//! How the freestanding program is linked: without start files or libc, position-independent, laid out by
//! linker.ld. The arguments are for the program alone; the tests and the tool link as any other.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=linker.ld");
    let linker_script = format!("{}/linker.ld", env("CARGO_MANIFEST_DIR"));
    let mut linker_arguments = vec![
        format!("--script={linker_script}"),
        "--no-dynamic-linker".into(),
        "--no-eh-frame-hdr".into(),
        "--build-id=none".into(),
    ];
    // The debug build keeps its symbols and sections for the debugger.
    if env("PROFILE") == "release" {
        linker_arguments.extend(["-z".into(), "nosectionheader".into()]);
    }
    // Without addresses relative to the program counter, position independence would cost x86 47 bytes.
    if env("CARGO_CFG_TARGET_ARCH") == "x86" {
        linker_arguments.push("--defsym=fixed_address=0x400000".into());
    }
    // The tool calls the linker itself, so that no architecture needs a C compiler; cargo alone calls it through one.
    let (through_compiler, prefix): (&[&str], _) = if env("CARGO_ENCODED_RUSTFLAGS").contains("linker-flavor=ld.lld") {
        (&[], "")
    } else {
        (&["-nostartfiles", "-nostdlib", "-static-pie"], "-Wl,")
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
