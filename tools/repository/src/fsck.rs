// SPDX-License-Identifier: GPL-2.0-only
//! Checking a repository: that names lead to what is there and whole, and on demand that every
//! object is what its name says.

use std::collections::HashSet;
use std::fmt;

use anyhow::Result;
use composefs_tools::fsverity::Digest;
use rustix::io::Errno;

use crate::links::Category;
use crate::objects::needs;
use crate::repository::Repository;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// That everything is there: streams and images are read, other objects looked up.
    Structure,
    /// The content of every object as well.
    Contents,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Objects that were looked at.
    pub objects: u64,
    /// Streams.
    pub streams: u64,
    /// Images.
    pub images: u64,
    /// Objects that are not here, but come when they are opened.
    pub awaited: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is about.
    pub place: Place,
    /// What is wrong with it.
    pub reason: String,
    /// The object that is damaged, or is not there.
    pub object: Option<Digest>,
}

/// Where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where objects are: the path in the repository.
    Object(String),
    /// At a name of a stream or an image.
    Name(Category, String),
    /// At a reference to one.
    Reference(Category, String),
    /// In what streams are of, which others know about: what it is called.
    Other(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(path) | Self::Other(path) => f.write_str(path),
            Self::Name(category, name) => f.write_str(&category.path(name)),
            Self::Reference(category, name) => f.write_str(&category.ref_path(name)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// Checks.
///
/// # Errors
/// If the repository cannot be read at all.
pub fn check(repository: &Repository, depth: Depth) -> Result<Report> {
    let mut check = Check {
        repository,
        found: HashSet::new(),
        report: Report::default(),
    };
    check.objects(depth)?;
    for category in [Category::Streams, Category::Images] {
        check.names(category)?;
        check.refs(category)?;
    }
    Ok(check.report)
}

/// Checks the structure, and which of `faults`, that were found in the contents, are there still.
///
/// # Errors
/// As of [`check`].
pub fn check_again(repository: &Repository, faults: &[Fault]) -> Result<Report> {
    let mut report = check(repository, Depth::Structure)?;
    for fault in faults {
        let (Place::Object(_), Some(digest)) = (&fault.place, &fault.object) else {
            continue;
        };
        let is_there = !matches!(repository.open_object(digest), Err(Errno::NOENT));
        if is_there && repository.checked_object(digest).is_err() {
            report.faults.push(fault.clone());
        }
    }
    Ok(report)
}

struct Check<'a> {
    repository: &'a Repository,
    /// Objects that are there.
    found: HashSet<Digest>,
    report: Report,
}

impl Check<'_> {
    fn objects(&mut self, depth: Depth) -> Result<()> {
        let repository = self.repository;
        repository.visit_objects(&mut |path, digest| {
            self.report.objects += 1;
            let place = Place::Object(path);
            let Some(digest) = digest else {
                self.fault(place, "its name is not one of an object".into(), None);
                return Ok(());
            };
            self.found.insert(digest);
            if depth == Depth::Contents {
                if let Err(error) = repository.checked_object(&digest) {
                    self.fault(place, format!("{error:#}"), Some(digest));
                }
            }
            Ok(())
        })
    }

    fn names(&mut self, category: Category) -> Result<()> {
        for link in self.repository.names(category)? {
            let place = Place::Name(category, link.name.clone());
            match category {
                Category::Images => self.report.images += 1,
                Category::Streams => self.report.streams += 1,
            }
            let digest = match self.repository.lookup(category, &link.name) {
                Ok(Some(digest)) => digest,
                Ok(None) => {
                    let object = link.object(self.repository);
                    self.fault(place, "leads to an object that is not there".into(), object);
                    continue;
                }
                Err(error) => {
                    self.fault(place, format!("{error:#}"), None);
                    continue;
                }
            };
            match needs(self.repository, category, &digest) {
                Err(error) => self.fault(place, format!("{error:#}"), Some(digest)),
                Ok(needs) => {
                    let mut needs = Vec::from_iter(needs);
                    needs.sort_unstable();
                    let is_lazy =
                        category == Category::Images && self.repository.sources(&digest).is_some();
                    match is_lazy {
                        true => self.count_awaited(&needs),
                        false => self.expect(&place, &needs),
                    }
                }
            }
        }
        Ok(())
    }

    fn count_awaited(&mut self, needs: &[Digest]) {
        let absent = needs.iter().filter(|digest| !self.found.contains(digest));
        self.report.awaited += absent.count() as u64;
    }

    fn expect(&mut self, place: &Place, needs: &[Digest]) {
        for digest in needs {
            if self.found.contains(digest) {
                continue;
            }
            let reason = match self.repository.open_object(digest) {
                // It came after the objects were listed.
                Ok(_) => None,
                Err(Errno::NOENT) => Some(format!("needs object {digest}, which is not there")),
                Err(error) => Some(format!("needs object {digest}: {error}")),
            };
            if let Some(reason) = reason {
                self.fault(place.clone(), reason, Some(*digest));
            }
        }
    }

    fn refs(&mut self, category: Category) -> Result<()> {
        for link in self.repository.refs(category)? {
            let target = link.target_name();
            let found = self.repository.lookup(category, target);
            if !matches!(found, Ok(Some(_))) {
                let reason = format!("leads to {target}, which is not there");
                self.fault(Place::Reference(category, link.name), reason, None);
            }
        }
        Ok(())
    }

    fn fault(&mut self, place: Place, reason: String, object: Option<Digest>) {
        self.report.faults.push(Fault {
            place,
            reason,
            object,
        });
    }
}
