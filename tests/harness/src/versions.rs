// SPDX-License-Identifier: GPL-2.0-only
//! Which versions of Debian's packages runs use: `<cache>/versions`, a plain file.
//!
//! ```text
//! ARCHIVE renewed SECONDS-SINCE-1970
//! ARCHIVE kernel RELEASE VERSION SOURCE-PACKAGE IMAGE-PACKAGE...
//! ARCHIVE package NAME VERSION
//! ```
//!
//! ARCHIVE is a suite, and `-arm64` for packages of that architecture; the kernel is that for
//! emulated machines. All flavours of a kernel come in one upload.
//!
//! It is renewed by `make update`, after a week, and when the mirror no longer has what it says.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{bail, Context, Result};

use crate::apt::{Package, World};
use crate::arch::Arch;
use crate::artifact::{lock, Moved};
use crate::process::Log;
use crate::suite::{Archive, Suite};
use crate::{
    containers, deb, emulator, guest, machine, note, peers, place, registry, stress, toolchain,
    xfstests,
};

/// After this, the mirror is asked for newer ones.
const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A stock kernel whose source, headers and image the mirror has in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockKernel {
    /// What `uname -r` says.
    pub release: String,
    /// The version of its packages.
    pub version: String,
    /// The package with its source.
    pub source: String,
    /// The packages that its image is made up of.
    pub image: Vec<String>,
}

impl StockKernel {
    /// The same of another flavour.
    fn of_flavour(&self, own: &str, other: &str) -> Self {
        let renamed = |name: &String| match name.strip_suffix(own) {
            Some(stem) => format!("{stem}{other}"),
            None => name.clone(),
        };
        Self {
            release: renamed(&self.release),
            image: self.image.iter().map(renamed).collect(),
            ..self.clone()
        }
    }
}

/// What is used of one archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Versions {
    renewed: u64,
    pub kernel: StockKernel,
    packages: BTreeMap<String, String>,
}

impl Versions {
    /// `NAME=VERSION` of packages, for the keys of artifacts. Those that were not asked for when
    /// the mirror was last looked at have no version, but count.
    pub fn of(&self, names: &[&str]) -> Vec<String> {
        let version = |name: &str| self.packages.get(name).map_or("", String::as_str);
        let of = |name: &&str| format!("{name}={}", version(name));
        names.iter().map(of).collect()
    }

    /// The kernel that guests of `suite` run.
    pub fn kernel_of(&self, suite: Suite) -> StockKernel {
        let own = suite.arch().cloud_flavour();
        self.kernel.of_flavour(own, suite.flavour())
    }

    fn lines(&self, archive: Archive) -> String {
        let kernel = &self.kernel;
        let mut text = format!(
            "{archive} renewed {}\n{archive} kernel {} {} {} {}\n",
            self.renewed,
            kernel.release,
            kernel.version,
            kernel.source,
            kernel.image.join(" ")
        );
        for (name, version) in &self.packages {
            text.push_str(&format!("{archive} package {name} {version}\n"));
        }
        text
    }

    fn parse(text: &str, archive: Archive) -> Option<Self> {
        let archive = archive.to_string();
        let (mut renewed, mut kernel, mut packages) = (None, None, BTreeMap::new());
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words.as_slice() {
                [of, ..] if *of != archive => {}
                [_, "renewed", seconds] => renewed = seconds.parse().ok(),
                [_, "kernel", release, version, source, image @ ..] => {
                    kernel = Some(StockKernel {
                        release: (*release).into(),
                        version: (*version).into(),
                        source: (*source).into(),
                        image: image.iter().map(|&name| name.into()).collect(),
                    });
                }
                [_, "package", name, version] => {
                    packages.insert((*name).into(), (*version).into());
                }
                _ => {}
            }
        }
        Some(Self {
            renewed: renewed?,
            kernel: kernel?,
            packages,
        })
    }

    fn is_old(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.is_ok_and(|now| now.as_secs().saturating_sub(self.renewed) > GOOD_FOR.as_secs())
    }
}

/// Makes something of the versions that runs use of an archive; once more, of newer ones, if the
/// mirror no longer has those.
pub fn with<T>(archive: impl Into<Archive>, make: impl Fn(&Versions) -> Result<T>) -> Result<T> {
    let archive = archive.into();
    match make(&get(archive)?) {
        Err(error) if error.is::<Moved>() => {
            note!("{archive}: the mirror no longer has these versions; looking for newer ones");
            renew(archive)?;
            make(&get(archive)?)
        }
        result => result,
    }
}

