// SPDX-License-Identifier: GPL-2.0-only
//! Dumps: the text that mkcomposefs makes images from.

use composefs_tools::dump::{read, Options};
use composefs_tools::fsverity::Algorithm;
use composefs_tools::image;
use composefs_tools::version::VERSION_MAX;

use crate::counted::Counted;
use crate::image::each_inode;

/// Reads a dump, makes an image of it in every version, and walks that.
pub(crate) fn dump(bytes: &[u8]) {
    let parse = |strict, algorithm| read(bytes, &Options { algorithm, strict });
    let strict = parse(true, Algorithm::Sha256);
    let mut trees = Vec::new();
    for _ in 0..=VERSION_MAX {
        match parse(false, Algorithm::Sha256) {
            Ok(tree) => trees.push(tree),
            Err(error) => {
                // It is printed as one line, and what is strictly a dump is one.
                assert!(!format!("{error:#}").contains('\n'));
                assert!(strict.is_err());
                let _ = parse(false, Algorithm::Sha512);
                return;
            }
        }
    }

    let mut images = Vec::new();
    for (version, tree) in (0..).zip(trees) {
        let options = image::Options {
            min_version: version,
            max_version: version,
            digest: None,
        };
        let mut out = Vec::new();
        // What is refused in one version may have room in another.
        match image::write(tree, &options, Some(&mut out)) {
            Ok(_) => {
                assert!(out.len() % 4096 == 0);
                images.push(out);
            }
            Err(error) => assert!(!format!("{error:#}").contains('\n')),
        }
    }
    for image in images {
        // A dump may hold numbers that no image can; the parser refuses those.
        if let Ok(image) = Counted::open(&image) {
            each_inode(&image, &mut |node| {
                let _ = image.list_xattrs(node);
            });
        }
    }
}
