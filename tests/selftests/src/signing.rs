// SPDX-License-Identifier: GPL-2.0-only
//! Keys and certificates, made in the guest with openssl, and signatures of images by every tool
//! that makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::command::{output, run};
use crate::setup;
use crate::verity::{digest, Algorithm};

/// Arguments of `openssl req -newkey` for the kinds of keys.
pub const KINDS: [(&str, &str); 4] = [
    ("rsa", "rsa:2048"),
    ("p256", "ec -pkeyopt ec_paramgen_curve:P-256"),
    ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
    ("p521", "ec -pkeyopt ec_paramgen_curve:P-521"),
];

/// The quickest of them.
pub const QUICK: &str = KINDS[1].1;

/// What the certificates of authorities and of signers say.
pub const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n\
                             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
pub const SIGNER: &str = "keyUsage=digitalSignature\nsubjectKeyIdentifier=hash\n\
                          authorityKeyIdentifier=keyid\n";

/// A directory with keys `NAME.key` and certificates `NAME.crt` (PEM) and `NAME.der`.
pub struct Pki {
    directory: PathBuf,
}

impl Pki {
    pub fn new(directory: &Path) -> Result<Self> {
        setup::create_dir(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// One with the certificate `signer`, which alone is trusted.
    pub fn of_signer(directory: &Path) -> Result<Self> {
        let pki = Self::new(directory)?;
        pki.certificate("signer", QUICK, "")?;
        pki.trust_only(&["signer"])?;
        Ok(pki)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.path(name)).with_context(|| name.to_owned())
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| name.to_owned())?;
        Ok(path)
    }

    /// Runs openssl in the directory.
    pub fn openssl(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        command.current_dir(&self.directory);
        output(command.args(arguments.split_whitespace())).map(drop)
    }

    /// A key, and a certificate that it has signed itself.
    pub fn certificate(&self, name: &str, new_key: &str, more: &str) -> Result<()> {
        self.openssl(&format!(
            "req -x509 -newkey {new_key} -nodes -keyout {name}.key -out {name}.crt \
             -subj /O=Test/CN={name} {more}"
        ))?;
        self.der(name)
    }

    /// A key, and a certificate by `issuer`.
    pub fn issued(&self, name: &str, issuer: &str, extensions: &str) -> Result<()> {
        self.openssl(&format!(
            "req -new -newkey {QUICK} -nodes -keyout {name}.key -out {name}.csr \
             -subj /O=Test/CN={name}"
        ))?;
        self.write(&format!("{name}.ext"), extensions)?;
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.crt -CAkey {issuer}.key -CAcreateserial \
             -extfile {name}.ext -out {name}.crt"
        ))?;
        self.der(name)
    }

    fn der(&self, name: &str) -> Result<()> {
        self.openssl(&format!("x509 -in {name}.crt -outform DER -out {name}.der"))
    }

    /// A signature of an image by `name`, made with openssl; `how` is its command and options.
    /// What is signed is computed here.
    pub fn openssl_sign(
        &self,
        image: &Path,
        algorithm: Algorithm,
        name: &str,
        how: &str,
    ) -> Result<PathBuf> {
        self.openssl_sign_data(formatted_digest(image, algorithm)?, name, how)
    }

    /// One of any data.
    pub fn openssl_sign_data(
        &self,
        data: impl AsRef<[u8]>,
        name: &str,
        how: &str,
    ) -> Result<PathBuf> {
        self.write("data", data)?;
        let (tool, options) = how.split_once(' ').unwrap_or((how, ""));
        self.openssl(&format!(
            "{tool} -sign -binary -in data -outform DER -out signature \
             -signer {name}.crt -inkey {name}.key {options}"
        ))?;
        Ok(self.path("signature"))
    }

    /// One made with the tool under test; `chain` are names of more certificates.
    pub fn sign(&self, image: &Path, name: &str, chain: &[&str]) -> Result<PathBuf> {
        let signature = self.path("signature");
        let mut command = Command::new(setup::payload().join("bin/composefs-info"));
        command.arg("sign").arg(image);
        command.arg("--key").arg(self.path(&format!("{name}.key")));
        command.arg("--cert").arg(self.path(&format!("{name}.crt")));
        for name in chain {
            let path = self.path(&format!("{name}.crt"));
            command.arg("--chain").arg(path);
        }
        output(command.arg("--output").arg(&signature))?;
        Ok(signature)
    }

    /// One made with fsverity-utils.
    pub fn fsverity_sign(&self, image: &Path, algorithm: Algorithm, name: &str) -> Result<PathBuf> {
        let signature = self.path("signature");
        let mut command = Command::new("fsverity");
        command.arg("sign").arg(image).arg(&signature);
        command.arg(format!("--hash-alg={}", algorithm.name()));
        command.arg(format!(
            "--key={}",
            self.path(&format!("{name}.key")).display()
        ));
        command.arg(format!(
            "--cert={}",
            self.path(&format!("{name}.crt")).display()
        ));
        output(&mut command)?;
        Ok(signature)
    }

    /// What the tool under test says of a signature, with these certificates; an error if it does
    /// not hold.
    pub fn verify(&self, image: &Path, signature: &Path, trusted: &[&str]) -> Result<String> {
        let mut command = Command::new(setup::payload().join("bin/composefs-info"));
        command.arg("verify").arg(image);
        command.arg("--signature").arg(signature);
        for name in trusted {
            command.arg("--cert").arg(self.path(&format!("{name}.crt")));
        }
        output(&mut command)
    }

    /// Puts a certificate into the keyring under test; returns the number of the key.
    pub fn trust(&self, name: &str) -> Result<String> {
        let der = self.path(&format!("{name}.der"));
        add_key(&der).with_context(|| format!("adding {name}"))
    }

    /// Has the keyring hold these certificates and no others.
    pub fn trust_only(&self, names: &[&str]) -> Result<()> {
        run("keyctl", ["clear", KEYRING])?;
        for name in names {
            self.trust(name)?;
        }
        Ok(())
    }
}

