//! `sluicegate fmt`: the configuration file, and those that it includes, in the canonical layout.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use super::check::{print_problems, say, warn_line};
use crate::config::{self, Problem, layout};

#[derive(Args)]
pub(super) struct Options {
    /// Write nothing: name the files that would change, and end with 1 if there are any.
    #[arg(long)]
    check: bool,
}

pub(super) fn exec(config: &Path, options: &Options) -> Exit {
    // What else is wrong with it does not matter here.
    let included = config::load(config).map_or_else(|refused| refused.included, |loaded| loaded.included);
    let (mut problems, mut changed, mut failed) = (Vec::<Problem>::new(), false, false);
    for file in std::iter::once(PathBuf::from(config)).chain(included.files) {
        let text = match layout::of_file(&file) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        let written = if options.check { Ok(()) } else { replace(&file, &text) };
        match written {
            Ok(()) => say(&file.display().to_string()),
            Err(error) => {
                warn_line(&format!("sluicegate: cannot write {}: {error}", file.display()));
                failed = true;
            }
        }
        changed = true;
    }
    if !problems.is_empty() {
        print_problems(&problems.into());
        return Exit::Invalid;
    }
    match (failed, changed && options.check) {
        (true, _) => Exit::Environment,
        (false, true) => Exit::Invalid,
        (false, false) => Exit::Ok,
    }
}

/// Writes beside the file and moves it there, with its owner and permissions, so that whoever reads finds one text or the other. A link
/// stays one.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!(".{name}.{}~", std::process::id()));
    let new = OpenOptions::new().write(true).create_new(true).open(&beside)?;
    let moved = fill(new, &fs::metadata(&file)?, text).and_then(|()| fs::rename(&beside, &file));
    if moved.is_err() {
        fs::remove_file(&beside).unwrap_or_default();
    }
    moved
}

fn fill(mut new: File, like: &Metadata, text: &str) -> io::Result<()> {
    let own = new.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(&new, Some(like.uid()), Some(like.gid()))?;
    }
    new.set_permissions(like.permissions())?;
    new.write_all(text.as_bytes())?;
    new.sync_all()
}
