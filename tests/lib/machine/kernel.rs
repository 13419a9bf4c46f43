//! Debian's kernels, downloaded and kept in target/kernels or the directory `PAUSE_KERNELS` names.

use crate::debian::Archive;
use crate::target;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
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
    // Two machines may want the same kernel.
    static DOWNLOADING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = DOWNLOADING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());

    let cache = std::env::var_os("PAUSE_KERNELS").map_or_else(|| target().join("kernels"), PathBuf::from);
    let path = cache.join(format!("{}-{}", kernel.package, kernel.architecture));
    if path.is_file() {
        return path;
    }
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("{cache:?}: {error}"));
    let directory = tempfile::tempdir_in(&cache).expect("a directory");
    let archive = Archive { kind: "deb", suite: kernel.suite, architecture: kernel.architecture };
    archive.run(directory.path(), &format!("kernel={}\n{DOWNLOAD}", kernel.package));
    let downloaded = directory.path().join("kernel");
    let packed = fs::read(&downloaded).unwrap_or_else(|_| panic!("no kernel in what {} depends on", kernel.package));
    fs::write(&downloaded, unpacked(packed)).expect("writable");
    fs::rename(downloaded, &path).expect("the same file system");
    path
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
