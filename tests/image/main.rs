//! What the tool makes of the program: the image and what goes with it, and how somebody else checks them.

mod image;
mod reproducible;
mod sbom;
mod verify;
