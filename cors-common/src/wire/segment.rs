//! Reading: a frame becomes a [`Segment`], or the reason why tier 1 leaves it alone.

use super::Frame;
use crate::exit::Exit;

/// An Ethernet header: two addresses and the type.
pub const ETH_LEN: usize = 14;
/// An 802.1Q or 802.1ad tag.
const VLAN_LEN: usize = 4;
/// The bits of a tag that are the VLAN's number.
const VLAN_ID: u16 = 0xfff;
/// An IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// An IPv6 header without extension headers.
pub const IPV6_LEN: usize = 40;
/// A TCP header without options.
pub const TCP_LEN: usize = 20;

/// `EtherType` of IPv4, as RFC 894 has it.
pub const ETH_P_IP: u16 = 0x0800;
/// `EtherType` of IPv6 (RFC 2464).
pub const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
pub(crate) const IPPROTO_TCP: u8 = 6;

/// TCP flags (RFC 9293 §3.1), the byte at offset 13 of the header.
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;
    /// ECN echo (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced (RFC 3168).
    pub const CWR: u8 = 0x80;

    /// What tells one kind of segment from another. PSH says nothing here, and ECE and CWR only
    /// matter with the kernel's congestion control.
    pub const KIND: u8 = SYN | ACK | FIN | RST | URG;
}

/// The version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// An IP address as 16 bytes in network order; IPv4 in its mapped form (RFC 4291 §2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Address(pub [u32; 4]);

impl Address {
    /// `::ffff:a.b.c.d` from four bytes in network order, as loaded.
    pub const fn v4(word: u32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), word])
    }

    /// 16 bytes of an IPv6 header.
    #[inline(always)]
    pub(crate) const fn at(ip: &[u8; IPV6_LEN], at: usize) -> Self {
        Self([ne32(ip, at), ne32(ip, at + 4), ne32(ip, at + 8), ne32(ip, at + 12)])
    }

    const fn is_unspecified(self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] == 0
    }

    const fn is_mapped(self) -> bool {
        self.0[0] | self.0[1] == 0 && self.0[2] == 0xffff_u32.to_be()
    }

    /// From bytes in network order.
    pub const fn from_bytes(b: [u8; 16]) -> Self {
        Self([
            u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
            u32::from_ne_bytes([b[8], b[9], b[10], b[11]]),
            u32::from_ne_bytes([b[12], b[13], b[14], b[15]]),
        ])
    }
}

/// A connection as the client's segments name it: the key of the flow map, 36 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Tuple {
    /// The client's address.
    pub client: Address,
    /// The protected address.
    pub server: Address,
    /// The client's port, network order.
    pub client_port: u16,
    /// The protected port, network order.
    pub server_port: u16,
}

const _: () = assert!(size_of::<Tuple>() == 36);

impl Tuple {
    /// Nobody's.
    pub const ZERO: Self =
        Self { client: Address([0; 4]), server: Address([0; 4]), client_port: 0, server_port: 0 };

    /// The same connection, of a segment that goes the other way.
    #[inline(always)]
    #[must_use]
    pub const fn returned(self) -> Self {
        Self {
            client: self.server,
            server: self.client,
            client_port: self.server_port,
            server_port: self.client_port,
        }
    }

    /// With the ports of a TCP header.
    #[inline(always)]
    pub(crate) const fn new(client: Address, server: Address, tcp: &[u8]) -> Self {
        Self {
            client,
            server,
            client_port: u16::from_ne_bytes([tcp[0], tcp[1]]),
            server_port: u16::from_ne_bytes([tcp[2], tcp[3]]),
        }
    }
}

/// A protected socket: the key of the map of those, 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Endpoint {
    /// The address.
    pub address: Address,
    /// The port, network order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

const _: () = assert!(size_of::<Endpoint>() == 20);

