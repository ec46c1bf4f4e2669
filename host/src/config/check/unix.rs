//! Unix sockets that are listened at.

use std::path::Path;
use std::sync::Arc;

use crate::address::Address;
use crate::config::node::Node;

/// Most bytes of a socket's path: what the kernel's structure has room for (`sun_path`, with a zero at its end).
const PATH_BYTES: usize = 107;

/// The address of a socket with that path, which is absolute: what a relative one means depends on where the process was started.
pub(super) fn path(node: &Node<'_>, path: &str) -> Option<Address> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        node.problem("a Unix socket has an absolute path, such as \"unix:/run/gateway.sock\"");
        return None;
    }
    if path.len() > PATH_BYTES {
        node.problem(format!("the path of a Unix socket has at most {PATH_BYTES} bytes, found {}", path.len()));
        return None;
    }
    Some(Address::Unix(Arc::from(Path::new(path))))
}

/// Permissions of the socket's file: `"0660"`.
pub(super) fn mode(node: &Node<'_>, address: &Address) -> Option<u32> {
    let octal = |text: &str| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
    let mode = node.parsed("permissions such as \"0660\"", octal)?;
    if let Address::Ip(_) = address {
        node.problem("permissions are those of a Unix socket's file: this address has none");
        return None;
    }
    Some(mode)
}
