// SPDX-License-Identifier: GPL-2.0-only
//! Artifacts: what takes long to make and is kept in the cache.
//!
//! ```text
//! <cache>/<name>-<key>   one finished artifact; never changes once it is there
//! <cache>/tmp            artifacts being made; what is found here is rubbish
//! <cache>/lock           one lock for each artifact, and `all`, which makers share
//! <cache>/log            what the makers printed
//! ```

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{anyhow, Context, Result};
use rustix::fs::{flock, FlockOperation};
use sha2::{Digest, Sha256};

use crate::note;
use crate::place;
use crate::process::{self, Log};

/// Artifacts of a name that no run has used for this long make way when a new one of that name
/// is made.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// Something to be made once for all runs with the same inputs.
pub struct Artifact {
    /// Its name in the cache.
    pub name: String,
    /// What it is, for people.
    pub what: String,
    /// How long it usually takes to make.
    pub usually: &'static str,
    /// All that decides what it becomes: the revision of how it is made, versions of packages,
    /// and so on. The name alone does not.
    pub inputs: Vec<String>,
}

/// The mirror no longer has a version that something was to be made of.
#[derive(Debug)]
pub struct Moved;

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mirror has moved on")
    }
}

impl std::error::Error for Moved {}

impl Artifact {
    /// The directory of the artifact. If it is not there, `make` fills it; what programs print
    /// meanwhile goes to the log.
    pub fn get(&self, make: impl FnOnce(&Path, &Log) -> Result<()>) -> Result<PathBuf> {
        let cache = place::cache()?;
        let file_name = self.file_name();
        let dir = cache.join(&file_name);

        if !dir.is_dir() {
            let (_all, _own) = lock_to_make(&cache, &file_name, &self.what)?;
            if !dir.is_dir() {
                self.make(&cache, &file_name, make)?;
                prune(&cache, &self.name, &dir);
            }
        }
        // Says that it is in use, to prune(); a cache that cannot be written to is fine, too.
        if let Ok(file) = File::open(&dir) {
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(dir)
    }

    fn make(
        &self,
        cache: &Path,
        file_name: &str,
        make: impl FnOnce(&Path, &Log) -> Result<()>,
    ) -> Result<()> {
        let tmp = cache.join("tmp").join(file_name);
        let log = Log::create(cache.join("log").join(format!("{file_name}.log")))?;

        // We hold the lock, so whatever is there was left by a run that was interrupted.
        remove_tree(&tmp)?;
        fs::create_dir(&tmp)?;
        note!("{}: making it (usually {})", self.what, self.usually);
        let began = Instant::now();
        if let Err(error) = make(&tmp, &log) {
            remove_tree(&tmp)?;
            return Err(self.failure(&log, error));
        }
        fs::rename(&tmp, cache.join(file_name))?;
        note!("{}: made in {} s", self.what, began.elapsed().as_secs());
        Ok(())
    }

    fn failure(&self, log: &Log, error: anyhow::Error) -> anyhow::Error {
        let text = log.text();
        for line in text.lines().rev().take(15).collect::<Vec<_>>().iter().rev() {
            note!("    {line}");
        }
        let error = anyhow!(
            "{}: cannot be made: {error:#}: {}; {} (whole output: {})",
            self.what,
            process::reason(&text),
            process::remedy(&text),
            log.path().display(),
        );
        if has_moved(&text) {
            error.context(Moved)
        } else {
            error
        }
    }

    fn file_name(&self) -> String {
        let mut hash = Sha256::new();
        for input in &self.inputs {
            hash.update(input);
            hash.update([0]);
        }
        let key: String = hash
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{}-{key}", self.name)
    }
}

/// Whether a log says that a version of a package is gone.
fn has_moved(log: &str) -> bool {
    log.lines().any(|line| {
        line.contains("404  Not Found")
            || line.contains("E: Unable to locate package")
            || (line.contains("E: Version '") && line.ends_with("was not found"))
    })
}

/// Takes an exclusive lock, or a shared one; says so if another run has it.
pub fn lock(file: &File, is_shared: bool, why: &str) -> Result<()> {
    let (now, later) = if is_shared {
        (
            FlockOperation::NonBlockingLockShared,
            FlockOperation::LockShared,
        )
    } else {
        (
            FlockOperation::NonBlockingLockExclusive,
            FlockOperation::LockExclusive,
        )
    };
    if flock(file, now).is_err() {
        note!("{why}; waiting for it");
        flock(file, later).context("cannot lock")?;
    }
    Ok(())
}

/// The lock of an artifact, and that against cleaning.
fn lock_to_make(cache: &Path, file_name: &str, what: &str) -> Result<(File, File)> {
    loop {
        let cache = place::cache().map(|_| cache)?;
        let path = cache.join("lock/all");
        let all = File::create(&path)?;
        let own = File::create(cache.join("lock").join(file_name))?;
        lock(&all, true, "the cache is being cleaned")?;
        lock(&own, false, &format!("{what}: another run is making it"))?;
        // Once more if the cache was cleaned while we waited: those locks are history.
        if is_same_file(&all, &path) {
            return Ok((all, own));
        }
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Drops artifacts of that name that have long been idle.
fn prune(cache: &Path, name: &str, keep: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let key = file_name
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
        let is_key = |key: &str| key.len() == 16 && key.bytes().all(|b| b.is_ascii_hexdigit());
        let is_idle = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            modified.is_ok_and(|time| time.elapsed().is_ok_and(|idle| idle > KEPT))
        };
        if key.is_some_and(is_key) && entry.path() != keep && is_idle() {
            let _ = remove_tree(&entry.path());
        }
    }
}

/// Removes a tree, after any mounts that a killed run left in it. Fails rather than delete through
/// a mount.
pub fn remove_tree(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(Path::new))
        .filter(|at| at.starts_with(path) && *at != path);
    for at in below.collect::<Vec<_>>().into_iter().rev() {
        process::run(Command::new("umount").arg("-l").arg(at))?;
    }
    process::run(
        Command::new("rm")
            .args(["-rf", "--one-file-system"])
            .arg(path),
    )
    .with_context(|| format!("cannot remove {}", path.display()))
}

/// `scripts/clean-cache`: removes the cache, and waits for runs that are adding to it.
pub fn clean() -> Result<()> {
    let cache = place::cache()?;
    let all = File::create(cache.join("lock/all"))?;
    lock(&all, false, "the cache is in use")?;
    note!("removing {}", cache.display());
    for entry in fs::read_dir(&cache)? {
        let path = entry?.path();
        // The locks go last: until then nobody else begins to make anything.
        if path != cache.join("lock") {
            remove_tree(&path)?;
        }
    }
    remove_tree(&cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(inputs: &[&str]) -> Artifact {
        Artifact {
            name: "thing".into(),
            what: "a thing".into(),
            usually: "1 second",
            inputs: inputs.iter().map(|&input| input.into()).collect(),
        }
    }

    #[test]
    fn the_key_is_of_all_inputs() {
        let name = artifact(&["a", "b"]).file_name();
        assert!(name.starts_with("thing-") && name.len() == "thing-".len() + 16);
        assert_eq!(name, artifact(&["a", "b"]).file_name());
        assert_ne!(name, artifact(&["ab"]).file_name());
        assert_ne!(name, artifact(&["a", "b", ""]).file_name());
    }

    #[test]
    fn a_version_that_is_gone_is_seen() {
        assert!(has_moved("E: Version '1-2' for 'gcc' was not found"));
        assert!(has_moved("E: Failed to fetch x  404  Not Found [IP: 1]"));
        assert!(!has_moved("E: Failed to fetch x  Connection timed out"));
    }
}
