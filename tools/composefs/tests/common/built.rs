// SPDX-License-Identifier: GPL-2.0-only
//! An image, and a builder's repository with its objects, for others to fetch.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use super::{ok, quick_directory, repository, By, Layer, Layout};

/// How many files the image has.
pub const FILES: u32 = 60;

/// An image, the objects that it needs, and what it is.
pub struct Built {
    pub dir: tempfile::TempDir,
    pub image: PathBuf,
    pub objects: PathBuf,
    pub digest: String,
    pub listing: String,
}

pub fn content(file: u32) -> Vec<u8> {
    // One in twenty is read in parts.
    let size = if file % 20 == 1 { 1_500_000 } else { 3000 };
    (0..size)
        .map(|at: u32| (at ^ file.wrapping_mul(77)) as u8)
        .collect()
}

impl Built {
    pub fn new() -> Self {
        let dir = quick_directory();
        let layout = Layout::new(&dir.path().join("layout"));
        let mut layer = Layer::new().dir("usr");
        for file in 0..FILES {
            layer = layer.file(&format!("usr/{file}"), &content(file));
        }
        layout.image(&[(layer.bytes(), By::Gzip)]);
        let builder = dir.path().join("builder");
        let from = layout.name();
        ok(&builder, &["pull", &from, "image"]);
        let digest = ok(&builder, &["digest", "image"]).trim().to_owned();
        let objects = builder.join("objects");
        let image = dir.path().join("system.cfs");
        fs::copy(objects.join(&digest[..2]).join(&digest[2..]), &image).expect("copy");
        Self {
            listing: ok(&builder, &["ls", "image"]),
            dir,
            image,
            objects,
            digest,
        }
    }

    /// A repository for it that has nothing, in a directory of this name.
    pub fn target(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).expect("directory");
        repository(&dir)
    }

    /// Fetches it from what `sources` makes, until so many answers were changed: `sources` is given
    /// what counts them. Whatever was changed, it is there and right.
    pub fn under_attack(&self, attacks: u32, sources: impl Fn(Arc<AtomicU32>) -> Vec<String>) {
        let counter = Arc::new(AtomicU32::new(0));
        let mut runs = 0;
        while counter.load(Ordering::Relaxed) < attacks {
            let name = format!("attack-{runs}");
            let target = self.target(&name);
            ok(&target, &self.arguments(&sources(Arc::clone(&counter))));
            self.expect_fetched(&target);
            fs::remove_dir_all(self.dir.path().join(name)).expect("removed");
            runs += 1;
        }
    }

    pub fn arguments<'a>(&'a self, sources: &'a [String]) -> Vec<&'a str> {
        let mut arguments = vec!["fetch", self.image.to_str().expect("text")];
        arguments.extend(["--digest", &self.digest]);
        for source in sources {
            arguments.extend(["--from", source]);
        }
        arguments
    }

    /// All that the image needs is there, and nothing that is not right.
    pub fn expect_fetched(&self, repository: &Path) {
        assert_eq!(ok(repository, &["ls", "system"]), self.listing);
        assert_eq!(ok(repository, &["digest", "system"]).trim(), self.digest);
        ok(repository, &["fsck", "--contents"]);
    }
}
