//! Paths of entries: from the bundle's own directory, and nowhere else.

use crate::{
    Refusal,
    limits::{MAX_COMPONENT, MAX_DEPTH, MAX_PATH},
};

/// The path of an entry: not empty, relative, without `.`, `..`, empty components and zero bytes, within the limits
/// of Linux. Bytes, because Linux has no other names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryPath(Box<[u8]>);

impl EntryPath {
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.is_empty() {
            return Err(Refusal::EmptyName);
        }
        if bytes[0] == b'/' {
            return Err(Refusal::Absolute);
        }
        for (depth, component) in components(bytes).enumerate() {
            match component {
                b"" => return Err(Refusal::EmptyComponent),
                b"." => return Err(Refusal::Dot),
                b".." => return Err(Refusal::DotDot),
                _ if component.contains(&0) => return Err(Refusal::ZeroByte),
                _ if component.len() > MAX_COMPONENT => return Err(Refusal::ComponentTooLong),
                _ if depth >= MAX_DEPTH => return Err(Refusal::TooDeep),
                _ => {}
            }
        }
        if bytes.len() > MAX_PATH {
            return Err(Refusal::PathTooLong);
        }
        Ok(Self(bytes.into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path of its directory (`.` for the bundle's own) and its name there.
    pub(crate) fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (b".", &self.0),
        }
    }
}

/// What stands between slashes.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_stay_inside_are_paths_of_entries() {
        let long = [b'a'; 256];
        let deep = b"a/".repeat(128);
        let wide = [[b'a'; 255].as_slice(), b"/"].concat().repeat(17);
        for (bad, refusal) in [
            (b"".as_slice(), Refusal::EmptyName),
            (b"/a", Refusal::Absolute),
            (b"a//b", Refusal::EmptyComponent),
            (b"a/", Refusal::EmptyComponent),
            (b"./a", Refusal::Dot),
            (b"a/../../b", Refusal::DotDot),
            (b"a\0b", Refusal::ZeroByte),
            (&long, Refusal::ComponentTooLong),
            (&[&deep, b"a".as_slice()].concat(), Refusal::TooDeep),
            (&[&wide, b"a".as_slice()].concat(), Refusal::PathTooLong),
        ] {
            assert_eq!(EntryPath::new(bad), Err(refusal));
        }
        for good in [b"a".as_slice(), b"a/b", b"...", b"a..b", b" ", b"\xff\n", &long[..255]] {
            assert!(EntryPath::new(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn a_path_splits_into_its_directory_and_its_name() {
        assert_eq!(EntryPath::new(b"a/b/c").unwrap().split(), (b"a/b".as_slice(), b"c".as_slice()));
        assert_eq!(EntryPath::new(b"c").unwrap().split(), (b".".as_slice(), b"c".as_slice()));
    }
}
