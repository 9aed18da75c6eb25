// SPDX-License-Identifier: GPL-2.0-only
//! How an image is mounted, and the text that `mount -o` has for it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use composefs_format::{Digest, Verity};
use rustix::fs::OFlags;
use rustix::mount::MountAttrFlags;

/// How an image is mounted.
#[derive(Debug)]
pub struct Options {
    /// Where objects are, in the order in which they are tried.
    pub basedirs: Vec<PathBuf>,
    /// The fs-verity digest that the image must have.
    pub digest: Option<Digest>,
    /// The same, of which nothing follows for objects.
    pub image_digest: Option<Digest>,
    /// A signature that the image must have.
    pub signature: Option<PathBuf>,
    /// What objects must prove, if it is said.
    pub verity: Option<Proof>,
    /// A layer that can be written to.
    pub upper: Option<Upper>,
    /// The user namespace whose owners are shown.
    pub idmap: Option<OwnedFd>,
    /// What every mount may have.
    pub attributes: MountAttrFlags,
    /// Labels, for security modules.
    pub security: Vec<(String, Vec<u8>)>,
    /// Who mounts it.
    pub driver: Driver,
    /// Where EROFS is mounted on the way, instead of a temporary directory.
    pub image_mountdir: Option<PathBuf>,
    /// It is mounted already, and is to be changed.
    pub is_remount: bool,
}

/// What is said of what objects must prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// This.
    Must(Verity),
    /// As much as `require`, if the kernel can check objects at all.
    Try,
}

impl Proof {
    /// With the driver, which can.
    pub(crate) fn with_driver(self) -> Verity {
        match self {
            Self::Must(level) => level,
            Self::Try => Verity::Require,
        }
    }
}

/// A layer that can be written to.
#[derive(Debug)]
pub struct Upper {
    /// What is written.
    pub dir: PathBuf,
    /// A directory for overlayfs's own use, on the same file system.
    pub work: PathBuf,
}

/// Who mounts an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The kernel's composefs if it has one, else EROFS and overlayfs.
    Auto,
    /// The kernel's composefs.
    Kernel,
    /// EROFS and overlayfs.
    Overlay,
}

/// Why options are no good, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Default for Options {
    fn default() -> Self {
        Self {
            basedirs: Vec::new(),
            digest: None,
            image_digest: None,
            signature: None,
            verity: None,
            upper: None,
            idmap: None,
            attributes: MountAttrFlags::empty(),
            security: Vec::new(),
            driver: Driver::Auto,
            image_mountdir: None,
            is_remount: false,
        }
    }
}

impl Options {
    /// What objects must prove, all options considered: nothing, unless something is said.
    pub(crate) fn verity(&self) -> Proof {
        match self.verity {
            _ if self.digest.is_some() || self.signature.is_some() => Proof::Must(Verity::Require),
            Some(proof) => proof,
            None => Proof::Must(Verity::Off),
        }
    }

