//! Virtual machines with Debian's kernels, in which a test's own init runs pause and reports over the serial console.

use crate::debian::{TRIXIE, kept, with_apt};
use crate::{Ended, ROOT, target};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use xtask::platform::{Kernel, Platform};

/// How many seconds a machine may run. None takes a tenth of it, emulated on an idle processor of this decade.
const PATIENCE: &str = "600";

/// Boots a kernel into `/init` of a directory, which it has in its memory. The machine ends when that process has it
/// restart. What it printed is its console.
pub fn run(kernel: &Kernel, root: &Path, options: &[&str]) -> Ended {
    let directory = tempfile::tempdir().expect("a directory");
    let initrd = directory.path().join("initrd");
    let mut pack = Command::new("sh");
    pack.args(["-euc", "find . | cpio --quiet --create --format=newc > $0"]).arg(&initrd).current_dir(root);
    Ended::of(&mut pack).succeeded();
    let mut machine = Command::new("timeout");
    machine.arg(PATIENCE).args(kernel.qemu.split(' '));
    machine.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]);
    machine.arg("-kernel").arg(file(kernel)).arg("-initrd").arg(initrd);
    machine.arg("-append").arg(format!("{} panic=-1", kernel.arguments)).args(options);
    Ended::of(&mut machine)
}

/// Leaves the kernel itself in the current directory, from what the package `$KERNEL` depends on. Which package has it has
/// changed: linux-image-VERSION, from Linux 7 on linux-binary-VERSION. QEMU cannot unpack one that is an EFI program around
/// a compressed one (the kernel's drivers/firmware/efi/libstub/zboot-header.S).
const DOWNLOAD: &str = r#"
    packages=$(apt-cache "$@" depends --recurse --important $KERNEL | grep -E '^linux-(image|binary)-[0-9]' | sort -u)
    apt-get "$@" download $packages
    for package in *.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --wildcards './*/vmlinu*' 2> /dev/null || :
    done
    find . -name 'vmlinu*' -type f -exec mv {} kernel \;
    if [ "$(head -c 8 kernel | tail -c 4 | tr -d '\0')" = zimg ]; then
        set -- $(od -A n -t u4 -j 8 -N 8 kernel)
        tail -c +$(($1 + 1)) kernel | head -c $2 | zstd --decompress > unpacked
        mv unpacked kernel
    fi
"#;

/// The file QEMU boots, downloaded if it is not there.
fn file(kernel: &Kernel) -> PathBuf {
    kept(&format!("kernel-{}-{}", kernel.package, kernel.architecture), |directory| {
        let script = format!("KERNEL={}\n{DOWNLOAD}", kernel.package);
        with_apt(["deb", &kernel.suite, &kernel.architecture], directory, &script);
        directory.join("kernel")
    })
}

/// Its first process: the contract's rows, statically linked. For another platform than this machine's the C library is that
/// of Debian's cross compilers, which clang takes for any of them.
pub fn init(platform: &'static Platform) -> PathBuf {
    // Two machines may have the same.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let toolchain = xtask::toolchain::find(&[platform]).unwrap_or_else(|error| panic!("{error:#}"));
    let directory = target().join("contract");
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    if !xtask::platform::host().is_ok_and(|own| std::ptr::eq(own, platform)) {
        let triple = platform.target.replace("-unknown", "").replace("riscv64gc", "riscv64");
        let sysroot = libraries(platform);
        flags.push("-Clinker=clang-22".into());
        let words = [format!("--target={triple}"), format!("--sysroot={}", sysroot.display()), "-fuse-ld=lld".into()];
        flags.extend(words.map(|word| format!("-Clink-arg={word}")));
    }
    let mut cargo = toolchain.cargo(&platform.target, "std,panic_abort");
    cargo.args(["--quiet", "--locked", "--package=pause-contract", "--bin=pause-contract-init", "--target-dir"]);
    cargo.arg(&directory).current_dir(ROOT).env("CARGO_PROFILE_DEV_DEBUG", "0");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let output = cargo.output().unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{cargo:?} failed; it needs the packages clang-22 and lld-22:\n{said}");
    directory.join(&platform.target).join("debug/pause-contract-init")
}

/// A root with the C library and the compiler's own, from packages that fit every machine.
fn libraries(platform: &Platform) -> PathBuf {
    let architecture = &platform.kernel().architecture;
    kept(&format!("libraries-{architecture}"), |directory| {
        let script = format!(
            "apt-get \"$@\" download libc6-dev-{architecture}-cross libgcc-14-dev-{architecture}-cross
            for package in *.deb; do dpkg-deb --extract $package root; done"
        );
        with_apt(["deb", TRIXIE, ""], directory, &script);
        directory.join("root")
    })
}