/// The versions of an archive, looked up if they are not known or old.
pub fn get(archive: impl Into<Archive>) -> Result<Versions> {
    let archive = archive.into();
    let known = read(archive)?;
    match known {
        Some(versions) if !versions.is_old() => Ok(versions),
        Some(versions) => Ok(renew(archive).unwrap_or_else(|error| {
            note!(
                "package lists of {archive}: cannot be fetched ({error:#}); going on with old ones"
            );
            versions
        })),
        None => renew(archive),
    }
}

fn path() -> Result<PathBuf> {
    Ok(place::cache()?.join("versions"))
}

fn read(archive: Archive) -> Result<Option<Versions>> {
    match fs::read_to_string(path()?) {
        Ok(text) => Ok(Versions::parse(&text, archive)),
        Err(_) => Ok(None),
    }
}

/// Asks the mirror now.
pub fn renew(archive: impl Into<Archive>) -> Result<Versions> {
    let archive = archive.into();
    let cache = place::cache()?;
    let own = File::create(cache.join("lock/versions"))?;
    let before = read(archive)?;
    lock(&own, false, "package lists: another run is fetching them")?;
    match read(archive)? {
        // Another run has just done so.
        Some(versions) if Some(&versions) != before.as_ref() => return Ok(versions),
        _ => {}
    }
    note!("package lists of {archive}: fetching (usually 10 seconds)");
    let log = Log::create(cache.join("log").join(format!("versions-{archive}.log")))?;
    let packages = World::new(archive)?.packages(&log).with_context(|| {
        format!(
            "package lists of {archive}: {}; {}",
            crate::process::reason(&log.text()),
            crate::process::remedy(&log.text())
        )
    })?;
    let versions = choose(&packages, archive.arch)?;

    // The other archives' lines stay.
    let old = fs::read_to_string(path()?).unwrap_or_default();
    let is_other = |line: &&str| !line.starts_with(&format!("{archive} "));
    let mut text: String = old
        .lines()
        .filter(is_other)
        .map(|line| format!("{line}\n"))
        .collect();
    text.push_str(&versions.lines(archive));
    let new = path()?.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path()?)?;
    Ok(versions)
}

fn choose(packages: &[Package], arch: Arch) -> Result<Versions> {
    let wanted: BTreeSet<&str> = [
        toolchain::PACKAGES,
        toolchain::CLANG,
        machine::PACKAGES,
        guest::PACKAGES,
        emulator::PACKAGES,
        emulator::FOREIGN_PACKAGES,
        containers::PACKAGES,
        peers::C_PACKAGES,
        deb::PACKAGES,
        registry::PACKAGES,
        xfstests::PACKAGES,
        stress::PACKAGES,
    ]
    .concat()
    .into_iter()
    .collect();
    let is_wanted = |package: &&Package| package.is_main && wanted.contains(&*package.name);
    Ok(Versions {
        renewed: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        kernel: newest_kernel(packages, arch)?,
        packages: packages
            .iter()
            .filter(is_wanted)
            .map(|package| (package.name.clone(), package.version.clone()))
            .collect(),
    })
}

/// The newest kernel of the cloud flavour.
fn newest_kernel(packages: &[Package], arch: Arch) -> Result<StockKernel> {
    match complete_kernels(packages, arch.cloud_flavour()).pop() {
        Some(kernel) => Ok(kernel),
        None => bail!("the mirror has no kernel with source, headers and image in one version"),
    }
}

/// The kernels of a flavour that the driver supports, as far as the lists were fetched last.
pub fn kernels(suite: Suite, flavour: &str) -> Result<Vec<StockKernel>> {
    let log = Log::create(
        place::cache()?
            .join("log")
            .join(format!("kernels-{suite}.log")),
    )?;
    let all = complete_kernels(&World::new(suite)?.packages(&log)?, flavour);
    let is_new = |kernel: &StockKernel| natural(&kernel.release, "7.2") != Ordering::Less;
    Ok(all.into_iter().filter(is_new).collect())
}

