//! TCP segments as bytes on the wire: built from a description, and read back into one.

use std::net::IpAddr;

use crate::tap::Mac;

/// TCP flags.
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push function.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const TCP: u8 = 6;

/// A TCP segment with what carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Ethernet addresses.
    pub src_mac: Mac,
    /// See `src_mac`.
    pub dst_mac: Mac,
    /// 802.1Q tags (TCI), the outermost first.
    pub vlans: Vec<u16>,
    /// The sender.
    pub src: IpAddr,
    /// The receiver.
    pub dst: IpAddr,
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// IPv4 time to live or IPv6 hop limit.
    pub ttl: u8,
    /// Sequence number of the first byte (or of SYN).
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// See [`flags`].
    pub flags: u8,
    /// The window as it is in the header, not scaled.
    pub window: u16,
    /// TCP options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// The data.
    pub payload: Vec<u8>,
}

impl Segment {
    /// Whether all these flags are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// How far it moves the sequence number.
    pub fn sequence_length(&self) -> u32 {
        let data = u32::try_from(self.payload.len()).expect("a frame's length");
        data + u32::from(self.has(flags::SYN)) + u32::from(self.has(flags::FIN))
    }

    /// The content of the option of this kind.
    pub fn option(&self, kind: u8) -> Option<&[u8]> {
        let mut rest = self.options.as_slice();
        loop {
            match rest {
                [] | [0, ..] => return None,
                [1, tail @ ..] => rest = tail,
                [found, length, ..] => {
                    let option = rest.get(2..usize::from(*length))?;
                    if *found == kind {
                        return Some(option);
                    }
                    rest = &rest[usize::from(*length)..];
                }
                [_] => return None,
            }
        }
    }

    /// The maximum segment size option.
    pub fn mss(&self) -> Option<u16> {
        self.option(2).map(|value| u16::from_be_bytes(value.try_into().expect("two bytes")))
    }

    /// The window scale option.
    pub fn window_scale(&self) -> Option<u8> {
        self.option(3).map(|value| value[0])
    }

    /// Whether SACK is permitted.
    pub fn sack_permitted(&self) -> bool {
        self.option(4).is_some()
    }

