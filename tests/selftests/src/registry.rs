// SPDX-License-Identifier: GPL-2.0-only
//! Debian's docker-registry, on this machine.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};

use crate::command::run;
use crate::containers::{text, Containers};
use crate::setup;

/// How long it may take to start: emulated, some seconds.
const START: Duration = Duration::from_secs(120);

/// What a registry asks of its clients.
#[derive(Clone, Default)]
pub struct Demands {
    /// Its certificate and key: TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// A file with users and passwords, as htpasswd makes it.
    pub users: Option<PathBuf>,
}

/// A registry, which ends when this is dropped.
pub struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    /// Starts it, with what it keeps and its log in a directory.
    ///
    /// # Errors
    /// If it does not start; what it says then is part of the message.
    pub fn start(
        containers: &Containers,
        directory: &Path,
        port: u16,
        demands: &Demands,
    ) -> Result<Self> {
        setup::create_dir(directory)?;
        let address = format!("localhost:{port}");
        let (config, log) = (directory.join("config.yml"), directory.join("log"));
        fs::write(&config, configuration(directory, &address, demands)?)?;
        let mut child = containers
            .command("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .context("docker-registry")?;
        let begin = Instant::now();
        while TcpStream::connect(&address).is_err() {
            if child.try_wait()?.is_some() || begin.elapsed() > START {
                // It may have ended.
                let _ = child.kill();
                child.wait()?;
                bail!("docker-registry: {}", fs::read_to_string(&log)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { child, address })
    }

    /// The name of an image in it, for skopeo and ours.
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(directory: &Path, address: &str, demands: &Demands) -> Result<String> {
    let mut text_of = format!(
        "version: 0.1\n\
         log: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}}}\n",
        text(&directory.join("blobs"))?
    );
    if let Some(users) = &demands.users {
        let users = text(users)?;
        text_of.push_str(&format!(
            "auth: {{htpasswd: {{realm: test, path: {users}}}}}\n"
        ));
    }
    let tls = match &demands.certificate {
        Some((certificate, key)) => {
            let (certificate, key) = (text(certificate)?, text(key)?);
            format!(", tls: {{certificate: {certificate}, key: {key}}}")
        }
        None => String::new(),
    };
    text_of.push_str(&format!("http: {{addr: \"{address}\"{tls}}}\n"));
    Ok(text_of)
}

/// Makes an authority of its own, `NAME.crt`, and by it the certificate and key of a server on this
/// machine, `NAME-server.crt` and `.key`.
///
/// # Errors
/// If openssl cannot.
pub fn make_certificates(directory: &Path, name: &str) -> Result<()> {
    let make = |what: &str, subject: &str, more: &[&str]| {
        let (key, certificate) = (format!("{what}.key"), format!("{what}.crt"));
        let key = directory.join(key);
        let certificate = directory.join(certificate);
        let arguments = [
            &["req", "-x509", "-nodes", "-days", "30", "-newkey", "ec"],
            &["-pkeyopt", "ec_paramgen_curve:prime256v1"][..],
            &["-keyout", text(&key)?, "-out", text(&certificate)?],
            &["-subj", subject],
            more,
        ];
        run("openssl", arguments.concat()).map(drop)
    };
    make(name, &format!("/CN=authority {name}"), &[])?;
    let authority = directory.join(name);
    let (certificate, key) = (
        authority.with_extension("crt"),
        authority.with_extension("key"),
    );
    make(
        &format!("{name}-server"),
        "/CN=localhost",
        &[
            "-CA",
            text(&certificate)?,
            "-CAkey",
            text(&key)?,
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
    )
}
