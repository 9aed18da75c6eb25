// SPDX-License-Identifier: GPL-2.0-only
//! Removing what nothing leads to.
//!
//! What is referred to is kept, what a kept stream or image needs, and what is mounted. First all
//! of that is found, and nothing is removed if any of it cannot be read. Then names go before the
//! objects that they are of, so that wherever this is stopped, what is there is whole.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

use anyhow::{bail, Context, Result};
use composefs_tools::fsverity::Digest;
use composefs_tools::quote;
use composefs_tools::staged::TEMPORARY;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::links::{Category, Link, LINK_TEMPORARY};
use crate::live;
use crate::objects::image_objects;
use crate::origins::ORIGINS;
use crate::profile::PROFILES;
use crate::repository::{Repository, OBJECTS};
use crate::signatures::SIGNATURES;
use crate::sources::SOURCES;
use crate::stream::Reader;

/// How composefs-rs names objects that are not complete.
const THEIR_TEMPORARY: &str = ".tmp-object-";

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Objects.
    pub objects: u64,
    /// Their sizes, in bytes.
    pub bytes: u64,
    /// Names of images.
    pub images: u64,
    /// Names of streams.
    pub streams: u64,
}

/// What is kept.
#[derive(Default)]
struct Kept {
    objects: HashSet<Digest>,
    images: HashSet<String>,
    streams: HashSet<String>,
}

/// Collects. Others are to be locked out by [`Repository::lock_out_others`], unless it is only
/// asked what would be removed. `subject` says which stream a stream that a reference is to is
/// about, if it is about one: it is kept for as long as that is, and the reference with it.
///
/// # Errors
/// If something that is kept cannot be read, or something cannot be removed.
pub fn collect(
    repository: &Repository,
    subject: impl Fn(&str) -> Option<String>,
    dry_run: bool,
) -> Result<Removed> {
    let (kept, pointless) = find(repository, subject)?;
    for reference in &pointless {
        if !dry_run {
            repository.remove_ref(Category::Streams, reference)?;
        }
    }
    let mut removed = Removed::default();
    for (category, names, count) in [
        (Category::Images, &kept.images, &mut removed.images),
        (Category::Streams, &kept.streams, &mut removed.streams),
    ] {
        for link in repository.names(category)? {
            if names.contains(&link.name) {
                continue;
            }
            *count += 1;
            if !dry_run {
                repository.remove_name(category, &link.name)?;
            }
        }
    }
    if !dry_run {
        // A name without its object would be taken for one that has it.
        repository.sync()?;
    }
    sweep(repository, &kept, dry_run, &mut removed)?;
    Ok(removed)
}

/// What is kept, and references that are about what is not.
fn find(
    repository: &Repository,
    subject: impl Fn(&str) -> Option<String>,
) -> Result<(Kept, Vec<String>)> {
    let mut kept = Kept::default();
    let pointless = keep_streams(repository, subject, &mut kept)?;
    keep_images(repository, &mut kept)?;
    Ok((kept, pointless))
}

/// The references that are about what is not kept are what comes back.
fn keep_streams(
    repository: &Repository,
    subject: impl Fn(&str) -> Option<String>,
    kept: &mut Kept,
) -> Result<Vec<String>> {
    // Which streams an object is: others refer to it as that.
    let mut named: HashMap<Digest, Vec<String>> = HashMap::new();
    let mut streams = HashMap::new();
    for Link { name, .. } in repository.names(Category::Streams)? {
        if let Some(digest) = repository.lookup(Category::Streams, &name)? {
            named.entry(digest).or_default().push(name.clone());
            streams.insert(name, digest);
        }
    }
    let mut left = Vec::new();
    let mut waiting = Vec::new();
    for link in repository.refs(Category::Streams)? {
        match subject(&link.name) {
            Some(subject) => waiting.push((subject, link)),
            None => left.push(link.target_name().to_owned()),
        }
    }
    loop {
        keep_from(repository, left, &streams, &named, kept)?;
        // What is kept may have something about it, and that as well.
        let is_kept = |(subject, _): &(String, Link)| kept.streams.contains(subject);
        let (about, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_kept);
        waiting = others;
        if about.is_empty() {
            let pointless = waiting.into_iter().map(|(_, link)| link.name);
            return Ok(pointless.collect());
        }
        let about = about.iter().map(|(_, link)| link.target_name().to_owned());
        left = about.collect();
    }
}