    /// The options in these texts, as `mount -o` takes them: with commas between, and a backslash
    /// before what is not to be taken for one. If `is_sloppy`, those that are not known do not matter.
    ///
    /// # Errors
    /// If one is not known, has a value that it cannot have, or contradicts another.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = &'a OsStr>,
        is_sloppy: bool,
    ) -> Result<Self, Invalid> {
        let mut options = Self::default();
        let (mut upperdir, mut workdir) = (None, None);
        for option in texts
            .into_iter()
            .flat_map(|text| split(text.as_bytes(), b','))
            .filter(|option| !option.is_empty())
        {
            let (key, value) = split_once(option);
            let key = String::from_utf8_lossy(key).into_owned();
            match (key.as_str(), value) {
                ("upperdir", Some(path)) => upperdir = Some(self::path(path)),
                ("workdir", Some(path)) => workdir = Some(self::path(path)),
                (key, value) => match options.take(key, value)? {
                    true => {}
                    false if is_sloppy => {}
                    false => return invalid(format!("unsupported option {key}")),
                },
            }
        }
        options.upper = match (upperdir, workdir) {
            (Some(dir), Some(work)) => Some(Upper { dir, work }),
            (None, None) => None,
            _ => return invalid("both workdir and upperdir must be specified if used"),
        };
        if options.basedirs.is_empty() && !options.is_remount {
            return invalid("no object dirs specified: use basedir=");
        }
        options.check_verity()?;
        Ok(options)
    }

    /// A digest and a signature want all of the image proven.
    fn check_verity(&self) -> Result<(), Invalid> {
        let asks = match (&self.digest, &self.signature) {
            _ if self.is_remount => return Ok(()),
            (Some(_), _) => "digest",
            (None, Some(_)) => "signature",
            (None, None) => return Ok(()),
        };
        match self.verity {
            Some(Proof::Must(level)) if level < Verity::Require => invalid(format!(
                "verity={} and {asks}= contradict each other: a {asks} implies verity=require",
                level.name().to_string_lossy()
            )),
            _ => Ok(()),
        }
    }

    /// Takes an option; whether it is known.
    fn take(&mut self, key: &str, value: Option<&[u8]>) -> Result<bool, Invalid> {
        match (key, value) {
            ("basedir", Some(paths)) => {
                for path in split(paths, b':') {
                    if path.is_empty() {
                        return invalid(
                            "value for basedir option has incorrect format: a path is empty",
                        );
                    }
                    self.basedirs.push(self::path(path));
                }
            }
            ("digest", Some(text)) => self.digest = Some(digest(key, text)?),
            ("image_digest", Some(text)) => self.image_digest = Some(digest(key, text)?),
            ("signature", Some(path)) => self.signature = Some(self::path(path)),
            ("idmap", Some(path)) => self.idmap = Some(namespace(self::path(path))?),
            ("verity", None) => self.verity = Some(Proof::Must(Verity::Require)),
            ("tryverity", None) => {
                self.verity.get_or_insert(Proof::Try);
            }
            ("noverity", None) => self.verity = Some(Proof::Must(Verity::Off)),
            ("verity", Some(level)) => match Verity::parse(level) {
                Some(level) => self.verity = Some(Proof::Must(level)),
                None => return unknown_value(key, level, "is neither off, on nor require"),
            },
            ("composefs.driver", Some(driver)) => {
                self.driver = match driver {
                    b"auto" => Driver::Auto,
                    b"kernel" => Driver::Kernel,
                    b"overlay" => Driver::Overlay,
                    _ => return unknown_value(key, driver, "is neither auto, kernel nor overlay"),
                };
            }
            ("remount", None) => self.is_remount = true,
            ("context" | "fscontext" | "defcontext" | "rootcontext", Some(label)) => {
                self.security.push((key.into(), unescape(label)));
            }
            (
                "basedir" | "digest" | "image_digest" | "signature" | "idmap" | "upperdir"
                | "workdir" | "composefs.driver",
                None,
            ) => return invalid(format!("no value specified for {key} option")),
            (key, None) if self.take_attribute(key) => {}
            (key, _) if is_for_others(key) => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes an option that mounts of all types have; whether it is one.
    fn take_attribute(&mut self, key: &str) -> bool {
        let name = |positive: &str| key == positive;
        let (attribute, is_set) = match key {
            "ro" => (MountAttrFlags::MOUNT_ATTR_RDONLY, true),
            "rw" => (MountAttrFlags::MOUNT_ATTR_RDONLY, false),
            "nosuid" | "suid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, !name("suid")),
            "nodev" | "dev" => (MountAttrFlags::MOUNT_ATTR_NODEV, !name("dev")),
            "noexec" | "exec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, !name("exec")),
            "noatime" | "atime" => (MountAttrFlags::MOUNT_ATTR_NOATIME, !name("atime")),
            "nodiratime" | "diratime" => (MountAttrFlags::MOUNT_ATTR_NODIRATIME, !name("diratime")),
            "strictatime" | "nostrictatime" => {
                (MountAttrFlags::MOUNT_ATTR_STRICTATIME, name("strictatime"))
            }
            "nosymfollow" | "symfollow" => {
                (MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, !name("symfollow"))
            }
            _ => return false,
        };
        self.attributes.set(attribute, is_set);
        true
    }
}

/// Whether an option is for those who read it before or beside the kernel, or changes nothing here.
fn is_for_others(key: &str) -> bool {
    const WORDS: &[&str] = &[
        "defaults",
        "auto",
        "noauto",
        "user",
        "nouser",
        "users",
        "nousers",
        "owner",
        "noowner",
        "group",
        "nogroup",
        "nofail",
        "_netdev",
        "comment",
        "async",
        "sync",
        "dirsync",
        "silent",
        "loud",
        "relatime",
        "norelatime",
        "lazytime",
        "nolazytime",
        "iversion",
        "noiversion",
        "mand",
        "nomand",
    ];
    WORDS.contains(&key) || key.starts_with("x-") || key.starts_with("X-")
}

fn invalid<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}

fn unknown_value<T>(key: &str, value: &[u8], why: &str) -> Result<T, Invalid> {
    invalid(format!("{key}={}: {why}", String::from_utf8_lossy(value)))
}

fn digest(key: &str, text: &[u8]) -> Result<Digest, Invalid> {
    let text = unescape(text);
    Digest::parse_hex(&text)
        .map_err(|error| Invalid(format!("{key}={}: {error}", String::from_utf8_lossy(&text))))
}

