// SPDX-License-Identifier: GPL-2.0-only
//! Reading and writing DER piece by piece.
//!
//! Signatures and identities hang on the very bytes, so that everything is kept as it was read
//! and nothing is encoded anew.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Any, Decode, Encode, Reader, Result, SliceReader, Tag, TagNumber, Tagged};

/// What is inside of `any`, which must have this tag.
pub fn open(any: AnyRef<'_>, tag: Tag) -> Result<SliceReader<'_>> {
    any.tag().assert_eq(tag)?;
    SliceReader::new(any.value())
}

/// The next element, which must be a SEQUENCE.
pub fn sequence<'a>(reader: &mut SliceReader<'a>) -> Result<SliceReader<'a>> {
    open(AnyRef::decode(reader)?, Tag::Sequence)
}

/// The tag `[number]` of something with parts.
pub const fn context(number: TagNumber) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number,
    }
}

/// The next element, if it has this tag.
pub fn optional<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<Option<AnyRef<'a>>> {
    let here = !reader.is_finished() && reader.peek_header()?.tag == tag;
    here.then(|| AnyRef::decode(reader)).transpose()
}

/// All elements that are left.
pub fn all(mut reader: SliceReader<'_>) -> Result<Vec<AnyRef<'_>>> {
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(AnyRef::decode(&mut reader)?);
    }
    Ok(elements)
}

/// An algorithm identifier: the algorithm and its parameters.
pub fn algorithm<'a>(
    reader: &mut SliceReader<'a>,
) -> Result<(ObjectIdentifier, Option<AnyRef<'a>>)> {
    let mut parts = sequence(reader)?;
    let oid = ObjectIdentifier::decode(&mut parts)?;
    let parameters = match parts.is_finished() {
        true => None,
        false => Some(AnyRef::decode(&mut parts)?),
    };
    parts.finish((oid, parameters))
}

/// An element with its tag and length.
pub fn whole(any: AnyRef) -> Result<Vec<u8>> {
    any.to_der()
}

/// Writes an element of these parts, each complete.
pub fn element(tag: Tag, parts: &[&[u8]]) -> Result<Vec<u8>> {
    Any::new(tag, parts.concat())?.to_der()
}

/// Writes an algorithm identifier.
pub fn algorithm_identifier(oid: ObjectIdentifier, null: bool) -> Result<Vec<u8>> {
    let parameters: &[u8] = if null { &[0x05, 0x00] } else { &[] };
    element(Tag::Sequence, &[&oid.to_der()?, parameters])
}
