//! TCP over IP over Ethernet, read and written by code of this crate's own.
//!
//! What the driver writes is read here with other eyes: both checksums are verified whenever a
//! frame is read, so a frame that was changed on its way and not put right again is noticed at
//! once.

use cors_common::{
    checksum::Sum,
    wire::segment::{Address, Family, Tuple},
};

/// Flags of a TCP header.
pub mod flag {
    /// FIN
    pub const FIN: u8 = 1;
    /// SYN
    pub const SYN: u8 = 2;
    /// RST
    pub const RST: u8 = 4;
    /// PSH
    pub const PSH: u8 = 8;
    /// ACK
    pub const ACK: u8 = 16;
}

/// The link layer's addresses, which tell the two directions apart.
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Every client's.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const ETH_LEN: usize = 14;

/// A TCP segment, and who sends it to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The connection, as the client's segments name it.
    pub tuple: Tuple,
    /// Which IP header it has.
    pub family: Family,
    /// From the client to the server.
    pub up: bool,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// See [`flag`].
    pub flags: u8,
    /// The window field, not scaled.
    pub window: u16,
    /// TCP options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Bytes of the sequence space that it takes.
    pub fn len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN))
    }

    /// Whether it takes none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence number behind it.
    pub fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len())
    }

    /// Whether all of `mask` is set.
    pub const fn has(&self, mask: u8) -> bool {
        self.flags & mask == mask
    }

    /// Reads an Ethernet frame; says what is wrong with one that is not as it must be.
    pub fn read(frame: &[u8]) -> Result<Self, &'static str> {
        let up = frame.get(..6).ok_or("no Ethernet header")? == SERVER_MAC;
        Self::read_ip(frame.get(ETH_LEN..).ok_or("no Ethernet header")?, up)
    }

    /// Reads from the IP header on.
    pub fn read_ip(ip: &[u8], up: bool) -> Result<Self, &'static str> {
        let (family, source, destination, tcp) = match ip.first().map(|first| first >> 4) {
            Some(4) => {
                let header = ip.get(..20).ok_or("a short IPv4 header")?;
                if Sum::of(header).fold() != 0xffff {
                    return Err("a wrong checksum of the IPv4 header");
                }
                let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
                let v4 = |at: usize| Address::v4(u32::from_ne_bytes(array(&ip[at..])));
                (Family::V4, v4(12), v4(16), ip.get(20..total).ok_or("a wrong IPv4 length")?)
            }
            Some(6) => {
                ip.get(..40).ok_or("a short IPv6 header")?;
                let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
                let v6 = |at: usize| Address::from_bytes(array(&ip[at..]));
                (Family::V6, v6(8), v6(24), ip.get(40..40 + len).ok_or("a wrong IPv6 length")?)
            }
            _ => return Err("no IP packet"),
        };
        let header_len = usize::from(tcp.get(12).ok_or("a short TCP header")? >> 4) * 4;
        let options = tcp.get(20..header_len).ok_or("a wrong TCP header length")?;
        if pseudo_sum(&source, &destination, tcp.len()).add(sum(tcp)).fold() != 0xffff {
            return Err("a wrong TCP checksum");
        }
        let port = |at: usize| u16::from_ne_bytes([tcp[at], tcp[at + 1]]);
        let tuple = if up {
            Tuple {
                client: source,
                server: destination,
                client_port: port(0),
                server_port: port(2),
            }
        } else {
            Tuple {
                client: destination,
                server: source,
                client_port: port(2),
                server_port: port(0),
            }
        };
        Ok(Self {
            tuple,
            family,
            up,
            seq: u32::from_be_bytes(array(&tcp[4..])),
            ack: u32::from_be_bytes(array(&tcp[8..])),
            flags: tcp[13],
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            options: options.to_vec(),
            payload: tcp[header_len..].to_vec(),
        })
    }

    /// The Ethernet frame, with full checksums.
    pub fn frame(&self) -> Vec<u8> {
        let tcp_len = 20 + self.options.len() + self.payload.len();
        let mut frame = Vec::with_capacity(ETH_LEN + 40 + tcp_len);
        let (to, from) = if self.up { (SERVER_MAC, CLIENT_MAC) } else { (CLIENT_MAC, SERVER_MAC) };
        frame.extend(to);
        frame.extend(from);
        let Tuple { client, server, client_port, server_port } = &self.tuple;
        let (source, destination, from_port, to_port) = if self.up {
            (client, server, client_port, server_port)
        } else {
            (server, client, server_port, client_port)
        };
        match self.family {
            Family::V4 => {
                frame.extend([0x08, 0x00, 0x45, 0]);
                frame.extend((20 + tcp_len as u16).to_be_bytes());
                frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
                frame.extend(source.0[3].to_ne_bytes());
                frame.extend(destination.0[3].to_ne_bytes());
                let sum = Sum::of(&frame[ETH_LEN..]).finish();
                frame[ETH_LEN + 10..ETH_LEN + 12].copy_from_slice(&sum.to_le_bytes());
            }
            Family::V6 => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((tcp_len as u16).to_be_bytes());
                frame.extend([6, 64]);
                frame.extend(bytemuck::bytes_of(source));
                frame.extend(bytemuck::bytes_of(destination));
            }
        }
        let at = frame.len();
        frame.extend(from_port.to_ne_bytes());
        frame.extend(to_port.to_ne_bytes());
        frame.extend(self.seq.to_be_bytes());
        frame.extend(self.ack.to_be_bytes());
        frame.extend([((20 + self.options.len()) << 2) as u8, self.flags]);
        frame.extend(self.window.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(&self.options);
        frame.extend(&self.payload);
        let sum = pseudo_sum(source, destination, tcp_len).add(sum(&frame[at..])).finish();
        frame[at + 16..at + 18].copy_from_slice(&sum.to_le_bytes());
        frame
    }

    /// In segments of at most `len` bytes of payload, as an interface cuts them: what is at the end
    /// (PSH, FIN) is in the last one.
    pub fn split(self, len: usize) -> Vec<Self> {
        if self.payload.len() <= len {
            return vec![self];
        }
        let last = self.payload.chunks(len).count() - 1;
        let piece = |(i, payload): (usize, &[u8])| Self {
            seq: self.seq.wrapping_add((i * len) as u32),
            flags: if i == last { self.flags } else { self.flags & !(flag::FIN | flag::PSH) },
            options: self.options.clone(),
            payload: payload.to_vec(),
            ..self
        };
        self.payload.chunks(len).enumerate().map(piece).collect()
    }

    /// Takes up the segment that follows, where an interface may join the two.
    pub fn join(&mut self, next: &Self) -> bool {
        let joins = self.tuple == next.tuple
            && self.end() == next.seq
            && self.ack == next.ack
            && self.flags == flag::ACK
            && next.flags & !(flag::FIN | flag::PSH) == flag::ACK
            && self.options == next.options
            && !self.payload.is_empty()
            && !next.payload.is_empty()
            && self.payload.len() + next.payload.len() < 60_000;
        if joins {
            self.payload.extend_from_slice(&next.payload);
            self.flags = next.flags;
            self.window = next.window;
        }
        joins
    }

    /// The options, one after the other: kind and what follows its length.
    pub fn each_option(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = &self.options[..];
        std::iter::from_fn(move || {
            loop {
                match *rest {
                    [1, ..] => rest = &rest[1..],
                    [kind, len, ..] if kind != 0 && len >= 2 && usize::from(len) <= rest.len() => {
                        let (option, behind) = rest.split_at(usize::from(len));
                        rest = behind;
                        return Some((kind, &option[2..]));
                    }
                    _ => return None,
                }
            }
        })
    }

    /// The blocks of a SACK option (RFC 2018).
    pub fn sack_blocks(&self) -> Vec<(u32, u32)> {
        let number = |b: &[u8]| u32::from_be_bytes(array(b));
        self.each_option()
            .filter(|(kind, _)| *kind == 5)
            .flat_map(|(_, data)| data.chunks_exact(8))
            .map(|block| (number(block), number(&block[4..])))
            .collect()
    }

    /// The timestamps (RFC 7323): value and echo.
    pub fn timestamps(&self) -> Option<(u32, u32)> {
        let number = |b: &[u8]| u32::from_be_bytes(array(b));
        self.each_option()
            .find(|(kind, data)| *kind == 8 && data.len() == 8)
            .map(|(_, data)| (number(data), number(&data[4..])))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

/// The same as [`Sum::of`], eight bytes at a time.
fn sum(bytes: &[u8]) -> Sum {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(Sum::ZERO, |sum, word| sum.word(u64::from_le_bytes(*word)));
    words.add(Sum::of(rest))
}

fn pseudo_sum(source: &Address, destination: &Address, tcp_len: usize) -> Sum {
    // The mapped prefix of an IPv4 address sums up to 0xffff, which is zero.
    let addresses = sum(bytemuck::bytes_of(source)).add(sum(bytemuck::bytes_of(destination)));
    addresses.add(Sum::of(&[0, 6, (tcp_len >> 8) as u8, tcp_len as u8]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn packet(family: Family, payload: &[u8]) -> Packet {
        let (client, server) = match family {
            Family::V4 => (
                Address::v4(u32::from_ne_bytes([10, 0, 0, 2])),
                Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
            ),
            Family::V6 => (Address::from_bytes([0xfd; 16]), Address::from_bytes([0x20; 16])),
        };
        Packet {
            tuple: Tuple { client, server, client_port: 5, server_port: 80 },
            family,
            up: true,
            seq: u32::MAX - 2,
            ack: 7,
            flags: flag::ACK | flag::PSH,
            window: 512,
            options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_flipped_bit_is_noticed() {
        for family in [Family::V4, Family::V6] {
            let packet = packet(family, b"an odd payload!");
            let frame = packet.frame();
            assert_eq!(Packet::read(&frame), Ok(packet.clone()));
            assert_eq!(packet.timestamps(), Some((1, 2)));
            for at in ETH_LEN + 40..frame.len() {
                let mut other = frame.clone();
                other[at] ^= 4;
                assert!(Packet::read(&other).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn what_is_cut_joins_again() {
        let whole = packet(Family::V4, b"0123456789");
        let pieces = whole.clone().split(4);
        assert_eq!(pieces.iter().map(|p| p.seq).collect::<Vec<_>>(), [u32::MAX - 2, 1, 5]);
        assert_eq!(pieces[0].flags, flag::ACK);
        let mut joined = pieces[0].clone();
        assert!(joined.join(&pieces[1]) && joined.join(&pieces[2]));
        assert_eq!(joined, whole);
        // Nothing joins behind a PSH.
        assert!(!joined.join(&Packet { seq: 7, ..whole }));
    }
}
