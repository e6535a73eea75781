//! The rehearsal of a policy in the kernel, before anybody is answered by it: what it lets through,
//! what it catches, and that it leaves no trace.

use cors_tests::{netns::Netns, policy, topology::sockets};
use cors_user::{
    compile::{
        Image, compile,
        golden::{Golden, derive},
    },
    config::{self, Config},
    kernel::{Programs, Sizes, policy::LIMITS},
};

fn config(text: &str) -> Config {
    config::parse(text).config.unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// Plays these requests against an image in the maps; what the other image says of them is right.
fn play(in_the_maps: &Image, says: &Image, golden: &[Golden]) -> Result<(), String> {
    let host = Netns::new("rehearsal");
    host.enter(|| {
        let mut programs = Programs::load(Sizes::for_image(in_the_maps)).expect("programs");
        // One policy is in use, as ever when there is a reload.
        programs.set_policy(in_the_maps).expect("room");
        let seed = programs.seed().expect("descriptors");
        let mut rehearsal = seed.rehearsal(None).expect("a rehearsal");
        for _ in 0..3 {
            let prepared = programs.prepare(in_the_maps).expect("room");
            rehearsal.play(&prepared, says, golden).map_err(|error| error.to_string())?;
            programs.activate(prepared);
        }
        assert_eq!(programs.flows().expect("flows"), 0);
        assert!(programs.counters().expect("counters").iter().all(|count| *count == 0));
        Ok(())
    })
}

#[test]
fn what_is_right_passes() {
    let text = policy::file(&sockets())
        + r#"
[[policy]]
name = "open"
allow_origins = ["*"]
allow_methods = ["*"]
allow_headers = ["*"]
[[policy]]
name = "ports"
match = { hosts = ["ports.example", "[::1]"], path_prefix = "/a/b" }
allow_origins = ["https://a.example:*", "http://*.b.example:81", "https://*.c.example:*"]
"#;
    let config = config(&text);
    let image = compile(&config, LIMITS).expect("an image");
    let golden = derive(&config);
    assert_eq!(golden.len(), 5 + 2 + 6);
    play(&image, &image, &golden).expect("a rehearsal without a fault");
}

#[test]
fn what_is_wrong_is_caught() {
    let right = config(&policy::file(&sockets()));
    let says = compile(&right, LIMITS).expect("an image");
    let golden = derive(&right);
    // As if another policy had got into the maps, or a bit had changed on the way.
    for (wrong, why) in [
        ("https://app.example.com", "origin_denied"),
        ("\"PUT\", ", "method_denied"),
        ("\"authorization\", ", "header_denied"),
        ("api.example.com", "unmatched"),
    ] {
        let other = if wrong.starts_with('"') { "" } else { "https://x.example" };
        let other = if wrong.starts_with("api") { "x.example" } else { other };
        let config = config(&policy::file(&sockets()).replace(wrong, other));
        let image = compile(&config, LIMITS).expect("an image");
        let error = play(&image, &says, &golden).expect_err(wrong);
        assert!(error.contains("policy \"api\" fails its rehearsal"), "{error}");
        assert!(error.contains("expected the policy's answer") && error.contains(why), "{error}");
    }
    let mut image = says.clone();
    image.templates[0].text[100] ^= 1;
    let error = play(&image, &says, &golden).expect_err("another byte in the reply");
    assert!(error.contains("counts syn_ack, answered"), "{error}");
    // And the other way: what must be refused is answered.
    let open = policy::file(&sockets()).replace(
        "\"https://app.example.com\"",
        "\"https://app.example.com\", \"https://golden.invalid\"",
    );
    let image = compile(&config(&open), LIMITS).expect("an image");
    let error = play(&image, &says, &golden).expect_err("an origin too many");
    assert!(error.contains("expected no answer"), "{error}");
}
