// SPDX-License-Identifier: GPL-2.0-only
//! Making a tree from a dump.
//!
//! What is accepted is what the C tool 1.0.8 accepts, its leniencies included: images made from a
//! dump have to be the same everywhere. Refused is only what makes an image that is of no use: a
//! digest with fewer digits than it needs, where the C tool takes whatever is in memory; files and
//! object paths beyond what any kernel opens; a second name of a directory or a whiteout.

use std::io::BufRead;

use anyhow::{anyhow, Context, Result};
use composefs_format::disk::overlay::REDIRECT_MAX;

use crate::chunks;
use crate::dump::escape::{hex_byte, unescape, until_nul};
use crate::dump::names::Names;
use crate::dump::number;
use crate::fsverity::{Algorithm, Digest};
use crate::quote;
use crate::tree::{FileType, Meta, NodeId, Time, Tree, INLINE_MAX};
use crate::xattr::XattrList;

/// Longest payload, the terminating zero of C included.
const PATH_MAX: usize = 4096;
/// Longest path of an object: a slash goes in front of it.
const OBJECT_PATH_MAX: usize = REDIRECT_MAX - 1;
/// Longest text that the xattrs of a line may take.
const XATTRS_TEXT_MAX: usize = u16::MAX as usize;

/// How to read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Algorithm of the digests in the dump.
    pub algorithm: Algorithm,
    /// Refuse what contradicts itself, too: the C tool does when `CFS_PARSE_STRICT` is set.
    pub strict: bool,
}

/// Reads a dump.
///
/// # Errors
/// If it is not one, or reading fails. The message names the line.
pub fn read(mut input: impl BufRead, options: &Options) -> Result<Tree> {
    let mut reader = Reader {
        options,
        tree: Tree::new(),
        names: Names::default(),
        links: Vec::new(),
        xattrs: XattrList::default(),
        scratch: Scratch::default(),
    };
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let count = input.read_until(b'\n', &mut line).context("cannot read")?;
        if count == 0 {
            break;
        }
        number += 1;
        let context = || format!("line {number}");
        match line.strip_suffix(b"\n") {
            Some(line) => reader.line(line, number).with_context(context)?,
            None if options.strict => {
                return Err(anyhow!("newline missing at the end")).with_context(context);
            }
            None => reader.line(&line, number).with_context(context)?,
        }
    }
    if reader.tree.is_empty() {
        return Err(anyhow!("no files in the dump"));
    }
    reader.resolve_links()?;
    Ok(reader.tree)
}

/// A hard link that is yet to be resolved.
struct Link {
    node: NodeId,
    line: u64,
    target: Option<Vec<u8>>,
}

impl Link {
    fn context(&self) -> String {
        format!("line {}", self.line)
    }
}

/// Unescaped fields, kept to reuse their allocations.
#[derive(Default)]
struct Scratch {
    path: Vec<u8>,
    payload: Vec<u8>,
    content: Vec<u8>,
    digest: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
}

struct Reader<'a> {
    options: &'a Options,
    tree: Tree,
    names: Names,
    links: Vec<Link>,
    xattrs: XattrList,
    scratch: Scratch,
}

/// The fixed fields of a line, as text. Those that are missing are empty.
struct Fields<'a> {
    path: &'a [u8],
    size: &'a [u8],
    mode: &'a [u8],
    nlink: &'a [u8],
    uid: &'a [u8],
    gid: &'a [u8],
    rdev: &'a [u8],
    mtime: &'a [u8],
    payload: &'a [u8],
    content: &'a [u8],
    digest: &'a [u8],
    xattrs: &'a [u8],
}

impl<'a> Fields<'a> {
    fn split(mut line: &'a [u8]) -> Self {
        let mut next = || split_once(&mut line, b' ').0;
        Self {
            path: next(),
            size: next(),
            mode: next(),
            nlink: next(),
            uid: next(),
            gid: next(),
            rdev: next(),
            mtime: next(),
            payload: next(),
            content: next(),
            digest: next(),
            xattrs: line,
        }
    }
}

/// Takes the part before `separator` from `text`, and whether there was a separator.
fn split_once<'a>(text: &mut &'a [u8], separator: u8) -> (&'a [u8], bool) {
    let line = *text;
    match memchr::memchr(separator, line) {
        Some(position) => {
            *text = line.get(position + 1..).unwrap_or_default();
            (line.get(..position).unwrap_or_default(), true)
        }
        None => {
            *text = &[];
            (line, false)
        }
    }
}

/// Unescapes a field that may be unset.
fn optional<'a>(text: &[u8], out: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>> {
    if text == b"-" {
        return Ok(None);
    }
    unescape(text, out)?;
    Ok(Some(out))
}

