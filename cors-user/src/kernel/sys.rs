//! System calls that `aya` does not give as they are needed here: some commands of bpf(2), and
//! membarrier(2).

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    time::Duration,
};

use aya_obj::generated::{BPF_F_TEST_XDP_LIVE_FRAMES, bpf_attach_type, bpf_attr, bpf_cmd};

/// Attributes in zeros.
const fn attributes() -> bpf_attr {
    // SAFETY: the union is plain numbers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

/// # Safety
///
/// What the attributes point to must be as long as the command says, and outlive the call.
unsafe fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: the attributes have the size that is passed along, and the caller vouches for what
    // they point to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            std::ptr::from_mut(attributes),
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a link that keeps the program attached to the interface as long as the descriptor is
/// open: `BPF_LINK_CREATE`, of XDP programs Linux 5.9, of `tcx` Linux 6.6.
///
/// `aya` attaches XDP programs by netlink where the kernel says `EINVAL`, without a word, and
/// such an attachment outlives the agent. This one succeeds with a link or fails.
pub(super) fn create_link(
    program: BorrowedFd<'_>,
    interface: u32,
    hook: bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = attributes();
    attributes.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    attributes.link_create.__bindgen_anon_2.target_ifindex = interface;
    attributes.link_create.attach_type = hook as u32;
    attributes.link_create.flags = flags;
    // SAFETY: these attributes point to nothing.
    let fd = unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts another program in the place of the one that a link attaches: `BPF_LINK_UPDATE` (Linux
/// 5.7). Every packet meets the one or the other.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = attributes();
    attributes.link_update.link_fd = link.as_raw_fd().cast_unsigned();
    attributes.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd().cast_unsigned();
    // SAFETY: these attributes point to nothing.
    unsafe { bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attributes) }?;
    Ok(())
}

/// Takes the program of a link off, whoever has the link open: `BPF_LINK_DETACH` (Linux 5.9). The
/// link of an interface that is gone is detached already.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = attributes();
    attributes.link_detach.link_fd = link.as_raw_fd().cast_unsigned();
    // SAFETY: these attributes point to nothing.
    match unsafe { bpf(bpf_cmd::BPF_LINK_DETACH, &mut attributes) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOLINK) => Err(error),
        _ => Ok(()),
    }
}

/// Gives something a name in a bpffs: `BPF_OBJ_PIN` (Linux 4.4).
pub(super) fn pin(object: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let mut attributes = attributes();
    attributes.__bindgen_anon_4.pathname = pointer(path.as_ptr());
    attributes.__bindgen_anon_4.bpf_fd = object.as_raw_fd().cast_unsigned();
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf(bpf_cmd::BPF_OBJ_PIN, &mut attributes) }?;
    Ok(())
}

/// Opens what has a name in a bpffs: `BPF_OBJ_GET` (Linux 4.4).
pub(super) fn get(path: &CStr) -> io::Result<OwnedFd> {
    let mut attributes = attributes();
    attributes.__bindgen_anon_4.pathname = pointer(path.as_ptr());
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe { bpf(bpf_cmd::BPF_OBJ_GET, &mut attributes) }?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns when every run of a program that was under way has ended.
///
/// Programs run inside a read side of RCU, and `membarrier` (Linux 4.3) waits for a grace period
/// of it. Where it does not do that (`nohz_full`), a pause that no program is as long as.
pub(super) fn wait_for_programs() {
    // SAFETY: the call takes numbers and touches no memory.
    let waited = unsafe {
        libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0 as libc::c_int, 0)
    };
    if waited != 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs so many frames through an XDP program, as if they came in on the interface, and sends what
/// it transmits: `BPF_PROG_TEST_RUN` with live frames (Linux 5.18). The frames have 64 bytes and
/// room to grow. A signal ends it early, with `EINTR`.
///
/// `aya` calls again after a signal.
pub(super) fn run_live(
    program: BorrowedFd<'_>,
    interface: u32,
    frames: u32,
    batch: u32,
) -> io::Result<()> {
    let frame = [0u8; 64];
    // `struct xdp_md`: where the packet begins and ends, its metadata, where it came in.
    let context = [0, frame.len() as u32, 0, interface, 0, 0];
    let mut attributes = attributes();
    attributes.test.prog_fd = program.as_raw_fd().cast_unsigned();
    attributes.test.data_in = pointer(frame.as_ptr());
    attributes.test.data_size_in = frame.len() as u32;
    attributes.test.ctx_in = pointer(context.as_ptr());
    attributes.test.ctx_size_in = size_of_val(&context) as u32;
    attributes.test.repeat = frames;
    attributes.test.batch_size = batch;
    attributes.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    // SAFETY: the frame and the context have the sizes that are passed along, and outlive the call.
    unsafe { bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attributes) }.map(drop)
}

/// Entries asked for at once; more than one bucket of the kernel's table ever holds.
const BATCH: usize = 4096;

/// How many entries a hash map with keys and values of these sizes has, by
/// `BPF_MAP_LOOKUP_BATCH` (Linux 5.6, commit 057996380a42).
///
/// Going from key to key instead takes a system call an entry, and starts over wherever the key
/// just seen was evicted meanwhile: on a busy table it need not end.
pub(super) fn count(map: BorrowedFd<'_>, key: usize, value: usize) -> io::Result<u64> {
    // A hash map's place between two batches is the number of a bucket.
    let (mut from, mut to) = (None, 0u32);
    let mut keys = vec![0u8; BATCH * key];
    let mut values = vec![0u8; BATCH * value];
    let mut total = 0;
    loop {
        let mut attributes = attributes();
        attributes.batch.in_batch = from.as_ref().map_or(0, |from| pointer(from));
        attributes.batch.out_batch = pointer(&raw mut to);
        attributes.batch.keys = pointer(keys.as_mut_ptr());
        attributes.batch.values = pointer(values.as_mut_ptr());
        attributes.batch.count = BATCH as u32;
        attributes.batch.map_fd = map.as_raw_fd().cast_unsigned();
        // SAFETY: the buffers have room for as many entries as `count` says, of the sizes that
        // the map was made with; all that is pointed to outlives the call.
        let result = unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attributes) };
        // SAFETY: this part of the union was written above, and now by the kernel.
        let found = u64::from(unsafe { attributes.batch.count });
        match result {
            Ok(_) => total += found,
            // The table ends in this batch.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(total + found),
            Err(error) => return Err(error),
        }
        from = Some(to);
    }
}

fn pointer<T>(to: *const T) -> u64 {
    to.expose_provenance() as u64
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use aya::maps::{HashMap, Map, MapData};

    use super::*;

    #[test]
    #[ignore = "makes a map: needs CAP_BPF"]
    fn counts_more_than_one_batch() {
        let kind = aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_LRU_HASH;
        let data = aya_obj::Map::new_from_params(kind as u32, 36, 20, 20_000, 0);
        let data = MapData::create(data, "flows", None).expect("a map");
        let fd = data.fd().as_fd().try_clone_to_owned().expect("a descriptor");
        let map = Map::LruHashMap(data);
        let mut map = HashMap::<MapData, [u8; 36], [u8; 20]>::try_from(map).expect("its type");
        for (n, steps) in [(0u32, 0), (1, 1), (4096, 4095), (10_001, 5905)] {
            for i in n - steps..n {
                let mut key = [7; 36];
                key[..4].copy_from_slice(&i.to_ne_bytes());
                map.insert(key, [1; 20], 0).expect("an entry");
            }
            assert_eq!(count(fd.as_fd(), 36, 20).expect("a count"), u64::from(n));
        }
    }
}
