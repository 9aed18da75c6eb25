// SPDX-License-Identifier: GPL-2.0-only
//! The objects that images need.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use composefs_format::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::contents::Opened;
use crate::contents::{visit, Filter};
use crate::quote;

/// Opens the directory of an object store.
///
/// # Errors
/// If there is none.
pub fn open_basedir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .with_context(|| format!("cannot open basedir {}", quote::path(path)))
}

/// The path of an object, seen from its store.
pub fn relative(object: &[u8]) -> &Path {
    let start = object.iter().position(|&byte| byte != b'/');
    let relative = start.map_or(&b""[..], |start| &object[start..]);
    Path::new(OsStr::from_bytes(relative))
}

/// Objects by path, and the digests that the images give for them.
#[derive(Debug, Default)]
pub struct Needed {
    objects: BTreeMap<Box<[u8]>, Vec<Option<Digest>>>,
}

impl Needed {
    /// Adds those of one image.
    ///
    /// # Errors
    /// If the image is damaged.
    pub fn collect(&mut self, image: &Opened, filter: &Filter) -> Result<()> {
        visit(image, filter, false, &mut |entry| {
            let record = entry.record;
            if entry.hard_link.is_some() {
                return Ok(());
            }
            if let Some(object) = record.object() {
                if !self.objects.contains_key(object) {
                    self.objects.insert(object.into(), Vec::new());
                }
                if let Some(digests) = self.objects.get_mut(object) {
                    if !digests.contains(&record.digest) {
                        digests.push(record.digest);
                    }
                }
            }
            Ok(())
        })
    }

    /// The objects, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[Option<Digest>])> {
        self.objects
            .iter()
            .map(|(object, digests)| (&**object, digests.as_slice()))
    }

    /// Prints the paths of those that are not in `basedir`; of all, if there is none.
    ///
    /// # Errors
    /// If writing fails.
    pub fn print_missing(&self, basedir: Option<&OwnedFd>, out: &mut dyn Write) -> Result<()> {
        for (object, _) in self.iter() {
            let found = basedir.is_some_and(|basedir| {
                rustix::fs::statat(basedir, relative(object), AtFlags::EMPTY_PATH).is_ok()
            });
            if !found {
                out.write_all(object).context("cannot write")?;
                out.write_all(b"\n").context("cannot write")?;
            }
        }
        Ok(())
    }
}