impl Reader<'_> {
    fn line(&mut self, line: &[u8], number: u64) -> Result<()> {
        if memchr::memchr(0, line).is_some() {
            return Err(anyhow!("zero byte in the line"));
        }
        let mut fields = Fields::split(line);
        let link = fields.mode.strip_prefix(b"@");
        fields.mode = link.unwrap_or(fields.mode);
        let mode = number::parse(fields.mode, 8).context("mode")? as u32;
        let meta = Meta::from_mode(mode);
        let meta = meta.ok_or_else(|| anyhow!("mode {mode:o} has no file type"))?;
        let node = self.add(fields.path, meta)?;
        if link.is_some() {
            return self.hard_link(node, &fields, number);
        }
        self.meta(node, &fields)?;
        self.data(node, &fields)?;
        self.xattrs(node, fields.xattrs)
    }

    fn add(&mut self, path: &[u8], meta: Meta) -> Result<NodeId> {
        unescape(path, &mut self.scratch.path).context("path")?;
        let path = until_nul(&self.scratch.path);
        if path.is_empty() {
            return Err(anyhow!("path is empty"));
        }
        if path == b"/" {
            if !meta.is_dir() {
                return Err(anyhow!("the root must be a directory"));
            }
            return self.tree.add_root(meta);
        }
        if self.tree.is_empty() {
            return Err(anyhow!("the root must come first"));
        }
        let (parent, name) = self
            .names
            .resolve_parent(&self.tree, path)
            .ok_or_else(|| anyhow!("there is no parent of {}", quote::bytes(path)))?;
        if name == b"." || name == b".." {
            return Err(anyhow!("{} ends in . or ..", quote::bytes(path)));
        }
        if self.names.child(&self.tree, parent, name).is_some() {
            return Err(anyhow!("{} is there already", quote::bytes(path)));
        }
        let node = self
            .tree
            .add(parent, name, meta)
            .with_context(|| quote::bytes(path).to_string())?;
        self.names.insert(&self.tree, node);
        Ok(node)
    }

    fn hard_link(&mut self, node: NodeId, fields: &Fields, line: u64) -> Result<()> {
        if self.tree.node(node).meta.is_dir() {
            return Err(anyhow!("a directory cannot be a hard link"));
        }
        let target = optional(fields.payload, &mut self.scratch.payload).context("payload")?;
        self.links.push(Link {
            node,
            line,
            target: target.map(|target| until_nul(target).to_vec()),
        });
        Ok(())
    }

    fn meta(&mut self, node: NodeId, fields: &Fields) -> Result<()> {
        let decimal = |text, name: &'static str| number::parse(text, 10).context(name);
        let size = decimal(fields.size, "size")?;
        let nlink = decimal(fields.nlink, "nlink")?;
        let uid = decimal(fields.uid, "uid")?;
        // The C tool overlooks errors in these two, and takes 0, unless the owner is 0.
        let lenient = |text, name| match decimal(text, name) {
            Err(_) if uid != 0 => Ok(0),
            result => result,
        };
        let gid = lenient(fields.gid, "gid")?;
        let rdev = lenient(fields.rdev, "rdev")?;
        let mut nsec = fields.mtime;
        let sec = split_once(&mut nsec, b'.').0;
        let mtime = Time {
            sec: decimal(sec, "mtime")? as i64,
            nsec: decimal(nsec, "mtime nanoseconds")? as u32,
        };

        let meta = self.tree.meta_mut(node);
        meta.size = size;
        meta.nlink = nlink as u32;
        meta.uid = uid as u32;
        meta.gid = gid as u32;
        meta.mtime = mtime;
        if matches!(meta.file_type, FileType::CharDevice | FileType::BlockDevice) {
            meta.rdev = rdev as u32;
        } else if self.options.strict && rdev != 0 {
            return Err(anyhow!("only devices have a device number"));
        }
        if meta.is_whiteout() && meta.nlink > 1 {
            return Err(anyhow!("a whiteout cannot have a second link"));
        }
        Ok(())
    }

    fn data(&mut self, node: NodeId, fields: &Fields) -> Result<()> {
        let meta = self.tree.node(node).meta;
        let scratch = &mut self.scratch;
        let payload = optional(fields.payload, &mut scratch.payload).context("payload")?;
        let payload = payload.map(until_nul);
        let content = optional(fields.content, &mut scratch.content).context("content")?;
        if content.is_some_and(|content| content.len() as u64 != meta.size) {
            return Err(anyhow!("content is not of size {}", meta.size));
        }
        let digest = optional(fields.digest, &mut scratch.digest).context("digest")?;
        let digest = digest.map(until_nul);

        if payload.is_some_and(|payload| payload.len() >= PATH_MAX) {
            return Err(anyhow!("payload is longer than {} bytes", PATH_MAX - 1));
        }
        if meta.file_type == FileType::Symlink {
            let target = payload.filter(|target| !target.is_empty());
            let target = target.ok_or_else(|| anyhow!("symlink target is empty"))?;
            if self.options.strict {
                if target.len() as u64 != meta.size {
                    return Err(anyhow!("symlink target is not of size {}", meta.size));
                }
                if content.is_some_and(|content| !content.is_empty()) {
                    return Err(anyhow!("a symlink cannot have content"));
                }
            }
            self.tree.set_payload(node, target)?;
            self.tree.meta_mut(node).size = target.len() as u64;
        } else {
            if let Some(payload) = payload {
                self.tree.set_payload(node, payload)?;
            }
            if let Some(content) = content {
                if content.len() > INLINE_MAX {
                    return Err(anyhow!("content is longer than {INLINE_MAX} bytes"));
                }
                self.tree.set_content(node, content)?;
            }
        }
        // Only then does the image say where the content is.
        if self.tree.is_external(node) {
            chunks::check_size(meta.size)?;
            if payload.is_some_and(|path| path.len() > OBJECT_PATH_MAX) {
                return Err(anyhow!(
                    "the path of an object is longer than {OBJECT_PATH_MAX} bytes"
                ));
            }
            if let Some(digest) = digest {
                let digest = parse_digest(digest, self.options.algorithm)?;
                self.tree.set_digest(node, &digest)?;
            }
        }
        Ok(())
    }

    fn xattrs(&mut self, node: NodeId, mut text: &[u8]) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if text.len() > XATTRS_TEXT_MAX {
            return Err(anyhow!("xattrs take more than {XATTRS_TEXT_MAX} bytes"));
        }
        self.xattrs.clear();
        while !text.is_empty() {
            let mut value = split_once(&mut text, b' ').0;
            let (key, found) = split_once(&mut value, b'=');
            if !found {
                return Err(anyhow!("no = in xattr {}", quote::bytes(key)));
            }
            unescape(key, &mut self.scratch.key).context("xattr name")?;
            unescape(value, &mut self.scratch.value).context("xattr value")?;
            let key = until_nul(&self.scratch.key);
            self.tree
                .collect_xattr(&mut self.xattrs, key, &self.scratch.value)?;
        }
        self.tree.set_xattrs(node, &self.xattrs)
    }

    /// Finds the targets of the hard links, which may come before or after them.
    fn resolve_links(&mut self) -> Result<()> {
        let links = std::mem::take(&mut self.links);
        for link in &links {
            let target = self.resolve_link(link).with_context(|| link.context())?;
            self.tree.set_link(link.node, target);
        }
        // Only now is it known which of the targets are links themselves.
        links
            .iter()
            .try_for_each(|link| self.check_target(link).with_context(|| link.context()))
    }

    fn resolve_link(&self, link: &Link) -> Result<NodeId> {
        let path = link.target.as_deref();
        let path = path.ok_or_else(|| anyhow!("hard link without a target"))?;
        let target = self
            .names
            .resolve(&self.tree, path)
            .ok_or_else(|| anyhow!("hard link to {}, which is not there", quote::bytes(path)))?;
        if target == link.node {
            return Err(anyhow!("hard link to itself"));
        }
        Ok(target)
    }

    /// Refuses what can have one name only. What a link to a link leads to is for that one to say.
    fn check_target(&self, link: &Link) -> Result<()> {
        let Some(target) = self.tree.node(link.node).link() else {
            return Ok(());
        };
        let node = self.tree.node(target);
        let what = match node.link() {
            None if node.meta.is_dir() => "a directory",
            None if node.meta.is_whiteout() => "a whiteout",
            _ => return Ok(()),
        };
        let path = self.tree.path(target);
        Err(anyhow!(
            "hard link to {}, which is {what}",
            quote::bytes(&path)
        ))
    }
}

