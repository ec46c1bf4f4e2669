//! The target `config` under cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluicegate::fuzz::config(input));
