// SPDX-License-Identifier: GPL-2.0-only
//! Users and passwords for registries: `auth.json`, where podman and skopeo keep them, what Docker
//! has, and the helpers that those name. See containers-auth.json(5).

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{anyhow, ensure, Context, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use composefs_tools::environment::{path, path_or_in_home};
use composefs_tools::quote;
use serde::Deserialize;

use super::config::Place;

/// What helpers call a user that is none: the password is a token to get others with.
const TOKEN_USER: &str = "<token>";

/// Who one is for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// A token to get others with, in place of them.
    pub identity: Option<String>,
}

/// What must not be seen in a message.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: HashMap<String, Auth>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// What a helper says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

impl Credentials {
    /// Those for a place, if there are any.
    ///
    /// # Errors
    /// If a file with them cannot be read.
    pub fn find(place: &Place) -> Result<Option<Self>> {
        for path in files() {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                    ) =>
                {
                    continue
                }
                Err(error) => return Err(error).with_context(|| quote::path(&path).to_string()),
            };
            let find = || {
                let file: File = serde_json::from_str(&text).context("is damaged")?;
                file.find(&place.host, &place.path)
            };
            if let Some(found) = find().with_context(|| quote::path(&path).to_string())? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn parse(auth: &Auth) -> Result<Option<Self>> {
        let plain = match &auth.auth {
            Some(text) => BASE64_STANDARD
                .decode(text.trim())
                .ok()
                .and_then(|plain| String::from_utf8(plain).ok()),
            None if auth.identitytoken.is_none() => return Ok(None),
            None => Some(":".into()),
        };
        let plain = plain.as_deref().and_then(|plain| plain.split_once(':'));
        let (user, password) =
            plain.ok_or_else(|| anyhow!("has an entry that is not a user and a password"))?;
        Ok(Some(Self {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
            identity: auth.identitytoken.clone().filter(|token| !token.is_empty()),
        }))
    }

    fn ask(helper: &str, host: &str) -> Result<Option<Self>> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        ensure!(
            helper.bytes().all(is_word),
            "names a helper that cannot be one"
        );
        let program = format!("docker-credential-{helper}");
        let ask = || {
            let mut child = Command::new(&program)
                .arg("get")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                // One that does not read it will not give the right answer.
                let _ = input.write_all(host.as_bytes());
            }
            child.wait_with_output()
        };
        let output = ask().with_context(|| format!("helper {program}"))?;
        // It has none.
        if !output.status.success() {
            return Ok(None);
        }
        let helped: Helped =
            serde_json::from_slice(&output.stdout).with_context(|| format!("helper {program}"))?;
        let is_identity = helped.username == TOKEN_USER;
        Ok(Some(Self {
            identity: is_identity.then(|| helped.secret.clone()),
            user: helped.username,
            password: helped.secret,
        }))
    }
}

impl File {
    /// What it has for a repository: what is said of that, or of one above it, or of the host.
    fn find(&self, host: &str, path: &str) -> Result<Option<Credentials>> {
        if let Some(helper) = self.cred_helpers.get(host) {
            return Credentials::ask(helper, host);
        }
        let whole = format!("{host}/{path}");
        let mut key = Some(&*whole);
        while let Some(now) = key {
            if let Some(auth) = self.auths.get(now) {
                if let Some(found) = Credentials::parse(auth)? {
                    return Ok(Some(found));
                }
            }
            key = now.rsplit_once('/').map(|(above, _)| above);
        }
        // Docker's are for hosts only, and written as addresses.
        let is_host = |key: &str| {
            let rest = key
                .trim_start_matches("https://")
                .trim_start_matches("http://");
            let found = rest.split('/').next().unwrap_or_default();
            key != rest && (found == host || host == "docker.io" && found == "index.docker.io")
        };
        if let Some((_, auth)) = self.auths.iter().find(|(key, _)| is_host(key)) {
            if let Some(found) = Credentials::parse(auth)? {
                return Ok(Some(found));
            }
        }
        match &self.creds_store {
            Some(helper) if !helper.is_empty() => Credentials::ask(helper, host),
            _ => Ok(None),
        }
    }
}

/// Where they may be; the first that has some counts.
fn files() -> Vec<PathBuf> {
    if let Some(file) = path("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let config = path_or_in_home("XDG_CONFIG_HOME", ".config");
    let docker = path_or_in_home("DOCKER_CONFIG", ".docker");
    let run = format!(
        "/run/containers/{}/auth.json",
        rustix::process::geteuid().as_raw()
    );
    [
        path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        Some(run.into()),
        config.map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_entry_counts() {
        let auth = |text: &str| format!("{{\"auth\": \"{}\"}}", BASE64_STANDARD.encode(text));
        let text =
            format!(
            "{{\"auths\": {{\"a.b\": {}, \"a.b/c\": {}, \"https://d.e/v1/\": {}, \"f.g\": {{}}, \
             \"h.i\": {{\"identitytoken\": \"t\"}}, \"j.k\": {{\"auth\": \"!\"}}}}}}",
            auth("host:1"), auth("path:2:3"), auth("docker:4")
        );
        let file: File = serde_json::from_str(&text).expect("auth.json");
        let find = |host: &str, path: &str| {
            let found = file.find(host, path).expect("readable");
            found.map(|found| (found.user, found.password, found.identity))
        };
        let plain = |user: &str, password: &str| Some((user.into(), password.into(), None));
        assert_eq!(find("a.b", "x/y"), plain("host", "1"));
        assert_eq!(find("a.b", "c/y"), plain("path", "2:3"));
        assert_eq!(find("a.b", "cc"), plain("host", "1"));
        assert_eq!(find("d.e", "x"), plain("docker", "4"));
        assert_eq!(find("f.g", "x"), None);
        assert_eq!(
            find("h.i", "x"),
            Some((String::new(), String::new(), Some("t".into())))
        );
        assert_eq!(find("l.m", "x"), None);
        file.find("j.k", "x")
            .expect_err("not a user and a password");
    }
}
