//! The image is the same, byte for byte and for every platform, from somebody else: another user in another directory,
//! with another umask, locale and time zone, a cargo configuration of their own, and a clock that is years ahead.

use pause_tests::ROOT;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user has no name, sees the toolchain through mounts of its own, and gets a copy of the source and of the crates,
/// as packed. The clock is faked for every program of the build, file times included, except for rustup's compiler,
/// whose allocator waits for ever when the clock is: in its place lies a script that calls it without.
const SOMEBODY_ELSE: &str = r#"
    toolchain=$1 cargo=$2 home=$3
    mkdir -p "$home/toolchain" "$home/compiler" "$home/cargo"
    cd "$cargo"
    cp --recursive --parents registry/cache registry/index "$home/cargo"
    [ ! -e config.toml ] || cp config.toml "$home/cargo"
    cat >> "$home/cargo/config.toml" <<'END'
[target.'cfg(all())']
rustflags = ["-Ctarget-cpu=native"]
[profile.release]
opt-level = 3
lto = "thin"
debug = true
overflow-checks = true
END
    chown --recursive 60002:60002 "$home"
    printf '#!/bin/sh\nunset LD_PRELOAD\nexec "%s/compiler/bin/rustc" "$@"\n' "$home" > "$home/rustc"
    chmod 755 "$home/rustc"
    mount --bind "$toolchain" "$home/compiler"
    mount --bind "$toolchain" "$home/toolchain"
    mount --bind "$home/rustc" "$home/toolchain/bin/rustc"
    umask 077
    cd "$home/project"
    exec setpriv --reuid=60002 --regid=60002 --clear-groups \
        env --ignore-environment HOME="$home" CARGO_HOME="$home/cargo" CARGO_NET_OFFLINE=true \
        PATH="$home/toolchain/bin:/usr/bin:/bin" LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8 TZ=Pacific/Chatham \
        faketime '2031-02-03 04:05:06' \
        cargo xtask image --platform all --output "$home/image"
"#;

#[test]
#[ignore = "needs root, faketime and all toolchains: cargo test --test image reproducible:: -- --ignored"]
fn the_image_of_all_platforms_is_the_same_from_somebody_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = directory.path().join("ours");
    let mut command = pause_tests::tool();
    command.args(["image", "--platform=all", "--output"]).arg(&ours).stdout(Stdio::null());
    assert!(command.status().expect("the tool runs").success(), "{command:?} failed");

    let home = directory.path().join("somebody else's home");
    let project = home.join("project");
    fs::create_dir_all(&project).expect("a directory");
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--parents", "Cargo.toml", "Cargo.lock", "release.toml", "build.rs", "linker.ld"]);
    copy.args([".cargo", "src", "bench", "deploy", "tests", "xtask"]).arg(&project).current_dir(ROOT);
    assert!(copy.status().expect("cp runs").success(), "{copy:?} failed");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("others may look into it");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation=private", "sh", "-euc", SOMEBODY_ELSE, "sh"]);
    command.arg(sysroot()).arg(cargo_home()).arg(&home).stdout(Stdio::null());
    let status = command.status().expect("unshare runs");
    assert!(status.success(), "somebody else could not build the image; this needs root: {command:?}: {status}");

    for name in ["pause.tar", "pause.cdx.json"] {
        let [ours, theirs] =
            [ours.join(name), home.join("image").join(name)].map(|path| fs::read(path).expect("written"));
        assert!(ours == theirs, "{name} is another");
    }
}

fn sysroot() -> PathBuf {
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let output = Command::new(rustc).arg("--print=sysroot").output().expect("rustc runs");
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().into()
}

fn cargo_home() -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME");
    std::env::var_os("CARGO_HOME").map_or_else(|| Path::new(&home).join(".cargo"), PathBuf::from)
}

#[test]
fn a_configuration_that_could_build_another_program_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    for (configuration, place) in [
        ("[patch.crates-io]\nsc = { path = '/nowhere' }", "[patch]"),
        ("paths = ['/nowhere']", "[paths]"),
        ("[profile.release]\nrustflags = ['-Copt-level=3']", "[profile.release.rustflags]"),
        ("[profile.release.package.sc]\nopt-level = 3", "[profile.release.package]"),
    ] {
        fs::write(home.path().join("config.toml"), configuration).expect("writable");
        let mut command = pause_tests::tool();
        let output = command.arg("build").env("CARGO_HOME", home.path()).output().expect("the tool runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let complaint = format!("your cargo configuration has {place}");
        assert!(!output.status.success() && said.contains(&complaint), "{configuration}: {said}");
    }
}