fn namespace(path: PathBuf) -> Result<OwnedFd, Invalid> {
    let flags = (OFlags::NOCTTY | OFlags::CLOEXEC).bits() as i32;
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), flags)
        .open(&path)
        .map(OwnedFd::from)
        .map_err(|error| {
            Invalid(format!(
                "cannot open user namespace {}: {error}",
                path.display()
            ))
        })
}

/// The parts between those separators that have no backslash before them.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut is_escaped = false;
    text.split(move |&byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        is_escaped = byte == b'\\' && !was_escaped;
        byte == separator && !was_escaped
    })
}

/// An option and its value, if it has one.
fn split_once(option: &[u8]) -> (&[u8], Option<&[u8]>) {
    match option.iter().position(|&byte| byte == b'=') {
        Some(at) => (&option[..at], Some(&option[at + 1..])),
        None => (option, None),
    }
}

/// What a value stands for: a backslash is not part of it, but what follows is.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter();
    let next = || match bytes.next() {
        Some(b'\\') => bytes.next(),
        byte => byte,
    };
    std::iter::from_fn(next).copied().collect()
}

fn path(text: &[u8]) -> PathBuf {
    OsString::from_vec(unescape(text)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse([OsStr::new(text)], false).map_err(|error| error.to_string())
    }

    fn error(text: &str) -> String {
        parse(text).expect_err(text)
    }

    #[test]
    fn all_that_composefs_1_0_takes() {
        let digest = "0".repeat(64);
        let options = parse(&format!(
            "basedir=/a:/b,digest={digest},verity,upperdir=/u,workdir=/w,ro,idmap=/proc/self/ns/user"
        ))
        .expect("options");
        assert_eq!(options.basedirs, [PathBuf::from("/a"), "/b".into()]);
        assert_eq!(options.digest.expect("digest").to_string(), digest);
        assert_eq!(options.verity, Some(Proof::Must(Verity::Require)));
        let upper = options.upper.expect("upper");
        assert_eq!((upper.dir, upper.work), ("/u".into(), "/w".into()));
        assert_eq!(options.attributes, MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert!(options.idmap.is_some());
    }

    #[test]
    fn backslashes_take_meaning_away() {
        let options = parse(r"basedir=/a\,b:/c\:d:/e\\,signature=/s\=\,").expect("options");
        assert_eq!(
            options.basedirs,
            [PathBuf::from("/a,b"), "/c:d".into(), r"/e\".into()]
        );
        assert_eq!(options.signature, Some("/s=,".into()));
    }

    #[test]
    fn what_is_meant_for_others_is_passed_over() {
        let text = "defaults,noauto,x-systemd.requires=/srv,nofail,_netdev,basedir=/a,rw,nosuid";
        let options = parse(text).expect("options");
        assert_eq!(options.attributes, MountAttrFlags::MOUNT_ATTR_NOSUID);
    }

    #[test]
    fn the_last_of_two_holds() {
        let options = parse("basedir=/a,ro,rw,nodev,dev,noexec").expect("options");
        assert_eq!(options.attributes, MountAttrFlags::MOUNT_ATTR_NOEXEC);
        assert_eq!(
            parse("basedir=/a,tryverity").expect("options").verity,
            Some(Proof::Try)
        );
        for both in ["verity,tryverity", "tryverity,verity"] {
            let options = parse(&format!("basedir=/a,{both}")).expect("options");
            assert_eq!(options.verity, Some(Proof::Must(Verity::Require)), "{both}");
        }
    }

    #[test]
    fn refused() {
        let digest = "0".repeat(64);
        for (text, expected) in [
            ("", "no object dirs specified: use basedir="),
            ("basedir", "no value specified for basedir option"),
            (
                "basedir=/a:",
                "value for basedir option has incorrect format: a path is empty",
            ),
            ("basedir=/a,digest", "no value specified for digest option"),
            (
                "basedir=/a,digest=00",
                "digest=00: digest has the wrong number of hex digits",
            ),
            (
                "basedir=/a,upperdir=/u",
                "both workdir and upperdir must be specified if used",
            ),
            (
                "basedir=/a,verity=of",
                "verity=of: is neither off, on nor require",
            ),
            (
                "basedir=/a,composefs.driver=x",
                "composefs.driver=x: is neither auto, kernel nor overlay",
            ),
            ("basedir=/a,lowerdir=/b", "unsupported option lowerdir"),
            ("basedir=/a,ro=1", "unsupported option ro"),
            (
                "basedir=/a,idmap=/nowhere",
                "cannot open user namespace /nowhere: No such file or directory (os error 2)",
            ),
        ] {
            assert_eq!(error(text), expected);
        }
        let text = format!("basedir=/a,digest={digest},verity=on");
        assert!(
            error(&text).contains("contradict each other"),
            "{}",
            error(&text)
        );
    }
}
