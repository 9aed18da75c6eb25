// SPDX-License-Identifier: GPL-2.0-only
//! Where a registry's images may be had: `registries.conf`. See containers-registries.conf(5).

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use composefs_tools::environment::{path, path_or_in_home};
use composefs_tools::quote;
use serde::Deserialize;

use super::name::Name;

/// The registry that is called otherwise than its host.
const DOCKER: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";
/// Where certificates of registries' authorities are.
const CERTIFICATES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Whether certificates are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Unless the configuration says otherwise.
    Configured,
    /// Not; and where there is no TLS, it is done without.
    Nobody,
}

/// A place that images are fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its host, with the port if that is said.
    pub host: String,
    /// The repository there.
    pub path: String,
    /// Whether its certificate is checked.
    pub is_verified: bool,
    /// Whether it is spoken to without TLS.
    pub is_plain: bool,
    /// Whether it is asked only for what has a digest.
    pub only_by_digest: bool,
    /// Who vouches for it, other than those whom the system trusts.
    pub authority: Option<PathBuf>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registry {}", quote::bytes(self.host.as_bytes()))
    }
}

impl Place {
    fn new(location: &str, insecure: bool, only_by_digest: bool) -> Result<Self> {
        let (host, path) = location.split_once('/').unwrap_or((location, ""));
        ensure!(
            !host.is_empty() && !path.is_empty(),
            "{location} is not a location"
        );
        Ok(Self {
            authority: authority(host),
            host: host.to_owned(),
            path: path.to_owned(),
            is_verified: !insecure,
            is_plain: false,
            only_by_digest,
        })
    }

    /// The address of what is at a path in the repository.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.is_plain { "http" } else { "https" };
        let host = if self.host == DOCKER {
            DOCKER_HOST
        } else {
            &self.host
        };
        format!("{scheme}://{host}/v2/{}/{path}", self.path)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    registry: Vec<Registry>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Registry {
    prefix: Option<String>,
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: Option<String>,
}

/// Where an image may be fetched, in the order in which to try.
///
/// # Errors
/// If the configuration cannot be read, or forbids it.
pub fn places(name: &Name, trust: Trust) -> Result<Vec<Place>> {
    let mut registries: Vec<Registry> = Vec::new();
    for path in files()? {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| quote::path(&path).to_string()),
        };
        let file: File = toml::from_str(&text).with_context(|| quote::path(&path).to_string())?;
        for registry in file.registry {
            // What comes later says it anew.
            registries.retain(|other| other.prefix() != registry.prefix());
            registries.push(registry);
        }
    }
    choose(&registries, name, trust)
}

fn choose(registries: &[Registry], name: &Name, trust: Trust) -> Result<Vec<Place>> {
    let whole = format!("{}/{}", name.host, name.path);
    let fitting = registries
        .iter()
        .filter_map(|registry| Some((registry, registry.rest(&whole)?)));
    let best = fitting.max_by_key(|(registry, _)| registry.prefix().map_or(0, str::len));
    let nobody = trust == Trust::Nobody;
    let mut places = Vec::new();
    match best {
        None => places.push(Place::new(&whole, nobody, false)?),
        Some((registry, rest)) => {
            if registry.blocked {
                bail!("{whole} is blocked by registries.conf");
            }
            for mirror in &registry.mirror {
                let only_by_digest = match mirror.pull_from_mirror.as_deref() {
                    Some("digest-only") => true,
                    Some("tag-only") => continue,
                    _ => registry.mirror_by_digest_only,
                };
                let location = format!("{}{rest}", mirror.location);
                places.push(Place::new(
                    &location,
                    mirror.insecure || nobody,
                    only_by_digest,
                )?);
            }
            let own = match &registry.location {
                Some(location) => format!("{location}{rest}"),
                None => whole,
            };
            places.push(Place::new(&own, registry.insecure || nobody, false)?);
        }
    }
    // As it may have no TLS, it is tried without where that does no harm.
    let each = places.into_iter().flat_map(|place| {
        let plain = (!place.is_verified).then(|| Place {
            is_plain: true,
            ..place.clone()
        });
        std::iter::once(place).chain(plain)
    });
    Ok(each.collect())
}

