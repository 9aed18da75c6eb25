// SPDX-License-Identifier: GPL-2.0-only
//! Which images are mounted, in any mount namespace.

use std::collections::HashSet;
use std::fs;

use composefs_tools::fsverity::{Algorithm, Digest};

use crate::objects::parse_digest;

/// The type of the file system.
const TYPE: &str = "composefs";
/// The option that says of which image a mount is: `digest=sha256:HEX`.
const DIGEST: &str = "digest=";

/// The digests of all images that are mounted, where some process can see it.
pub(crate) fn mounted(algorithm: Algorithm) -> HashSet<Digest> {
    let mut found = HashSet::new();
    let mut seen = HashSet::new();
    // Processes come and go meanwhile: those that cannot be read are gone.
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        if !name
            .to_str()
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        {
            continue;
        }
        let namespace = fs::read_link(process.path().join("ns/mnt"));
        if namespace.is_ok_and(|namespace| !seen.insert(namespace)) {
            continue;
        }
        let mounts = fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        found.extend(mounts.lines().filter_map(|line| digest(line, algorithm)));
    }
    found
}

/// The digest of the image that a line of `mountinfo` is about.
fn digest(line: &str, algorithm: Algorithm) -> Option<Digest> {
    let (_, rest) = line.split_once(" - ")?;
    let mut fields = rest.split(' ');
    if fields.next()? != TYPE {
        return None;
    }
    let mut options = fields.nth(1)?.split(',');
    let digest = options.find_map(|option| option.strip_prefix(DIGEST))?;
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    parse_digest(hex, algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let hex = "ab".repeat(32);
        let line = |kind: &str, option: &str| {
            format!(
                "36 35 0:31 / /mnt ro,relatime shared:1 - {kind} composefs ro,basedir=/a,{option}"
            )
        };
        let found = |line: &str| digest(line, Algorithm::Sha256).map(|digest| digest.to_string());
        let option = format!("digest=sha256:{hex}");
        assert_eq!(found(&line("composefs", &option)).as_deref(), Some(&*hex));
        assert_eq!(found(&line("overlay", &option)), None);
        assert_eq!(found(&line("composefs", "verity=off")), None);
        assert_eq!(digest(&line("composefs", &option), Algorithm::Sha512), None);
        assert_eq!(found(""), None);
    }
}
