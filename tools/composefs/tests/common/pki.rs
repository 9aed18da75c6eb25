// SPDX-License-Identifier: GPL-2.0-only
//! Keys and certificates, and signatures of others, by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of them: `NAME.key` and `NAME.crt`.
pub struct Pki(pub PathBuf);

impl Pki {
    /// With these signers.
    pub fn new(dir: &Path, names: &[&str]) -> Self {
        let pki = Self(dir.join("keys"));
        fs::create_dir_all(&pki.0).expect("directory");
        for name in names {
            pki.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
                 -out {name}.crt -subj /O=Test/CN={name}"
            ));
        }
        pki
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("text").to_owned()
    }

    /// Runs openssl in the directory.
    pub fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .current_dir(&self.0)
            .args(arguments.split_whitespace())
            .output()
            .expect("these tests need the openssl command");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {error}");
    }

    /// A signature of the kernel's formatted digest, which is `hex`, by `openssl cms`.
    pub fn cms(&self, hex: &str, name: &str) -> Vec<u8> {
        let digest: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect();
        let algorithm = if digest.len() == 32 { 1 } else { 2 };
        let mut data = b"FSVerity".to_vec();
        data.extend([algorithm, 0, digest.len() as u8, 0]);
        data.extend(digest);
        fs::write(self.0.join("data"), data).expect("written");
        self.cms_of("data", "data.sig", name);
        fs::read(self.0.join("data.sig")).expect("signature")
    }

    /// The same, of a file into a file.
    pub fn cms_of(&self, data: &str, signature: &str, name: &str) {
        self.openssl(&format!(
            "cms -sign -binary -noattr -in {data} -outform DER -out {signature} \
             -signer {name}.crt -inkey {name}.key"
        ));
    }
}