    /// The frame, with correct lengths and checksums.
    pub fn frame(&self) -> Vec<u8> {
        let tcp = self.tcp();
        let mut frame = Vec::with_capacity(64 + tcp.len());
        frame.extend(self.dst_mac);
        frame.extend(self.src_mac);
        for tci in &self.vlans {
            frame.extend(ETHERTYPE_VLAN.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        let length = u16::try_from(tcp.len()).expect("a segment's length");
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                frame.extend(ETHERTYPE_IPV4.to_be_bytes());
                let mut ip = [0; 20];
                ip[0] = 0x45;
                ip[2..4].copy_from_slice(&(length + 20).to_be_bytes());
                ip[6] = 0x40; // do not fragment
                ip[8] = self.ttl;
                ip[9] = TCP;
                ip[12..16].copy_from_slice(&src.octets());
                ip[16..20].copy_from_slice(&dst.octets());
                let sum = checksum(&[&ip]);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend(ip);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                frame.extend(ETHERTYPE_IPV6.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([TCP, self.ttl]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            _ => panic!("addresses of two families in one packet"),
        }
        frame.extend(tcp);
        frame
    }

    fn tcp(&self) -> Vec<u8> {
        assert!(self.options.len().is_multiple_of(4), "options are not padded");
        let words = u8::try_from(5 + self.options.len() / 4).expect("at most 40 bytes of options");
        let mut tcp = Vec::with_capacity(60 + self.payload.len());
        tcp.extend(self.src_port.to_be_bytes());
        tcp.extend(self.dst_port.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([words << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]); // checksum, urgent pointer
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let sum = checksum(&[&pseudo_header(self.src, self.dst, tcp.len()), &tcp]);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        tcp
    }
}

/// A frame that was received.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it says.
    pub segment: Segment,
    /// Whether the IP header's and the segment's checksum are right.
    pub checksums_hold: bool,
}

/// Reads a frame; nothing where it is no TCP segment or is cut short.
pub fn parse(frame: &[u8]) -> Option<Parsed> {
    let (ethernet, mut rest) = frame.split_at_checked(12)?;
    let mut vlans = Vec::new();
    let ethertype = loop {
        let ethertype = take_u16(&mut rest)?;
        if ethertype != ETHERTYPE_VLAN {
            break ethertype;
        }
        vlans.push(take_u16(&mut rest)?);
    };
    let (src, dst, ttl, tcp, ip_holds) = match ethertype {
        ETHERTYPE_IPV4 => parse_ipv4(rest)?,
        ETHERTYPE_IPV6 => parse_ipv6(rest)?,
        _ => return None,
    };
    let header_length = usize::from(tcp.get(12)? >> 4) * 4;
    let (header, payload) = tcp.split_at_checked(header_length)?;
    let u16_at = |at: usize| Some(u16::from_be_bytes(header.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let tcp_holds = checksum(&[&pseudo_header(src, dst, tcp.len()), tcp]) == 0;
    let segment = Segment {
        dst_mac: ethernet[..6].try_into().ok()?,
        src_mac: ethernet[6..].try_into().ok()?,
        vlans,
        src,
        dst,
        src_port: u16_at(0)?,
        dst_port: u16_at(2)?,
        ttl,
        seq: u32_at(4)?,
        ack: u32_at(8)?,
        flags: *header.get(13)?,
        window: u16_at(14)?,
        options: header.get(20..)?.to_vec(),
        payload: payload.to_vec(),
    };
    Some(Parsed { segment, checksums_hold: ip_holds && tcp_holds })
}

type Carried<'a> = (IpAddr, IpAddr, u8, &'a [u8], bool);

fn parse_ipv4(packet: &[u8]) -> Option<Carried<'_>> {
    let header = packet.get(..20)?;
    if header[0] != 0x45 || header[9] != TCP {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let src: [u8; 4] = header[12..16].try_into().ok()?;
    let dst: [u8; 4] = header[16..20].try_into().ok()?;
    let holds = checksum(&[header]) == 0;
    // The Ethernet frame may be padded.
    Some((src.into(), dst.into(), header[8], packet.get(20..length)?, holds))
}

fn parse_ipv6(packet: &[u8]) -> Option<Carried<'_>> {
    let header = packet.get(..40)?;
    if header[6] != TCP {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let src: [u8; 16] = header[8..24].try_into().ok()?;
    let dst: [u8; 16] = header[24..40].try_into().ok()?;
    Some((src.into(), dst.into(), header[7], packet.get(40..40 + length)?, true))
}

fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u16::from_be_bytes(*value))
}

/// RFC 9293 §3.1 and RFC 8200 §8.1: what the TCP checksum covers besides the segment.
fn pseudo_header(src: IpAddr, dst: IpAddr, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).expect("a segment's length").to_be_bytes();
    let mut header = Vec::with_capacity(40);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            header.extend(src.octets());
            header.extend(dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            header.extend(src.octets());
            header.extend(dst.octets());
        }
        _ => panic!("addresses of two families in one packet"),
    }
    // The fields have other widths in the two versions, and the same sum.
    header.extend([0, 0, 0, TCP]);
    header.extend(length);
    header
}

/// The Internet checksum (RFC 1071) of parts of which all but the last have even lengths.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("sixteen bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    #[test]
    fn reads_back_what_it_builds() {
        for family in [Family::V4, Family::V6] {
            for vlans in [vec![], vec![7], vec![5, 6]] {
                for payload in [&b""[..], b"odd", b"even"] {
                    let segment = Segment {
                        src_mac: [2, 0, 0, 0, 0, 1],
                        dst_mac: [2, 0, 0, 0, 0, 2],
                        vlans: vlans.clone(),
                        src: family.address(0, 2),
                        dst: family.address(0, 1),
                        src_port: 40_000,
                        dst_port: 80,
                        ttl: 64,
                        seq: 1,
                        ack: 0xffff_ffff,
                        flags: flags::SYN | flags::ACK,
                        window: 65_535,
                        options: vec![2, 4, 5, 0xb4, 1, 3, 3, 7],
                        payload: payload.to_vec(),
                    };
                    let mut frame = segment.frame();
                    let parsed = parse(&frame).expect("a segment");
                    assert!(parsed.checksums_hold);
                    assert_eq!(parsed.segment, segment);
                    assert_eq!(parsed.segment.mss(), Some(1460));
                    assert_eq!(parsed.segment.window_scale(), Some(7));
                    assert!(!parsed.segment.sack_permitted());

                    *frame.last_mut().expect("a byte") ^= 1;
                    assert!(!parse(&frame).expect("a segment").checksums_hold);
                }
            }
        }
    }
}
