// SPDX-License-Identifier: GPL-2.0-only
//! An image with a signature, in a system that can be told to use signed images only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context as _, Result};
use rustix::io::Errno;

use crate::basic_tree;
use crate::command::run;
use crate::fs_context::Refusal;
use crate::image::{build, Image};
use crate::mount::Request;
use crate::setup;
use crate::signing::{reload_module, Pki, QUICK};

/// The file of it that is looked at. It has an ACL.
pub const FILE: &str = "external-4097";

/// Where that is told.
pub const PARAMETER: &str = "/sys/module/composefs/parameters/require_signatures";

pub struct Policy {
    pub work: PathBuf,
    /// "signer" is trusted, "stranger" is not.
    pub pki: Pki,
    pub image: Image,
    /// By the signer.
    pub signature: PathBuf,
}

/// Switches it on: it stays on until the module is loaded anew.
pub fn turn_on() -> Result<()> {
    fs::write(PARAMETER, "1").context(PARAMETER)
}

impl Policy {
    /// In the work directory of this name.
    pub fn set_up(name: &str) -> Result<Self> {
        setup::require_driver()?;
        setup::require_module()?;
        let work = setup::work_directory(name)?;
        let source = work.join("source");
        basic_tree::create(&source)?;
        fs::copy("/usr/bin/true", source.join("true"))?;
        // cap_net_raw+ep
        let capability = "0x0100000200200000000000000000000000000000";
        for (file, attribute, value) in [
            (FILE, "user.name", "value"),
            ("true", "security.capability", capability),
        ] {
            let path = source.join(file).to_string_lossy().into_owned();
            run("setfattr", ["-n", attribute, "-v", value, &path])?;
        }
        for (file, acl) in [
            (FILE, "user:65534:r"),
            ("directory", "default:user:65534:r"),
        ] {
            let path = source.join(file).to_string_lossy().into_owned();
            run("setfacl", ["--modify", acl, &path])?;
        }
        let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
        let pki = Pki::new(&work.join("pki"))?;
        pki.certificate("signer", QUICK, "")?;
        pki.certificate("stranger", QUICK, "")?;
        let signature = work.join("image.sig");
        fs::rename(pki.sign(&image.file, "signer", &[])?, &signature)?;
        Ok(Self {
            work,
            pki,
            image,
            signature,
        })
    }

    /// The module anew, with the signer's certificate.
    pub fn reload(&self, parameters: &[&str]) -> Result<()> {
        reload_module(parameters)?;
        self.pki.trust("signer").map(drop)
    }

    pub fn plain(&self) -> Request {
        Request::new(&self.image.file).basedir(&self.image.store)
    }

    pub fn signed(&self) -> Request {
        self.plain()
            .set("signature", &self.signature.to_string_lossy())
    }

    pub fn target(&self) -> PathBuf {
        self.work.join("mount")
    }

    pub fn refused(&self, request: &Request) -> Result<Refusal> {
        match request.at(&self.target()) {
            Ok(_) => bail!("it was mounted"),
            Err(refusal) => Ok(refusal),
        }
    }

    pub fn is_refused(&self, request: &Request, errno: Errno, message: &str) -> Result<()> {
        request.refused(&self.target(), errno, &[message]).map(drop)
    }

    pub fn serves(&self, root: &Path) -> Result<()> {
        basic_tree::expect_content(root, FILE)
    }
}
