//! Why what scanners report of pause images cannot apply to this one: an OpenVEX document.
//! <https://github.com/openvex/spec>

use crate::oci::Times;
use anyhow::Result;
use cyclonedx_bom::external_models::uri::Purl;
use oci_spec::image::Digest;
use serde_json::json;

/// Of the C library that upstream's program is linked with, which scanners see in images that have no list of packages
/// (docker-library/busybox issue 219; of the pause image kyma-project/kyma issue 12897).
const OF_GLIBC: [&str; 5] = ["CVE-2023-0687", "CVE-2023-4527", "CVE-2023-4911", "CVE-2023-5156", "CVE-2023-6246"];

/// `author` is who makes the statements, an IRI.
pub fn document(index: &Digest, version: &str, author: &str, times: &Times) -> Result<Vec<u8>> {
    let product = json!({
        "@id": Purl::new("oci", "pause", index.as_ref())?.to_string(),
        "hashes": { "sha-256": index.digest() },
    });
    let statement = |name: &&str| {
        json!({
            "vulnerability": { "name": name },
            "products": [product],
            "status": "not_affected",
            "justification": "component_not_present",
            "impact_statement": "No C library is linked: the bill of materials names all that is.",
        })
    };
    let document = json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": format!("{author}#openvex-{version}"),
        "author": author,
        "timestamp": times.created,
        "version": 1,
        "statements": OF_GLIBC.iter().map(statement).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_vec_pretty(&document)?)
}