impl Registry {
    fn prefix(&self) -> Option<&str> {
        self.prefix
            .as_deref()
            .or(self.location.as_deref())
            .filter(|prefix| !prefix.is_empty())
    }

    /// What follows the prefix in a name; `None` if it is not of this registry.
    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        let prefix = self.prefix()?;
        if let Some(domain) = prefix.strip_prefix("*.") {
            let host = name.split('/').next().unwrap_or_default();
            let below = host.strip_suffix(domain)?;
            // The location stands for the host.
            return below
                .ends_with('.')
                .then(|| name.get(host.len()..))
                .flatten();
        }
        let rest = name.strip_prefix(prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

/// The files that say so, the weightiest last.
fn files() -> Result<Vec<PathBuf>> {
    if let Some(file) = path("CONTAINERS_REGISTRIES_CONF") {
        return Ok(vec![file]);
    }
    let config = path_or_in_home("XDG_CONFIG_HOME", ".config");
    let dirs = [
        Some(PathBuf::from("/etc/containers")),
        config.map(|config| config.join("containers")),
    ];
    let mut files = Vec::new();
    for dir in dirs.into_iter().flatten() {
        files.push(dir.join("registries.conf"));
        files.extend(listed(&dir.join("registries.conf.d"), "conf")?);
    }
    Ok(files)
}

/// The files in a directory whose names end so, by name.
fn listed(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| quote::path(dir).to_string()),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| quote::path(dir).to_string())?.path();
        files.extend(
            Some(path).filter(|path| path.extension().is_some_and(|found| found == extension)),
        );
    }
    files.sort();
    Ok(files)
}

fn authority(host: &str) -> Option<PathBuf> {
    let dirs = CERTIFICATES.iter().map(|dir| Path::new(dir).join(host));
    // One that cannot be read says nothing.
    dirs.flat_map(|dir| listed(&dir, "crt").unwrap_or_default())
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[[registry]]
prefix = "a.b/c"
location = "d.e/f"
[[registry.mirror]]
location = "m.n"
insecure = true
[[registry.mirror]]
location = "o.p/q"
pull-from-mirror = "digest-only"
[[registry]]
location = "a.b"
blocked = true
[[registry]]
prefix = "*.example"
location = "proxy.example/x"
insecure = true
"#;

    fn found(text: &str) -> Result<Vec<String>> {
        let file: File = toml::from_str(FILE).expect("configuration");
        let places = choose(&file.registry, &Name::parse(text)?, Trust::Configured)?;
        let show = |place: &Place| {
            let only = if place.only_by_digest {
                " by digest"
            } else {
                ""
            };
            let unverified = if place.is_verified { "" } else { " unverified" };
            format!("{}{unverified}{only}", place.url(""))
        };
        Ok(places.iter().map(show).collect())
    }

    #[test]
    fn mirrors_come_first() {
        let want = [
            "https://m.n/v2/x/ unverified",
            "http://m.n/v2/x/ unverified",
            "https://o.p/v2/q/x/ by digest",
            "https://d.e/v2/f/x/",
        ];
        assert_eq!(found("a.b/c/x").expect("places"), want);
        assert_eq!(
            found("a.b/cc/x").expect_err("blocked").to_string(),
            "a.b/cc/x is blocked by registries.conf"
        );
        assert_eq!(
            found("debian").expect("places"),
            ["https://registry-1.docker.io/v2/library/debian/"]
        );
        let want = [
            "https://proxy.example/v2/x/y/ unverified",
            "http://proxy.example/v2/x/y/ unverified",
        ];
        assert_eq!(found("q.example/y").expect("places"), want);
    }
}
