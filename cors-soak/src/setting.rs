//! A world of a seed: who is in it, what they want, and how bad the network is.

use cors_common::{
    cookie::{self, Keys},
    tcp::Owner,
    wire::{
        options::{Declined, Negotiated, Offer},
        segment::{Address, Endpoint, Family, Tuple},
    },
};

use crate::{
    client::{Client, Habits, seed_of_wrapping_numbers},
    edge::{Edge, Setting},
    kernel::Kernel,
    network::{Link, Weather},
    packet::{Packet, flag},
    rng::{Rng, mix},
    script::Script,
    talk::Talk,
    world::{Parts, World, refuses},
};

const PORT: u16 = 80u16.to_be();

fn server(family: Family) -> Address {
    match family {
        Family::V4 => Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
        Family::V6 => Address::from_bytes([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    }
}

fn tuple(family: Family, host: u8, port: u16) -> Tuple {
    let client = match family {
        Family::V4 => Address::v4(u32::from_ne_bytes([10, 0, 1, host])),
        Family::V6 => Address::from_bytes([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, host]),
    };
    Tuple { client, server: server(family), client_port: port.to_be(), server_port: PORT }
}

/// The world of a seed.
pub fn world(seed: u64, keep_trace: usize) -> World {
    let mut rng = Rng::new(mix(seed));
    let mss = rng.pick(&[[1460, 1440], [1460, 1440], [8960, 8940], [1220, 1220], [536, 1220]]);
    let listener = match rng.below(50) {
        0 => Owner::Nobody,
        1..=12 => Owner::MptcpListener,
        _ => Owner::Listener,
    };
    let keys = Keys { v4: [rng.next(), rng.next()], v6: [rng.next(), rng.next()] };
    let count = 1 + rng.below(4) as usize;
    let setting = Setting {
        keys,
        protected: [Family::V4, Family::V6]
            .map(|family| Endpoint { address: server(family), port: PORT, pad: 0 })
            .to_vec(),
        declined: Declined { sack: rng.permille(80), window_scale: rng.permille(80) },
        mss,
        flows: if rng.permille(60) { rng.range(1, 2) as usize } else { 64 },
        memos: rng.pick(&[2, 4, 16]),
        no_room: if rng.permille(60) { rng.range(2, 9) } else { 0 },
        tracks: rng.permille(850),
        entries: if rng.permille(100) { 4 } else { 64 },
    };
    let full = if rng.permille(100) { rng.range(50, 700) } else { 0 };
    let kernel = Kernel::new(listener, mss, full, rng.fork());
    let mut clients = Vec::new();
    let mut talks: Vec<Talk> = Vec::new();
    let mut follows = Vec::new();
    for index in 0..count {
        let follow = (index > 0 && rng.permille(150)).then(|| (index - 1, rng.below(80_000_000)));
        let (tuple, family) = if let Some((of, _)) = follow {
            (talks[of].tuple, family_of(&talks[of].tuple))
        } else {
            let family = if rng.permille(400) { Family::V6 } else { Family::V4 };
            (tuple(family, index as u8 + 1, rng.range(1025, 65_535) as u16), family)
        };
        // Numbers that nobody has in another world: a mixture of two is noticed, too.
        let number = seed.wrapping_mul(8).wrapping_add(index as u64) & 0xff_ffff;
        let mut talk = Talk::new(number, tuple, &mut rng);
        if refuses(listener) {
            talk.cut("nobody listens");
        }
        let starts_at = match follow {
            Some(_) => u64::MAX,
            None => rng.below(3_000_000),
        };
        let habits = habits(&setting, family, &tuple, starts_at, &mut rng);
        let script = Script::new(&mut rng);
        clients.push(Client::new(index, tuple, family, &habits, script, starts_at));
        talks.push(talk);
        follows.push(follow);
    }
    let up = Weather::new(&mut rng);
    let down = Weather { cuts: 0, ..Weather::new(&mut rng) };
    let parts = Parts {
        seed,
        kernel,
        clients,
        talks,
        follows,
        up: Link::new(up, rng.fork()),
        down: Link::new(down, rng.fork()),
        patience: rng.pick(&[1_500_000, 5_000_000, 75_000_000, 75_000_000]),
        sleeps: rng.pick(&[0, 0, 0, 5, 50]),
        joins: rng.pick(&[0, 500, 1000]),
        driver: Box::new(Edge::new(setting)),
        rng: rng.fork(),
    };
    let mut world = World::new(parts);
    world.trace.keep = keep_trace;
    forge(&mut world, &mut rng);
    world
}

fn family_of(tuple: &Tuple) -> Family {
    if tuple.server == server(Family::V4) { Family::V4 } else { Family::V6 }
}

fn habits(
    setting: &Setting,
    family: Family,
    tuple: &Tuple,
    starts_at: u64,
    rng: &mut Rng,
) -> Habits {
    let mtu = match family {
        Family::V4 => rng.pick(&[1500, 1500, 1500, 1400, 576, 9000]),
        Family::V6 => rng.pick(&[1500, 1500, 1400, 1280, 9000]),
    };
    let rx = rng.pick(&[65_535, 65_535, 131_072, 262_144, 16_384, 4096]);
    let rx: usize = if rng.permille(10) { 300 } else { rx };
    let buffers = (rx, rng.pick(&[65_535, 16_384, 4096]));
    // Sequence numbers that wrap around: the client's, or those of the cookie.
    let seed = match rng.below(60) {
        0 => seed_of_wrapping_numbers(rng, |isn| isn > 0xffff_f000),
        1 => {
            let headers = if family == Family::V4 { 40 } else { 60 };
            let shift = (usize::BITS - rx.leading_zeros()).saturating_sub(16);
            let offer = Offer { mss: mtu as u16 - headers, window_scale: shift as u8, sack: true };
            let most = setting.mss[usize::from(family == Family::V6)];
            let kept = Negotiated::new(family, &offer, most).unwrap_or(Negotiated(0));
            let kept = kept.without(setting.declined);
            let epoch = (starts_at / 1_000_000 / cookie::EPOCH_SECONDS) as u32;
            let proof = cookie::issue(&setting.keys, family, tuple, epoch, 0, kept) >> 8;
            seed_of_wrapping_numbers(rng, |isn| {
                (proof.wrapping_add(isn) & 0x00ff_ffff) > 0x00ff_fff0
            })
        }
        _ => rng.next(),
    };
    Habits {
        mtu,
        buffers,
        nagle: rng.permille(400),
        ack_delay: rng.pick(&[0, 10, 40]),
        keep_alive: if rng.permille(150) { rng.range(50, 5000) } else { 0 },
        timestamps: rng.permille(600),
        reno: rng.permille(300),
        seed,
    }
}

/// Strangers: SYNs, guessed acknowledgements, and preflights on connections that nobody has.
fn forge(world: &mut World, rng: &mut Rng) {
    if !rng.permille(200) {
        return;
    }
    for _ in 0..rng.range(1, 20) {
        let family = if rng.permille(500) { Family::V4 } else { Family::V6 };
        let tuple = tuple(family, 200 + rng.below(50) as u8, rng.next() as u16 | 1);
        let payload: &[u8] = b"OPTIONS /echo HTTP/1.1\r\nHost: a\r\nOrigin: https://a\r\n\
                               Access-Control-Request-Method: PUT\r\n\r\n";
        let flags = rng.pick(&[flag::SYN, flag::ACK, flag::ACK | flag::PSH, flag::ACK | flag::FIN]);
        let packet = Packet {
            tuple,
            family,
            up: true,
            seq: rng.next() as u32,
            ack: rng.next() as u32,
            flags,
            window: rng.next() as u16,
            options: Vec::new(),
            payload: if flags & flag::PSH != 0 { payload.to_vec() } else { Vec::new() },
        };
        world.forge(rng.below(10_000_000), packet.frame());
    }
}
