//! A client: a TCP stack in user space (smoltcp) and the program on top of it, which asks one
//! request after the other and compares each byte that comes back.

use std::{cell::Cell, collections::VecDeque};

use cors_common::wire::segment::{Family, Tuple};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium},
    socket::tcp::{self, CongestionControl, RecvError, SocketBuffer, State},
    time::{Duration, Instant},
    wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint, IpListenEndpoint},
};

use crate::{packet::flag, rng::Rng, script::Script, talk::Talk};

thread_local! {
    /// The clock behind the timestamps of every client of this thread, in milliseconds.
    static CLOCK: Cell<u32> = const { Cell::new(0) };
}

fn timestamp() -> u32 {
    CLOCK.get()
}

/// How a client's TCP is set up.
#[derive(Clone, Debug)]
pub struct Habits {
    /// The largest IP packet.
    pub mtu: usize,
    /// Bytes of its receive and send buffers.
    pub buffers: (usize, usize),
    /// Small segments wait for an acknowledgement.
    pub nagle: bool,
    /// Delay of acknowledgements in milliseconds; 0: none.
    pub ack_delay: u64,
    /// Milliseconds between keep-alive probes; 0: none.
    pub keep_alive: u64,
    /// Timestamps are offered.
    pub timestamps: bool,
    /// Reno's congestion control instead of none.
    pub reno: bool,
    /// What its initial sequence number follows from.
    pub seed: u64,
}

/// The interface: frames without a link layer.
#[derive(Debug)]
struct Device {
    mtu: usize,
    rx: VecDeque<Vec<u8>>,
    tx: Vec<Vec<u8>>,
}

struct RxToken(Vec<u8>);
struct TxToken<'a>(&'a mut Vec<Vec<u8>>);

