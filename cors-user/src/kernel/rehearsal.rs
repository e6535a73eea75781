//! Golden requests through the kernel program, against a policy that nobody is answered by yet.
//!
//! A second instance of `edge` shares the maps of the policy with the one that is attached and has
//! all others to itself: state, connections, counters. There the new half can be in use already.
//! It is the same code over the same bytes, and a packet of the network never meets it. Each
//! request is a connection of its own, from the SYN on, by `BPF_PROG_TEST_RUN`: the listener that
//! the handshake looks for is one of the rehearsal's own on the loopback, where nobody else is
//! told of it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use aya::{
    Ebpf, TestRun as _, TestRunOptions, VerifierLogLevel,
    programs::{Program, ProgramError},
};
use cors_common::{
    checksum::Sum,
    cookie::Keys,
    exit::Exit,
    head::Head,
    state::{DATE_LEN, Date, Slot, State},
};
use thiserror::Error;

use super::{
    LoadError, MapsError,
    bench::GROWTH,
    descriptors::Descriptors,
    maps::{Counters, Interfaces, Protected},
    object::{self, Sizes, program},
    policy::Prepared,
    shared::{Shared, SharedError},
    state::StateWords,
};
use crate::compile::{
    Image,
    golden::{Expected, Golden},
    render,
};

