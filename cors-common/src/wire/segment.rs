//! Reading: a frame becomes a [`Segment`], or the reason why tier 1 leaves it alone.

use super::Frame;
use crate::exit::Exit;

/// An Ethernet header: two addresses and the type.
pub const ETH_LEN: usize = 14;
/// An 802.1Q or 802.1ad tag.
const VLAN_LEN: usize = 4;
/// An IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// An IPv6 header without extension headers.
pub const IPV6_LEN: usize = 40;
/// A TCP header without options.
pub const TCP_LEN: usize = 20;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
const IPPROTO_TCP: u8 = 6;

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
}

/// The version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub struct Segment {
    /// Who talks to whom.
    pub tuple: Tuple,
    /// Which IP header it has.
    pub family: Family,
    /// Where the IP header starts: 14, 18 or 22.
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
    /// See [`flags`].
    pub flags: u8,
}

impl Segment {
    /// Reads the headers of a frame.
    #[inline(always)]
    pub fn read<F: Frame + ?Sized>(frame: &F) -> Result<Self, Exit> {
        let (ethertype, ip_at) = ether_type(frame)?;
        match ethertype {
            ETH_P_IP => Self::read_v4(frame, ip_at),
            ETH_P_IPV6 => Self::read_v6(frame, ip_at),
            _ => Err(Exit::NotIp),
        }
    }

    #[inline(always)]
    fn read_v4<F: Frame + ?Sized>(frame: &F, ip_at: usize) -> Result<Self, Exit> {
        let ip: [u8; IPV4_LEN] = frame.load(ip_at).ok_or(Exit::Truncated)?;
        if ip[0] >> 4 != 4 {
            return Err(Exit::NotIp);
        }
        if ip[0] != 0x45 {
            return Err(Exit::IpOptions);
        }
        // More Fragments, or an offset. Don't Fragment is fine.
        if ip[6] & 0x3f != 0 || ip[7] != 0 {
            return Err(Exit::Fragment);
        }
        if ip[9] != IPPROTO_TCP {
            return Err(Exit::NotTcp);
        }
        let total = usize::from(be16(&ip, 2));
        let client = Address::v4(ne32(&ip, 12));
        let server = Address::v4(ne32(&ip, 16));
        let l4_len = total.checked_sub(IPV4_LEN).ok_or(Exit::BadLength)?;
        Self::read_tcp(frame, Family::V4, ip_at, ip_at + IPV4_LEN, l4_len, client, server)
    }

    #[inline(always)]
    fn read_v6<F: Frame + ?Sized>(frame: &F, ip_at: usize) -> Result<Self, Exit> {
        let ip: [u8; IPV6_LEN] = frame.load(ip_at).ok_or(Exit::Truncated)?;
        if ip[0] >> 4 != 6 {
            return Err(Exit::NotIp);
        }
        if ip[6] != IPPROTO_TCP {
            return Err(Exit::NotTcp);
        }
        let l4_len = usize::from(be16(&ip, 4));
        let client = Address([ne32(&ip, 8), ne32(&ip, 12), ne32(&ip, 16), ne32(&ip, 20)]);
        let server = Address([ne32(&ip, 24), ne32(&ip, 28), ne32(&ip, 32), ne32(&ip, 36)]);
        Self::read_tcp(frame, Family::V6, ip_at, ip_at + IPV6_LEN, l4_len, client, server)
    }

    #[inline(always)]
    fn read_tcp<F: Frame + ?Sized>(
        frame: &F,
        family: Family,
        ip_at: usize,
        tcp_at: usize,
        l4_len: usize,
        client: Address,
        server: Address,
    ) -> Result<Self, Exit> {
        let tcp: [u8; TCP_LEN] = frame.load(tcp_at).ok_or(Exit::Truncated)?;
        let header_len = usize::from(tcp[12] >> 4) * 4;
        if header_len < TCP_LEN || l4_len < header_len {
            return Err(Exit::BadLength);
        }
        Ok(Self {
            tuple: Tuple {
                client,
                server,
                client_port: u16::from_ne_bytes([tcp[0], tcp[1]]),
                server_port: u16::from_ne_bytes([tcp[2], tcp[3]]),
            },
            family,
            ip_at,
            tcp_at,
            options_len: header_len - TCP_LEN,
            payload_len: l4_len - header_len,
            seq: u32::from_be(ne32(&tcp, 4)),
            ack: u32::from_be(ne32(&tcp, 8)),
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

/// The type behind up to two VLAN tags, and where the network header starts.
#[inline(always)]
fn ether_type<F: Frame + ?Sized>(frame: &F) -> Result<(u16, usize), Exit> {
    let mut at = ETH_LEN - 2;
    let mut ethertype = load16(frame, at)?;
    for _ in 0..2 {
        if ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD {
            break;
        }
        at += VLAN_LEN;
        ethertype = load16(frame, at)?;
    }
    Ok((ethertype, at + 2))
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
const fn ne32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn syn_v4() -> Vec<u8> {
        let mut frame = Vec::from([0u8; 12]);
        frame.extend([0x08, 0x00]);
        frame.extend([0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
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
    fn reads_behind_one_and_two_tags_but_not_three() {
        for tags in 0..=3usize {
            let mut frame = syn_v4();
            for _ in 0..tags {
                frame.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
            }
            let read = Segment::read(&frame[..]);
            if tags == 3 {
                assert_eq!(read, Err(Exit::NotIp));
            } else {
                assert_eq!(read.expect("a segment").ip_at, 14 + 4 * tags);
            }
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
