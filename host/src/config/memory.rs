//! How much memory this process may have, as its control groups say: what passes that is killed.

use std::fs;
use std::path::Path;

/// A limit from here on is none: version 1 of cgroups writes the largest number of pages.
const NO_LIMIT: u64 = 1 << 60;

/// The least of the limits of this process's groups, bytes; `None` without one.
pub(super) fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least(&groups, Path::new("/sys/fs/cgroup"))
}

/// `groups`: lines `number:controllers:path`, the controllers empty for version 2; `root`: where they are mounted.
fn least(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        // The limit of every group above holds as well. In a container the path may be the host's: then only the root is there.
        let path = Path::new(path.trim_start_matches('/'));
        path.ancestors().filter_map(|group| read(&root.join(group).join(file))).collect()
    });
    limits.min()
}

fn read(file: &Path) -> Option<u64> {
    // The word "max" is no number, and no limit.
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder of groups, with these files.
    fn groups(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("sluicegate-cgroups-{name}-{}", std::process::id()));
        for (file, text) in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let root = groups("v2", &[("a/b/memory.max", "max\n"), ("a/memory.max", "1000\n"), ("memory.max", "2000\n")]);
        assert_eq!(least("0::/a/b\n", &root), Some(1000));
        assert_eq!(least("0::/\n", &root), Some(2000));
        assert_eq!(least("0::/elsewhere/on/the/host\n", &root), Some(2000));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn version_1_has_its_own_file_and_its_own_word_for_none() {
        let unlimited = "9223372036854771712\n";
        let root =
            groups("v1", &[("memory/memory.limit_in_bytes", unlimited), ("memory/a/memory.limit_in_bytes", "7")]);
        assert_eq!(least("4:memory:/a\n1:cpu,cpuacct:/a\n", &root), Some(7));
        assert_eq!(least("4:memory:/\n", &root), None);
        assert_eq!(least("", &root), None);
        fs::remove_dir_all(root).unwrap();
    }
}
