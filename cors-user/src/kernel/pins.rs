//! What outlives the agent, by names in a bpffs: links, the maps that must not be lost, and the
//! cookie secret.
//!
//! ```text
//! DIR/keys                        the cookie secret, readable to every version
//! DIR/links/INDEX-edge-native     a link, by interface, program and mode
//! DIR/links/INDEX-handover
//! DIR/links/INDEX-outward
//! DIR/flows-LAYOUT/FLOWS …        connections, by a digest of what their layout follows from
//! DIR/tracks-LAYOUT/TRACKS      connections that the kernel owns, likewise
//! DIR/counters-LAYOUT/COUNTERS    counters, likewise
//! DIR/host-LAYOUT/PROTECTED …     what is known of the host, likewise
//! ```
//!
//! (A bpffs reserves names with a dot.) An agent loads its programs with those maps that have the
//! layout it knows, and makes the others anew: a build with another reason to count has new
//! counters, and the connections go on. Only where their own layout is another one, connections on
//! which something was answered are lost; handshakes are still good, by the secret. Either way its
//! programs get into the place of those that are attached by one update of each link, and not a
//! packet meets neither.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData, MapError};
use cors_common::{
    cookie::Keys,
    exit::Exit,
    siphash::siphash24,
    state::ABI,
    tcp::flow::{Flow, LAYOUT},
    track::{self, Track, table::ENTRIES},
    wire::{
        link::{Interface, Vlan},
        segment::{Endpoint, Tuple},
    },
};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use thiserror::Error;
use tracing::warn;

use super::{
    attach::{self, Mode},
    descriptors::Descriptors,
    sys,
};

/// Why nothing can be kept.
#[derive(Debug, Error)]
pub enum PinsError {
    /// Nothing can be pinned there.
    #[error(
        "{} is in no BPF file system, so nothing can be kept there: mount one \
         (`mount -t bpf bpf {}`), or leave out --pin", .0.display(), .0.display()
    )]
    NoBpffs(PathBuf),
    /// A directory or a name.
    #[error("{} cannot be used to keep things in: {source}", .path.display())]
    Use {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The map with the secret.
    #[error("the cookie secret cannot be kept: {0}")]
    Keys(#[from] MapError),
}

/// A program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The XDP program, in this mode.
    Edge(Mode),
    /// The TC program of what comes in.
    Handover,
    /// The TC program of what goes out.
    Outward,
}

