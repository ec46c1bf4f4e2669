//! Compiled modules are kept on disk, and taken from nowhere that others could have written to.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;
use sluicegate_tests::site::one_route;
use sluicegate_tests::{Site, guests, wat};
use tempfile::TempDir;

/// A folder for a cache, `compiled` in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for a folder"))
    }
    fn dir(&self) -> PathBuf {
        self.0.path().join("compiled")
    }
    /// A site that uses one plugin and keeps what it compiles here.
    fn site(&self, module: Vec<u8>) -> Site {
        let mut config = one_route("http://127.0.0.1:9", &json!([{ "use": "script" }]));
        config["plugins"] = json!({ "cache": self.dir() });
        Site::new(&config).plugin("script", module)
    }
    fn check(&self) {
        let output = self.site(guests::script()).check();
        assert_eq!(output.code, 0, "{output:?}");
    }
    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir()).expect("the cache is a directory");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
    /// Starts a gateway that serves although it says this.
    async fn serves_saying(&self, module: Vec<u8>, text: &str) {
        let gateway = self.site(module).start().await;
        gateway.wait_for_log(text).await;
        gateway.stop().await;
    }
}

#[test]
fn what_was_compiled_once_is_kept_for_this_user_alone_and_used_again() {
    let place = Place::new();
    place.check();
    let [entry] = &place.entries()[..] else { panic!("one module is kept") };
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&place.dir()), mode(entry)), (0o700, 0o600));
    let state = || fs::metadata(entry).map(|state| (state.ino(), state.modified().expect("it has a time")));
    let before = state().expect("it is there");
    place.check();
    let after = state().expect("it is there");
    assert_eq!(after.0, before.0, "it is not written again");
    assert!(after.1 > before.1, "it is used");
}

#[tokio::test]
async fn what_is_damaged_cut_off_or_of_another_name_is_compiled_afresh() {
    let place = Place::new();
    place.check();
    let entry = place.entries().pop().expect("one module is kept");
    let good = fs::read(&entry).expect("this user may read it");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (what, bytes) in [("damaged", &flipped[..]), ("damaged", &good[..good.len() - 1]), ("cut off", &good[..7])] {
        fs::write(&entry, bytes).expect("this user may write it");
        place.serves_saying(guests::script(), &format!("it is {what}")).await;
        assert_eq!(fs::read(&entry).expect("this user may read it"), good, "what was good is back");
    }
    // A good entry under the name of another module.
    assert_eq!(place.site(wat::header_guest()).check().code, 0);
    let stranger = place.entries().into_iter().find(|path| *path != entry).expect("a second module is kept");
    fs::copy(&entry, &stranger).expect("this user may write it");
    place.serves_saying(wat::header_guest(), "it is damaged").await;
}

#[tokio::test]
async fn nothing_is_taken_from_where_others_may_write() {
    let place = Place::new();
    place.check();
    let entry = place.entries().pop().expect("one module is kept");
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o666)).expect("it is ours");
    place.serves_saying(guests::script(), "others could have written it").await;
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    place.serves_saying(guests::script(), "closed to all others").await;
}

#[test]
fn the_cache_is_where_programs_of_this_user_keep_theirs_unless_it_is_switched_off() {
    let home = tempfile::tempdir().expect("there is room for a folder");
    let mut config = one_route("http://127.0.0.1:9", &json!([{ "use": "script" }]));
    let site = Site::new(&config).script().env("HOME", home.path().to_str().expect("a path of this test"));
    config["plugins"] = json!({ "cache": false });
    let with = fs::read(site.config_file()).expect("it was written");
    site.write(&config);
    assert_eq!(site.check().code, 0);
    assert!(!home.path().join(".cache").exists());
    fs::write(site.config_file(), with).expect("it can be written");
    assert_eq!(site.check().code, 0);
    let kept = fs::read_dir(home.path().join(".cache/sluicegate")).expect("the cache is a directory");
    assert_eq!(kept.count(), 1);
}

#[test]
fn nothing_else_in_the_folder_is_removed() {
    let place = Place::new();
    fs::create_dir(place.dir()).expect("there is room for a folder");
    let other = place.dir().join("database.sqlite");
    // Larger than all that is kept; it takes no room.
    fs::File::create(&other).and_then(|file| file.set_len(600 << 20)).expect("a file with holes can be made");
    place.check();
    assert!(other.exists());
    assert_eq!(place.entries().len(), 2);
}
