//! The networks that scenarios are played in. The server's host always has number 1 on its
//! network and the client number 2; see [`Family::address`].

use std::net::{IpAddr, SocketAddr};

use crate::{
    Family,
    netns::Netns,
    pass_all,
    raw_tcp::RawTcp,
    tap::{self, Tap},
    wire::{Script, Wire},
    xdp::Attached,
};

/// Number of the server on its network.
pub const SERVER: u8 = 1;
/// Number of the client on its network.
pub const CLIENT: u8 = 2;

/// Host `number` of network 0.
pub fn address(family: Family, number: u8) -> IpAddr {
    family.address(0, number)
}

/// Port 80 of the server on network 0.
pub fn server_at(family: Family) -> SocketAddr {
    SocketAddr::new(address(family, SERVER), 80)
}

/// [`server_at`] in both families: what the agent protects unless a test says otherwise.
pub fn sockets() -> [SocketAddr; 2] {
    [Family::V4, Family::V6].map(server_at)
}

/// Gives an interface its address in both families.
pub fn add_addresses(host: &Netns, interface: &str, network: u8, number: u8) {
    for (family, length) in [(Family::V4, 24), (Family::V6, 64)] {
        let address = format!("{}/{length}", family.address(network, number));
        let mut arguments = vec!["address", "add", &address, "dev", interface];
        if family == Family::V6 {
            // Duplicate address detection takes a second in which the address cannot be used.
            arguments.push("nodad");
        }
        host.ip(&arguments);
    }
}

/// A virtual cable between two hosts.
#[derive(Debug)]
pub struct Veth {
    _pass_all: Option<Attached>,
}

/// How to lay a [`Veth`].
#[derive(Clone, Copy, Debug, Default)]
pub struct VethOptions {
    /// Attach an XDP program that passes everything to the second end. Without one there, the
    /// first end's driver does not send what its XDP program transmits.
    pub peer_pass: bool,
}

impl Veth {
    /// Joins `left_name` on one host and `right_name` on another; both come up without addresses.
    pub fn join(
        (left, left_name): (&Netns, &str),
        (right, right_name): (&Netns, &str),
        options: VethOptions,
    ) -> Self {
        left.ip(&["link", "add", left_name, "type", "veth", "peer", "name", right_name]);
        left.ip(&["link", "set", right_name, "netns", &right.path()]);
        left.ip(&["link", "set", left_name, "up"]);
        right.ip(&["link", "set", right_name, "up"]);
        let pass_all = options.peer_pass.then(|| pass_all::attach(right, right_name));
        Self { _pass_all: pass_all }
    }
}

/// A client and a server, joined by a veth: interfaces `c0` and `s0`.
#[derive(Debug)]
pub struct Pair {
    /// Real clients run here.
    pub client: Netns,
    /// The server and the agent run here.
    pub server: Netns,
    _cable: Veth,
}

impl Pair {
    /// With a plain cable.
    pub fn new() -> Self {
        Self::with(VethOptions::default())
    }

    /// With this cable; its first end is the server's.
    pub fn with(options: VethOptions) -> Self {
        let client = Netns::new("client");
        let server = Netns::new("server");
        let cable = Veth::join((&server, Self::INTERFACE), (&client, "c0"), options);
        add_addresses(&client, "c0", 0, CLIENT);
        add_addresses(&server, Self::INTERFACE, 0, SERVER);
        Self { client, server, _cable: cable }
    }

    /// The server's interface.
    pub const INTERFACE: &str = "s0";
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// A server whose interface `t0` ends in the test, which plays the client.
#[derive(Debug)]
pub struct Scripted {
    /// The server and the agent run here.
    pub server: Netns,
    /// The other end of `t0`.
    pub tap: Tap,
}

impl Scripted {
    /// The server's interface.
    pub const INTERFACE: &str = "t0";