/// The directory.
#[derive(Debug)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// Makes the directory where it is not there yet.
    pub fn open(directory: &Path) -> Result<Self, PinsError> {
        let pins = Self { directory: directory.to_owned() };
        let groups = GROUPS.iter().map(|group| pins.maps(group));
        for path in [directory.to_owned(), pins.links()].into_iter().chain(groups) {
            make(&path)?;
        }
        match statfs(directory) {
            Ok(on) if on.filesystem_type() == BPF_FS_MAGIC => Ok(pins),
            _ => {
                // Empty, and of no use.
                let _ = fs::remove_dir_all(directory);
                Err(PinsError::NoBpffs(directory.to_owned()))
            }
        }
    }

    /// The cookie secret: the one that is kept, or else this one, which is from now on.
    pub fn keys(&self, new: Keys) -> Result<Keys, PinsError> {
        let path = self.directory.join("keys");
        if let Ok(kept) = MapData::from_pin(&path) {
            let map = Array::<_, [u8; size_of::<Keys>()]>::try_from(Map::Array(kept))?;
            return Ok(bytemuck::cast(map.get(&0, 0)?));
        }
        let kind = aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
        let size = size_of::<Keys>() as u32;
        let map = aya_obj::Map::new_from_params(kind, 4, size, 1, 0);
        let map = MapData::create(map, "cors_edge_keys", None)?;
        sys::pin(map.fd().as_fd(), &name(&path)?).map_err(used(&path))?;
        let mut map = Array::<_, [u8; size_of::<Keys>()]>::try_from(Map::Array(map))?;
        map.set(0, bytemuck::cast::<_, [u8; size_of::<Keys>()]>(new), 0)?;
        Ok(new)
    }

    /// The maps that an agent before this one has left, as far as they have this one's layout.
    pub(super) fn descriptors(&self) -> Descriptors {
        let kept = GROUPS.iter().filter_map(|group| {
            let open = |map: &&'static str| {
                let path = name(&self.maps(group).join(map)).ok()?;
                Some((*map, sys::get(&path).ok()?))
            };
            // All of them or none: they belong together.
            group.maps.iter().map(open).collect::<Option<Vec<_>>>()
        });
        Descriptors::from(kept.flatten().collect::<Vec<_>>())
    }

    /// Keeps these maps, but for those that are kept already.
    pub(super) fn keep(&self, maps: &Descriptors, kept: &Descriptors) -> Result<(), PinsError> {
        for group in GROUPS {
            let of_the_group = |name: &str| group.maps.contains(&name);
            if kept.iter().any(|(map, _)| of_the_group(map)) {
                continue;
            }
            for (map, fd) in maps.iter().filter(|(map, _)| of_the_group(map)) {
                let path = self.maps(group).join(map);
                // One that was left alone by an agent which was interrupted here.
                remove(&path)?;
                sys::pin(fd, &name(&path)?).map_err(used(&path))?;
            }
        }
        Ok(())
    }

    /// The link of a program on an interface, if there is one, and where its name is.
    pub(super) fn link(&self, index: u32, place: Place) -> Option<(OwnedFd, PathBuf)> {
        let path = self.link_path(index, place);
        Some((sys::get(&name(&path).ok()?).ok()?, path))
    }

    /// Keeps a link, in the place of any other there.
    pub(super) fn keep_link(
        &self,
        link: &OwnedFd,
        index: u32,
        place: Place,
    ) -> Result<PathBuf, PinsError> {
        let path = self.link_path(index, place);
        remove(&path)?;
        sys::pin(link.as_fd(), &name(&path)?).map_err(used(&path))?;
        Ok(path)
    }

    /// Interfaces on which `edge` was left.
    pub fn interfaces(&self) -> Vec<u32> {
        let names = fs::read_dir(self.links()).into_iter().flatten().flatten();
        let index = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let (index, rest) = name.to_str()?.split_once('-')?;
            rest.starts_with("edge").then(|| index.parse().ok())?
        };
        names.filter_map(index).collect()
    }

    /// Lets go of every link but these, and of maps of another layout.
    pub(super) fn forget_all_but(&self, links: &[&Path]) {
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        for entry in entries(&self.links()) {
            if !links.contains(&entry.path().as_path())
                && let Err(error) = take_off(&entry.path())
            {
                warn!("{error}");
            }
        }
        for entry in entries(&self.directory) {
            let path = entry.path();
            let ours = GROUPS.iter().any(|group| path == self.maps(group));
            if !ours && path != self.links() && path.is_dir() {
                // What is in use by programs that are still attached stays in memory.
                if let Err(error) = fs::remove_dir_all(entry.path()) {
                    warn!("{} cannot be removed: {error}", entry.path().display());
                }
            }
        }
    }

    /// Removes everything that an agent has left there: links first, so that nothing is accepted
    /// any more that is not handed over. Nothing there is no error. Returns how many links there
    /// were.
    pub fn remove(directory: &Path) -> Result<usize, PinsError> {
        let pins = Self { directory: directory.to_owned() };
        let links = pins.links();
        let left = pins.interfaces();
        let mut removed = 0;
        for kind in ["edge", "handover", "outward"] {
            for entry in fs::read_dir(&links).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().contains(kind) {
                    removed += usize::from(take_off(&entry.path())?);
                }
            }
        }
        left.into_iter().for_each(attach::remove_filters);
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(used(directory)(error)),
            _ => Ok(removed),
        }
    }

    /// The table of tracked connections that was left there.
    pub(super) fn tracks(directory: &Path) -> Option<MapData> {
        let pins = Self { directory: directory.to_owned() };
        let group = GROUPS.iter().find(|group| group.name == "tracks")?;
        MapData::from_pin(pins.maps(group).join("TRACKS")).ok()
    }

    fn links(&self) -> PathBuf {
        self.directory.join("links")
    }

    fn maps(&self, group: &Group) -> PathBuf {
        let layout = digest(&(group.layout)());
        self.directory.join(format!("{}-{layout:016x}", group.name))
    }

    fn link_path(&self, index: u32, place: Place) -> PathBuf {
        self.links().join(match place {
            Place::Edge(mode) => format!("{index}-edge-{mode}"),
            Place::Handover => format!("{index}-handover"),
            Place::Outward => format!("{index}-outward"),
        })
    }
}

