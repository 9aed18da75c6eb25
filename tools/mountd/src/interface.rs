// SPDX-License-Identifier: GPL-2.0-only
//! What the service and its callers say to each other, in Varlink.

use serde::{Deserialize, Serialize};

/// The interface's name.
pub const NAME: &str = "org.composefs.MountFileSystem";
/// Where the service listens, unless told otherwise.
pub const SOCKET: &str = "/run/composefs/org.composefs.MountFileSystem";
/// The interface, as Varlink describes it.
pub const DESCRIPTION: &str = include_str!("org.composefs.MountFileSystem.varlink");
/// The method that mounts.
pub const MOUNT_IMAGE: &str = "org.composefs.MountFileSystem.MountImage";

/// What [`MOUNT_IMAGE`] is asked with. Descriptors are places in what is sent along.
#[derive(Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountImage {
    /// The image.
    pub image_file_descriptor: usize,
    /// Where its objects are.
    pub basedir_file_descriptors: Vec<usize>,
    /// A signature of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_file_descriptor: Option<usize>,
    /// The fs-verity digest that it must have, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whose owners are shown.
    pub user_namespace_file_descriptor: usize,
    /// Whether objects must prove their digests even if nothing makes the image one that is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verity: Option<bool>,
    /// Whether programs cannot be run either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_exec: Option<bool>,
}

/// What [`MOUNT_IMAGE`] gives.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mounted {
    /// The mount, a place in what is sent along.
    pub mount_file_descriptor: usize,
}

/// Why there is no mount.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum Error {
    /// The administrator, or the kernel, does not let the caller have it.
    #[error("not permitted: {reason}")]
    #[serde(rename = "org.composefs.MountFileSystem.NotPermitted")]
    NotPermitted {
        /// In one line.
        reason: String,
    },
    /// A descriptor is not of what it has to be.
    #[error("{parameter}: {reason}")]
    #[serde(rename = "org.composefs.MountFileSystem.InvalidFile")]
    InvalidFile {
        /// Which.
        parameter: String,
        /// In one line.
        reason: String,
    },
    /// It is not an image, is damaged, or not the one that it should be.
    #[error("{reason}")]
    #[serde(rename = "org.composefs.MountFileSystem.InvalidImage")]
    InvalidImage {
        /// In one line.
        reason: String,
    },
    /// There are too many mounts, or too many calls.
    #[error("{reason}")]
    #[serde(rename = "org.composefs.MountFileSystem.LimitReached")]
    LimitReached {
        /// In one line.
        reason: String,
    },
    /// The service cannot do it.
    #[error("{reason}")]
    #[serde(rename = "org.composefs.MountFileSystem.Failed")]
    Failed {
        /// In one line.
        reason: String,
    },
    /// There is no such method.
    #[error("the service has no method {method}")]
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    MethodNotFound {
        /// What was called.
        method: String,
    },
    /// There is no such interface.
    #[error("the service has no interface {interface}")]
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    InterfaceNotFound {
        /// What was asked for.
        interface: String,
    },
    /// A parameter is missing, or not what it should be.
    #[error("the service does not take the parameter {parameter}")]
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    InvalidParameter {
        /// Which, or why.
        parameter: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_what_is_said() {
        let call = MountImage {
            signature_file_descriptor: Some(0),
            digest: Some(String::new()),
            verity: Some(true),
            no_exec: Some(true),
            ..MountImage::default()
        };
        let call = serde_json::to_value(call).unwrap();
        let fields = call.as_object().unwrap().keys();
        for name in fields.chain([&"mountFileDescriptor".to_owned()]) {
            assert!(DESCRIPTION.contains(&format!("{name}: ")), "{name}");
        }
        let reason = || "why".to_owned();
        for error in [
            Error::NotPermitted { reason: reason() },
            Error::InvalidImage { reason: reason() },
            Error::LimitReached { reason: reason() },
            Error::Failed { reason: reason() },
        ] {
            let error = serde_json::to_value(error).unwrap();
            let name = error["error"].as_str().unwrap();
            let name = name.strip_prefix(NAME).unwrap().trim_start_matches('.');
            assert!(DESCRIPTION.contains(&format!("error {name}(reason: string)")));
        }
    }
}
