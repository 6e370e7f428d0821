//! Every kind of hostile bundle.

use super::Tarball;
use crate::BundleDescriptor;
use handover_model::Digest;
use std::io;

/// A hostile bundle: what to send, and what to declare.
#[derive(Clone, Debug)]
pub struct HostileBundle {
    /// Its kind.
    pub kind: Hostile,
    /// The archive's bytes.
    pub archive: Vec<u8>,
    /// What is declared of it.
    pub descriptor: BundleDescriptor,
}

macro_rules! hostile {
    ($($(#[$doc:meta])* $variant:ident: $reason:literal,)*) => {
        /// A kind of hostile bundle.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Hostile {
            $($(#[$doc])* $variant,)*
        }

        impl Hostile {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// A part of the message that it must be refused with.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$variant => $reason,)*
                }
            }
        }
    };
}

hostile! {
    /// `../evil`.
    ParentFirst: "component \"..\"",
    /// `a/../../evil`.
    ParentInside: "component \"..\"",
    /// `/tmp/evil`.
    Absolute: "name is absolute",
    /// `./evil`.
    DotComponent: "component \".\"",
    /// `a//evil`.
    EmptyComponent: "an empty component",
    /// A file named `evil/`.
    SlashBehindFile: "an empty component",
    /// No name.
    EmptyName: "name is empty",
    /// A zero byte in a long name.
    ZeroByte: "zero byte",
    /// A component of 256 bytes.
    LongComponent: "longer than 255 bytes",
    /// A path of over 4095 bytes.
    LongPath: "longer than 4095 bytes",
    /// A long name that says to be a gigabyte.
    HugeName: "longer than 4095 bytes",
    /// 129 directories in each other.
    Deep: "more than 128 directories deep",
    /// The same file twice.
    Duplicate: "appears twice",
    /// A file in place of a link of the same name.
    LinkThenFile: "appears twice",
    /// Files in the wrong order.
    Unsorted: "order of names",
    /// A file in a directory that is no entry.
    NoDirectory: "directory that it lies in is missing",
    /// A file beneath a file.
    BeneathFile: "beneath something that is a file",
    /// A file beneath a link to a directory of the bundle.
    BeneathLink: "beneath something that is a symbolic link",
    /// A file beneath a link to `/tmp`.
    BeneathAbsoluteLink: "symbolic link to an absolute path",
    /// A link to `/etc/passwd`.
    AbsoluteLink: "symbolic link to an absolute path",
    /// A link to `../../etc/passwd`.
    LeavingLink: "leads out of the bundle's directory",
    /// Links that stay inside each by itself, and lead out together.
    LeavingChain: "leads out of the bundle's directory",
    /// Two links to each other.
    LinkCircle: "in a circle",
    /// A link to nothing.
    EmptyLink: "without a target",
    /// A hard link to a file of the bundle.
    HardLink: "hard link",
    /// A hard link to `/etc/passwd`.
    HardLinkOut: "hard link",
    /// A character device.
    CharacterDevice: "is a device",
    /// A block device.
    BlockDevice: "is a device",
    /// A named pipe.
    Fifo: "named pipe",
    /// A contiguous file, which nobody writes.
    Contiguous: "unknown type 0x37",
    /// A volume label of GNU tar.
    VolumeLabel: "unknown type 0x56",
    /// A sparse file of GNU tar.
    Sparse: "sparse file",
    /// A pax header that renames the next entry.
    PaxHeader: "pax header",
    /// A pax header that renames all entries.
    PaxGlobalHeader: "pax header",
    /// A setuid executable.
    Setuid: "setuid, setgid or sticky",
    /// A setgid executable.
    Setgid: "setuid, setgid or sticky",
    /// A sticky directory.
    Sticky: "setuid, setgid or sticky",
    /// A file that everybody may write.
    WritableMode: "not canonical (mode)",
    /// An owner.
    Owner: "not canonical (owner)",
    /// A name of an owner.
    OwnerName: "not canonical (owner's name)",
    /// A time.
    Time: "not canonical (time)",
    /// The header of another format of tar.
    OtherFormat: "not canonical (format)",
    /// A directory with content.
    DirectoryWithContent: "not canonical (size)",
    /// A long name where a short one does.
    NeedlessLongName: "not canonical",
    /// A wrong checksum of a header.
    Checksum: "not canonical (checksum)",
    /// A message hidden in padding.
    DirtyPadding: "padding",
    /// No end mark.
    NoEnd: "ends within a header",
    /// Half an end mark.
    HalfEnd: "ends without its end mark",
    /// An entry behind the end mark.
    BehindEnd: "goes on behind its end mark",
    /// Another compressed frame behind the first.
    SecondFrame: "followed by data outside its compression",
    /// A frame that decompressors skip, in front.
    SkippedFrame: "ends within a header",
    /// No compression at all.
    NotCompressed: "cannot be decompressed",
    /// Compression that needs 128 MiB of memory to be undone.
    WideWindow: "cannot be decompressed",
    /// More entries than declared.
    MoreEntries: "holds 3 entries, but declares 2",
    /// Fewer entries than declared.
    FewerEntries: "holds 2 entries, but declares 3",
    /// More bytes of files than declared.
    MoreBytes: "bytes of files, but declares 3",
    /// Fewer bytes of files than declared.
    FewerBytes: "bytes of files, but declares",
    /// 64 MiB of zeros, in an archive of a few KiB, that declare to be 10 bytes.
    Bomb: "bytes of files, but declares 10",
    /// A file that says to be 8 exabytes.
    HugeFile: "bytes of files, but declares",
    /// Declares more than anybody takes.
    HugeDeclaration: "more than the",
    /// The archive ends early.
    CutOff: "transfer it again",
    /// The archive goes on behind its declared size.
    Longer: "is longer than its declared",
    /// Another archive of the same size than declared.
    WrongDigest: "instead of",
    /// Another tree than declared.
    WrongTree: "the bundle's tree has digest",
}

impl Hostile {
    /// Makes one of this kind.
    ///
    /// # Errors
    /// When compression fails.
    pub fn build(self) -> io::Result<HostileBundle> {
        let (archive, descriptor) = match self.contents() {
            Some(tarball) => tarball.finish()?,
            None => self.archive()?,
        };
        Ok(HostileBundle { kind: self, archive, descriptor })
    }

    /// The tar stream of kinds that are hostile within it.
    fn contents(self) -> Option<Tarball> {
        const EVIL: &[u8] = b"evil";
        let new = Tarball::new;
        let named = |name: &[u8]| new().file(name, EVIL);
        let long = |name: &[u8]| new().long_name(b'L', name).file(name, EVIL);
        let kind = |kind: u8, target: &[u8]| new().entry(b"evil", kind, 0o644, target, b"", |_| {});
        let mode = |mode: u32| new().entry(b"evil", b'0', mode, b"", EVIL, |_| {});
        let header = |change: fn(&mut tar::Header)| new().entry(b"evil", b'0', 0o644, b"", EVIL, change);
        Some(match self {
            Self::ParentFirst => named(b"../evil"),
            Self::ParentInside => new().directory(b"a/").file(b"a/../../evil", EVIL),
            Self::Absolute => named(b"/tmp/evil"),
            Self::DotComponent => named(b"./evil"),
            Self::EmptyComponent => new().directory(b"a/").file(b"a//evil", EVIL),
            Self::SlashBehindFile => named(b"evil/"),
            Self::EmptyName => named(b""),
            Self::ZeroByte => long(&[&[b'e'; 120], b"\0".as_slice(), b"vil"].concat()),
            Self::LongComponent => long(&[b'e'; 256]),
            Self::LongPath => long(&[[b'e'; 254].as_slice(), b"/"].concat().repeat(17)[..4096]),
            Self::HugeName => {
                new().entry(b"././@LongLink", b'L', 0o644, b"", b"", |header| header.set_size(1 << 30))
            }
            Self::Deep => (1..=129).fold(new(), |tarball, depth| {
                let name = b"d/".repeat(depth);
                let long = if name.len() > 100 { tarball.long_name(b'L', &name) } else { tarball };
                long.directory(&name)
            }),
            Self::Duplicate => named(b"evil").file(b"evil", b"more"),
            Self::LinkThenFile => new().link(b"evil", b"other").file(b"evil", EVIL),
            Self::Unsorted => named(b"b").file(b"a", EVIL),
            Self::NoDirectory => named(b"a/evil"),
            Self::BeneathFile => named(b"a").file(b"a/evil", EVIL),
            Self::BeneathLink => new().link(b"a", b"b").file(b"a/evil", EVIL).directory(b"b/"),
            Self::BeneathAbsoluteLink => new().link(b"a", b"/tmp").file(b"a/evil", EVIL),
            Self::AbsoluteLink => new().link(b"evil", b"/etc/passwd"),
            Self::LeavingLink => new().directory(b"a/").link(b"a/evil", b"../../etc/passwd"),
            Self::LeavingChain => {
                let links = new().directory(b"a/").directory(b"a/b/").link(b"a/b/up", b"../..");
                links.link(b"a/evil", b"b/up/../etc/passwd")
            }
            Self::LinkCircle => new().link(b"a", b"b").link(b"b", b"a"),
            Self::EmptyLink => new().link(b"evil", b""),
            Self::HardLink => new().file(b"a", EVIL).entry(b"evil", b'1', 0o644, b"a", b"", |_| {}),
            Self::HardLinkOut => kind(b'1', b"/etc/passwd"),
            Self::CharacterDevice => kind(b'3', b""),
            Self::BlockDevice => kind(b'4', b""),
            Self::Fifo => kind(b'6', b""),
            Self::Contiguous => kind(b'7', b""),
            Self::VolumeLabel => kind(b'V', b""),
            Self::Sparse => kind(b'S', b""),
            Self::PaxHeader => {
                new().entry(b"pax", b'x', 0o644, b"", b"17 path=/tmp/evil\n", |_| {}).file(b"a", EVIL)
            }
            Self::PaxGlobalHeader => {
                new().entry(b"pax", b'g', 0o644, b"", b"17 path=/tmp/evil\n", |_| {}).file(b"a", EVIL)
            }
            Self::Setuid => mode(0o4755),
            Self::Setgid => mode(0o2755),
            Self::Sticky => new().entry(b"evil/", b'5', 0o1755, b"", b"", |_| {}),
            Self::WritableMode => mode(0o666),
            Self::Owner => header(|header| header.set_uid(1000)),
            Self::OwnerName => header(|header| {
                if let Some(gnu) = header.as_gnu_mut() {
                    gnu.uname[..4].copy_from_slice(b"root");
                }
            }),
            Self::Time => header(|header| header.set_mtime(1)),
            Self::OtherFormat => header(|header| {
                if let Some(gnu) = header.as_gnu_mut() {
                    (gnu.magic, gnu.version) = (*b"ustar\0", *b"00");
                }
            }),
            Self::DirectoryWithContent => new().entry(b"evil/", b'5', 0o755, b"", EVIL, |_| {}),
            Self::NeedlessLongName => long(b"evil"),
            Self::Checksum => named(b"evil").changed(|bytes| bytes[148..154].copy_from_slice(b"000000")),
            Self::DirtyPadding => named(b"evil").changed(|bytes| bytes[1000] = b'!'),
            _ => return None,
        })
    }

    /// Archive and descriptor of kinds that are hostile around the entries.
    fn archive(self) -> io::Result<(Vec<u8>, BundleDescriptor)> {
        let good = || Tarball::new().directory(b"a/").file(b"a/file", b"content");
        let (mut archive, mut descriptor) = good().finish()?;
        match self {
            Self::NoEnd => return good().finish_without_end(),
            Self::HalfEnd => return good().raw(&[0; 512]).finish_without_end(),
            Self::BehindEnd => {
                let behind = Tarball::new().file(b"b", b"evil");
                return good().raw(&[0; 1024]).raw(behind.bytes()).finish();
            }
            Self::MoreEntries => (archive, descriptor) = good().file(b"b", b"").finish()?,
            Self::Bomb => {
                const ZEROS: usize = 64 << 20;
                let size = |header: &mut tar::Header| header.set_size(ZEROS as u64);
                let bomb = Tarball::new().entry(b"bomb", b'0', 0o644, b"", b"", size);
                (archive, descriptor) = bomb.raw(&vec![0; ZEROS]).finish()?;
                (descriptor.entries, descriptor.unpacked) = (1, 10);
            }
            Self::HugeFile => {
                let huge = |header: &mut tar::Header| header.set_size(i64::MAX as u64);
                (archive, descriptor) =
                    Tarball::new().entry(b"huge", b'0', 0o644, b"", b"", huge).finish()?;
            }
            Self::SecondFrame => archive.extend(zstd::encode_all(b"evil".as_slice(), 1)?),
            // "Skippable Frames" of RFC 8878: magic number, length, content.
            Self::SkippedFrame => archive = [b"\x50\x2a\x4d\x18\x04\0\0\0evil".as_slice(), &archive].concat(),
            Self::NotCompressed => archive = good().raw(&[0; 1024]).bytes().to_vec(),
            Self::WideWindow => {
                let mut encoder = zstd::Encoder::new(Vec::new(), 1)?;
                encoder.window_log(27)?;
                io::Write::write_all(&mut encoder, good().raw(&[0; 1024]).bytes())?;
                archive = encoder.finish()?;
            }
            _ => {}
        }
        (descriptor.digest, descriptor.size) = (Digest::of(&archive), archive.len() as u64);
        match self {
            Self::MoreEntries => descriptor.entries = 2,
            Self::FewerEntries => descriptor.entries = 3,
            Self::MoreBytes => descriptor.unpacked = 3,
            Self::FewerBytes => descriptor.unpacked += 1,
            Self::HugeDeclaration => descriptor.unpacked = u64::MAX,
            Self::CutOff => archive.truncate(archive.len() / 2),
            Self::Longer => descriptor.size -= 1,
            Self::WrongDigest => descriptor.digest = Digest::of(b"another archive"),
            Self::WrongTree => descriptor.tree = Digest::of(b"another tree"),
            _ => {}
        }
        Ok((archive, descriptor))
    }
}
