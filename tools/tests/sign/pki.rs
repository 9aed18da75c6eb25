// SPDX-License-Identifier: GPL-2.0-only
//! Keys and certificates, made with openssl, and images to sign.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common;

/// Arguments of `openssl req -newkey` for every kind of key that the kernel takes.
pub const KINDS: [(&str, &[&str]); 4] = [
    ("rsa", &["rsa:2048"]),
    ("p256", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("p521", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]),
];

/// A directory with an image `image`, and keys and certificates.
pub struct Pki {
    pub dir: PathBuf,
}

impl Pki {
    pub fn new(name: &str) -> Self {
        let pki = Self {
            dir: common::directory(&format!("sign-{name}")),
        };
        pki.image("image");
        pki
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("read file")
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("write file");
    }

    /// Makes an image that is like no other.
    pub fn image(&self, name: &str) {
        let tree = self.path(&format!("{name}.tree"));
        fs::create_dir(&tree).expect("create directory");
        fs::write(tree.join("file"), name).expect("write file");
        let tool = common::tool("mkcomposefs", env!("CARGO_BIN_EXE_mkcomposefs"));
        let status = Command::new(tool).arg(tree).arg(self.path(name)).status();
        assert!(status.expect("run mkcomposefs").success());
    }

    /// A command that runs in the directory.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.dir);
        command.env_remove("COMPOSEFS_KEY_PASSPHRASE");
        command
    }

    /// Runs openssl, which must succeed.
    pub fn openssl(&self, arguments: &str) {
        let output = self
            .command("openssl")
            .args(arguments.split_whitespace())
            .output()
            .expect("these tests need the openssl command");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {stderr}");
    }

    /// Makes a key `NAME.key` and a certificate of its own `NAME.crt`, of a subject `NAME`.
    pub fn certificate(&self, name: &str, new_key: &[&str], more: &str) {
        let new_key = new_key.join(" ");
        self.openssl(&format!(
            "req -x509 -newkey {new_key} -nodes -keyout {name}.key -out {name}.crt \
             -subj /O=Test/CN={name} {more}"
        ));
    }

    /// Makes `NAME.key`, of P-256, and `NAME.crt`, of which `issuer` is the issuer.
    pub fn issued(&self, name: &str, issuer: &str, extensions: &str) {
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
             -out {name}.csr -subj /O=Test/CN={name}"
        ));
        self.write(&format!("{name}.ext"), extensions);
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.crt -CAkey {issuer}.key -CAcreateserial \
             -extfile {name}.ext -out {name}.crt"
        ));
    }

    /// Writes what is to be signed of an image to `data`.
    pub fn formatted_digest(&self, image: &str, more: &str) {
        let output = self.info(&format!("sign {image} --print-formatted-digest {more}"));
        assert!(output.status.success(), "{output:?}");
        self.write("data", &output.stdout);
    }

    pub fn info(&self, arguments: &str) -> Output {
        self.info_command(arguments)
            .output()
            .expect("run composefs-info")
    }

    pub fn info_command(&self, arguments: &str) -> Command {
        let tool = common::tool("composefs-info", env!("CARGO_BIN_EXE_composefs-info"));
        let mut command = self.command(tool);
        command.args(arguments.split_whitespace());
        command
    }

    /// What composefs-info, which must succeed, prints.
    pub fn good(&self, arguments: &str) -> String {
        let output = self.info(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {stderr}");
        assert!(stderr.is_empty(), "{arguments}: {stderr}");
        String::from_utf8(output.stdout).expect("is text")
    }

    /// What composefs-info, which must fail in the one right way, says.
    pub fn bad(&self, arguments: &str) -> String {
        let output = self.info(arguments);
        refusal(arguments, &output)
    }
}

/// The one line of a command that failed.
pub fn refusal(arguments: &str, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments}: {stderr}");
    assert!(stderr.starts_with("composefs-info: "), "{stderr}");
    assert!(output.stdout.is_empty(), "{arguments}");
    stderr.into_owned()
}

impl Drop for Pki {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
