//! Files that may change while the gateway runs → one event per settled change.
//!
//! Notifications only say when to look; what counts is a snapshot of names, sizes, times and inodes. Directories are
//! watched, not files, so that atomic renames and symlink exchanges (as Kubernetes does with ConfigMaps) are seen, and
//! a slow poll finds what notifications miss (network file systems, bind mounts).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{debug, warn};

use super::whole::Whole;
use crate::config::include;

/// Two equal snapshots this far apart: the change is whole, as far as anyone can tell from outside.
const SETTLE: Duration = Duration::from_millis(20);
/// A file that keeps changing is looked at all the same after this time.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// How often to look without any notification.
const POLL: Duration = Duration::from_secs(1);

/// What is watched: the configuration file, the modules of the plugins directory with their signatures, and files that the
/// configuration names or includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) config: Option<PathBuf>,
    pub(super) plugins: PathBuf,
    pub(super) files: Vec<PathBuf>,
    /// What other files of the configuration are called, those that do not exist yet included.
    pub(super) included: Vec<String>,
}

impl Watched {
    /// All but the plugins, as far as they exist.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let included = self.included.iter().flat_map(|pattern| include::matching(pattern));
        self.config.iter().chain(&self.files).cloned().chain(included)
    }
}

/// What a file was like: length, modification and change times in nanoseconds, inode.
type Stamp = (u64, i128, i128, u64);

/// What the watched files were like at one moment.
pub(super) type Snapshot = BTreeMap<PathBuf, Stamp>;

/// Starts the watching thread. `known`: what the files were like before they were read for the generation that serves, so that a
/// change between then and now is not missed. `changed` is called on it for every settled change and says what to watch from then on, and what
/// that was like before it was read; the thread ends when it returns `None`.
pub(super) fn spawn(
    watched: Watched,
    mut known: Snapshot,
    mut changed: impl FnMut() -> Option<(Watched, Snapshot)> + Send + 'static,
) -> std::io::Result<()> {
    // Notifications only have to wake the thread once, however many there are.
    let (sender, woken) = sync_channel::<()>(1);
    let wake = Wake { sender, whole: Arc::default() };
    let work = move || {
        let mut watched = watched;
        let mut watcher = watch(&watched, &wake);
        wake.sender.try_send(()).unwrap_or_default();
        loop {
            match woken.recv_timeout(POLL) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if snapshot(&watched) == known {
                wake.whole.forget();
                continue;
            }
            known = settle(&watched, &known, &woken, &wake.whole);
            let Some((next, seen)) = changed() else { return };
            if next != watched {
                (watched, known) = (next, seen);
            }
            // Exchanged symlinks lead to other directories: watch where they lead now.
            watcher = watch(&watched, &wake).or(watcher);
        }
    };
    std::thread::Builder::new().name("watch".to_owned()).spawn(work).map(drop)
}

/// What the thread is woken with.
#[derive(Clone)]
struct Wake {
    sender: SyncSender<()>,
    whole: Arc<Whole>,
}

/// Waits until nothing changes any more, or for [`SETTLE_MAX`]; not at all for a single module that was told to be whole.
fn settle(watched: &Watched, known: &Snapshot, woken: &Receiver<()>, whole: &Whole) -> Snapshot {
    let started = Instant::now();
    let mut before = snapshot(watched);
    loop {
        if whole.is_all(known, &before) {
            return before;
        }
        let settled = pause(woken, whole);
        let now = snapshot(watched);
        if (settled && now == before) || started.elapsed() > SETTLE_MAX {
            return now;
        }
        before = now;
    }
}

/// Lets [`SETTLE`] pass, whatever is notified meanwhile; `false`: some file is told to be whole before that.
fn pause(woken: &Receiver<()>, whole: &Whole) -> bool {
    let until = Instant::now() + SETTLE;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if whole.has_news() {
            return false;
        }
        if woken.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
            return true;
        }
    }
    true
}

/// Looks at the watched files.
pub(super) fn snapshot(watched: &Watched) -> Snapshot {
    let modules = std::fs::read_dir(&watched.plugins).into_iter().flatten().flatten().map(|entry| entry.path());
    let modules = modules.filter(|path| is_module(path));
    modules.chain(watched.files()).filter_map(|path| Some((stamp(&path)?, path))).map(|(a, b)| (b, a)).collect()
}

/// Follows symlinks: what matters is the content that would be read.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let modified = nanos(metadata.mtime(), metadata.mtime_nsec());
    let changed = nanos(metadata.ctime(), metadata.ctime_nsec());
    Some((metadata.len(), modified, changed, metadata.ino()))
}

