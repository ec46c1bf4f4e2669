//! File descriptors: the process takes as many as it is allowed, and clients do not get all of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// Descriptors for everything but connections of clients and those to upstreams: listeners, the admin side, files. Of a very
/// low limit, half.
const RESERVED: u64 = 128;

/// Raises the limit of open files to what the system allows, and answers how many connections of clients that bears: each may
/// need one to an upstream.
#[must_use]
pub fn connections() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        debug!(%error, "The limit of open files stays as it is.");
    }
    match getrlimit(Resource::Nofile).current {
        Some(files) => usize::try_from(bearable(files)).unwrap_or(usize::MAX),
        None => usize::MAX,
    }
}

fn bearable(files: u64) -> u64 {
    ((files - RESERVED.min(files / 2)) / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::bearable;

    #[test]
    fn half_of_what_is_not_reserved_is_for_clients() {
        assert_eq!([0, 3, 64, 1024, 1 << 20].map(bearable), [1, 1, 16, 448, 524_224]);
    }
}
