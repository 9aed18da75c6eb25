// SPDX-License-Identifier: GPL-2.0-only
//! Distinguished names, for people to read (RFC 4514).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, Result, SliceReader, Tag, Tagged};

use crate::asn1::{all, open};

/// Short names of attributes, from RFC 4519 and RFC 2985.
const SHORT: [(&str, &str); 7] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// A name, given without its outermost tag and length: `'CN=somebody,O=somewhere'`.
pub fn display(name: &[u8]) -> String {
    let text = parts(name).map_or_else(
        |_| "unreadable".into(),
        |parts| {
            let shown: Vec<String> = parts.iter().rev().map(show_part).collect();
            shown.join(",")
        },
    );
    format!("'{text}'")
}

/// The parts of a name, each of which has attributes with values.
///
/// # Errors
/// If it is not a name.
pub fn parts(name: &[u8]) -> Result<Vec<Vec<(ObjectIdentifier, AnyRef<'_>)>>> {
    let attribute = |any| {
        let mut parts = open(any, Tag::Sequence)?;
        let oid = ObjectIdentifier::decode(&mut parts)?;
        let value = AnyRef::decode(&mut parts)?;
        parts.finish((oid, value))
    };
    let part = |any| {
        all(open(any, Tag::Set)?)?
            .into_iter()
            .map(attribute)
            .collect()
    };
    all(SliceReader::new(name)?)?
        .into_iter()
        .map(part)
        .collect()
}

fn show_part(part: &Vec<(ObjectIdentifier, AnyRef)>) -> String {
    let attributes = part.iter().map(|(oid, value)| {
        let oid = oid.to_string();
        let short = SHORT.iter().find(|(known, _)| *known == oid);
        let name = short.map_or(oid.as_str(), |(_, name)| name);
        format!("{name}={}", show_value(value))
    });
    attributes.collect::<Vec<_>>().join("+")
}

fn show_value(value: &AnyRef) -> String {
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
            String::from_utf8_lossy(value.value())
        }
        _ => {
            let hex: String = value.value().iter().map(|b| format!("{b:02x}")).collect();
            return format!("#{hex}");
        }
    };
    let mut shown = String::new();
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
            continue;
        }
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}
