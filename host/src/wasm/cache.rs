//! Compiled modules on disk, so that a start or a swap to a known version does not wait for the compiler.
//!
//! Compiled code is run as it stands: it is only ever taken from a directory that this user alone can write to, from files that
//! this user wrote, and only with the hash that it was written with. Whatever does not hold, or is of another build of the engine, is
//! compiled afresh. The cache is a help, never a need: what goes wrong with it costs the time to compile and a line in the log.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module};

/// Bytes that all entries may have together; the ones that were used longest ago go first.
const CACHE_BYTES: u64 = 512 << 20;
/// Bytes of the largest entry that is read. Compiled code is several times as large as its module.
const ENTRY_BYTES: u64 = 256 << 20;
/// Bytes of the SHA-256 that opens an entry.
const SEAL: usize = 32;
/// The ending of an entry's file.
const ENDING: &str = "compiled";

/// A directory of compiled modules that only this user may write to.
#[derive(Clone, Debug)]
pub struct CompileCache {
    dir: PathBuf,
}

impl CompileCache {
    /// Uses that directory, which is made if it does not exist.
    ///
    /// # Errors
    /// It cannot be made, or others could have put something there.
    pub fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let metadata = fs::metadata(dir)?;
        if !metadata.is_dir() || !is_ours_alone(&metadata) {
            return Err(io::Error::other("it must belong to this user and be closed to all others (chmod 700)"));
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The compiled form of a module with that digest, if it is there and can be trusted.
    pub(super) fn find(&self, engine: &Engine, digest: &str) -> Option<Module> {
        let file = self.file(engine, digest);
        let code = match read(&file, &seal_of(&file)) {
            Ok(code) => code,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "A compiled module is not used: it is compiled afresh.");
                return None;
            }
        };
        // SAFETY: `Module::deserialize` asks for bytes that `Module::serialize` made and nobody changed. They come from a file that
        // this user owns and nobody else may write, in a directory of the same kind, and carry the hash, over their name and
        // themselves, with which `keep` wrote them. The engine refuses what another version or configuration of it made.
        #[allow(unsafe_code, reason = "Compiled code is run as it stands.")]
        let module = unsafe { Module::deserialize(engine, &code) };
        module
            .inspect_err(|error| tracing::warn!(%error, file = %file.display(), "A compiled module is not used."))
            .ok()
    }

    /// Keeps a compiled module for the next time.
    pub(super) fn keep(&self, engine: &Engine, digest: &str, module: &Module) {
        let file = self.file(engine, digest);
        let kept = module.serialize().map_err(io::Error::other).and_then(|code| write(&file, &code));
        match kept {
            Ok(()) => self.prune(&file),
            Err(error) => tracing::warn!(%error, file = %file.display(), "A compiled module cannot be kept."),
        }
    }

    /// One file for each module and build of the engine.
    fn file(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hash = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hash);
        self.dir.join(format!("{digest}-{:016x}.{ENDING}", hash.finish()))
    }

    /// Makes room: removes what was used longest ago, but not `newest`.
    fn prune(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let entry = |path: PathBuf| {
            // Whatever else is there is not ours to remove.
            let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_entry(name));
            name?;
            let metadata = fs::symlink_metadata(&path).ok().filter(Metadata::is_file)?;
            Some((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), path))
        };
        let mut entries: Vec<_> = entries.filter_map(|found| entry(found.ok()?.path())).collect();
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in entries.into_iter().filter(|(_, _, path)| path != newest) {
            if total <= CACHE_BYTES {
                break;
            }
            if fs::remove_file(&path).is_ok() {
                total -= size;
            }
        }
    }
}

/// Whether a file's name is one that [`CompileCache::file`] gives, or that of such a file while it is written.
fn is_entry(name: &str) -> bool {
    let hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some((stem, ending)) = name.split_once('.') else { return false };
    let pid = ending.strip_suffix('~').is_some_and(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()));
    (ending == ENDING || pid) && stem.split_once('-').is_some_and(|(digest, build)| hex(digest, 64) && hex(build, 16))
}

fn is_ours_alone(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

/// The hash of an entry begins with its name, so that one cannot stand in for another.
fn seal_of(file: &Path) -> Sha256 {
    let mut seal = Sha256::new();
    seal.update(file.file_name().unwrap_or_default().as_encoded_bytes());
    seal
}

fn read(file: &Path, seal: &Sha256) -> io::Result<Vec<u8>> {
    let entry = File::open(file)?;
    let metadata = entry.metadata()?;
    if !metadata.is_file() || !is_ours_alone(&metadata) || metadata.len() > ENTRY_BYTES {
        return Err(io::Error::other("others could have written it, or it is too large"));
    }
    // When it was used last, for pruning; a file system that cannot keep it loses nothing else.
    entry.set_modified(SystemTime::now()).unwrap_or_default();
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    entry.take(ENTRY_BYTES).read_to_end(&mut bytes)?;
    let Some((hash, code)) = bytes.split_at_checked(SEAL) else { return Err(io::Error::other("it is cut off")) };
    if seal.clone().chain_update(code).finalize().as_slice() != hash {
        return Err(io::Error::other("it is damaged"));
    }
    Ok(bytes.split_off(SEAL))
}

/// Writes beside the file and moves it there: another process that reads finds the whole of it or nothing.
fn write(file: &Path, code: &[u8]) -> io::Result<()> {
    let beside = file.with_extension(format!("{}~", std::process::id()));
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).and_then(|mut new| {
            new.write_all(&seal_of(file).chain_update(code).finalize())?;
            new.write_all(code)
        });
    let moved = written.and_then(|()| fs::rename(&beside, file));
    if moved.is_err() {
        fs::remove_file(&beside).unwrap_or_default();
    }
    moved
}
