//! Which file has been told to be whole: closed after writing, or moved to where it is. Nothing has to be waited for then.

use std::path::{Path, PathBuf, absolute};
use std::sync::{Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};

use super::watch::Snapshot;

/// The last file that was told to be whole, by an absolute path. It is forgotten when it is written to again.
#[derive(Debug, Default)]
pub(super) struct Whole(Mutex<Option<PathBuf>>);

impl Whole {
    /// Takes notice of a change.
    pub(super) fn notice(&self, event: &Event) {
        let Some(path) = event.paths.last() else { return };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => {
                *last = Some(path.clone());
            }
            // Whom it belongs to says nothing about what is in it.
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => {}
            _ if last.as_ref() == Some(path) => *last = None,
            _ => {}
        }
    }

    /// Whether some file was told to be whole since the last look.
    pub(super) fn has_news(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What was told so far is of before: nothing of it may be believed of what comes next.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether the only difference between two looks is a module that was told to be whole, and that no signature belongs to: several
    /// files that change at once may belong together. What was told before is forgotten.
    pub(super) fn is_all(&self, known: &Snapshot, now: &Snapshot) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let changed = now.iter().filter(|(path, stamp)| known.get(*path) != Some(*stamp));
        let changed: Vec<&PathBuf> = changed.map(|(path, _)| path).take(2).collect();
        let ([changed], Some(told)) = (&changed[..], told) else { return false };
        known.keys().all(|path| now.contains_key(path))
            && changed.extension().is_some_and(|extension| extension == "wasm")
            && !now.contains_key(&signature(changed))
            && absolute(changed).is_ok_and(|changed| changed == told)
    }
}

/// `hello.wasm` → `hello.wasm.minisig`.
fn signature(module: &Path) -> PathBuf {
    let mut name = module.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange};

    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

    fn snapshot(files: &[(&str, u64)]) -> Snapshot {
        files.iter().map(|(name, size)| (PathBuf::from(name), (*size, 0, 0, 0))).collect()
    }

    fn told(events: &[(EventKind, &str)]) -> Whole {
        let whole = Whole::default();
        for (kind, path) in events {
            whole.notice(&Event::new(*kind).add_path(PathBuf::from(path)));
        }
        whole
    }

    #[test]
    fn one_module_that_was_closed_or_moved_there_is_not_waited_for() {
        let (before, after) =
            (snapshot(&[("/p/a.wasm", 1), ("/p/b.wasm", 1)]), snapshot(&[("/p/a.wasm", 2), ("/p/b.wasm", 1)]));
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        for kind in [CLOSED, moved] {
            let whole =
                told(&[(EventKind::Create(CreateKind::Any), "/p/a.wasm"), (WRITTEN, "/p/a.wasm"), (kind, "/p/a.wasm")]);
            assert!(whole.is_all(&before, &after));
            assert!(!whole.is_all(&before, &after), "what was told once holds once");
        }
    }

    #[test]
    fn what_is_written_to_again_or_may_belong_with_others_is_waited_for() {
        let before = snapshot(&[("/p/a.wasm", 1), ("/p/b.wasm", 1)]);
        let one = snapshot(&[("/p/a.wasm", 2), ("/p/b.wasm", 1)]);
        assert!(!told(&[(CLOSED, "/p/a.wasm"), (WRITTEN, "/p/a.wasm")]).is_all(&before, &one));
        assert!(!told(&[(CLOSED, "/p/b.wasm")]).is_all(&before, &one), "another file");
        let two = snapshot(&[("/p/a.wasm", 2), ("/p/b.wasm", 2)]);
        assert!(!told(&[(CLOSED, "/p/a.wasm")]).is_all(&before, &two));
        assert!(!told(&[(CLOSED, "/p/a.wasm")]).is_all(&before, &snapshot(&[("/p/a.wasm", 2)])), "another one is gone");
        let signed = |size| snapshot(&[("/p/a.wasm", size), ("/p/a.wasm.minisig", 1)]);
        assert!(!told(&[(CLOSED, "/p/a.wasm")]).is_all(&signed(1), &signed(2)), "its signature is to follow");
        let config = |size| snapshot(&[("/p/gateway.json", size)]);
        assert!(!told(&[(CLOSED, "/p/gateway.json")]).is_all(&config(1), &config(2)));
    }
}
