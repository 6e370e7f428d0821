//! The shape of a bundle's tree: what lies where, and where its links lead.

use crate::{
    Limits, Refusal,
    entry::{Entry, EntryKind},
    limits::MAX_PATH,
    path::{EntryPath, components},
};
use std::collections::BTreeMap;

/// Links that one path may lead through, as the kernel has it (`path_resolution(7)`).
const MAX_HOPS: u32 = 40;
/// Components that are gone through to follow all links of a bundle.
const MAX_STEPS: u64 = 4_000_000;

/// The tree of the entries so far, without their content.
pub(crate) struct Shape {
    nodes: Vec<Node>,
    last: Option<EntryPath>,
    names: u64,
    limits: Limits,
}

/// Index of a node; the bundle's own directory is 0.
type Id = usize;
const ROOT: Id = 0;

enum Node {
    Directory { parent: Option<Id>, children: BTreeMap<Box<[u8]>, Id> },
    File,
    Link { directory: Id, path: EntryPath, target: Box<[u8]> },
}

/// Why an entry does not fit.
pub(crate) enum Misfit {
    Refused(Refusal),
    TooManyNames,
}

impl From<Refusal> for Misfit {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Shape {
    pub(crate) fn new(limits: &Limits) -> Self {
        let root = Node::Directory { parent: None, children: BTreeMap::new() };
        Self { nodes: vec![root], last: None, names: 0, limits: *limits }
    }

    /// Puts the next entry into the tree. The number of entries is the caller's to bound.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<(), Misfit> {
        let (_, name) = entry.path.split();
        let directory = self.directory_of(&entry.path)?;
        if self.child(directory, name).is_some() {
            return Err(Refusal::Duplicate.into());
        }
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(Refusal::OutOfOrder.into());
        }
        let node = match &entry.kind {
            EntryKind::Directory => Node::Directory { parent: Some(directory), children: BTreeMap::new() },
            EntryKind::File { .. } => Node::File,
            EntryKind::Link { target } => {
                check_target(target)?;
                // Counted twice, because the path is kept with it.
                self.names += (target.len() + entry.path.as_bytes().len()) as u64;
                Node::Link { directory, path: entry.path.clone(), target: target.clone() }
            }
        };
        self.names += name.len() as u64;
        if self.names > self.limits.names {
            return Err(Misfit::TooManyNames);
        }
        let id = self.nodes.len();
        self.nodes.push(node);
        if let Node::Directory { children, .. } = &mut self.nodes[directory] {
            children.insert(name.into(), id);
        }
        self.last = Some(entry.path.clone());
        Ok(())
    }

    /// Once all entries are in: checks that every link stays inside, and gives the first that does not.
    pub(crate) fn check_links(&self) -> Result<(), (EntryPath, Refusal)> {
        let mut steps = MAX_STEPS;
        for node in &self.nodes {
            if let Node::Link { directory, path, target } = node {
                self.follow(*directory, target, &mut steps).map_err(|refusal| (path.clone(), refusal))?;
            }
        }
        Ok(())
    }

    fn child(&self, directory: Id, name: &[u8]) -> Option<Id> {
        match &self.nodes[directory] {
            Node::Directory { children, .. } => children.get(name).copied(),
            Node::File | Node::Link { .. } => None,
        }
    }

    fn directory_of(&self, path: &EntryPath) -> Result<Id, Refusal> {
        let (directory, _) = path.split();
        if directory == b"." {
            return Ok(ROOT);
        }
        components(directory).try_fold(ROOT, |id, name| {
            let child = self.child(id, name).ok_or(Refusal::NoDirectory)?;
            match self.nodes[child] {
                Node::Directory { .. } => Ok(child),
                Node::File => Err(Refusal::BeneathFile),
                Node::Link { .. } => Err(Refusal::BeneathLink),
            }
        })
    }

    /// Follows `target` from `directory` as the kernel would, through other links, and notices when it leaves.
    fn follow(&self, directory: Id, target: &[u8], steps: &mut u64) -> Result<(), Refusal> {
        let mut at = directory;
        // Components beneath `at` that are no directories of the bundle: what they are is not known, only how many.
        let mut beyond = 0_usize;
        let mut hops = 1;
        let mut pending: Vec<&[u8]> = components(target).rev().collect();
        while let Some(name) = pending.pop() {
            *steps = steps.checked_sub(1).ok_or(Refusal::LinksTangled)?;
            match name {
                b"" | b"." => {}
                b".." if beyond > 0 => beyond -= 1,
                b".." => match &self.nodes[at] {
                    Node::Directory { parent: Some(parent), .. } => at = *parent,
                    _ => return Err(Refusal::LinkLeaves),
                },
                _ if beyond > 0 => beyond += 1,
                _ => match self.child(at, name).map(|id| (id, &self.nodes[id])) {
                    Some((id, Node::Directory { .. })) => at = id,
                    Some((_, Node::Link { target, .. })) => {
                        hops += 1;
                        if hops > MAX_HOPS {
                            return Err(Refusal::LinkLoop);
                        }
                        pending.extend(components(target).rev());
                    }
                    Some((_, Node::File)) | None => beyond = 1,
                },
            }
        }
        Ok(())
    }
}