impl phy::Device for Device {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let frame = self.rx.pop_front()?;
        Some((RxToken(frame), TxToken(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

/// A client.
pub struct Client {
    /// Which talk is its.
    pub talk: usize,
    tuple: Tuple,
    family: Family,
    interface: Interface,
    device: Device,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    script: Script,
    starts_at: u64,
    started: bool,
    /// The state before the last poll.
    before: State,
    next_at: Option<u64>,
    /// When it sent its FIN last.
    fin_at: Option<u64>,
}

/// The stack sends a FIN again after a minute at most. It forgets to where duplicate
/// acknowledgements come while nothing but the FIN is out (smoltcp 0.14); after so long, in
/// microseconds, it has.
const FIN_FORGOTTEN: u64 = 65_000_000;

fn address(tuple: &Tuple, family: Family, client: bool) -> IpAddress {
    let words = if client { tuple.client.0 } else { tuple.server.0 };
    match family {
        Family::V4 => IpAddress::Ipv4(words[3].to_ne_bytes().into()),
        Family::V6 => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(bytemuck::bytes_of(&words));
            IpAddress::Ipv6(bytes.into())
        }
    }
}

fn instant(now: u64) -> Instant {
    Instant::from_micros(now as i64)
}

impl Client {
    /// A client that begins at a time.
    pub fn new(
        talk: usize,
        tuple: Tuple,
        family: Family,
        habits: &Habits,
        script: Script,
        starts_at: u64,
    ) -> Self {
        let mut device = Device { mtu: habits.mtu, rx: VecDeque::new(), tx: Vec::new() };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = habits.seed;
        let mut interface = Interface::new(config, &mut device, instant(0));
        let own = address(&tuple, family, true);
        let bits = if family == Family::V4 { 8 } else { 16 };
        interface.update_ip_addrs(|addresses| {
            // The only one of this interface.
            let _ = addresses.push(IpCidr::new(own, bits));
        });
        let (rx, tx) = habits.buffers;
        let mut socket =
            tcp::Socket::new(SocketBuffer::new(vec![0; rx]), SocketBuffer::new(vec![0; tx]));
        socket.set_nagle_enabled(habits.nagle);
        let millis = |n: u64| (n != 0).then(|| Duration::from_millis(n));
        socket.set_ack_delay(millis(habits.ack_delay));
        socket.set_keep_alive(millis(habits.keep_alive));
        if habits.timestamps {
            socket.set_tsval_generator(Some(timestamp));
        }
        if habits.reno {
            socket.set_congestion_control(CongestionControl::Reno);
        }
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self {
            talk,
            tuple,
            family,
            interface,
            device,
            sockets,
            handle,
            script,
            starts_at,
            started: false,
            before: State::Closed,
            fin_at: None,
            next_at: (starts_at != u64::MAX).then_some(starts_at),
        }
    }

    /// Whose segments it takes.
    pub const fn tuple(&self) -> &Tuple {
        &self.tuple
    }

    /// Whether it has begun.
    pub const fn has_started(&self) -> bool {
        self.started
    }

    /// When it does something by itself.
    pub const fn next_at(&self) -> Option<u64> {
        self.next_at
    }

    /// Not before then; for what another client must end first.
    pub const fn start_at(&mut self, at: u64) {
        self.starts_at = at;
        self.next_at = Some(at);
    }

    /// A packet arrives, from its IP header on.
    pub fn receive(&mut self, packet: Vec<u8>) {
        self.device.rx.push_back(packet);
    }

    /// Runs the stack and the program, and returns what they send.
    pub fn run(&mut self, talk: &mut Talk, now: u64) -> Result<Vec<Vec<u8>>, String> {
        CLOCK.set(((now / 1000) as u32).wrapping_add(0xffff_f000));
        if now < self.starts_at {
            return Ok(Vec::new());
        }
        if !self.started {
            self.connect(talk);
            self.script.begin(now);
        }
        for _ in 0..100 {
            self.interface.poll(instant(now), &mut self.device, &mut self.sockets);
            if !self.program(talk, now)? && self.device.rx.is_empty() {
                break;
            }
        }
        let stack = self.interface.poll_at(instant(now), &self.sockets);
        let stack = stack.map(|at| (at.total_micros() as u64).max(now + 1));
        let program = self.script.next_at(now);
        let packets = std::mem::take(&mut self.device.tx);
        let tcp_at = if self.family == Family::V4 { 20 } else { 40 };
        if packets.iter().any(|packet| packet[tcp_at + 13] & flag::FIN != 0) {
            self.fin_at = Some(now);
        }
        let forgotten = self
            .fin_at
            .filter(|_| self.is_closing() && talk.ended_at.is_none())
            .map(|at| at + FIN_FORGOTTEN);
        self.next_at = [stack, program, forgotten].into_iter().flatten().min();
        Ok(packets)
    }

    fn connect(&mut self, talk: &mut Talk) {
        self.started = true;
        talk.is_open = true;
        let family = self.family;
        let server = IpEndpoint::new(
            address(&self.tuple, family, false),
            u16::from_be(self.tuple.server_port),
        );
        let own = IpListenEndpoint {
            addr: Some(address(&self.tuple, family, true)),
            port: u16::from_be(self.tuple.client_port),
        };
        let socket = self.sockets.get_mut::<tcp::Socket>(self.handle);
        let connected = socket.connect(self.interface.context(), server, own);
        assert!(connected.is_ok(), "a socket that was never used connects");
        self.before = State::SynSent;
    }

    /// Its FIN is out, and not acknowledged.
    const fn is_closing(&self) -> bool {
        matches!(self.before, State::FinWait1 | State::Closing | State::LastAck)
    }

    /// Reads and writes. Whether anything was done.
    fn program(&mut self, talk: &mut Talk, now: u64) -> Result<bool, String> {
        let socket = self.sockets.get_mut::<tcp::Socket>(self.handle);
        let state = socket.state();
        if talk.ended_at.is_some() {
            return Ok(false);
        }
        talk.is_validated |= !matches!(state, State::SynSent | State::Closed);
        let mut done = false;
        let is_closing = matches!(self.before, State::FinWait1 | State::Closing | State::LastAck);
        if is_closing && self.fin_at.is_some_and(|at| now >= at + FIN_FORGOTTEN) {
            talk.cut("the client's stack forgot its FIN");
            socket.abort();
            done = state != State::Closed;
        }
        if state == State::Closed || !self.script.is_asleep(now) {
            loop {
                match socket.recv(|bytes| (bytes.len(), bytes.to_vec())) {
                    Ok(bytes) if bytes.is_empty() => break,
                    Ok(bytes) => {
                        done = true;
                        self.script.take(&bytes, talk, now)?;
                    }
                    Err(RecvError::Finished) => {
                        self.script.take_end(talk)?;
                        break;
                    }
                    Err(RecvError::InvalidState) => break,
                }
            }
        }
        if state == State::Closed {
            let clean = matches!(self.before, State::TimeWait | State::LastAck);
            talk.ended_at = Some(now);
            talk.is_open = false;
            self.script.is_over = true;
            if !clean && talk.cut.is_none() {
                return Err(format!("a reset in {:?}, without a reason", self.before));
            }
            return Ok(false);
        }
        self.before = state;
        talk.is_waiting |= state == State::TimeWait;
        if matches!(state, State::SynSent | State::SynReceived) {
            return Ok(false);
        }
        if state == State::FinWait2 && self.script.is_tired(now) {
            if talk.cut.is_none() {
                return Err("the other side does not close".to_owned());
            }
            socket.abort();
            return Ok(true);
        }
        if socket.may_send() {
            while let Some(bytes) = self.script.next_bytes(talk, now) {
                let room = socket.send_capacity() - socket.send_queue();
                let len = bytes.len().min(room);
                if len == 0 {
                    break;
                }
                let sent = socket.send_slice(&bytes[..len]).unwrap_or(0);
                self.script.written(sent, talk, now);
                done |= sent > 0;
            }
            if self.script.aborts(now) {
                talk.cut("the client aborts");
                socket.abort();
                done = true;
            } else if self.script.closes(talk, now) {
                socket.close();
                done = true;
            }
        } else if socket.is_active() && self.script.is_forgotten(talk, now) {
            socket.abort();
            done = true;
        }
        Ok(done)
    }
}

/// A seed with which the first sequence number of a client is within 4 KiB of its end.
///
/// The generator is the one of smoltcp (sPCG32), from which the number is drawn after the first
/// identification of IPv4. Should that change, numbers are only not near their end any more.
pub fn seed_of_wrapping_numbers(rng: &mut Rng, wanted: impl Fn(u32) -> bool) -> u64 {
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(0xbb2e_fcec_3c39_611d).wrapping_add(0x7590_ef39);
        (*state >> (29 - (*state >> 61))) as u32
    };
    for _ in 0..1 << 20 {
        let seed = rng.next();
        let mut state = seed;
        next(&mut state);
        if wanted(next(&mut state)) {
            return seed;
        }
    }
    rng.next()
}