/// A TCP segment as far as tier 1 reads it. Offsets are from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Who talks to whom.
    pub tuple: Tuple,
    /// Which IP header it has.
    pub family: Family,
    /// Its tag, as in [`super::link::Vlan::tag`]; 0: none, or one that only says a priority.
    pub tag: u32,
    /// Where the IP header starts: 14, or 18 behind a tag.
    pub ip_at: usize,
    /// Where the TCP header starts.
    pub tcp_at: usize,
    /// Length of the TCP options, 0..=40, a multiple of 4.
    pub options_len: usize,
    /// Length of the payload by the IP header; a frame may be longer (padding) or lie.
    pub payload_len: usize,
    /// Sequence number of the first byte (or of SYN).
    pub seq: u32,
    /// Acknowledgement number; meaningless without ACK.
    pub ack: u32,
    /// The window field, not scaled.
    pub window: u16,
    /// See [`flags`].
    pub flags: u8,
}

impl Segment {
    /// Reads the headers of a frame.
    #[inline(always)]
    pub fn read<F: Frame + ?Sized>(frame: &F) -> Result<Self, Exit> {
        let mut tag = 0;
        let mut ip_at = ETH_LEN;
        let mut ethertype = load16(frame, ETH_LEN - 2)?;
        if ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD {
            let id = load16(frame, ETH_LEN)? & VLAN_ID;
            // Only of 802.1Q is id 0 no VLAN: a priority for the untagged network.
            if id != 0 || ethertype == ETH_P_8021AD {
                tag = (ethertype as u32) << 16 | id as u32;
            }
            ip_at += VLAN_LEN;
            ethertype = load16(frame, ETH_LEN - 2 + VLAN_LEN)?;
        }
        match ethertype {
            ETH_P_IP => Self::read_v4(frame, tag, ip_at),
            ETH_P_IPV6 => Self::read_v6(frame, tag, ip_at),
            // The hook behind the driver sees no IP header here and could hand nothing over.
            ETH_P_8021Q | ETH_P_8021AD => Err(Exit::TwoTags),
            _ => Err(Exit::NotIp),
        }
    }

    #[inline(always)]
    fn read_v4<F: Frame + ?Sized>(frame: &F, tag: u32, ip_at: usize) -> Result<Self, Exit> {
        let ip: [u8; IPV4_LEN] = frame.load(ip_at).ok_or(Exit::Truncated)?;
        if ip[0] >> 4 != 4 {
            return Err(Exit::NotIp);
        }
        if ip[0] != 0x45 {
            return Err(Exit::IpOptions);
        }
        if is_fragment(&ip) {
            return Err(Exit::Fragment);
        }
        if ip[9] != IPPROTO_TCP {
            return Err(Exit::NotTcp);
        }
        // `ip_rcv` drops it silently. (Of the TCP checksum nothing can be said here: on a virtual
        // cable it is only begun.)
        if !is_checksum_right(&ip) {
            return Err(Exit::BadChecksum);
        }
        // Neither the unspecified network nor a group or the broadcast address opens a connection
        // (RFC 1122 §3.2.1.3).
        if ip[12] == 0 || ip[12] >= 224 {
            return Err(Exit::BadAddress);
        }
        let total = usize::from(be16(&ip, 2));
        let client = Address::v4(ne32(&ip, 12));
        let server = Address::v4(ne32(&ip, 16));
        let l4_len = total.checked_sub(IPV4_LEN).ok_or(Exit::BadLength)?;
        let network = Network { family: Family::V4, tag, ip_at, client, server };
        Self::read_tcp(frame, network, ip_at + IPV4_LEN, l4_len)
    }

    #[inline(always)]
    fn read_v6<F: Frame + ?Sized>(frame: &F, tag: u32, ip_at: usize) -> Result<Self, Exit> {
        let ip: [u8; IPV6_LEN] = frame.load(ip_at).ok_or(Exit::Truncated)?;
        if ip[0] >> 4 != 6 {
            return Err(Exit::NotIp);
        }
        if ip[6] != IPPROTO_TCP {
            return Err(Exit::NotTcp);
        }
        let l4_len = usize::from(be16(&ip, 4));
        let (client, server) = (Address::at(&ip, 8), Address::at(&ip, 24));
        // A mapped address would be taken for the IPv4 address in it; it never is on a wire.
        if ip[8] == 0xff || client.is_unspecified() || client.is_mapped() || server.is_mapped() {
            return Err(Exit::BadAddress);
        }
        let network = Network { family: Family::V6, tag, ip_at, client, server };
        Self::read_tcp(frame, network, ip_at + IPV6_LEN, l4_len)
    }

