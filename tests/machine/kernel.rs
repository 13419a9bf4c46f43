//! Debian's kernels: downloaded with apt from the archive this machine uses, checked by apt, and kept in
//! target/kernels or the folder `PAUSE_KERNELS` names. Nothing of this machine's packages or sources changes.

use super::Machine;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Downloads what `$KERNEL` depends on that has the kernel itself, and leaves it in the current folder. apt works on
/// that folder alone and for one foreign architecture, so that it needs no root and dpkg need not know of the
/// architecture. Which package the kernel is in has changed: linux-image-VERSION, from Linux 7 on linux-binary-VERSION.
const DOWNLOAD: &str = r#"
    archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
        head -n 1)
    if [ -z "$archive" ]; then
        echo "apt knows no archive of Debian: run apt-get update" >&2
        exit 1
    fi
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    if [ ! -e $keys ]; then
        echo "$keys is missing: install Debian's package debian-archive-keyring" >&2
        exit 1
    fi
    echo "deb [signed-by=$keys] $archive $SUITE main" > sources.list
    mkdir -p lists/partial cache/archives/partial
    touch status
    set -- -o Dir::State::Lists="$PWD/lists" -o Dir::State::status="$PWD/status" -o Dir::Cache="$PWD/cache" \
        -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o APT::Architecture="$ARCHITECTURE" -o APT::Architectures="$ARCHITECTURE" -o APT::Sandbox::User=root \
        -o Acquire::Retries=5 -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    apt-get "$@" --quiet=2 --error-on=any update
    packages=$(apt-cache "$@" depends --recurse --important "$KERNEL" | grep -E '^linux-(image|binary)-[0-9]' | sort -u)
    apt-get "$@" --quiet=2 download $packages
    for package in *.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --wildcards './*/vmlinu*' 2> /dev/null || :
    done
    find . -name 'vmlinu*' -type f -exec mv {} kernel \;
"#;

/// How often a download is tried, apt's own retries aside.
const ATTEMPTS: usize = 3;

/// The file qemu boots, downloaded if it is not there.
pub fn of(machine: &Machine) -> PathBuf {
    // Two machines may want the same kernel.
    static DOWNLOADING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = DOWNLOADING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());

    let cache = std::env::var_os("PAUSE_KERNELS")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kernels"), PathBuf::from);
    let path = cache.join(machine.architecture);
    if path.is_file() {
        return path;
    }
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("{cache:?}: {error}"));
    let folder = tempfile::tempdir_in(&cache).expect("a folder");
    for attempt in 1.. {
        match download(machine, folder.path()) {
            Ok(()) => break,
            Err(said) => assert!(attempt < ATTEMPTS, "no {} in {} attempts: {said}", machine.kernel, ATTEMPTS),
        }
    }
    let downloaded = folder.path().join("kernel");
    let kernel = fs::read(&downloaded).unwrap_or_else(|_| panic!("no kernel in what {} depends on", machine.kernel));
    fs::write(&downloaded, unpacked(kernel)).expect("writable");
    fs::rename(downloaded, &path).expect("the same file system");
    path
}

fn download(machine: &Machine, folder: &Path) -> Result<(), String> {
    let mut command = Command::new("sh");
    command.args(["-euc", DOWNLOAD]).current_dir(folder);
    command.env("ARCHITECTURE", machine.architecture).env("SUITE", machine.suite).env("KERNEL", machine.kernel);
    let output = command.output().expect("sh runs");
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
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