    /// The Ethernet address under which the server knows the client.
    pub const CLIENT_MAC: tap::Mac = [2, 0, 0, 0, 0, CLIENT];

    /// A server that knows where the client is, so that nobody has to answer ARP.
    pub fn new() -> Self {
        let server = Netns::new("server");
        let tap = Tap::new(&server, Self::INTERFACE, SERVER);
        add_addresses(&server, Self::INTERFACE, 0, SERVER);
        let mac = tap::text(Self::CLIENT_MAC);
        for family in [Family::V4, Family::V6] {
            let client = address(family, CLIENT).to_string();
            let device = ["dev", Self::INTERFACE, "nud", "permanent"];
            server.ip(&[&["neighbour", "add", &client, "lladdr", &mac], &device[..]].concat());
        }
        Self { server, tap }
    }

    /// A connection of the client from this port to the server's port 80.
    pub fn connection(&self, family: Family, port: u16) -> RawTcp {
        let local = SocketAddr::new(address(family, CLIENT), port);
        let remote = SocketAddr::new(address(family, SERVER), 80);
        RawTcp::new(&self.tap, Self::CLIENT_MAC, local, remote)
    }
}

impl Default for Scripted {
    fn default() -> Self {
        Self::new()
    }
}

/// A client and a server with a bad cable between `c0` and `s0`.
#[derive(Debug)]
pub struct BadCable {
    /// Real clients run here.
    pub client: Netns,
    /// The server and the agent run here.
    pub server: Netns,
    /// The cable.
    pub wire: Wire,
}

impl BadCable {
    /// The server's interface.
    pub const INTERFACE: &str = "s0";

    /// With a script for each direction.
    pub fn new(to_server: Script, to_client: Script) -> Self {
        let client = Netns::new("client");
        let server = Netns::new("server");
        let client_end = Tap::new(&client, "c0", CLIENT);
        let server_end = Tap::new(&server, Self::INTERFACE, SERVER);
        add_addresses(&client, "c0", 0, CLIENT);
        add_addresses(&server, Self::INTERFACE, 0, SERVER);
        let wire = Wire::join(&client_end, &server_end, to_server, to_client);
        Self { client, server, wire }
    }
}

/// A client, a router and a server: network 0 between the first two (`c0`, `r0`), network 1
/// between the last two (`r1`, `s0`). The router has number 3 on both.
#[derive(Debug)]
pub struct Routed {
    /// Real clients run here.
    pub client: Netns,
    /// The agent runs here.
    pub router: Netns,
    /// A server that the agent has nothing to do with.
    pub server: Netns,
    _cables: [Veth; 2],
}

impl Routed {
    /// Number of the router on both networks.
    pub const ROUTER: u8 = 3;

    /// All of it, with routes.
    pub fn new() -> Self {
        let client = Netns::new("client");
        let router = Netns::new("router");
        let server = Netns::new("server");
        let plain = VethOptions::default();
        let cables = [
            Veth::join((&router, "r0"), (&client, "c0"), plain),
            Veth::join((&router, "r1"), (&server, "s0"), plain),
        ];
        add_addresses(&client, "c0", 0, CLIENT);
        add_addresses(&router, "r0", 0, Self::ROUTER);
        add_addresses(&router, "r1", 1, Self::ROUTER);
        add_addresses(&server, "s0", 1, SERVER);
        router.sysctl("net/ipv4/ip_forward", "1");
        router.sysctl("net/ipv6/conf/all/forwarding", "1");
        for family in [Family::V4, Family::V6] {
            for (host, network) in [(&client, 0), (&server, 1)] {
                let via = family.address(network, Self::ROUTER).to_string();
                let default = if family == Family::V4 { "0.0.0.0/0" } else { "::/0" };
                host.ip(&["route", "add", default, "via", &via]);
            }
        }
        Self { client, router, server, _cables: cables }
    }
}

impl Default for Routed {
    fn default() -> Self {
        Self::new()
    }
}
