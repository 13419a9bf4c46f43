//! What an image is called: `--name` and `--tag`, checked by the grammar registries use, and written in full, because
//! containerd takes a name as it stands where Docker and Podman would complete it.

use oci_spec::distribution::Reference;

/// What `--tag` may be: a tag for the image's name, or a reference of its own.
#[derive(Clone)]
pub enum Tag {
    Bare(String),
    Full(Reference),
}

impl Tag {
    pub fn of(&self, name: &Reference) -> String {
        match self {
            Tag::Bare(tag) => format!("{}/{}:{tag}", name.registry(), name.repository()),
            Tag::Full(reference) => reference.whole(),
        }
    }
}

pub fn parse_name(text: &str) -> Result<Reference, String> {
    if has_tag(text) {
        return Err("a name has neither tag nor digest; give the tag with --tag".into());
    }
    parse(text)
}

pub fn parse_tag(text: &str) -> Result<Tag, String> {
    if !text.contains(['/', ':', '@']) {
        return match parse(&format!("localhost/pause:{text}")) {
            Ok(_) => Ok(Tag::Bare(text.to_owned())),
            Err(_) => {
                Err("a tag is up to 128 letters, digits, `_`, `.` and `-`, and starts with none of the last two".into())
            }
        };
    }
    let reference = parse(text)?;
    if reference.digest().is_some() {
        return Err("an image cannot be given a digest, only a name and a tag".into());
    }
    if !has_tag(text) {
        return Err(format!("the tag is missing: did you mean {text}:latest?"));
    }
    Ok(Tag::Full(reference))
}

/// Whether a tag or a digest follows the name. A colon further left is a registry's port.
fn has_tag(text: &str) -> bool {
    text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))
}

fn parse(text: &str) -> Result<Reference, String> {
    let parsed = text.parse::<Reference>().and_then(|reference| {
        // Completed with Docker's defaults, a name in capitals gets past the grammar the first time.
        reference.whole().parse()
    });
    match parsed {
        // The parser takes letters of any script for those of a tag; registries do not.
        Ok(reference) if text.is_ascii() => Ok(reference),
        Ok(_) => Err("only ASCII letters can be part of a reference".into()),
        Err(error) => Err(format!("{error}; a reference looks like registry.k8s.io/pause:3.10")),
    }
}