fn check_target(target: &[u8]) -> Result<(), Refusal> {
    match target {
        [] => Err(Refusal::LinkEmpty),
        [b'/', ..] => Err(Refusal::LinkAbsolute),
        _ if target.len() > MAX_PATH => Err(Refusal::PathTooLong),
        _ if target.contains(&0) => Err(Refusal::ZeroByte),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        let (path, kind) = match text.split_once(" -> ") {
            Some((path, target)) => (path, EntryKind::Link { target: target.as_bytes().into() }),
            None => match text.strip_suffix('/') {
                Some(path) => (path, EntryKind::Directory),
                None => (text, EntryKind::File { size: 0, executable: false }),
            },
        };
        Entry { path: EntryPath::new(path.as_bytes()).unwrap(), kind }
    }

    /// The first refusal of a tree given as `directory/`, `file` and `link -> target`.
    fn refusal(entries: &[&str]) -> Option<Refusal> {
        let mut shape = Shape::new(&Limits::default());
        for text in entries {
            match shape.add(&entry(text)) {
                Ok(()) => {}
                Err(Misfit::Refused(refusal)) => return Some(refusal),
                Err(Misfit::TooManyNames) => panic!("too many names"),
            }
        }
        shape.check_links().err().map(|(_, refusal)| refusal)
    }

    #[test]
    fn links_that_stay_inside_are_taken() {
        for tree in [
            ["a -> b", "b"].as_slice(),
            &["a/", "a/up -> ..", "b"],
            &["a/", "a/b/", "a/b/c -> ../../d", "d"],
            &["dangling -> not/there"],
            &["a -> b/../c", "b/", "c"],
            &["a -> .", "b -> ./a/a/a/b2", "b2"],
            &["a -> missing/../b", "b"],
        ] {
            assert_eq!(refusal(tree), None, "{tree:?}");
        }
    }

    #[test]
    fn links_that_lead_out_are_refused_by_whatever_way() {
        for tree in [
            ["a -> .."].as_slice(),
            &["a -> ../x"],
            &["a/", "a/b -> ../../x"],
            &["a -> missing/../../x"],
            &["a -> file/../../x", "file"],
            // The text of each alone stays inside; the first leads where `..` means something else.
            &["a/", "a/b/", "a/b/down -> ../../top", "a/out -> b/down/../../x", "top/"],
            &["d/", "here -> .", "hop -> here/.."],
        ] {
            assert_eq!(refusal(tree), Some(Refusal::LinkLeaves), "{tree:?}");
        }
    }

    #[test]
    fn links_in_a_circle_are_refused() {
        assert_eq!(refusal(&["a -> a"]), Some(Refusal::LinkLoop));
        assert_eq!(refusal(&["a -> b", "b -> c/x", "c -> a"]), Some(Refusal::LinkLoop));
    }

    #[test]
    fn entries_lie_in_directories_that_came_before() {
        assert_eq!(refusal(&["a/b"]), Some(Refusal::NoDirectory));
        assert_eq!(refusal(&["a", "a/b"]), Some(Refusal::BeneathFile));
        assert_eq!(refusal(&["a -> b", "a/c", "b/"]), Some(Refusal::BeneathLink));
        assert_eq!(refusal(&["a", "a"]), Some(Refusal::Duplicate));
        assert_eq!(refusal(&["b", "a"]), Some(Refusal::OutOfOrder));
        // A dash sorts before a slash, so what lies in a directory need not follow it at once.
        assert_eq!(refusal(&["a/", "a-b", "a/c"]), None);
    }

    #[test]
    fn links_that_multiply_are_followed_only_so_long() {
        let hops = |from: usize| format!("l{from:02} -> {}", format!("l{:02}/", from + 1).repeat(60));
        let mut tree: Vec<String> = (0..30).map(hops).collect();
        tree.push("l30 -> .".to_owned());
        let tree: Vec<&str> = tree.iter().map(String::as_str).collect();
        assert_eq!(refusal(&tree), Some(Refusal::LinkLoop));
        let mut wide: Vec<String> =
            (0..40_000).map(|n| format!("a{n:05} -> {}", "b/../".repeat(60))).collect();
        wide.push("b/".to_owned());
        let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
        assert_eq!(refusal(&wide), Some(Refusal::LinksTangled));
    }

    #[test]
    fn names_are_bounded_all_together() {
        let mut shape = Shape::new(&Limits { names: 10, ..Limits::default() });
        assert!(shape.add(&entry("12345")).is_ok());
        assert!(matches!(shape.add(&entry("223456")), Err(Misfit::TooManyNames)));
    }
}