    #[inline(always)]
    fn read_tcp<F: Frame + ?Sized>(
        frame: &F,
        network: Network,
        tcp_at: usize,
        l4_len: usize,
    ) -> Result<Self, Exit> {
        let Network { family, tag, ip_at, client, server } = network;
        let tcp: [u8; TCP_LEN] = frame.load(tcp_at).ok_or(Exit::Truncated)?;
        let header_len = usize::from(tcp[12] >> 4) * 4;
        if header_len < TCP_LEN || l4_len < header_len {
            return Err(Exit::BadLength);
        }
        Ok(Self {
            tuple: Tuple::new(client, server, &tcp),
            family,
            tag,
            ip_at,
            tcp_at,
            options_len: header_len - TCP_LEN,
            payload_len: l4_len - header_len,
            seq: u32::from_be(ne32(&tcp, 4)),
            ack: u32::from_be(ne32(&tcp, 8)),
            window: be16(&tcp, 14),
            flags: tcp[13],
        })
    }

    /// Where the TCP options start.
    pub const fn options_at(&self) -> usize {
        self.tcp_at + TCP_LEN
    }

    /// Where the payload starts.
    pub const fn payload_at(&self) -> usize {
        self.tcp_at + TCP_LEN + self.options_len
    }

    /// The socket that it is for.
    pub const fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.tuple.server, port: self.tuple.server_port, pad: 0 }
    }

    /// Whether all of `mask` is set.
    pub const fn has(&self, mask: u8) -> bool {
        self.flags & mask == mask
    }
}

/// What is known when the IP header has been read.
#[derive(Clone, Copy)]
struct Network {
    family: Family,
    tag: u32,
    ip_at: usize,
    client: Address,
    server: Address,
}

/// More Fragments, or an offset. Don't Fragment is fine.
#[inline(always)]
pub(crate) const fn is_fragment(ip: &[u8; IPV4_LEN]) -> bool {
    ip[6] & 0x3f != 0 || ip[7] != 0
}

