// SPDX-License-Identifier: GPL-2.0-only
//! The layers of an image that has of everything: parts of this machine's own root, an odd tree, and
//! what changes and takes away what is below. And what is to be seen of them in the end.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{ensure, Context as _, Result};

use crate::command::run;
use crate::containers::text;
use crate::oci_image::{archive, OciImage, PAX};
use crate::setup::{self, create_dir};
use crate::tree::{self, Tree};
use crate::{odd_tree, tree::display};

/// What is taken of this machine's root: programs and libraries, many small files, symlinks.
const PARTS: &[&str] = &[
    "etc",
    "usr/bin/perl",
    "usr/bin/ls",
    "usr/bin/mount",
    "usr/share/terminfo/x",
    "usr/share/zoneinfo/America",
];

/// The attribute that images keep.
const CAPABILITY: &[u8] = b"security.capability";

/// Makes a tree; and what tar is told to make an archive of it.
type Layer = (fn(&Path) -> Result<()>, &'static [&'static str]);

/// Adds the layers to an image, the first with so many files more; trees and archives are made
/// below `work`.
///
/// # Errors
/// If they cannot be made.
pub fn add(image: &OciImage, work: &Path, files: usize) -> Result<()> {
    let file = work.join("layer.tar");
    let tree = work.join("layer");
    let layers: [Layer; 4] = [
        (base, PAX),
        (odd, PAX),
        (changes, PAX),
        // Long names are written in another way there, and times have no fractions.
        (long_names, &["--format=gnu"]),
    ];
    for (number, (make, format)) in layers.into_iter().enumerate() {
        create_dir(&tree)?;
        make(&tree)?;
        if number == 0 {
            many(&tree.join("usr/many"), files)?;
        }
        archive(&tree, &file, format)?;
        if number == 2 {
            // What is linked to is not in this layer, but below.
            let inside = format!("./{LINKED}");
            run("tar", ["--delete", "-f", text(&file)?, &inside])?;
        }
        image.add(&file)?;
        if number == 1 {
            image.tag(BELOW)?;
        }
        fs::remove_dir_all(&tree)?;
    }
    Ok(())
}

/// The tag of the image of the first two layers.
pub const BELOW: &str = "below";

/// A file of the first layer that the third has another name for.
const LINKED: &str = "usr/bin/ls";

fn base(tree: &Path) -> Result<()> {
    for part in PARTS {
        copy(part, tree)?;
    }
    copy(&format!("{}/perl-base", setup::LIBRARIES), tree)?;
    for name in [
        "usr/opaque/inner",
        "usr/going/inner",
        "usr/kept",
        "run/old",
        "var",
    ] {
        create_dir(&tree.join(name))?;
    }
    for name in [
        "usr/opaque/old",
        "usr/opaque/inner/old",
        "usr/going/inner/old",
        "usr/gone",
        "usr/kept/gone",
        "usr/kept/stays",
        "usr/file-then-directory",
        "usr/again",
        "run/old/file",
        "var/one",
    ] {
        fs::write(tree.join(name), name.repeat(20))?;
    }
    fs::hard_link(tree.join("var/one"), tree.join("var/two"))?;
    fs::hard_link(tree.join("var/one"), tree.join("usr/three"))?;
    create_dir(&tree.join("usr/directory-then-file/inner"))?;
    symlink("kept", tree.join("usr/link-then-directory"))?;
    Ok(())
}

/// Files that all differ; half of them are objects.
fn many(directory: &Path, files: usize) -> Result<()> {
    for number in 0..files {
        let inside = directory.join((number / 500).to_string());
        if number % 500 == 0 {
            create_dir(&inside)?;
        }
        let text = number.to_string().repeat(2 + number % 2 * 40);
        fs::write(inside.join(number.to_string()), text)?;
    }
    Ok(())
}

fn copy(part: &str, tree: &Path) -> Result<()> {
    let to = tree.join(part);
    create_dir(to.parent().context("a path")?)?;
    let from = Path::new("/").join(part);
    run("cp", [Path::new("-a"), &from, &to]).map(drop)
}

