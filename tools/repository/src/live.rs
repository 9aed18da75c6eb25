// SPDX-License-Identifier: GPL-2.0-only
//! Which images are mounted, in any mount namespace.

use std::collections::HashSet;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use composefs_tools::fsverity::{Algorithm, Digest};

use crate::objects::{digest_of_path, parse_digest};

/// The type of the file system.
const TYPE: &str = "composefs";
/// The options that say of which image a mount is: `digest=sha256:HEX`, where it was asked for.
const DIGESTS: [&str; 2] = ["digest=", "image_digest="];
/// How files in memory are shown, before their names.
const IN_MEMORY: &str = "/memfd:";
/// What mounts images where the kernel has no composefs.
const OVERLAY: &str = "overlay";

/// What is mounted where some process can see it.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    /// The images.
    pub images: HashSet<Digest>,
    /// There are others, of which nothing says which image they are.
    pub has_others: bool,
}

/// A line of `mountinfo`.
struct Line<'a> {
    kind: &'a str,
    source: &'a str,
    options: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once(" - ")?;
        let mut fields = rest.split(' ');
        Some(Self {
            kind: fields.next()?,
            source: fields.next()?,
            options: fields.next()?,
        })
    }

    /// The digest of the image, if it is a mount of one.
    fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        if self.kind != TYPE {
            return None;
        }
        let said = |option: &'a str| DIGESTS.iter().find_map(|key| option.strip_prefix(key));
        match self.options.split(',').find_map(said) {
            Some(digest) => {
                let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
                parse_digest(hex, algorithm)
            }
            // Without fs-verity there is only the name of the file; what the mount service made anew
            // is named after what it made it of.
            None => match self.source.strip_prefix(IN_MEMORY) {
                Some(name) => parse_digest(name.split('\\').next()?, algorithm),
                None => digest_of_path(self.source, algorithm),
            },
        }
    }

    /// The directories that an overlay takes content from.
    fn stores(&self) -> impl Iterator<Item = PathBuf> + 'a {
        let options = Some(self.options).filter(|_| self.kind == OVERLAY);
        let options = options.into_iter().flat_map(|options| options.split(','));
        let stores = options.flat_map(|option| {
            let several = option.strip_prefix("lowerdir=").unwrap_or_default();
            // The first is the metadata.
            let several = several.split("::").skip(1);
            option.strip_prefix("datadir+=").into_iter().chain(several)
        });
        stores.map(|store| unescape(store).into())
    }
}

/// Looks for mounts of images, and for overlays over the store that is open as `store`.
pub(crate) fn mounted(algorithm: Algorithm, store: Option<BorrowedFd>) -> Mounted {
    let identity = store.and_then(|store| rustix::fs::fstat(store).ok());
    let identity = identity.map(|stat| (stat.st_dev, stat.st_ino));
    let mut found = Mounted::default();
    let mut seen = HashSet::new();
    // Processes come and go meanwhile: those that cannot be read are gone.
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        if !name.to_str().is_some_and(is_process) {
            continue;
        }
        let process = process.path();
        let namespace = fs::read_link(process.join("ns/mnt"));
        if namespace.is_ok_and(|namespace| !seen.insert(namespace)) {
            continue;
        }
        let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        for line in mounts.lines().filter_map(Line::parse) {
            found.images.extend(line.digest(algorithm));
            found.has_others |= line.stores().any(|path| {
                let there = process
                    .join("root")
                    .join(path.strip_prefix("/").unwrap_or(&path));
                identity.is_some() && identify(&there) == identity
            });
        }
    }
    found
}

fn identify(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::stat(path).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Undoes the octal escapes of `mountinfo`, and the backslashes of overlayfs.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let digits = after.get(..3);
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        rest = match code {
            Some(b'\\') | None => after
                .get(if code.is_some() { 3 } else { 0 }..)
                .unwrap_or_default(),
            Some(code) => {
                plain.push(code.into());
                after.get(3..).unwrap_or_default()
            }
        };
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, source: &str, option: &str) -> String {
        format!("36 35 0:31 / /mnt ro,relatime shared:1 - {kind} {source} ro,basedir=/a,{option}")
    }

    #[test]
    fn images_that_are_mounted() {
        let hex = "ab".repeat(32);
        let found = |line: &str, algorithm| {
            let digest = Line::parse(line).and_then(|line| line.digest(algorithm));
            digest.map(|digest| digest.to_string())
        };
        for key in ["digest", "image_digest"] {
            let line = line("composefs", "composefs", &format!("{key}=sha256:{hex}"));
            assert_eq!(found(&line, Algorithm::Sha256).as_deref(), Some(&*hex));
            assert_eq!(found(&line, Algorithm::Sha512), None);
        }
        let source = format!("/r/objects/ab/{}", "ab".repeat(31));
        assert_eq!(
            found(&line("composefs", &source, "x"), Algorithm::Sha256).as_deref(),
            Some(&*hex)
        );
        let made_anew = format!("/memfd:{hex}\\040(deleted)");
        assert_eq!(
            found(&line("composefs", &made_anew, "x"), Algorithm::Sha256).as_deref(),
            Some(&*hex)
        );
        assert_eq!(
            found(&line("composefs", "/r/image", "x"), Algorithm::Sha256),
            None
        );
        assert_eq!(
            found(
                &line("overlay", &source, &format!("digest={hex}")),
                Algorithm::Sha256
            ),
            None
        );
        assert_eq!(found("", Algorithm::Sha256), None);
    }

    #[test]
    fn stores_of_overlays() {
        let stores = |kind: &str, option: &str| {
            let line = line(kind, "none", option);
            let stores: Vec<_> = Line::parse(&line)
                .into_iter()
                .flat_map(|line| line.stores())
                .collect();
            stores
        };
        let path = |path: &str| vec![PathBuf::from(path)];
        assert_eq!(stores("overlay", "datadir+=/a\\040b"), path("/a b"));
        assert_eq!(stores("overlay", "lowerdir=/m::/a\\134:b"), path("/a:b"));
        assert_eq!(
            stores("overlay", "lowerdir=/m:/n,upperdir=/u"),
            path("").get(..0).unwrap_or_default()
        );
        assert_eq!(
            stores("composefs", "datadir+=/a"),
            path("").get(..0).unwrap_or_default()
        );
    }
}
