//! The file system that a kernel starts with: a cpio archive in the `newc` format
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! ```text
//! entry   "070701", then 13 numbers of 8 hexadecimal digits: inode, mode, uid, gid, links, mtime,
//!         length, device 2 × 2, length of the name with its NUL, checksum (0); the name, padded to
//!         a multiple of four with the header; the content, padded likewise
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::kernels::libraries;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const END: &str = "TRAILER!!!";

/// What is in it, by its path without a slash in front.
#[derive(Default)]
pub(super) struct Initramfs(BTreeMap<String, Content>);

enum Content {
    Directory,
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Initramfs {
    /// An empty directory.
    pub(super) fn directory(&mut self, path: &str) {
        self.add(path, Content::Directory);
    }

    /// A file of these bytes.
    pub(super) fn bytes(&mut self, path: &str, bytes: Vec<u8>) {
        self.add(path, Content::Bytes(bytes));
    }

    /// A program of this machine, with the libraries that it needs where they are here.
    pub(super) fn program(&mut self, path: &str, program: &Path) -> Result<()> {
        for library in libraries(program)? {
            let name = library.to_string_lossy().trim_start_matches('/').to_owned();
            self.add(&name, Content::File(library));
        }
        self.add(path, Content::File(program.to_owned()));
        Ok(())
    }

    fn add(&mut self, path: &str, content: Content) {
        for (at, _) in path.match_indices('/') {
            self.0.entry(path[..at].to_owned()).or_insert(Content::Directory);
        }
        self.0.insert(path.to_owned(), content);
    }

    /// Writes it to a file.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let mut out = BufWriter::new(File::create(file)?);
        // The paths are in their order: a directory comes before what is in it.
        for (inode, (path, content)) in (1..).zip(&self.0) {
            match content {
                Content::Directory => entry(&mut out, inode, path, DIRECTORY, &[])?,
                Content::Bytes(bytes) => entry(&mut out, inode, path, PROGRAM, bytes)?,
                Content::File(file) => {
                    let bytes = fs::read(file)
                        .with_context(|| format!("cannot read {}", file.display()))?;
                    entry(&mut out, inode, path, PROGRAM, &bytes)?;
                }
            }
        }
        entry(&mut out, 0, END, 0, &[])?;
        Ok(out.flush()?)
    }
}

fn entry(out: &mut impl Write, inode: u32, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let (name, len) = (path.len() as u32 + 1, bytes.len() as u32);
    let links = if mode == DIRECTORY { 2 } else { 1 };
    let mut head = b"070701".to_vec();
    for number in [inode, mode, 0, 0, links, 0, len, 0, 0, 0, 0, name, 0] {
        head.extend(format!("{number:08x}").as_bytes());
    }
    head.extend(path.as_bytes());
    head.push(0);
    head.resize(head.len().next_multiple_of(4), 0);
    out.write_all(&head)?;
    out.write_all(bytes)?;
    out.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_to_words() {
        let mut out = Vec::new();
        entry(&mut out, 7, "a/b", PROGRAM, b"hello").expect("memory");
        assert_eq!(out.len(), (110 + 4_usize).next_multiple_of(4) + 8);
        assert_eq!(&out[..22], b"07070100000007000081ed");
        assert_eq!(&out[54..62], b"00000005");
        assert_eq!(&out[110..114], b"a/b\0");
        assert_eq!(&out[116..], b"hello\0\0\0");
    }

    #[test]
    fn directories_come_before_what_is_in_them() {
        let mut files = Initramfs::default();
        files.bytes("a/b/c", Vec::new());
        files.directory("a.d");
        let names: Vec<_> = files.0.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "a.d", "a/b", "a/b/c"]);
    }
}