/// Reads a digest in hex. Whatever follows one of full length is ignored.
fn parse_digest(text: &[u8], algorithm: Algorithm) -> Result<Digest> {
    let digits = 2 * algorithm.digest_size();
    let raw: Option<Vec<u8>> = text
        .get(..digits)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| hex_byte(pair[0], pair[1]))
        .collect();
    raw.and_then(|raw| Digest::from_bytes(algorithm, &raw))
        .ok_or_else(|| {
            anyhow!(
                "{} is not a digest of {digits} hex digits",
                quote::bytes(text)
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_text_of_xattrs() {
        let options = Options {
            algorithm: Algorithm::Sha256,
            strict: true,
        };
        let read = |len: usize| {
            let mut xattrs = format!("user.x={}", "v".repeat(len % 4 + 1));
            while xattrs.len() < len {
                xattrs.push_str("\\x41");
            }
            assert_eq!(xattrs.len(), len);
            let dump = format!("/ 0 40755 2 0 0 0 0.0 - - - {xattrs}\n");
            super::read(dump.as_bytes(), &options)
        };
        assert!(read(XATTRS_TEXT_MAX).is_ok());
        let refused = read(XATTRS_TEXT_MAX + 1).expect_err("too long");
        assert!(format!("{refused:#}").contains("xattrs take more than 65535"));
    }
}
