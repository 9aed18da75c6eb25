// SPDX-License-Identifier: GPL-2.0-only
//! What a caller says, taken apart.

use serde::Deserialize;
use serde_json::Value;

use crate::interface::{Error, MountImage, DESCRIPTION, MOUNT_IMAGE, NAME};

/// A call as it comes.
#[derive(Debug, Deserialize)]
pub struct Said {
    method: String,
    #[serde(default)]
    parameters: Value,
}

/// A call that is understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// For a mount.
    Mount(MountImage),
    /// For something that is told as it is.
    About(Value),
}

#[derive(Deserialize)]
struct Interface {
    interface: String,
}

impl TryFrom<&Said> for Request {
    type Error = Error;

    fn try_from(said: &Said) -> Result<Self, Error> {
        let Said { method, parameters } = said;
        match &**method {
            MOUNT_IMAGE => parse(parameters).map(Self::Mount),
            "org.varlink.service.GetInfo" => Ok(Self::About(about())),
            "org.varlink.service.GetInterfaceDescription" => {
                let Interface { interface } = parse(parameters)?;
                if interface != NAME {
                    return Err(Error::InterfaceNotFound { interface });
                }
                Ok(Self::About(
                    serde_json::json!({ "description": DESCRIPTION }),
                ))
            }
            _ => Err(Error::MethodNotFound {
                method: method.clone(),
            }),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(parameters: &'a Value) -> Result<T, Error> {
    T::deserialize(parameters).map_err(|error| Error::InvalidParameter {
        parameter: error.to_string(),
    })
}

fn about() -> Value {
    serde_json::json!({
        "vendor": "composefs",
        "product": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "url": "",
        "interfaces": ["org.varlink.service", NAME],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Request, Error> {
        Request::try_from(&serde_json::from_str::<Said>(text).unwrap())
    }

    #[test]
    fn calls_are_understood() {
        let call = format!(
            r#"{{"method":"{MOUNT_IMAGE}","parameters":{{"imageFileDescriptor":0,
            "basedirFileDescriptors":[1,2],"digest":null,"userNamespaceFileDescriptor":3}}}}"#
        );
        let expected = MountImage {
            basedir_file_descriptors: vec![1, 2],
            user_namespace_file_descriptor: 3,
            ..MountImage::default()
        };
        assert_eq!(request(&call), Ok(Request::Mount(expected)));
        assert!(matches!(
            request(r#"{"method":"org.varlink.service.GetInfo"}"#),
            Ok(Request::About(_))
        ));
        let call = |interface: &str| {
            request(&format!(
                r#"{{"method":"org.varlink.service.GetInterfaceDescription",
                "parameters":{{"interface":"{interface}"}}}}"#
            ))
        };
        assert!(call(NAME).is_ok() && call("other").is_err());
    }

    #[test]
    fn others_are_not() {
        let mount = |parameters: &str| {
            request(&format!(
                r#"{{"method":"{MOUNT_IMAGE}","parameters":{parameters}}}"#
            ))
        };
        for parameters in [
            "null",
            "{}",
            "[]",
            r#"{"imageFileDescriptor":-1,"basedirFileDescriptors":[],"userNamespaceFileDescriptor":0}"#,
            r#"{"imageFileDescriptor":0,"basedirFileDescriptors":1,"userNamespaceFileDescriptor":0}"#,
            r#"{"imageFileDescriptor":0,"basedirFileDescriptors":[],"userNamespaceFileDescriptor":0,"x":1}"#,
        ] {
            let result = mount(parameters);
            assert!(
                matches!(result, Err(Error::InvalidParameter { .. })),
                "{parameters}"
            );
        }
        let unknown = request(r#"{"method":"org.composefs.MountFileSystem.Unmount"}"#);
        assert!(matches!(unknown, Err(Error::MethodNotFound { .. })));
    }
}
