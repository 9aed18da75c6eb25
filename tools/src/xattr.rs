// SPDX-License-Identifier: GPL-2.0-only
//! Extended attributes: a pool in which equal name and value pairs are one entry, and the list
//! that each node has.
//!
//! Most files of a tree carry the same few attributes, and an image stores an attribute that
//! several files have only once. With a pool, both the memory and the search for sharers are
//! nearly free.

use std::fmt;
use std::hash::BuildHasher;

use anyhow::Result;
use composefs_format::disk::xattr::{ALIGNMENT, ENTRY_SIZE, HEADER_SIZE};
use composefs_format::XattrIndex;
use hashbrown::hash_table::HashTable;
use hashbrown::DefaultHashBuilder;

use crate::bytes::{Bytes, Span};

/// Number of an entry of the pool.
pub type XattrId = u32;

/// Longest name, as in the kernel (`XATTR_NAME_MAX`).
const NAME_MAX: usize = 255;
/// Longest value that fits the on-disk field.
const VALUE_MAX: usize = u16::MAX as usize;
/// What composefs allows the attributes of one node to take: half of what EROFS has room for.
const NODE_MAX: usize = u16::MAX as usize / 2;
/// What an attribute is reckoned to cost besides its name and value: its on-disk header and the
/// worst alignment.
const ENTRY_OVERHEAD: usize = ENTRY_SIZE + ALIGNMENT - 1;

/// Name prefixes that are stored as numbers. The first that a name starts with is taken, also
/// where an ACL name goes on: composefs images are made so.
const PREFIXES: [XattrIndex; 5] = [
    XattrIndex::User,
    XattrIndex::PosixAclAccess,
    XattrIndex::PosixAclDefault,
    XattrIndex::Trusted,
    XattrIndex::Security,
];

/// Why an attribute was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrError {
    /// The name is empty or longer than 255 bytes.
    Name,
    /// The value is longer than 65535 bytes.
    Value,
    /// The attributes of the node take more than composefs allows.
    TooMuch,
}

impl fmt::Display for XattrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "xattr name is empty or longer than 255 bytes",
            Self::Value => "xattr value is longer than 65535 bytes",
            Self::TooMuch => "xattrs of one file take more than 32767 bytes",
        })
    }
}

impl std::error::Error for XattrError {}

/// A name in the pool.
#[derive(Clone, Copy, Debug)]
struct Key {
    name: Span,
    prefix: XattrIndex,
}

impl Key {
    /// What of the name follows the prefix.
    fn suffix(self) -> Span {
        self.name.skip(self.prefix.prefix().len() as u32)
    }
}

/// A name and value pair.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u32,
    value: Span,
}

/// All distinct attributes of a tree.
#[derive(Debug, Default)]
pub struct Pool {
    keys: Vec<Key>,
    key_table: HashTable<u32>,
    entries: Vec<Entry>,
    entry_table: HashTable<u32>,
    hash: DefaultHashBuilder,
}