fn odd(tree: &Path) -> Result<()> {
    let odd = tree.join("usr/odd");
    odd_tree::create(&odd)?;
    // composefs-rs takes no times before 1970, and umoci none of more than 2^63 nanoseconds.
    for (not, time) in [("!", "@0"), ("-true", "@9000000000")] {
        let reset = ["-exec", "touch", "-h", "-d", "@5", "{}", "+"];
        let which = [text(&odd)?, not, "-newermt", time];
        run("find", [&which[..], &reset].concat())?;
    }
    Ok(())
}

fn changes(tree: &Path) -> Result<()> {
    for name in [
        "usr/opaque",
        "usr/kept",
        "usr/file-then-directory",
        "usr/link-then-directory",
    ] {
        create_dir(&tree.join(name))?;
    }
    for (name, content) in [
        ("usr/opaque/.wh..wh..opq", ""),
        ("usr/opaque/new", "new"),
        ("usr/.wh.going", ""),
        ("usr/.wh.gone", ""),
        ("usr/kept/.wh.gone", ""),
        ("usr/.wh.not-there", ""),
        ("usr/file-then-directory/inside", "inside"),
        ("usr/link-then-directory/inside", "inside"),
        ("usr/directory-then-file", "a file now"),
        ("usr/again", "again, and otherwise"),
        ("usr/odd/contents/.wh.size-4096", ""),
    ] {
        let path = tree.join(name);
        create_dir(path.parent().context("a path")?)?;
        fs::write(path, content)?;
    }
    copy(LINKED, tree)?;
    fs::hard_link(tree.join(LINKED), tree.join("usr/bin/once-more"))?;
    // One of three names.
    create_dir(&tree.join("var"))?;
    fs::write(tree.join("var/.wh.one"), "")?;
    Ok(())
}

fn long_names(tree: &Path) -> Result<()> {
    let directory = tree.join("usr/long").join("d".repeat(200));
    create_dir(&directory)?;
    fs::write(directory.join("f".repeat(250)), "long")?;
    symlink("t".repeat(300), directory.join("link"))?;
    Ok(())
}

/// What is to be seen of what umoci unpacked: the root has the attributes of `/usr`, `/run` is empty,
/// and of extended attributes only capabilities are kept.
///
/// # Errors
/// If the tree cannot be read.
pub fn expected(unpacked: &Path) -> Result<Tree> {
    let mut tree = tree::read(unpacked)?;
    tree.retain(|path, _| !path.starts_with(b"run/"));
    for entry in tree.values_mut() {
        entry.xattrs.retain(|name, _| name == CAPABILITY);
    }
    let usr = tree.get(&b"usr"[..]).context("there is no /usr")?.clone();
    let root = tree.get_mut(&b""[..]).context("there is no root")?;
    (root.attributes, root.xattrs) = (usr.attributes.clone(), usr.xattrs);
    if let Some(run) = tree.get_mut(&b"run"[..]) {
        run.attributes.mtime = usr.attributes.mtime;
    }
    check(&tree)?;
    Ok(tree)
}

/// The tree has what the layers are made for: nothing is shown by one that lacks it.
fn check(tree: &Tree) -> Result<()> {
    let links = |name: &str| tree.get(name.as_bytes()).map(|entry| entry.nlink);
    for (name, count) in [
        (LINKED, Some(2)),
        ("usr/bin/once-more", Some(2)),
        ("var/one", None),
        ("var/two", Some(2)),
        ("usr/three", Some(2)),
        ("usr/opaque/new", Some(1)),
        ("usr/opaque/old", None),
        ("usr/opaque/inner", None),
        ("usr/going", None),
        ("usr/gone", None),
        ("usr/kept/gone", None),
        ("usr/kept/stays", Some(1)),
        ("usr/file-then-directory/inside", Some(1)),
        ("usr/link-then-directory/inside", Some(1)),
        ("usr/odd/hard-links/large", Some(3)),
        ("usr/odd/contents/size-4096", None),
    ] {
        ensure!(links(name) == count, "{name}: {:?} links", links(name));
    }
    let is_capable = |(_, entry): &(&Vec<u8>, &tree::Entry)| !entry.xattrs.is_empty();
    let capable: Vec<_> = tree
        .iter()
        .filter(is_capable)
        .map(|(path, _)| display(path))
        .collect();
    ensure!(
        capable.contains(&"usr/odd/xattrs/capable".to_owned()),
        "{capable:?}"
    );
    let devices = tree.values().filter(|entry| entry.attributes.rdev != 0);
    ensure!(devices.count() >= 8, "devices are missing");
    Ok(())
}
