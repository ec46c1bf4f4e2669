//! The first-party filters, compiled to WebAssembly by this package's build script and carried as bytes.

/// Every bundled plugin: its name and its module, sorted by name.
#[must_use]
pub fn plugins() -> &'static [(&'static str, &'static [u8])] {
    include!(concat!(env!("OUT_DIR"), "/table.rs"))
}

/// The module of one bundled plugin.
#[must_use]
pub fn plugin(name: &str) -> Option<&'static [u8]> {
    plugins().iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_bundled_plugin_is_a_wasm_module() {
        assert_eq!(super::plugins().len(), 5);
        for (name, bytes) in super::plugins() {
            assert!(bytes.starts_with(b"\0asm"), "{name}");
        }
        assert!(super::plugin("rate-limit").is_some());
        assert!(super::plugin("unknown").is_none());
    }
}