impl Pool {
    /// Number of entries; their ids are below it.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Full name of an entry.
    pub fn name<'a>(&self, bytes: &'a Bytes, id: XattrId) -> &'a [u8] {
        bytes.get(self.key(id).name)
    }

    /// The prefix, and the rest of the name.
    pub fn split_name<'a>(&self, bytes: &'a Bytes, id: XattrId) -> (XattrIndex, &'a [u8]) {
        let key = self.key(id);
        (key.prefix, bytes.get(key.suffix()))
    }

    /// Has `lustre.` be a prefix, which it is in format version 2 only.
    pub(crate) fn split_lustre(&mut self, bytes: &Bytes) {
        for key in &mut self.keys {
            if bytes.get(key.name).starts_with(XattrIndex::Lustre.prefix()) {
                key.prefix = XattrIndex::Lustre;
            }
        }
    }

    /// Value of an entry.
    pub fn value<'a>(&self, bytes: &'a Bytes, id: XattrId) -> &'a [u8] {
        bytes.get(self.entries[id as usize].value)
    }

    /// Where the value of an entry is kept.
    pub(crate) fn value_span(&self, id: XattrId) -> Span {
        self.entries[id as usize].value
    }

    /// Bytes that an entry takes on disk, alignment included.
    pub fn stored_size(&self, id: XattrId) -> usize {
        let value = self.entries[id as usize].value;
        (ENTRY_SIZE + self.key(id).suffix().len() + value.len()).next_multiple_of(ALIGNMENT)
    }

    /// The entry for a pair.
    ///
    /// # Errors
    /// [`Bytes::push`].
    pub fn intern(&mut self, bytes: &mut Bytes, name: &[u8], value: &[u8]) -> Result<XattrId> {
        let key = self.intern_key(bytes, name)?;
        let hash = self.hash.hash_one((key, value));
        let found = self.entry_table.find(hash, |&id| {
            let entry = self.entries[id as usize];
            entry.key == key && bytes.get(entry.value) == value
        });
        if let Some(&id) = found {
            return Ok(id);
        }
        let value = bytes.push(&[value])?;
        Ok(self.insert(bytes, hash, Entry { key, value }))
    }

    /// Like [`Pool::intern`], for a value that `bytes` holds already.
    ///
    /// # Errors
    /// [`Bytes::push`].
    pub fn intern_span(&mut self, bytes: &mut Bytes, name: &[u8], value: Span) -> Result<XattrId> {
        let key = self.intern_key(bytes, name)?;
        let data = bytes.get(value);
        let hash = self.hash.hash_one((key, data));
        let found = self.entry_table.find(hash, |&id| {
            let entry = self.entries[id as usize];
            entry.key == key && bytes.get(entry.value) == data
        });
        if let Some(&id) = found {
            return Ok(id);
        }
        Ok(self.insert(bytes, hash, Entry { key, value }))
    }

    fn key(&self, id: XattrId) -> Key {
        self.keys[self.entries[id as usize].key as usize]
    }

    fn insert(&mut self, bytes: &Bytes, hash: u64, entry: Entry) -> XattrId {
        // Every entry takes at least four bytes on disk or in `bytes`, which ends at 4 GiB.
        let id = self.entries.len() as XattrId;
        self.entries.push(entry);
        let (entries, hasher) = (&self.entries, &self.hash);
        self.entry_table.insert_unique(hash, id, |&id| {
            let entry = entries[id as usize];
            hasher.hash_one((entry.key, bytes.get(entry.value)))
        });
        id
    }

    fn intern_key(&mut self, bytes: &mut Bytes, name: &[u8]) -> Result<u32> {
        let hash = self.hash.hash_one(name);
        let found = self.key_table.find(hash, |&index| {
            bytes.get(self.keys[index as usize].name) == name
        });
        if let Some(&index) = found {
            return Ok(index);
        }
        let prefix = PREFIXES
            .into_iter()
            .find(|prefix| name.starts_with(prefix.prefix()))
            .unwrap_or(XattrIndex::Unprefixed);
        let index = self.keys.len() as u32;
        self.keys.push(Key {
            name: bytes.push(&[name])?,
            prefix,
        });
        let (keys, hasher) = (&self.keys, &self.hash);
        self.key_table.insert_unique(hash, index, |&index| {
            hasher.hash_one(bytes.get(keys[index as usize].name))
        });
        Ok(index)
    }
}

/// The attributes of one node while they are being collected.
#[derive(Debug, Default)]
pub struct XattrList {
    ids: Vec<XattrId>,
    /// What they are reckoned to take.
    size: usize,
}

impl XattrList {
    /// Forgets everything, keeping the allocation.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.size = 0;
    }

    /// Starts from a list that was accepted before.
    ///
    /// The attributes it holds count for nothing in the limit from here on. That is how the C
    /// tool reckons when it adds the overlay attributes, to a copy of the node that forgot its
    /// size; which images can be made at all depends on it.
    pub fn restart(&mut self, ids: &[XattrId]) {
        self.clear();
        self.ids.extend_from_slice(ids);
    }

    /// The entries.
    pub fn ids(&self) -> &[XattrId] {
        &self.ids
    }

    /// The entries, to be replaced one by one.
    pub fn ids_mut(&mut self) -> &mut [XattrId] {
        &mut self.ids
    }

    /// Sets an attribute, in place of one of the same name.
    ///
    /// # Errors
    /// [`XattrError`] if a limit is exceeded; [`Bytes::push`].
    pub fn set(
        &mut self,
        pool: &mut Pool,
        bytes: &mut Bytes,
        name: &[u8],
        value: &[u8],
    ) -> Result<()> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(XattrError::Name.into());
        }
        if value.len() > VALUE_MAX {
            return Err(XattrError::Value.into());
        }
        let id = pool.intern(bytes, name, value)?;
        self.set_id(pool, id)?;
        Ok(())
    }

    /// Sets an attribute that is in the pool, in place of one of the same name.
    ///
    /// # Errors
    /// [`XattrError::TooMuch`].
    pub fn set_id(&mut self, pool: &Pool, id: XattrId) -> Result<(), XattrError> {
        let cost = |id: XattrId| {
            let entry = pool.entries[id as usize];
            ENTRY_OVERHEAD + pool.keys[entry.key as usize].name.len() + entry.value.len()
        };
        let key = pool.entries[id as usize].key;
        let old = self
            .ids
            .iter()
            .position(|&other| pool.entries[other as usize].key == key);
        if let Some(old) = old {
            let removed = self.ids.swap_remove(old);
            // Below zero after `restart`: then a shorter value in place of a longer one is
            // refused. Odd, but it decides which trees have an image, so it is kept.
            self.size = if self.ids.is_empty() {
                0
            } else {
                self.size.wrapping_sub(cost(removed))
            };
        }
        let header = if self.ids.is_empty() { HEADER_SIZE } else { 0 };
        let size = self.size.wrapping_add(cost(id) + header);
        if size > NODE_MAX {
            return Err(XattrError::TooMuch);
        }
        self.ids.push(id);
        self.size = size;
        Ok(())
    }
}
