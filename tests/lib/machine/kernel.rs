//! Debian's kernels, downloaded and kept in target.

use crate::debian::{Archive, kept};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use xtask::platform::Kernel;

/// Leaves the kernel itself in the current directory, from what the package `$kernel` depends on. Which package has it
/// has changed: linux-image-VERSION, from Linux 7 on linux-binary-VERSION.
const DOWNLOAD: &str = r#"
    packages=$(apt-cache "$@" depends --recurse --important $kernel | grep -E '^linux-(image|binary)-[0-9]' | sort -u)
    apt-get "$@" download $packages
    for package in *.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --wildcards './*/vmlinu*' 2> /dev/null || :
    done
    find . -name 'vmlinu*' -type f -exec mv {} kernel \;
"#;

/// The file qemu boots, downloaded if it is not there.
pub fn of(kernel: &Kernel) -> PathBuf {
    kept(&format!("kernel-{}-{}", kernel.package, kernel.architecture), |directory| {
        let archive = Archive { kind: "deb", suite: kernel.suite, architecture: kernel.architecture };
        archive.run(directory, &format!("kernel={}\n{DOWNLOAD}", kernel.package));
        let path = directory.join("kernel");
        let packed = fs::read(&path).unwrap_or_else(|_| panic!("no kernel in what {} depends on", kernel.package));
        fs::write(&path, unpacked(packed)).expect("writable");
        path
    })
}

/// What qemu cannot unpack by itself: a kernel that is an EFI program around a compressed one. Its header is
/// described in the kernel's drivers/firmware/efi/libstub/zboot-header.S.
fn unpacked(kernel: Vec<u8>) -> Vec<u8> {
    if !(kernel.starts_with(b"MZ") && kernel[4..].starts_with(b"zimg")) {
        return kernel;
    }
    assert!(kernel[24..].starts_with(b"zstd\0"), "a kernel packed with something else than zstd");
    let number = |at: usize| u32::from_le_bytes(kernel[at..at + 4].try_into().expect("four bytes")) as usize;
    let (start, length) = (number(8), number(12));
    let mut unpacked = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(&kernel[start..start + length])
        .expect("a zstd frame")
        .read_to_end(&mut unpacked)
        .expect("a whole zstd frame");
    unpacked
}
