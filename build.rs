//! How the freestanding program is linked: without start files or libc, into a file that consists of what linker.ld and the
//! headers in src/arch say and of nothing else. The arguments are for the program alone; tests and tool link as any other.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let root = env("CARGO_MANIFEST_DIR");
    // The tool calls the linker itself, so that no architecture needs a C compiler; cargo alone calls it through one.
    let is_direct = env("CARGO_ENCODED_RUSTFLAGS").contains("linker-flavor=ld.lld");
    let prefix = if is_direct { "" } else { "-Wl," };
    if !is_direct {
        // By the linker that Rust brings, which is not the compiler's choice everywhere.
        let linker = format!("-B{}/lib/rustlib/{}/bin/gcc-ld", sysroot(), env("HOST"));
        for argument in [&linker, "-fuse-ld=lld", "-nostartfiles", "-nostdlib", "-static-pie"] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
    let headers = format!("src/arch/elf{}.ld", env("CARGO_CFG_TARGET_POINTER_WIDTH"));
    for script in [&*headers, "linker.ld"] {
        println!("cargo::rerun-if-changed={script}");
        println!("cargo::rustc-link-arg-bins={prefix}--script={root}/{script}");
    }
    let byte_order = if env("CARGO_CFG_TARGET_ENDIAN") == "little" { 1 } else { 2 };
    // Without addresses relative to the program counter, position independence would take x86 tables of addresses.
    let is_fixed = env("CARGO_CFG_TARGET_ARCH") == "x86";
    let (base, kind) = if is_fixed { ("0x400000", 2) } else { ("0", 3) };
    for argument in [
        "--oformat=binary",
        "--no-dynamic-linker",
        "--no-eh-frame-hdr",
        "--build-id=none",
        &format!("--defsym=base={base}"),
        &format!("--defsym=elf_type={kind}"),
        &format!("--defsym=elf_data={byte_order}"),
    ] {
        println!("cargo::rustc-link-arg-bins={prefix}{argument}");
    }
}

fn sysroot() -> String {
    let output = Command::new(env("RUSTC")).arg("--print=sysroot").output().expect("cargo sets RUSTC to what runs");
    String::from_utf8(output.stdout).expect("a path in UTF-8").trim_end().into()
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