/// The kernels of a flavour whose source, headers and image have one version, the newest last.
fn complete_kernels(packages: &[Package], flavour: &str) -> Vec<StockKernel> {
    let mut by_name: HashMap<&str, Vec<&Package>> = HashMap::new();
    for package in packages {
        by_name.entry(&package.name).or_default().push(package);
    }
    let kernels = packages.iter().filter_map(|headers| {
        let release = headers.name.strip_prefix("linux-headers-")?;
        let (number, debian) = release
            .strip_suffix(flavour)?
            .strip_suffix('-')?
            .split_once("+deb")?;
        // Otherwise `amd64` is the end of another flavour's name.
        if !debian.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let mut parts = number.split('.');
        let source = format!("linux-source-{}.{}", parts.next()?, parts.next()?);
        let mut image = Vec::new();
        add_parts(
            &by_name,
            &format!("linux-image-{release}"),
            &headers.version,
            &mut image,
        );
        let is_same = |source: &&Package| source.version == headers.version;
        let has_source = by_name.get(&*source)?.iter().any(is_same);
        (has_source && !image.is_empty()).then(|| StockKernel {
            release: release.into(),
            version: headers.version.clone(),
            source,
            image,
        })
    });
    let mut kernels: Vec<_> = kernels.collect();
    kernels.sort_by(|a, b| natural(&a.release, &b.release));
    kernels
}

/// Adds a package, and those of the same version that it is split into.
fn add_parts(
    packages: &HashMap<&str, Vec<&Package>>,
    name: &str,
    version: &str,
    to: &mut Vec<String>,
) {
    let named = packages.get(name).into_iter().flatten();
    let Some(package) = named.into_iter().find(|package| package.version == version) else {
        return;
    };
    if !to.iter().any(|known| known == name) {
        to.push(name.into());
        for part in &package.depends {
            add_parts(packages, part, version, to);
        }
    }
}

/// The order of release strings, with numbers compared as such.
fn natural(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, depends: &[&str]) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            depends: depends.iter().map(|&name| name.into()).collect(),
            is_main: true,
        }
    }

    #[test]
    fn the_newest_complete_kernel_is_chosen() {
        let packages = [
            package("linux-headers-7.3.4+deb13-cloud-amd64", "7.3.4-1", &[]),
            package("linux-headers-7.3.10+deb13-cloud-amd64", "7.3.10-1", &[]),
            package("linux-headers-7.4.1+deb13-cloud-amd64", "7.4.1-1", &[]),
            package("linux-image-7.3.4+deb13-cloud-amd64", "7.3.4-1", &[]),
            package(
                "linux-image-7.3.10+deb13-cloud-amd64",
                "7.3.10-1",
                &["kmod", "linux-modules-x"],
            ),
            package(
                "linux-modules-x",
                "7.3.10-1",
                &["linux-image-7.3.10+deb13-cloud-amd64"],
            ),
            package("linux-image-7.4.1+deb13-cloud-amd64", "7.4.1-1", &[]),
            package("linux-source-7.3", "7.3.10-1", &[]),
            // Still that of another version.
            package("linux-source-7.4", "7.4.0-1", &[]),
        ];
        let kernel = newest_kernel(&packages, Arch::Amd64).unwrap();
        assert_eq!(kernel.release, "7.3.10+deb13-cloud-amd64");
        assert_eq!(kernel.source, "linux-source-7.3");
        assert_eq!(
            kernel.image,
            ["linux-image-7.3.10+deb13-cloud-amd64", "linux-modules-x"]
        );
        assert!(newest_kernel(&packages[..1], Arch::Amd64).is_err());
    }

    #[test]
    fn a_flavour_is_in_the_names_of_all_but_the_source() {
        let kernel = StockKernel {
            release: "7.3.4+deb13-cloud-arm64".into(),
            version: "7.3.4-1".into(),
            source: "linux-source-7.3".into(),
            image: vec!["linux-image-7.3.4+deb13-cloud-arm64".into()],
        };
        let other = kernel.of_flavour("cloud-arm64", "arm64-16k");
        assert_eq!(other.release, "7.3.4+deb13-arm64-16k");
        assert_eq!(other.image, ["linux-image-7.3.4+deb13-arm64-16k"]);
        assert_eq!(other.source, kernel.source);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let versions = Versions {
            renewed: 1_700_000_000,
            kernel: StockKernel {
                release: "7.3.4+deb13-cloud-amd64".into(),
                version: "7.3.4-1".into(),
                source: "linux-source-7.3".into(),
                image: vec!["a".into(), "b".into()],
            },
            packages: [("gcc".to_owned(), "14".to_owned())].into(),
        };
        let text = "forky renewed 1\n".to_owned() + &versions.lines(Suite::Trixie.into());
        assert_eq!(Versions::parse(&text, Suite::Trixie.into()), Some(versions));
        assert_eq!(Versions::parse(&text, Suite::Forky.into()), None);
    }
}