/// Maps that are of use together alone, and whose layouts change together.
struct Group {
    name: &'static str,
    maps: &'static [&'static str],
    /// What the layout follows from, and the meaning of what is in them.
    layout: fn() -> String,
}

/// All of [`super::LASTING`].
const GROUPS: &[Group] = &[
    Group {
        name: "flows",
        maps: &["FLOWS", "CHANGES"],
        layout: || format!("{LAYOUT} {} {}", size_of::<Tuple>(), size_of::<Flow>()),
    },
    Group {
        name: "tracks",
        maps: &["TRACKS"],
        layout: || format!("{} {} {ENTRIES}", track::LAYOUT, size_of::<Track>()),
    },
    Group {
        name: "counters",
        maps: &["COUNTERS"],
        layout: || Exit::ALL.iter().map(|exit| exit.name()).collect::<Vec<_>>().join(","),
    },
    Group {
        name: "host",
        maps: &["PROTECTED", "INTERFACES", "VLANS"],
        layout: || {
            let sizes = [size_of::<Endpoint>(), size_of::<Interface>(), size_of::<Vlan>()];
            format!("{ABI} {sizes:?}")
        },
    },
];

fn digest(text: &str) -> u64 {
    text.bytes().fold(0, |digest, byte| siphash24(&[digest, 0], &[u64::from(byte)]))
}

/// For the owner alone: among these names is the secret.
fn make(path: &Path) -> Result<(), PinsError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(used(path)(error)),
        _ => Ok(()),
    }
}

/// Detaches a link and removes its name; false where it was none any more. Without its name alone
/// it would stay attached as long as somebody else has it open, and else for a while.
fn take_off(path: &Path) -> Result<bool, PinsError> {
    let link = sys::get(&name(path)?);
    if let Ok(link) = &link {
        sys::detach(link.as_fd()).map_err(used(path))?;
    }
    remove(path)?;
    Ok(link.is_ok())
}

fn remove(path: &Path) -> Result<(), PinsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(used(path)(error)),
        _ => Ok(()),
    }
}

fn name(path: &Path) -> Result<CString, PinsError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| used(path)(error.into()))
}

fn used(path: &Path) -> impl Fn(io::Error) -> PinsError {
    move |source| PinsError::Use { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::LASTING, *};

    #[test]
    fn each_map_is_in_one_group() {
        let grouped: Vec<_> = GROUPS.iter().flat_map(|group| group.maps.iter().copied()).collect();
        let once: BTreeSet<_> = grouped.iter().copied().collect();
        assert_eq!(once, LASTING.iter().copied().collect());
        assert_eq!(grouped.len(), LASTING.len());
    }

    #[test]
    fn layouts_that_differ_in_anything_have_other_names() {
        assert_ne!(digest("1 40 24"), digest("2 40 24"));
        assert_ne!(digest("1 40 24"), digest("14 0 24"));
    }
}