/// Watches the directories in which the files stand and those that symlinks lead to. Polling goes on where this fails.
fn watch(watched: &Watched, wake: &Wake) -> Option<RecommendedWatcher> {
    let wake = wake.clone();
    let links = watched.files().flat_map(|file| [Some(file.clone()), std::fs::canonicalize(file).ok()]);
    let names: Vec<OsString> = links.flatten().filter_map(|file| Some(file.file_name()?.to_owned())).collect();
    let notified = move |event: notify::Result<Event>| {
        if let Ok(event) = event.as_ref()
            && is_change(event.kind)
            && concerns(event, &names)
        {
            wake.whole.notice(event);
            // A full channel means that a wake-up is pending already.
            wake.sender.try_send(()).unwrap_or_default();
        }
    };
    let mut watcher = notify::recommended_watcher(notified)
        .inspect_err(|error| warn!(%error, "File notifications are not available; polling every second."))
        .ok()?;
    for directory in directories(watched) {
        if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
            debug!(%error, directory = %directory.display(), "Directory is not watched; polling every second.");
        }
    }
    Some(watcher)
}

/// Whether a notification is about a change. Those of mere reading would never end: looking at a directory is reading it.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Whether an event may be about a watched file. Writing to other files, such as a log beside the configuration, is not; names
/// that come, go or move may be links on the way to one.
fn concerns(event: &Event, names: &[OsString]) -> bool {
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| names.iter().any(|known| known == name));
    let watched = |path: &PathBuf| is_module(path) || named(path);
    let written = match event.kind {
        EventKind::Modify(ModifyKind::Name(_)) => false,
        EventKind::Modify(_) | EventKind::Access(_) => true,
        _ => false,
    };
    !written || event.paths.is_empty() || event.paths.iter().any(watched)
}

/// A module, or the signature of one.
fn is_module(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm" || extension == "minisig")
}

fn directories(watched: &Watched) -> Vec<PathBuf> {
    let files = watched.files().flat_map(|file| [Some(file.clone()), std::fs::canonicalize(file).ok()]);
    let mut found: Vec<PathBuf> = files.flatten().filter_map(|file| parent(&file)).collect();
    // A file that is new comes into a directory where others may be none yet.
    found.extend(watched.included.iter().filter_map(|pattern| parent(Path::new(pattern))));
    found.push(watched.plugins.clone());
    found.extend(snapshot(watched).keys().filter_map(|file| parent(&std::fs::canonicalize(file).ok()?)));
    // The plugins directory may appear later: its parent says when.
    found.extend(parent(&watched.plugins));
    found.sort();
    found.dedup();
    found.retain(|directory| directory.is_dir());
    found
}

fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, RemoveKind, RenameMode};

    #[test]
    fn reading_is_no_change_and_finishing_to_write_is() {
        assert!(!is_change(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!is_change(EventKind::Access(AccessKind::Read)));
        assert!(!is_change(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(is_change(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(is_change(EventKind::Create(CreateKind::Any)));
        assert!(is_change(EventKind::Modify(ModifyKind::Any)));
        assert!(is_change(EventKind::Remove(RemoveKind::Any)));
    }

    #[test]
    fn a_log_beside_the_configuration_wakes_nobody() {
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let event = |kind, name: &str| Event::new(kind).add_path(PathBuf::from(name));
        let names = &[OsString::from("gateway.json"), OsString::from("tls.key")];
        assert!(!concerns(&event(data, "/etc/sluicegate/access.log"), names));
        assert!(concerns(&event(data, "/etc/sluicegate/gateway.json"), names));
        assert!(concerns(&event(data, "/etc/sluicegate/certificates/tls.key"), names));
        assert!(concerns(&event(data, "/etc/sluicegate/plugins/hello.wasm"), names));
        assert!(concerns(
            &event(EventKind::Modify(ModifyKind::Name(RenameMode::Any)), "/etc/sluicegate/..data"),
            names
        ));
    }

    #[test]
    fn a_change_between_reading_the_files_and_watching_them_is_not_missed() {
        let dir = std::env::temp_dir().join(format!("sluicegate-watch-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let watched = Watched { plugins: dir.clone(), ..Watched::default() };
        let seen = snapshot(&watched);
        std::fs::write(dir.join("late.wasm"), b"x").unwrap();
        let (sender, changed) = sync_channel(1);
        spawn(watched, seen, move || sender.try_send(()).ok().and(None)).unwrap();
        changed.recv_timeout(Duration::from_secs(60)).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
