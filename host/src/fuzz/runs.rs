//! Runs every target over its corpus, and over a fixed number of inputs that are made from it: the same in every run.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use super::TARGETS;

/// Where the inputs are, a folder for each target.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus");
/// Most bytes of an input that is made.
const INPUT_BYTES: usize = 4096;
/// What stands for itself in one of the formats, or at the edge of a number.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x01\0\0\0",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"/",
    b"/..",
    b"/.",
    b"%2e",
    b"%2F",
    b"%",
    b";",
    b"\"",
    b"${",
    b"}",
    b"{",
    b"[",
    b"content-length: ",
    b"transfer-encoding: chunked\r\n",
    b"\xc3\xa9",
    b"wasm.",
];

/// Marsaglia's xorshift: inputs must be the same everywhere, and need not be good random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound.max(1)).expect("a small number");
        usize::try_from((self.0 >> 11) % bound).expect("a small number")
    }
    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }
    fn place(&mut self, input: &[u8]) -> usize {
        self.below(input.len() + 1)
    }
}

/// Changes an input in one to six places.
fn change(input: &mut Vec<u8>, corpus: &[(PathBuf, Vec<u8>)], random: &mut Random) {
    let most = random.below(6) + 1;
    for _ in 0..=random.below(most) {
        let (from, to) = (random.place(input), random.place(input));
        let range = from.min(to)..from.max(to).min(from.min(to) + 32);
        match random.below(7) {
            0 => _ = input.splice(from..from, WORDS[random.below(WORDS.len())].iter().copied()),
            1 => _ = input.drain(range),
            2 => {
                let piece = input[range].to_vec();
                input.splice(to..to, piece);
            }
            3 => {
                let other = &corpus[random.below(corpus.len())].1;
                let (start, end) = (random.place(other), random.place(other));
                let piece = other[start.min(end)..start.max(end)].to_vec();
                input.splice(from..from, piece);
            }
            kind => {
                let (byte, bit) = (random.byte(), 1 << random.below(8));
                if let Some(at) = input.get_mut(from) {
                    *at = if kind == 4 { *at ^ bit } else { byte };
                }
            }
        }
    }
    input.truncate(INPUT_BYTES);
}

/// The inputs of a target with their files, in the order of their names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(CORPUS).join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no inputs", folder.display());
    files.into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

/// Runs a target over its corpus, and over so many changed inputs; `SLUICEGATE_FUZZ=100` makes it a hundred times as many.
fn run(name: &str, times: usize) {
    let factor =
        std::env::var("SLUICEGATE_FUZZ").map_or(1, |factor| factor.parse().expect("SLUICEGATE_FUZZ: a number"));
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let corpus = corpus(name);
    for (file, input) in &corpus {
        one(target, input, &file.display().to_string());
    }
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    for time in 0..times * factor {
        let mut input = corpus[time % corpus.len()].1.clone();
        change(&mut input, &corpus, &mut random);
        one(target, &input, &format!("changed input {time} of {name}"));
    }
}

fn one(target: fn(&[u8]), input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        println!("{what}: b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

#[test]
fn serialised_maps_of_any_bytes_are_refused_or_read_back() {
    run("pairs", 100_000);
}

#[test]
fn properties_of_any_path_stay_within_bounds_and_their_stream() {
    run("properties", 10_000);
}

#[test]
fn configurations_of_any_text_are_accepted_or_refused_with_a_place() {
    run("config", 20_000);
}

#[test]
fn hostcalls_with_any_arguments_cost_their_instance_at_most() {
    run("hostcalls", 5_000);
}

#[test]
fn modules_of_any_bytes_are_refused_or_loaded() {
    run("modules", 10_000);
}

#[test]
fn paths_of_any_text_are_refused_or_normal() {
    run("paths", 100_000);
}

#[test]
fn connections_of_any_bytes_are_judged_alike_in_any_pieces() {
    run("strict", 50_000);
}

#[test]
fn every_target_has_a_binary_for_cargo_fuzz() {
    let manifest = fs::read_to_string(Path::new(CORPUS).join("../Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        let file = Path::new(CORPUS).join(format!("../targets/{target}.rs"));
        assert!(fs::read_to_string(file).unwrap().contains(&format!("sluicegate::fuzz::{target}(input)")), "{target}");
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target} is not in the manifest");
    }
}
