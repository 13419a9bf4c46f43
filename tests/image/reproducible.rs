//! The image is the same, byte for byte and for every platform, from somebody else: another user in another directory,
//! with another umask, locale and time zone, a cargo configuration of their own, and a clock that is years ahead.

use pause_tests::{Ended, ROOT, tool};
use std::fs;
use std::process::Command;

/// In an empty directory; `$1` is cargo, `$2` the project, `$3` the tool. The user has no name, sees the toolchain through
/// mounts of its own, and gets a copy of the source and of the crates, as packed. The clock is faked for every program of
/// the build, file times included, except for rustup's compiler, whose allocator waits for ever when the clock is: in its
/// place lies a script that calls it without.
const SOMEBODY_ELSE: &str = r#"
    toolchain=${1%/bin/cargo} home="$PWD/somebody else's home"
    "$3" image --platform=all --output ours > /dev/null
    chmod 755 .
    mkdir -p "$home/project" "$home/toolchain" "$home/compiler" "$home/cargo"
    cd "$2"
    cp --recursive Cargo.toml Cargo.lock release.toml build.rs linker.ld .cargo src bench deploy tests xtask "$home/project"
    cd "${CARGO_HOME:-$HOME/.cargo}"
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
    setpriv --reuid=60002 --regid=60002 --clear-groups \
        env --ignore-environment HOME="$home" CARGO_HOME="$home/cargo" CARGO_NET_OFFLINE=true \
        PATH="$home/toolchain/bin:/usr/bin:/bin" LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8 TZ=Pacific/Chatham \
        faketime '2031-02-03 04:05:06' \
        cargo xtask image --platform all --output "$home/image" > /dev/null
    for file in pause.tar pause.cdx.json; do cmp "$home/../ours/$file" "$home/image/$file"; done
"#;

#[test]
#[ignore = "needs root, faketime and all toolchains: cargo test --test image reproducible:: -- --ignored"]
fn the_image_of_all_platforms_is_the_same_from_somebody_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation=private", "sh", "-euc", SOMEBODY_ELSE, "sh", env!("CARGO"), ROOT]);
    command.arg(tool().get_program()).env("CARGO", env!("CARGO")).env_remove("SOURCE_DATE_EPOCH");
    Ended::of(command.current_dir(&directory)).succeeded();
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
