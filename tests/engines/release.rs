//! A release, rehearsed against a registry of the machine's own: what a stranger can check of it, what is refused, and
//! that a release that fails leaves no tag.

use pause_tests::debian::{SID, TRIXIE, files};
use pause_tests::sandbox::Sandbox;
use pause_tests::{Ended, ROOT, blocks};
use serde_json::Value;
use std::env;
use std::fs;
use std::process::Command;
use xtask::release::Release;

#[test]
#[ignore = "needs root, docker-registry, skopeo, jq, all toolchains: cargo test --test engines release:: -- --ignored"]
fn a_stranger_verifies_a_release_and_sees_what_was_changed_later() {
    rehearse(
        r#"
        release $repository
        is "$(tags)" 0.1.0
        verify ours
        # cosign 2 verifies the older form, and every attestation.
        attestation='verify-attestation --type'
        for command in verify "$attestation cyclonedx" "$attestation openvex" "$attestation slsaprovenance1"; do
            $TRIXIE/usr/bin/cosign $command --key ours.pub --insecure-ignore-tlog --allow-http-registry $repository:0.1.0
        done
        discover='oras discover --plain-http --format json --artifact-type application/vnd.cyclonedx+json'
        oras pull --plain-http --output found $($discover $repository:0.1.0 | jq --raw-output '.referrers[0].reference')
        cmp found/pause.cdx.json files/pause.cdx.json
        refused "$repository:0.1.0 exists already" release $repository
        refused 'does not say `released = true`' $PROJECT/.ci/release $repository --identity a --source b --builder c
        refused '' verify theirs
        refused 'whose signature?' $PROJECT/.ci/verify-release $repository

        # One manifest's signature in the place of the index', in the form Podman reads.
        signature() { echo $repository:sha256-$1.sig; }
        copy $(signature $INDEX) $(signature $LAYER)
        copy $(signature $MANIFEST) $(signature $INDEX)
        refused "verify of $repository@sha256:$INDEX, --new-bundle-format=false" verify ours
        copy $(signature $LAYER) $(signature $INDEX)
        verify ours
        while_it 'echo other >' $layer refused '' verify ours
        while_it 'rm -r' $store/repositories/pause/_manifests/revisions/sha256/$MANIFEST refused $MANIFEST verify ours
        verify ours"#,
    );
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, jq, python3, all toolchains: cargo test --test engines release:: -- --ignored"]
fn a_release_that_fails_leaves_no_tag() {
    rehearse(
        r#"
        # A connection that breaks while the image is pushed, while it is signed, and while it is verified.
        port=5001
        for at in 3000:skopeo 60000:cosign 150000:; do
            python3 -c "$PROXY" $port ${at%:*} > /dev/null 2>&1 &
            until ss --no-header --listening --tcp --numeric "sport = :$port" | grep --quiet .; do sleep 0.1; done
            refused "error: ${at#*:}" release 127.0.0.1:$port/pause
            is "$(tags)" ''
            kill $!
            port=$((port + 1))
        done
        # A registry that has another layer under the recorded digest.
        while_it 'echo other >' $layer refused '' release $repository
        is "$(tags)" ''
        # And what is left of all these is in nobody's way.
        release $repository
        is "$(tags)" 0.1.0"#,
    );
}

/// With what docs/release.md has for nodes. Debian 12's Podman does not know such signatures ("Debian-local change: sigstore
/// disabled"), so it is sid's.
#[test]
#[ignore = "needs root, docker-registry, skopeo, jq, all toolchains: cargo test --test engines release:: -- --ignored"]
fn podman_pulls_what_is_signed_and_nothing_else() {
    rehearse(
        r#"
        release $repository
        copy $repository:0.1.0 127.0.0.1:5000/unsigned/pause:0.1.0
        mount -t overlay -o lowerdir=$SID/usr:/usr overlay /usr
        mkdir -p /etc/containers/registries.d
        for file in policy.json registries.d/pause.yaml; do
            block=${file##*.}
            echo "${!block}" | sed "s|ghcr.io/OWNER|127.0.0.1:5000|; s|/etc/pki/pause.pub|$PWD/ours.pub|" \
                > /etc/containers/$file
        done
        pull() { podman pull --tls-verify=false docker://$1; }
        pull $repository:0.1.0
        refused 'A signature was required' pull 127.0.0.1:5000/unsigned/pause:0.1.0
        cp theirs.pub ours.pub
        refused 'Source image rejected' pull $repository:0.1.0"#,
    );
}

/// Runs a scenario in an empty directory on a machine with a registry, cosign, and two key pairs: ours and theirs.
fn rehearse(scenario: &str) {
    const SET_UP: &str = r#"
        repository=127.0.0.1:5000/pause store=/run/registry/docker/registry/v2
        layer=$store/blobs/sha256/${LAYER:0:2}/$LAYER/data
        mkdir bin
        ln -s $SID/usr/bin/cosign $SID/usr/bin/oras bin
        PATH=$PWD/bin:$PATH
        cosign generate-key-pair --output-key-prefix ours
        cosign generate-key-pair --output-key-prefix theirs
        release() {
            $PROJECT/.ci/release $1 --key ours.key --source https://a.example/pause --builder https://a.example/builder \
                --output files
        }
        verify() { $PROJECT/.ci/verify-release $repository --key $1.pub; }
        copy() { skopeo copy --all --src-tls-verify=false --dest-tls-verify=false docker://$1 docker://$2; }
        # The versions in the repository.
        tags() { ls $store/repositories/pause/_manifests/tags 2> /dev/null | grep -v ^sha256- || :; }
        is() { [ "$1" = "$2" ] || { echo "$1, not $2" >&2; exit 1; }; }
        # Whether a command fails and says that.
        refused() {
            if "${@:2}" > said 2>&1 || ! grep --quiet --fixed-strings "$1" said; then
                cat said >&2
                exit 1
            fi
        }
        # Runs a command while a file of the registry is changed.
        while_it() {
            cp -a $2 /run/unchanged
            eval "$1 $2"
            "${@:3}"
            rm -rf $2
            mv /run/unchanged $2
        }
    "#;
    let (sandbox, directory) = (Sandbox::new(), tempfile::tempdir().expect("a directory"));
    sandbox.start_registry("");
    let release = Release::own().expect("release.toml");
    let [json, yaml] = ["json", "yaml"].map(|kind| blocks("docs/release.md", "To verify one", kind).remove(0));
    // Where cargo is, and finds what it has downloaded.
    let own = ["HOME", "PATH", "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME"];
    let mut command = sandbox.command("timeout");
    command.args(["600", "env", "--chdir"]).arg(directory.path()).args(["bash", "-euo", "pipefail", "-c"]);
    command
        .arg([SET_UP, scenario].concat())
        .envs(own.into_iter().filter_map(|name| Some((name, env::var(name).ok()?))));
    command.envs([
        ("PROJECT", ROOT.to_owned()),
        ("SID", files(SID).display().to_string()),
        ("TRIXIE", files(TRIXIE).display().to_string()),
        ("INDEX", release.index.digest.digest().to_owned()),
        ("LAYER", release.images[0].layer.digest.digest().to_owned()),
        ("MANIFEST", release.images[1].manifest.digest.digest().to_owned()),
        ("PROXY", PROXY.to_owned()),
        ("json", json),
        ("yaml", yaml),
        ("COSIGN_PASSWORD", String::new()),
    ]);
    Ended::of(&mut command).succeeded();
}

/// In a root file system made of Debian 12's packages alone, with no network. The crates are checked by Cargo.lock.
#[test]
#[ignore = "long: needs root, mmdebstrap, five minutes: cargo test --test engines release::somebody -- --ignored"]
fn somebody_else_builds_the_same_and_states_it() {
    const BUILD: &str = r#"
        packages=$(sed --quiet 's/^apt-get install \(rustc-web.*\)/\1/p' "$PROJECT/docs/release.md" | tr ' ' ,)
        mmdebstrap --quiet --variant=apt --include="$packages" bookworm root
        git -c safe.directory='*' clone --quiet "$PROJECT" root/pause
        mkdir root/root/.cargo
        # The core library is built too, from a workspace of its own.
        RUSTC_BOOTSTRAP=1 cargo vendor --quiet --locked --manifest-path root/pause/Cargo.toml \
            --sync root/usr/src/rustc-*/library/Cargo.toml root/crates
        printf '[source.crates-io]\nreplace-with = "crates"\n[source.crates]\ndirectory = "/crates"\n' \
            > root/root/.cargo/config.toml
        unshare --net chroot root env --ignore-environment --chdir=/pause HOME=/root PATH=/usr/bin:/bin \
            .ci/rebuild https://a.example/pause https://b.example/builder /rebuilt
    "#;
    let directory = tempfile::tempdir_in(pause_tests::target()).expect("a directory");
    let build = Command::new("sh").args(["-euc", BUILD]).env("PROJECT", ROOT).current_dir(&directory).status();
    assert!(build.expect("sh runs").success());
    let statement = fs::read(directory.path().join("root/rebuilt/pause.intoto.json")).expect("a statement");
    let statement: Value = serde_json::from_slice(&statement).expect("JSON");
    assert_eq!(statement["predicate"]["runDetails"]["builder"]["id"], "https://b.example/builder");
    let stated = statement["subject"].as_array().expect("subjects").iter();
    let stated: Vec<&str> = stated.filter_map(|subject| subject["digest"]["sha256"].as_str()).collect();
    let release = Release::own().expect("release.toml");
    let recorded = release.shipped_rows().map(|row| &row.manifest);
    let recorded = recorded.chain(release.shipped_rows().map(|row| &row.program));
    let recorded = [&release.index].into_iter().chain(recorded).map(|content| content.digest.digest());
    assert_eq!(stated, recorded.collect::<Vec<_>>());
}

/// Passes on connections until clients have sent so many bytes; then all of them break.
const PROXY: &str = r#"
import socket, sys, threading
left = int(sys.argv[2])
def passes(one, other, counts):
    global left
    try:
        while left > 0 and (data := one.recv(65536)):
            left -= len(data) * counts
            if left > 0:
                other.sendall(data)
    except OSError:
        pass
    for end in one, other:
        try: end.shutdown(socket.SHUT_RDWR)
        except OSError: pass
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = server.accept()
    registry = socket.create_connection(("127.0.0.1", 5000))
    for ends in (client, registry, 1), (registry, client, 0):
        threading.Thread(target=passes, args=ends, daemon=True).start()
"#;
