// SPDX-License-Identifier: GPL-2.0-only
//! Debian's nginx, on this machine.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};

use crate::containers::{text, Containers};
use crate::setup;

/// How long it may take to start: emulated, some seconds.
const START: Duration = Duration::from_secs(120);

/// A web server, which ends when this is dropped.
pub struct Nginx {
    child: Child,
    address: String,
    work: PathBuf,
}

impl Nginx {
    /// Serves what is below `root`; with a certificate and its key, over TLS. What it keeps and logs
    /// is below `work`.
    ///
    /// # Errors
    /// If it does not start; what it says then is part of the message.
    pub fn start(
        containers: &Containers,
        work: &Path,
        port: u16,
        root: &Path,
        certificate: Option<(&Path, &Path)>,
    ) -> Result<Self> {
        setup::create_dir(work)?;
        let (listen, scheme) = match certificate {
            Some((certificate, key)) => (
                format!(
                    "listen {port} ssl; http2 on; ssl_certificate {}; ssl_certificate_key {};",
                    text(certificate)?,
                    text(key)?
                ),
                "https",
            ),
            None => (format!("listen {port};"), "http"),
        };
        let directory = text(work)?;
        // Its own compiled-in paths are those of another machine's /var.
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {directory}/{what};"))
            .concat();
        fs::write(
            work.join("nginx.conf"),
            format!(
                "daemon off; master_process off; pid {directory}/pid; error_log stderr;\n\
                 events {{}}\n\
                 http {{ {temporary} log_format it '$status $bytes_sent $server_protocol $request_uri'; \
                 access_log {directory}/access it;\n\
                 server {{ {listen} server_name localhost; root {}; }} }}\n",
                text(root)?
            ),
        )?;
        let log = work.join("log");
        let mut child = containers
            .command("../sbin/nginx")
            .args(["-p", directory, "-e", "stderr", "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("nginx")?;
        let begin = Instant::now();
        while TcpStream::connect(("localhost", port)).is_err() {
            if child.try_wait()?.is_some() || begin.elapsed() > START {
                // It may have ended.
                let _ = child.kill();
                child.wait()?;
                bail!("nginx: {}", fs::read_to_string(&log)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self {
            child,
            address: format!("{scheme}://localhost:{port}"),
            work: work.to_owned(),
        })
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What was asked of it up to now: for each, the status, the bytes, the protocol and the path.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn requests(&self) -> Result<Vec<String>> {
        let log = fs::read_to_string(self.work.join("access"))?;
        Ok(log.lines().map(str::to_owned).collect())
    }

    /// Forgets them.
    ///
    /// # Errors
    /// If its log cannot be written.
    pub fn forget(&self) -> Result<()> {
        let log = File::options().write(true).open(self.work.join("access"))?;
        Ok(log.set_len(0)?)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