/// Keeps these streams and what they need.
fn keep_from(
    repository: &Repository,
    mut left: Vec<String>,
    streams: &HashMap<String, Digest>,
    named: &HashMap<Digest, Vec<String>>,
    kept: &mut Kept,
) -> Result<()> {
    while let Some(name) = left.pop() {
        // What a reference leads to is gone if it was removed by hand: nothing can be kept of it.
        let Some(&digest) = streams.get(&name) else {
            continue;
        };
        if !kept.streams.insert(name) {
            continue;
        }
        kept.objects.insert(digest);
        let file = repository.object(&digest)?;
        let stream = Reader::open(file, repository.algorithm())
            .with_context(|| repository.name_object(&digest))?;
        kept.objects.extend(stream.objects());
        for digest in stream.names().values() {
            kept.objects.insert(*digest);
            left.extend(named.get(digest).into_iter().flatten().cloned());
        }
    }
    Ok(())
}

fn keep_images(repository: &Repository, kept: &mut Kept) -> Result<()> {
    let mounted = live::mounted(
        repository.algorithm(),
        repository.open_objects().as_ref().map(AsFd::as_fd),
    );
    if mounted.has_others {
        bail!(
            "images are mounted from repository {} by overlayfs, which does not say which ones: unmount them first",
            quote::path(repository.path())
        );
    }
    let refs = repository.refs(Category::Images)?;
    let referred: HashSet<&str> = refs.iter().map(|link| link.target_name()).collect();
    for link in repository.names(Category::Images)? {
        let Some(digest) = repository.lookup(Category::Images, &link.name)? else {
            continue;
        };
        let is_root = referred.contains(&*link.name) || mounted.images.contains(&digest);
        if is_root {
            kept.objects.insert(digest);
            kept.objects.extend(image_objects(repository, &digest)?);
        }
        // An image that a stream refers to has its objects from there.
        if kept.objects.contains(&digest) {
            kept.images.insert(link.name);
        }
    }
    Ok(())
}

/// Removes objects that are not kept, and what was left by those who did not come to an end.
fn sweep(repository: &Repository, kept: &Kept, dry_run: bool, removed: &mut Removed) -> Result<()> {
    repository.visit_objects(&mut |path, digest| {
        // What has not the name of an object is not ours to remove.
        let is_ours = digest.is_some_and(|digest| !kept.objects.contains(&digest));
        if !is_ours {
            return Ok(());
        }
        let stat = rustix::fs::statat(repository.dir(), &path, AtFlags::SYMLINK_NOFOLLOW);
        removed.bytes += stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
        removed.objects += 1;
        remove(repository, &path, dry_run)
    })?;
    let origins = ORIGINS.others(repository, &kept.streams)?;
    let mut notes = Vec::new();
    for of_images in [SIGNATURES, SOURCES, PROFILES] {
        notes.extend(of_images.others(repository, &kept.images)?);
    }
    let all = leftovers(repository)?.into_iter();
    for path in all.chain(origins).chain(notes) {
        remove(repository, &path, dry_run)?;
    }
    Ok(())
}

/// What has a temporary name: it was left by those who did not come to an end, unless somebody
/// else uses the repository.
pub(crate) fn leftovers(repository: &Repository) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (dir, temporaries) in [
        (OBJECTS, [TEMPORARY, THEIR_TEMPORARY]),
        (".", [TEMPORARY, LINK_TEMPORARY]),
    ] {
        let is_temporary = |name: &String| temporaries.iter().any(|start| name.starts_with(start));
        for name in repository.entries(dir)?.into_iter().filter(is_temporary) {
            left.push(match dir {
                "." => name,
                dir => format!("{dir}/{name}"),
            });
        }
    }
    Ok(left)
}

pub(crate) fn remove(repository: &Repository, path: &str, dry_run: bool) -> Result<()> {
    if dry_run {
        return Ok(());
    }
    match repository.unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot remove {}", repository.quote(path)))
        }
    }
}
