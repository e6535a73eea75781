//! How much of a large policy a request reads: each line that is its own is one that nothing has
//! warmed, and waiting for those is most of what a large policy costs.

use std::{cell::RefCell, collections::BTreeMap, fmt::Write as _};

use cors_common::{
    head::Head,
    policy::{self, DRIVER_PATH_MAX, DRIVER_TEXT_MAX, Template, image::Line},
};
use cors_user::{
    compile::{self, Image, Limits},
    config,
};

const TENANTS: usize = 400;
const ORIGINS: usize = 20;

/// The lines of an image, and which of them were read.
#[derive(Clone, Copy)]
struct Watched<'a> {
    image: &'a Image,
    read: &'a RefCell<Vec<u32>>,
}

impl policy::Image for Watched<'_> {
    const TEXT_MAX: usize = DRIVER_TEXT_MAX;
    const PATH_MAX: usize = DRIVER_PATH_MAX;

    fn line(&self, index: u32) -> Option<&Line> {
        self.read.borrow_mut().push(index);
        self.image.lines.get(index as usize)
    }

    fn template(&self, index: u32) -> Option<&Template> {
        self.image.templates.get(index as usize)
    }
}

fn origin(tenant: usize, number: usize) -> String {
    format!("https://app-{number:02}.tenant-{tenant:04}.customers.example.org")
}

/// Tenants that differ in their host and their origins alone.
fn image() -> Image {
    let mut text = "[server]\nlisten = [\"0.0.0.0:80\"]\n".to_owned();
    for tenant in 0..TENANTS {
        let origins: Vec<_> = (0..ORIGINS).map(|number| origin(tenant, number)).collect();
        let _ = write!(
            text,
            "[[policy]]\nname = \"t{tenant}\"\nallow_origins = {origins:?}\n\
             match = {{ hosts = [\"api-{tenant:04}.example.com\"], path_prefix = \"/v1\" }}\n\
             allow_methods = [\"PUT\"]\nallow_headers = [\"content-type\"]\n"
        );
    }
    let config = config::parse(&text).config.unwrap();
    compile::compile(&config, Limits { lines: 1 << 16, policies: 1 << 10 }).unwrap()
}

/// The lines that an allowed preflight reads.
fn read(image: &Image, tenant: usize) -> Vec<u32> {
    let text = format!(
        "OPTIONS /v1/orders HTTP/1.1\r\nHost: api-{tenant:04}.example.com\r\nOrigin: {}\r\n\
         Access-Control-Request-Method: PUT\r\n\
         Access-Control-Request-Headers: content-type\r\n\r\n",
        origin(tenant, tenant % ORIGINS),
    );
    let mut head = Head::new();
    head.buffer()[..text.len()].copy_from_slice(text.as_bytes());
    head.read(text.len()).unwrap();
    let read = RefCell::new(Vec::new());
    let answer = policy::decide(Watched { image, read: &read }, &image.slot, &mut head).unwrap();
    assert_eq!((answer.policy, answer.template), (tenant as u32, 0));
    let mut read = read.into_inner();
    read.sort_unstable();
    read.dedup();
    read
}

#[test]
fn a_tenants_preflight_reads_few_lines_of_its_own() {
    let image = image();
    assert_eq!(image.templates.len(), 1);
    let all: Vec<_> = (0..TENANTS).map(|tenant| read(&image, tenant)).collect();
    let mut readers = BTreeMap::new();
    for line in all.iter().flatten() {
        *readers.entry(*line).or_insert(0) += 1;
    }
    for (tenant, lines) in all.iter().enumerate() {
        // Its host, its policy, its origin, and pilots of both tables that few others share.
        let own = lines.iter().filter(|line| readers[line] <= TENANTS / 20).count();
        assert!((3..=5).contains(&own), "tenant {tenant}: {own} of {lines:?}");
    }
}
