// SPDX-License-Identifier: GPL-2.0-only
//! Hard links: to hard links, and how many a file has.

use anyhow::{anyhow, Context, Result};

use crate::quote;
use crate::tree::Tree;

/// Makes every hard link point at what it is a link to in the end, not at another link.
///
/// # Errors
/// If some lead to each other. The message names one.
pub(super) fn resolve(tree: &mut Tree) -> Result<()> {
    for id in tree.ids() {
        let Some(mut target) = tree.node(id).link() else {
            continue;
        };
        let mut hops = 0;
        while let Some(next) = tree.node(target).link() {
            target = next;
            hops += 1;
            if hops > tree.len() {
                return Err(anyhow!("hard links form a loop"))
                    .with_context(|| quote::bytes(&tree.path(id)).to_string());
            }
        }
        // The links on the way as well, so that each is followed once.
        let mut at = id;
        while let Some(next) = tree.node(at).link() {
            tree.set_link(at, target);
            at = next;
        }
    }
    Ok(())
}

/// Makes the link count of every file that is no directory the number of its names. All links lead
/// to files, not to other links.
pub(super) fn count(tree: &mut Tree) {
    for id in tree.ids() {
        tree.meta_mut(id).nlink = 1;
    }
    for id in tree.ids() {
        if let Some(target) = tree.node(id).link() {
            tree.meta_mut(target).nlink += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{FileType, Meta, NodeId, ROOT};

    /// Followed anew for each of them, this would take minutes.
    #[test]
    fn a_long_chain_of_hard_links() {
        const LINKS: NodeId = 200_000;

        let fifo = Meta::new(FileType::Fifo, 0o644);
        let mut tree = Tree::new();
        let root = tree.add_root(Meta::new(FileType::Directory, 0o755));
        assert_eq!(root.expect("root"), ROOT);
        let file = tree.add(ROOT, b"file", fifo).expect("file");
        for number in 0..LINKS {
            let name = number.to_string();
            let id = tree.add(ROOT, name.as_bytes(), fifo);
            assert_eq!(id.expect("link"), file + 1 + number);
        }
        for id in file + 1..file + LINKS {
            tree.set_link(id, id + 1);
        }
        tree.set_link(file + LINKS, file);
        resolve(&mut tree).expect("no loop");
        assert!((file + 1..=file + LINKS).all(|id| tree.node(id).link() == Some(file)));
    }
}
