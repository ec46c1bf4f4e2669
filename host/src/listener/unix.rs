//! Listening at Unix sockets: a file that only this process removes.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::bind::BACKLOG;

/// A socket's file, which is removed when this is dropped, unless another one is in its place by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, number, and when it was made: numbers are used again.
type Identity = (u64, u64, i64, i64);

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino(), found.mtime(), found.mtime_nsec())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "A Unix socket's file stays behind.");
        }
    }
}

/// Listens at a path with `count` handles of one socket, for its file's permissions see [`crate::config::Listener::mode`]. A file that
/// a process has left behind is replaced.
///
/// # Errors
/// Somebody listens there, the file is no socket, or the directory does not allow it.
pub fn bind_unix(path: &Path, mode: Option<u32>, count: usize) -> io::Result<(Vec<UnixListener>, SocketFile)> {
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the permissions of the socket, less the umask: so it is at no time open to more than it should be.
    let handle = File::from(OwnedFd::from(socket.try_clone()?));
    if let Some(mode) = mode {
        handle.set_permissions(Permissions::from_mode(mode))?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(&fs::symlink_metadata(path)?) };
    if let Some(mode) = mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    let first = UnixListener::from(OwnedFd::from(socket));
    let mut listeners = Vec::new();
    for _ in 1..count {
        listeners.push(first.try_clone()?);
    }
    listeners.push(first);
    Ok((listeners, file))
}

/// Removes a socket's file that nobody listens at.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Whatever else it says, somebody is there.
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}
