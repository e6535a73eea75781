//! Descriptors of maps, so that programs which are loaded later can have the same maps.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use nix::errno::Errno;

use super::object::LoadError;

/// Maps of programs that are loaded, by their names.
#[derive(Debug, Default)]
pub(super) struct Descriptors(Vec<(&'static str, OwnedFd)>);

impl Descriptors {
    /// Of these maps.
    pub(super) fn of(ebpf: &Ebpf, names: &[&'static str]) -> Result<Self, LoadError> {
        let copy = |name: &&'static str| {
            let fd = descriptor(ebpf, name)?.try_clone_to_owned();
            Ok((*name, fd.map_err(|source| LoadError::Share { name, source })?))
        };
        names.iter().map(copy).collect::<Result<_, _>>().map(Self)
    }

    /// Those of these names.
    pub(super) fn some(&self, names: &[&'static str]) -> Result<Self, LoadError> {
        let wanted = self.0.iter().filter(|(name, _)| names.contains(name));
        let copy = |(name, fd): &(&'static str, OwnedFd)| {
            let fd = fd.try_clone();
            Ok((*name, fd.map_err(|source| LoadError::Share { name, source })?))
        };
        wanted.map(copy).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        self.0.iter().map(|(name, fd)| (*name, fd.as_fd()))
    }

    /// Puts these maps in the place of the object's own, whose programs must not be loaded yet.
    ///
    /// A program's instructions name a map by its descriptor, and the kernel looks what that is
    /// when it loads the program. So it is the descriptor that gets another map; `aya` has no way
    /// to be given a map, unless it is pinned.
    pub(super) fn replace_those_of(&self, ebpf: &Ebpf) -> Result<(), LoadError> {
        for (name, fd) in &self.0 {
            let own = descriptor(ebpf, name)?;
            // SAFETY: the number stays a descriptor of whoever owns it, and it stays one of a map
            // of the same kind; whoever used it before uses the other map from now on.
            let replaced = unsafe { libc::dup3(fd.as_raw_fd(), own.as_raw_fd(), libc::O_CLOEXEC) };
            Errno::result(replaced)
                .map_err(|errno| LoadError::Share { name, source: errno.into() })?;
        }
        Ok(())
    }
}

impl From<Vec<(&'static str, OwnedFd)>> for Descriptors {
    fn from(maps: Vec<(&'static str, OwnedFd)>) -> Self {
        Self(maps)
    }
}

fn descriptor<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, LoadError> {
    ebpf.map(name).and_then(data).map(|data| data.fd().as_fd()).ok_or(LoadError::Missing(name))
}

/// Of the kinds of maps that the programs have.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}
