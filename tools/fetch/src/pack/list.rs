// SPDX-License-Identifier: GPL-2.0-only
//! Which packs there are.

use std::str;

use anyhow::{anyhow, ensure, Result};
use composefs_tools::fsverity::{Algorithm, Digest};

/// Its name, below [`super::DIR`].
pub const NAME: &str = "list";
/// Most bytes of one.
pub const SIZE_MAX: u64 = 1 << 20;

const MAGIC: &str = "composefs-packs 1 ";

/// The packs of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// That of the digests of all objects.
    pub algorithm: Algorithm,
    /// Their names, the newest first.
    pub packs: Vec<Digest>,
}

impl List {
    /// Its text.
    pub fn text(&self) -> String {
        let lines = self.packs.iter().map(|pack| format!("{pack}\n"));
        let head = format!("{MAGIC}{}\n", self.algorithm.name());
        std::iter::once(head).chain(lines).collect()
    }

    /// What a text says.
    ///
    /// # Errors
    /// If it is none, or of a later version.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let text = str::from_utf8(text).ok();
        let text = text.and_then(|text| text.strip_prefix(MAGIC));
        let text =
            text.ok_or_else(|| anyhow!("is not a list of packs, or one of a later version"))?;
        let mut lines = text.lines();
        let name = lines.next().unwrap_or_default();
        let algorithm = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| anyhow!("is damaged: its digests are of no kind that is known"))?;
        let packs = lines.map(|line| {
            let pack = Digest::parse_hex(line.as_bytes()).ok();
            let pack = pack.filter(|pack| pack.algorithm() == algorithm);
            pack.ok_or_else(|| anyhow!("is damaged: a name is no digest"))
        });
        let packs = packs.collect::<Result<Vec<_>>>()?;
        ensure!(text.ends_with('\n'), "is damaged: it ends too early");
        Ok(Self { algorithm, packs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use composefs_tools::fsverity::digest_of;

    #[test]
    fn what_is_written_is_read() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for count in 0..3_u8 {
                let packs = (0..count).map(|number| digest_of(algorithm, &[number]));
                let packs = packs.collect();
                let list = List { algorithm, packs };
                assert_eq!(List::parse(list.text().as_bytes()).expect("list"), list);
            }
        }
    }

    #[test]
    fn what_is_none() {
        let good = format!("{MAGIC}sha256\n{}\n", "a".repeat(64));
        List::parse(good.as_bytes()).expect("list");
        for bad in [
            "",
            "<html>",
            "composefs-packs 2 sha256\n",
            "composefs-packs 1 sha256",
            "composefs-packs 1 md5\n",
            "composefs-packs 1 sha256\n../../etc/passwd\n",
            &good.replace("sha256", "sha512"),
            good.trim_end(),
            &format!("{good}\n"),
        ] {
            List::parse(bad.as_bytes()).expect_err(bad);
        }
    }
}
