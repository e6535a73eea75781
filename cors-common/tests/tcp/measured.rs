//! Counting without answering.

use cors_common::{
    exit::Exit,
    tcp::measure::measure,
    wire::segment::{Family, flags},
};

use crate::support::{Asked, FAMILIES, OWNERS, World, segment};

#[test]
fn a_payload_that_starts_like_a_preflight_is_read_whole() {
    for family in FAMILIES {
        for owner in OWNERS {
            for len in [1, 300, 1460, 65_495] {
                for bits in [flags::ACK, flags::ACK | flags::PSH, flags::ACK | flags::ECE] {
                    // Where it is on its connection, and whose that is, makes no difference.
                    for (seq, ack) in [(0, 0), (9, 9), (u32::MAX, u32::MAX)] {
                        let mut world = World { owner, ..World::new() };
                        let got = measure(&segment(family, bits, seq, ack, len), &mut world);
                        assert_eq!(got, Ok(len));
                    }
                }
            }
        }
    }
}

#[test]
fn only_data_is_looked_at() {
    for bits in 0..=u8::MAX {
        for len in [0, 300] {
            for preflight in [false, true] {
                let mut world = World { preflight, ..World::new() };
                let got = measure(&segment(Family::V4, bits, 9, 9, len), &mut world);
                let data = len > 0 && bits & (flags::SYN | flags::RST) == 0;
                let expected = match (data, preflight) {
                    (false, _) => Err(Exit::NotOurs),
                    (true, false) => Err(Exit::NotOptions),
                    (true, true) => Ok(len),
                };
                assert_eq!(got, expected, "{bits:#x}, {len}");
                // It runs on every packet of a host that answers nothing yet.
                assert_eq!(world.asked.text, u32::from(data));
                let others = Asked { text: 0, ..world.asked };
                assert_eq!(others, Asked::default());
            }
        }
    }
}
