// SPDX-License-Identifier: GPL-2.0-only
//! What a server says of how to identify oneself (`WWW-Authenticate`).

/// A way to do so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `bearer` or `basic`, in lower case.
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter of it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(found, _)| found == name);
        found.next().map(|(_, value)| &**value)
    }

    /// Reads the ways that a header has.
    pub fn parse(text: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (word, after) = split_word(rest);
            match after.strip_prefix('=') {
                Some(value) => {
                    let (value, after) = split_value(value);
                    if let Some(challenge) = challenges.last_mut() {
                        challenge
                            .parameters
                            .push((word.to_ascii_lowercase(), value));
                    }
                    rest = after;
                }
                None => {
                    challenges.push(Self {
                        scheme: word.to_ascii_lowercase(),
                        parameters: Vec::new(),
                    });
                    rest = after;
                }
            }
            rest = rest.trim_start_matches([' ', '\t', ',']);
            // What is no word is passed over, so that this comes to an end.
            if split_word(rest).0.is_empty() {
                rest = rest
                    .get(rest.chars().next().map_or(0, char::len_utf8)..)
                    .unwrap_or_default();
            }
        }
        challenges
    }
}

/// A word, and what follows it and spaces.
fn split_word(text: &str) -> (&str, &str) {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
    let end = text.find(is_end).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

/// A value, which may be between quotes, and what follows it.
fn split_value(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = split_word(text);
        return (word.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, character)| character)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let text =
            r#"Bearer realm="https://a/token,1",service="b \"c\"", scope=d , Basic realm="e""#;
        let found = Challenge::parse(text);
        assert_eq!(
            found
                .iter()
                .map(|challenge| &*challenge.scheme)
                .collect::<Vec<_>>(),
            ["bearer", "basic"]
        );
        assert_eq!(found[0].get("realm"), Some("https://a/token,1"));
        assert_eq!(found[0].get("service"), Some("b \"c\""));
        assert_eq!(found[0].get("scope"), Some("d"));
        assert_eq!(found[1].get("realm"), Some("e"));
        for text in [
            "",
            ",",
            "=",
            "\"",
            "a=\"",
            "Bearer realm=\"x",
            "é=é",
            "a b c,,d=",
        ] {
            Challenge::parse(text);
        }
    }
}
