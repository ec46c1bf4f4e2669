//! Compiled functions in memory: a new version of a module has most of its functions from the one before, and only the others are
//! compiled. What a function is compiled from is its key, as a SHA-256 over everything that the compiler is given, its settings
//! included: where a function stands among others and where in the file makes no difference.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use wasmtime::CacheStore;

/// Bytes that are kept, keys included.
const BYTES: usize = 16 << 20;
/// What an entry takes besides its bytes, at most.
const ENTRY_BYTES: usize = 96;

/// Compiled functions by key. Two halves: when the younger is full, it becomes the older, and what was the older is forgotten. What is used
/// again moves to the younger.
#[derive(Debug, Default)]
pub(super) struct CompiledFunctions(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Box<[u8]>, Box<[u8]>>,
    old: HashMap<Box<[u8]>, Box<[u8]>>,
    /// Bytes of the younger half.
    bytes: usize,
}

impl Halves {
    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some(code) = self.young.get(key) {
            return Some(code.to_vec());
        }
        let (key, code) = self.old.remove_entry(key)?;
        let found = code.to_vec();
        self.keep(key, code);
        Some(found)
    }

    fn keep(&mut self, key: Box<[u8]>, code: Box<[u8]>) {
        let size = key.len() + code.len() + ENTRY_BYTES;
        if size > BYTES / 2 || self.young.contains_key(&key) {
            return;
        }
        if self.bytes + size > BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += size;
        self.young.insert(key, code);
    }
}

impl CacheStore for CompiledFunctions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).map(Cow::Owned)
    }
    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(key.into(), value.into_boxed_slice());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmtime::{Config, Engine, Module};

    use super::*;

    /// Functions that are kept, and the bytes of both halves.
    fn held(functions: &CompiledFunctions) -> (usize, usize) {
        let halves = functions.0.lock().unwrap();
        let all = halves.young.iter().chain(&halves.old);
        let bytes = all.map(|(key, code)| key.len() + code.len() + ENTRY_BYTES).sum();
        (halves.young.len() + halves.old.len(), bytes)
    }

    #[test]
    fn only_functions_that_changed_are_compiled_wherever_they_stand() {
        let functions = Arc::<CompiledFunctions>::default();
        let mut config = Config::new();
        config.enable_incremental_compilation(functions.clone()).unwrap();
        let engine = Engine::new(&config).unwrap();
        let compile = |text: &str| {
            Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
            held(&functions).0
        };
        let function = |number: u32| {
            format!(
                "(func (export \"f{number}\") (param i32) (result i32) (i32.add (call $leaf (local.get 0)) (i32.const {number})))"
            )
        };
        let leaf = "(func $leaf (param i32) (result i32) (i32.shl (local.get 0) (i32.const 1)))";
        let rest: String = (1..100).map(function).collect();
        let first = compile(&format!("(module {leaf} {} {rest})", function(0)));
        let shifted = compile(&format!("(module {} {leaf} {rest} (data \"more\"))", function(1000)));
        assert!(shifted < first + 20, "{first} functions, then {shifted}");
        let again = compile(&format!("(module {leaf} {} {rest})", function(0)));
        // Threads that compile at the same time may differ in what they find out about each other's work.
        assert!(again <= shifted + 5, "what was before is still known: {shifted}, then {again}");
    }

    #[test]
    fn what_is_kept_has_a_bound_and_what_is_used_stays() {
        let functions = CompiledFunctions::default();
        let code = vec![0; 100_000];
        functions.insert(b"used", code.clone());
        for number in 0..1000_u32 {
            functions.insert(&number.to_le_bytes(), code.clone());
            assert!(held(&functions).1 <= BYTES);
            assert_eq!(functions.get(b"used").as_deref(), Some(&code[..]));
        }
        assert_eq!(functions.get(&999_u32.to_le_bytes()).as_deref(), Some(&code[..]));
        assert_eq!(functions.get(&0_u32.to_le_bytes()), None);
        functions.insert(b"huge", vec![0; BYTES]);
        assert_eq!(functions.get(b"huge"), None);
    }
}