/// Why a policy is not put in use.
#[derive(Debug, Error)]
pub enum RehearsalError {
    /// The second instance cannot be loaded.
    #[error("the rehearsal cannot be loaded: {0}")]
    Load(#[from] LoadError),
    /// A map of its own.
    #[error("the rehearsal cannot be made: {0}")]
    Maps(#[from] MapsError),
    /// A map that is shared memory.
    #[error("the rehearsal cannot be made: {0}")]
    Shared(#[from] SharedError),
    /// The socket.
    #[error("the rehearsal cannot listen on the loopback: {0}; is it up (`ip link set lo up`)?")]
    Listen(#[from] io::Error),
    /// The kernel does not run the program.
    #[error("the kernel does not rehearse: {0}")]
    Run(#[from] ProgramError),
    /// A request went otherwise than the policy file says.
    #[error("policy {policy:?} fails its rehearsal in the kernel: {what}: {found}")]
    Failed {
        /// The policy's name.
        policy: String,
        /// What was tried.
        what: String,
        /// What came of it.
        found: String,
    },
}

/// A second instance of `edge`.
pub struct Rehearsal {
    ebpf: Ebpf,
    state: StateWords,
    counters: Counters,
    listener: TcpListener,
    /// Of the connections so far.
    connections: u32,
    /// Of the policies so far. The program recalls its answers by the number of a generation, and
    /// two policies of which the first was not put in use have the same.
    policies: u32,
    // What the program looks at is kept alive by it; these are written once.
    _protected: Protected,
    _interfaces: Interfaces,
}

const XDP_TX: u32 = 3;
/// Index of the loopback, where test runs seem to come in.
const LOOPBACK: u32 = 1;
/// The date of the answers.
const DATE: &[u8; DATE_LEN] = b"Sun, 06 Nov 1994 08:49:37 GMT";
/// More connections than are remembered at a time are not needed.
const FLOWS: u32 = 1024;

impl Rehearsal {
    /// Loads it for policies in these maps.
    pub(super) fn load(of_the_policy: &Descriptors) -> Result<Self, RehearsalError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let sizes = Sizes { lines: 1, policies: 1, flows: FLOWS };
        let (mut ebpf, _) = object::open(sizes, VerifierLogLevel::STATS, of_the_policy)?;
        object::load_xdp(&mut ebpf, program::EDGE)?;
        let mut take = |name| super::take(&mut ebpf, name);
        let mut protected = Protected::new(take("PROTECTED")?)?;
        protected.set(&[listener.local_addr()?].into())?;
        let mut interfaces = Interfaces::new(take("INTERFACES")?)?;
        interfaces.set([(LOOPBACK, 1500, [0; 6])])?;
        let counters = Counters::new(take("COUNTERS")?)?;
        let mut state = StateWords::new(Shared::<State>::map(&state_map(&mut ebpf)?, 1)?);
        // Nobody else can make a packet for this program.
        state.begin(Keys { v4: [1, 2], v6: [3, 4] }, false);
        state.set_epoch(1);
        state.set_date(DATE);
        state.set_lease(u64::MAX);
        Ok(Self {
            ebpf,
            state,
            counters,
            listener,
            connections: 0,
            policies: 0,
            _protected: protected,
            _interfaces: interfaces,
        })
    }

    /// Plays requests against a prepared policy, which was made of this image. The first
    /// that goes otherwise than it must ends it.
    pub fn play(
        &mut self,
        prepared: &Prepared,
        image: &Image,
        golden: &[Golden],
    ) -> Result<(), RehearsalError> {
        self.policies += 1;
        self.state.activate(prepared.half, Slot { generation: self.policies, ..prepared.slot });
        for request in golden {
            let expected = match request.expected {
                Expected::Answer => Some(answer(image, &request.head)),
                Expected::Nothing => None,
            };
            if self.ask(&request.head)? != expected {
                let found = self.explain(&request.head, expected.is_some())?;
                let Golden { policy, what, .. } = request.clone();
                return Err(RehearsalError::Failed { policy, what, found });
            }
        }
        Ok(())
    }

    /// The answer to a request; nothing where it is passed on.
    fn ask(&mut self, head: &[u8]) -> Result<Option<Vec<u8>>, RehearsalError> {
        let SocketAddr::V4(server) = self.listener.local_addr()? else { return Ok(None) };
        self.connections = self.connections % 0x00ff_0000 + 1;
        let [_, a, b, c] = self.connections.to_be_bytes();
        let mut client = Client {
            address: [127, a.wrapping_add(1), b, c],
            server: server.ip().octets(),
            port: server.port(),
            seq: 1,
            ack: 0,
        };
        let (verdict, syn_ack) = self.run(&client.segment(SYN, &[]))?;
        let Some(seq) = tcp(&syn_ack).and_then(|tcp| tcp.get(4..8)?.first_chunk().copied()) else {
            return Ok(None);
        };
        if verdict != XDP_TX {
            return Ok(None);
        }
        client.seq = 2;
        client.ack = u32::from_be_bytes(seq).wrapping_add(1);
        let (verdict, reply) = self.run(&client.segment(PSH_ACK, head))?;
        Ok((verdict == XDP_TX).then(|| payload(&reply)).flatten())
    }

    fn run(&self, frame: &[u8]) -> Result<(u32, Vec<u8>), RehearsalError> {
        let mut out = vec![0; frame.len() + GROWTH];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let Some(Program::Xdp(edge)) = self.ebpf.program(program::EDGE) else {
            return Err(ProgramError::NotLoaded.into());
        };
        let result = edge.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// What comes of a request, in the words of the counters.
    fn explain(&mut self, head: &[u8], expected: bool) -> Result<String, RehearsalError> {
        let before = self.counters.totals()?;
        self.ask(head)?;
        let after = self.counters.totals()?;
        let moved = Exit::ALL.iter().zip(before.iter().zip(&after));
        let names: Vec<_> =
            moved.filter(|(_, (b, a))| b != a).map(|(exit, _)| exit.name()).collect();
        let wanted = if expected { "the policy's answer" } else { "no answer" };
        Ok(format!("expected {wanted}, and the driver counts {}", names.join(", ")))
    }
}

fn state_map(ebpf: &mut Ebpf) -> Result<aya::maps::MapData, LoadError> {
    match super::take(ebpf, "STATE")? {
        aya::maps::Map::Array(data) => Ok(data),
        _ => Err(LoadError::Missing("STATE")),
    }
}

/// The answer by the engine on this side; empty where it has none, which no answer is.
fn answer(image: &Image, request: &[u8]) -> Vec<u8> {
    let date = Date::new(DATE);
    let mut head = Head::new();
    head.buffer()[..request.len()].copy_from_slice(request);
    let decided = head.read(request.len()).and_then(|()| image.decide(&mut head));
    decided.map_or_else(|_| Vec::new(), |answer| render(image, &answer, &head, &date))
}

const SYN: u8 = 0x02;
const PSH_ACK: u8 = 0x18;
const ETHERNET: usize = 14;
const IP: usize = 20;

/// The client's side of one connection.
struct Client {
    address: [u8; 4],
    server: [u8; 4],
    port: u16,
    seq: u32,
    ack: u32,
}

impl Client {
    /// An Ethernet frame with IPv4 and TCP. The checksum of TCP is left out, which nobody verifies.
    fn segment(&self, flags: u8, payload: &[u8]) -> Vec<u8> {
        // The largest segment of Ethernet.
        let options: &[u8] = if flags == SYN { &[2, 4, 5, 0xb4] } else { &[] };
        let tcp_len = 20 + options.len();
        let len = (IP + tcp_len + payload.len()) as u16;
        let mut ip = [0; IP];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        ip[6] = 0x40;
        ip[8] = 64;
        ip[9] = 6;
        ip[12..16].copy_from_slice(&self.address);
        ip[16..].copy_from_slice(&self.server);
        let sum = Sum::of(&ip).finish();
        ip[10..12].copy_from_slice(&sum.to_ne_bytes());
        let mut frame = vec![0; ETHERNET - 2];
        frame.extend([0x08, 0x00]);
        frame.extend(ip);
        frame.extend(40_000u16.to_be_bytes());
        frame.extend(self.port.to_be_bytes());
        frame.extend(self.seq.to_be_bytes());
        frame.extend(self.ack.to_be_bytes());
        frame.extend([(tcp_len / 4 << 4) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(options);
        frame.extend(payload);
        frame
    }
}

/// The TCP segment of a frame of IPv4.
fn tcp(frame: &[u8]) -> Option<&[u8]> {
    frame.get(ETHERNET + IP..)
}

/// The payload of a reply; none where a checksum of it is wrong.
fn payload(frame: &[u8]) -> Option<Vec<u8>> {
    let ip = frame.get(ETHERNET..ETHERNET + IP)?;
    let tcp = tcp(frame)?;
    let mut pseudo = [0; 12];
    pseudo[..8].copy_from_slice(&ip[12..20]);
    pseudo[9] = 6;
    pseudo[10..].copy_from_slice(&(tcp.len() as u16).to_be_bytes());
    let sound = Sum::of(ip).finish() == 0 && Sum::of(&pseudo).add(Sum::of(tcp)).finish() == 0;
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    if sound { tcp.get(header..).map(<[u8]>::to_vec) } else { None }
}
