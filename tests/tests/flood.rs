//! Clients that begin and do not go on cost no memory.

use cors_tests::{
    agent::Agent,
    counter, eventually, for_each_family,
    packet::flags,
    policy,
    raw_tcp::{RawTcp, offer},
    server::Recording,
    topology::{Scripted, server_at},
};

const SYNS: u16 = 10_000;
const HALF_REQUESTS: u16 = 1_000;

/// The connection from the `number`th port.
fn numbered(net: &Scripted, family: cors_tests::Family, number: u16) -> RawTcp {
    net.connection(family, 20_000 + number)
}

for_each_family! {
    fn ten_thousand_syns_leave_nothing(family) {
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let counted = agent.counted(|| {
            for number in 0..SYNS {
                let mut tcp = numbered(&net, family, number);
                tcp.syn(offer::LINUX);
                // One at a time, so that the interface's queue does not overflow.
                let reply = tcp.expect("a SYN-ACK");
                assert_eq!(reply.flags, flags::SYN | flags::ACK);
            }
        });
        assert_eq!(counted.get(counter::SYN_ACK), u64::from(SYNS));
        assert_eq!(agent.flows(), 0);
        assert_eq!(net.server.run("ss", &["-tanHO", "exclude", "listening"]), "");
        assert_eq!(server.count(), 0);

        // And who comes after that is served.
        let mut tcp = net.connection(family, 50_000);
        tcp.handshake(offer::USUAL);
        tcp.data(&policy::preflight("/v1/item"));
        assert!(tcp.expect_data().payload.starts_with(b"HTTP/1.1 204"));
    }

    /// They are the server's to time out, as they would be without us; tier 1 keeps nothing.
    fn a_thousand_half_requests_leave_nothing(family) {
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let preflight = policy::preflight("/v1/item");
        let (half, _) = preflight.split_at(preflight.len() / 2);
        let mut connections = Vec::new();
        let counted = agent.counted(|| {
            for number in 0..HALF_REQUESTS {
                let mut tcp = numbered(&net, family, number);
                tcp.handshake(offer::LINUX);
                tcp.data(half);
                assert_eq!(tcp.expect("an acknowledgement").ack, tcp.snd_nxt);
                connections.push(tcp);
            }
        });
        assert_eq!(counted.get(counter::HEAD_INCOMPLETE), u64::from(HALF_REQUESTS));
        assert_eq!(counted.get(counter::HANDED_OVER), u64::from(HALF_REQUESTS));
        assert_eq!(agent.flows(), 0);
        for tcp in &connections {
            tcp.rst();
        }
        eventually("the kernel forgets connections that were reset", || {
            net.server.run("ss", &["-tanHO", "exclude", "listening"]).is_empty().then_some(())
        });
        assert_eq!(server.count(), 0);
    }
}
