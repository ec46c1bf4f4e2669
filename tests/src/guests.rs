//! The filters that tests use, compiled by the build script or carried by the gateway's own bundle.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The bytes of a guest, by its constant.
///
/// # Panics
/// The build script did not leave it there.
#[must_use]
pub fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(path).expect("the build script compiled it")
}

/// The filter that does what its configuration says.
#[must_use]
pub fn script() -> Vec<u8> {
    bytes(SCRIPT)
}

/// The bytes of a first-party filter, by its name.
///
/// # Panics
/// There is none of that name.
#[must_use]
pub fn bundled(name: &str) -> Vec<u8> {
    let found = sluicegate_bundle::plugins().iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no first-party filter {name}")).1.to_vec()
}
