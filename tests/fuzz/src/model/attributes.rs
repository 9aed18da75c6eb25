// SPDX-License-Identifier: GPL-2.0-only
//! Extended attributes.

use composefs_format::XattrIndex;
use xxhash_rust::xxh32::xxh32;

use crate::fields::number;
use crate::model::inode::Inode;
use crate::model::superblock::Model;

/// An attribute as stored.
#[derive(Debug)]
pub(super) struct Attribute {
    pub index: u8,
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// What is known of an external file: its digest and its path, if either is.
type External = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Model<'_> {
    /// The attributes before the first that is out of place, and whether there is such a one.
    pub fn attributes(&self, inode: &Inode) -> (Vec<Attribute>, bool) {
        let mut attributes = Vec::new();
        let complete = self.collect(inode, &mut attributes).is_some();
        (attributes, !complete)
    }

    fn collect(&self, inode: &Inode, attributes: &mut Vec<Attribute>) -> Option<()> {
        let (start, end) = inode.area;
        if start == end {
            return Some(());
        }
        let shared = u128::from(self.at(start + 4, 1)?[0]);
        let ids = start + 12;
        let mut pos = ids + 4 * shared;
        if pos > end {
            return None;
        }
        while pos < end {
            let attribute = self.attribute(pos)?;
            pos += (4 + attribute.name.len() + attribute.value.len()).next_multiple_of(4) as u128;
            if pos > end {
                return None;
            }
            attributes.push(attribute);
        }
        for number_of in 0..shared {
            let id = number(self.at(ids + 4 * number_of, 4)?, 0, 4);
            let base = u128::from(self.field(44, 4)) * 4096;
            attributes.push(self.attribute(base + 4 * u128::from(id))?);
        }
        Some(())
    }

    fn attribute(&self, pos: u128) -> Option<Attribute> {
        let head = self.at(pos, 4)?;
        let (name, value) = (u128::from(head[0]), u128::from(number(head, 2, 2)));
        Some(Attribute {
            index: head[1],
            name: self.at(pos + 4, name)?.to_vec(),
            value: self.at(pos + 4 + name, value)?.to_vec(),
        })
    }

    /// What a search must find: `None` if it must fail, else the value, if there is one. What the inode's filter says
    /// is absent need not be looked for.
    pub fn search(
        &self,
        inode: &Inode,
        attributes: &[Attribute],
        fault: bool,
        index: XattrIndex,
        name: &[u8],
    ) -> Option<Option<Vec<u8>>> {
        let (start, end) = inode.area;
        // Names of attributes have at most 255 bytes.
        if start == end || name.len() > 255 {
            return Some(None);
        }
        let shared = u128::from(self.at(start + 4, 1)?[0]);
        if start + 12 + 4 * shared > end {
            return None;
        }
        let filter = number(self.at(start, 4)?, 0, 4);
        let bit = xxh32(name, 0x25bb_e08f + index as u32) % 32;
        if self.has_filter() && filter >> bit & 1 == 1 {
            return Some(None);
        }
        let found = attributes
            .iter()
            .find(|one| one.index == index as u8 && one.name == name);
        match found {
            Some(found) => Some(Some(found.value.clone())),
            None if fault => None,
            None => Some(None),
        }
    }

    /// The digest in the attribute that has one, if it has; `None` if that is missing or malformed.
    pub fn digest(&self, attributes: &[Attribute]) -> Option<Option<Vec<u8>>> {
        let metacopy = first(attributes, b"overlay.metacopy")?;
        match (metacopy.len(), metacopy.get(..4)) {
            (0, _) | (4, Some([0, 4, 0, 0])) => Some(None),
            (36, Some([0, 36, 0, 1])) | (68, Some([0, 68, 0, 2])) => {
                Some(Some(metacopy[4..].to_vec()))
            }
            _ => None,
        }
    }

    /// What is known of an external file; `None` if that is malformed.
    pub fn external(&self, attributes: &[Attribute], fault: bool) -> Option<External> {
        let redirect = first(attributes, b"overlay.redirect");
        // Both are looked for until they are found.
        if fault && (first(attributes, b"overlay.metacopy").is_none() || redirect.is_none()) {
            return None;
        }
        let digest = self.digest(attributes)?;
        if let Some(path) = &redirect {
            if path.first() != Some(&b'/') || path.contains(&0) || path.len() > 4095 {
                return None;
            }
        }
        Some((digest, redirect))
    }
}

/// The value of the first attribute `trusted.` with this name after it.
fn first(attributes: &[Attribute], name: &[u8]) -> Option<Vec<u8>> {
    attributes
        .iter()
        .find(|one| one.index == 4 && one.name == name)
        .map(|found| found.value.clone())
}