/// The keyring under test, as keyctl(1) takes it.
pub const KEYRING: &str = "%keyring:.composefs";

/// Adds a certificate, in DER, to the keyring.
pub fn add_key(certificate: &Path) -> Result<String> {
    let file = fs::File::open(certificate)?;
    let mut command = Command::new("keyctl");
    command
        .args(["padd", "asymmetric", "", KEYRING])
        .stdin(file);
    let result = command.output().context("keyctl")?;
    if !result.status.success() {
        bail!("{}", String::from_utf8_lossy(&result.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&result.stdout)
        .trim_end()
        .to_owned())
}

/// The lines of /proc/keys about the keyring under test.
pub fn keyring_lines() -> Result<Vec<String>> {
    let keys = fs::read_to_string("/proc/keys").context("/proc/keys")?;
    let is_it = |line: &&str| line.contains(" keyring ") && line.contains(" .composefs:");
    Ok(keys.lines().filter(is_it).map(str::to_owned).collect())
}

/// The kernel's `struct fsverity_formatted_digest` of an image: see
/// Documentation/filesystems/fsverity.rst, "Built-in signature verification".
pub fn formatted_digest(image: &Path, algorithm: Algorithm) -> Result<Vec<u8>> {
    let content = fs::read(image).with_context(|| image.display().to_string())?;
    let digest = digest(algorithm, &content);
    let mut formatted = b"FSVerity".to_vec();
    formatted.extend_from_slice(&[algorithm as u8, 0, digest.len() as u8, 0]);
    formatted.extend_from_slice(&digest);
    Ok(formatted)
}

/// Unloads the module and loads it again, with parameters such as `require_signatures=1`: with an
/// empty keyring that nobody has restricted. Nothing may be mounted. A driver that is built in does as
/// long as its keyring is empty.
pub fn reload_module(parameters: &[&str]) -> Result<()> {
    if let Err(built_in) = setup::require_module() {
        let is_empty = keyring_lines()?.iter().all(|line| line.ends_with("empty"));
        return if parameters.is_empty() && is_empty {
            Ok(())
        } else {
            Err(built_in)
        };
    }
    if setup::is_registered("composefs")? {
        run("rmmod", ["composefs"])?;
    }
    let mut command = Command::new("insmod");
    output(command.arg(setup::module()?).args(parameters)).map(drop)
}
