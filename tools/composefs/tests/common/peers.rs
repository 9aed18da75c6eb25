// SPDX-License-Identifier: GPL-2.0-only
//! Programs of others.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// composefs-rs, in the directory that `COMPOSEFS_RS_TOOLS` names.
pub fn cfsctl(repository: &Path, arguments: &[&str]) -> String {
    let tools = std::env::var_os("COMPOSEFS_RS_TOOLS").expect("COMPOSEFS_RS_TOOLS is set");
    let output = Command::new(Path::new(&tools).join("cfsctl"))
        .arg("--repo")
        .arg(repository)
        .args(arguments)
        .output()
        .expect("cfsctl runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Debian's docker-registry, the program that `COMPOSEFS_DOCKER_REGISTRY` names, on a directory.
pub struct DockerRegistry {
    child: Child,
    pub host: String,
}

impl DockerRegistry {
    pub fn run(dir: &Path) -> Self {
        let program = std::env::var_os("COMPOSEFS_DOCKER_REGISTRY");
        let program = program.expect("COMPOSEFS_DOCKER_REGISTRY is set");
        // Whoever takes it in between makes the test fail.
        let port = TcpListener::bind("127.0.0.1:0").expect("port");
        let host = port.local_addr().expect("address").to_string();
        drop(port);
        let config = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'}}\n",
            dir.join("registry").display()
        );
        fs::write(&config, text).expect("configuration");
        let child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry runs");
        let registry = Self { child, host };
        for _ in 0..200 {
            if TcpStream::connect(&registry.host).is_ok() {
                return registry;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not answer");
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It has nothing to write that is needed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