/// RFC 1071: with the checksum in its place, the sum of a header is all ones.
#[inline(always)]
const fn is_checksum_right(ip: &[u8; IPV4_LEN]) -> bool {
    let mut sum = 0u64;
    let mut at = 0;
    while at < IPV4_LEN {
        sum += ne32(ip, at) as u64;
        at += 4;
    }
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

#[inline(always)]
fn load16<F: Frame + ?Sized>(frame: &F, at: usize) -> Result<u16, Exit> {
    frame.load(at).map(u16::from_be_bytes).ok_or(Exit::Truncated)
}

#[inline(always)]
const fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
pub(crate) const fn ne32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
impl Segment {
    /// An acknowledgement over IPv4, for tests.
    pub(crate) const EXAMPLE: Self = Self {
        tuple: Tuple {
            client: Address::v4(u32::from_ne_bytes([10, 0, 0, 2])),
            server: Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
            client_port: 40_000u16.to_be(),
            server_port: 80u16.to_be(),
        },
        family: Family::V4,
        tag: 0,
        ip_at: 14,
        tcp_at: 34,
        options_len: 0,
        payload_len: 0,
        seq: 1000,
        ack: 2000,
        window: 512,
        flags: flags::ACK,
    };
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn syn_v4() -> Vec<u8> {
        let mut frame = Vec::from([0u8; 12]);
        frame.extend([0x08, 0x00]);
        frame.extend([0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0x26, 0xca, 10, 0, 0, 2, 10, 0, 0, 1]);
        frame.extend([0xc0, 0x01, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, 0x02, 0xff, 0xff]);
        frame.extend([0, 0, 0, 0, 2, 4, 5, 0xb4]);
        frame
    }

    #[test]
    fn reads_an_ipv4_syn() {
        let segment = Segment::read(&syn_v4()[..]).expect("a segment");
        assert_eq!(segment.family, Family::V4);
        assert_eq!((segment.ip_at, segment.tcp_at, segment.options_at()), (14, 34, 54));
        assert_eq!((segment.options_len, segment.payload_len), (4, 0));
        assert_eq!(segment.seq, 0x0102_0304);
        assert_eq!(segment.flags, flags::SYN);
        assert_eq!(segment.tuple.client_port, 0xc001u16.to_be());
        assert_eq!(segment.tuple.client, Address::v4(u32::from_ne_bytes([10, 0, 0, 2])));
        assert_eq!(
            segment.endpoint().address,
            Address::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1])
        );
    }

    #[test]
    fn reads_behind_one_tag_but_not_two() {
        let tagged = |tags: &[[u8; 4]]| {
            let mut frame = syn_v4();
            frame.splice(12..12, tags.concat());
            Segment::read(&frame[..]).map(|segment| (segment.ip_at, segment.tag))
        };
        assert_eq!(tagged(&[]), Ok((14, 0)));
        assert_eq!(tagged(&[[0x81, 0, 0x30, 7]]), Ok((18, 0x8100_0007)));
        assert_eq!(tagged(&[[0x88, 0xa8, 0, 7]]), Ok((18, 0x88a8_0007)));
        // A priority, and no VLAN.
        assert_eq!(tagged(&[[0x81, 0, 0xe0, 0]]), Ok((18, 0)));
        assert_eq!(tagged(&[[0x88, 0xa8, 0, 0]]), Ok((18, 0x88a8_0000)));
        for outer in [[0x81, 0, 0, 7], [0x88, 0xa8, 0, 7]] {
            assert_eq!(tagged(&[outer, [0x81, 0, 0, 8]]), Err(Exit::TwoTags));
        }
    }

    #[test]
    fn no_connection_comes_from_a_group_or_from_nowhere() {
        for (first, refused) in [(0, true), (223, false), (224, true), (239, true), (255, true)] {
            let mut frame = syn_v4();
            frame[26] = first;
            right_checksum(&mut frame);
            let read = Segment::read(&frame[..]).map(|_| ());
            assert_eq!(read, if refused { Err(Exit::BadAddress) } else { Ok(()) }, "{first}");
        }
        let v6 = |client: [u8; 16], server: [u8; 16]| {
            let mut frame = Vec::from([0u8; 12]);
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame.extend(client);
            frame.extend(server);
            frame.extend([0xc0, 0x01, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 0x02]);
            frame.extend([0xff, 0xff, 0, 0, 0, 0]);
            Segment::read(&frame[..]).map(|segment| segment.window)
        };
        let plain = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
        let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(v6(plain, plain), Ok(0xffff));
        for (client, server) in [(mapped, plain), (plain, mapped), (group, plain), ([0; 16], plain)]
        {
            assert_eq!(v6(client, server), Err(Exit::BadAddress));
        }
    }

    fn right_checksum(frame: &mut [u8]) {
        frame[24..26].copy_from_slice(&[0; 2]);
        let words = frame[14..34].chunks(2).map(|b| u32::from(u16::from_be_bytes([b[0], b[1]])));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        frame[24..26].copy_from_slice(&(!sum as u16).to_be_bytes());
    }

    #[test]
    fn every_flipped_bit_of_an_ipv4_header_is_noticed() {
        for bit in 0..20 * 8 {
            let mut frame = syn_v4();
            frame[14 + bit / 8] ^= 1 << (bit % 8);
            assert!(Segment::read(&frame[..]).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        let frame = syn_v4();
        for len in 0..54 {
            assert_eq!(Segment::read(&frame[..len]), Err(Exit::Truncated), "{len} bytes");
        }
        // The options are read later, and only where they matter.
        assert!(Segment::read(&frame[..54]).is_ok());
    }

    #[test]
    fn one_broken_field_at_a_time() {
        let broken = |at: usize, value: u8| {
            let mut frame = syn_v4();
            frame[at] = value;
            right_checksum(&mut frame);
            Segment::read(&frame[..]).expect_err("refused")
        };
        assert_eq!(broken(13, 0x06), Exit::NotIp); // ARP
        assert_eq!(broken(14, 0x65), Exit::NotIp); // version
        assert_eq!(broken(14, 0x46), Exit::IpOptions);
        assert_eq!(broken(20, 0x20), Exit::Fragment); // more fragments
        assert_eq!(broken(21, 0x01), Exit::Fragment); // offset
        assert_eq!(broken(23, 17), Exit::NotTcp);
        assert_eq!(broken(17, 19), Exit::BadLength); // total length below the header
        assert_eq!(broken(17, 43), Exit::BadLength); // below the TCP header with its options
        assert_eq!(broken(46, 0x40), Exit::BadLength); // data offset 4
    }
}
