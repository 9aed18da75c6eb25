// SPDX-License-Identifier: GPL-2.0-only
//! Directories.

use composefs_format::FileType;

use crate::counted::Listed;
use crate::fields::number;
use crate::model::inode::Inode;
use crate::model::superblock::Model;

/// An entry.
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub nid: u64,
    pub file_type: FileType,
    pub pos: u64,
    pub whiteout: bool,
}

impl Entry {
    pub fn compare(&self, fast: &Listed) {
        assert_eq!(fast.name, self.name);
        assert_eq!(fast.nid, self.nid);
        assert_eq!(fast.file_type, self.file_type);
        assert_eq!(fast.pos, self.pos);
    }
}

/// The entries of a directory.
pub(super) struct Listing {
    /// Those before the first fault.
    pub entries: Vec<Entry>,
    /// What is wrong.
    pub fault: Option<&'static str>,
    /// Whether names ascend from block to block too.
    pub sorted: bool,
}

fn file_type(dirent: u8) -> Option<FileType> {
    Some(match dirent {
        1 => FileType::Regular,
        2 => FileType::Directory,
        3 => FileType::CharDevice,
        4 => FileType::BlockDevice,
        5 => FileType::Fifo,
        6 => FileType::Socket,
        7 => FileType::Symlink,
        _ => return None,
    })
}

/// How many entries a block has, if it can have them.
fn count(block: &[u8]) -> Option<usize> {
    let names = number(block, 8, 2) as usize;
    (block.len() >= 12 && names != 0 && names % 12 == 0 && names < block.len())
        .then_some(names / 12)
}

/// The name of an entry, if it is in its place and has a length that names have.
fn name(block: &[u8], count: usize, index: usize) -> Option<&[u8]> {
    let start = number(block, index * 12 + 8, 2) as usize;
    if start < count * 12 {
        return None;
    }
    let name = if index + 1 == count {
        let rest = block.get(start..)?;
        &rest[..rest
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(rest.len())]
    } else {
        block.get(start..number(block, index * 12 + 20, 2) as usize)?
    };
    (1..=255).contains(&name.len()).then_some(name)
}

impl Model<'_> {
    pub fn list(&self, dir: &Inode) -> Listing {
        let mut listing = Listing {
            entries: Vec::new(),
            fault: None,
            sorted: true,
        };
        let content = self.content(dir);
        for (number, block) in content.chunks(4096).enumerate() {
            if let Err(fault) = self.list_block(block, number as u64 * 4096, &mut listing) {
                listing.fault = Some(fault);
                break;
            }
        }
        listing.sorted = listing
            .entries
            .windows(2)
            .all(|pair| pair[0].name < pair[1].name);
        listing
    }

    fn list_block(
        &self,
        block: &[u8],
        start: u64,
        listing: &mut Listing,
    ) -> Result<(), &'static str> {
        let count = count(block).ok_or("count")?;
        let first = listing.entries.len();
        for index in 0..count {
            let name = name(block, count, index).ok_or("place of a name")?;
            if name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                return Err("bytes of a name");
            }
            let before = listing.entries[first..].last();
            if before.is_some_and(|before| before.name[..] >= *name) {
                return Err("order");
            }
            let nid = number(block, index * 12, 8);
            let file_type = file_type(block[index * 12 + 10]).ok_or("type")?;
            let mut whiteout = false;
            if file_type == FileType::CharDevice {
                let inode = self.inode(nid).ok_or("inode of a device")?;
                if inode.file_type != FileType::CharDevice {
                    return Err("type of a device");
                }
                whiteout = inode.is_whiteout();
            }
            listing.entries.push(Entry {
                name: name.to_vec(),
                nid,
                file_type,
                pos: start + 12 * index as u64,
                whiteout,
            });
        }
        Ok(())
    }

    /// Everything that is an entry, whatever else is wrong with the directory.
    pub fn stored(&self, dir: &Inode) -> Vec<(Vec<u8>, u64, FileType)> {
        let mut stored = Vec::new();
        for block in self.content(dir).chunks(4096) {
            let count = count(block).unwrap_or_default();
            for index in 0..count {
                let at = index * 12;
                if let (Some(name), Some(file_type)) =
                    (name(block, count, index), file_type(block[at + 10]))
                {
                    stored.push((name.to_vec(), number(block, at, 8), file_type));
                }
            }
        }
        stored
    }
}
