//! From a checked policy file to the image that both tiers look requests up in.
//!
//! Pure data in, pure data out: nothing here knows about maps or files. The layout is that of
//! [`cors_common::policy::image`]; the same [`Config`] always gives the same image, byte for byte.
//!
//! The way through: `origins` and the other lists become facts about numbered `sets`, hosts and path
//! prefixes facts about `groups`; every policy gets its finished `reply`, of which equal ones are kept
//! once; and at last the facts are placed in hash tables (`table`).

mod error;
pub mod golden;
mod groups;
mod origins;
mod render;
mod reply;
mod sets;
mod table;

use std::collections::HashMap;

use cors_common::{
    exit::Exit,
    head::Head,
    policy::{
        self, Answer, NAME_MAX, Policy, Template,
        image::{Group, Kind, Line, TEMPLATE_MAX, flag},
    },
    siphash::siphash24,
    state::{self, Slot},
};

use crate::config::model::{self, Config};
pub use error::CompileError;
pub use render::render;
use sets::Sets;
use table::{Fact, Table};

/// How much room one generation has in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines of facts.
    pub lines: u32,
    /// Policies.
    pub policies: u32,
}

/// One generation of the policy, as it goes into the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The policies, as the groups of hosts have them, and two hash tables of facts.
    pub lines: Vec<Line>,
    /// What policies answer, each once.
    pub templates: Vec<Template>,
    /// How to read the two. Its bases and its generation are 0: whoever loads the image into a
    /// place sets them.
    pub slot: Slot,
    /// What is in it.
    pub summary: Summary,
}

/// What an image holds, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Policies.
    pub policies: usize,
    /// Origin patterns of all policies; one that several of them list counts each time.
    pub origins: usize,
    /// Facts in the hash tables.
    pub facts: usize,
    /// The same for the same lines and templates, and for no others in practice.
    pub digest: u64,
}

/// Compiles a policy file for the driver.
///
/// A policy whose answers are made to measure has no origin there: the driver has only answers that
/// are ready, and leaves its preflights to the slow path.
pub fn compile(config: &Config, limits: Limits) -> Result<Image, CompileError> {
    image(config, limits, |policy| !policy.conduct.is_made_to_measure())
}

/// Compiles a policy file for the slow path: the same, but for the policies that the driver leaves
/// to it.
pub fn compile_for_slow_path(config: &Config, limits: Limits) -> Result<Image, CompileError> {
    image(config, limits, |_| true)
}

/// Compiles a policy file; origins are only in it of policies that are `asked` about them here.
fn image(
    config: &Config,
    limits: Limits,
    asked: fn(&model::Policy) -> bool,
) -> Result<Image, CompileError> {
    let policies = config.policies.len();
    if policies > limits.policies as usize {
        return Err(CompileError::Policies { needed: policies, available: limits.policies });
    }
    let mut facts = Vec::new();
    let mut sets = Sets::default();
    let mut templates = Templates::default();
    let mut entries = Vec::with_capacity(policies);
    for (number, policy) in (0..).zip(&config.policies) {
        let template = templates.number(&reply::template(policy)?);
        let entry =
            Policy { number, template, ..entry(policy, asked(policy), &mut sets, &mut facts)? };
        entries.push(entry.line());
    }
    let templates = templates.all;
    let groups::Scopes { any_host, places } = groups::add(&config.policies, &mut facts)?;
    let mut lines: Vec<Line> = places.iter().map(|number| entries[*number as usize]).collect();
    let facts_count = facts.len();
    let (origins, scopes): (Vec<_>, Vec<_>) = facts.into_iter().partition(Fact::is_about_origins);
    let origins = sets::by_text(origins);
    let mut add = |facts: &[Fact]| {
        let base = lines.len() as u32;
        let table = Table::build(facts, u32::MAX)?;
        lines.extend(table.lines);
        let (buckets, seed) = (table.buckets, table.seed);
        Ok(state::Table { base, lines: table.len, buckets, seed })
    };
    let (scopes, origins) = (add(&scopes)?, add(&origins)?);
    put_beside_hosts(&mut lines, &scopes);
    let (needed, available) = (lines.len(), limits.lines);
    if needed > available as usize {
        return Err(CompileError::Lines { needed, available });
    }
    let slot =
        Slot { generation: 0, policy_base: 0, any_host, scopes, origins, policies: 0, pad: [0; 3] };
    let summary = Summary {
        policies,
        origins: config.policies.iter().map(|policy| origins::count(&policy.origins)).sum(),
        facts: facts_count,
        digest: digest(&slot, &lines, &templates),
    };
    Ok(Image { lines, templates, slot, summary })
}

/// Copies the first policy of each host beside its fact.
fn put_beside_hosts(lines: &mut [Line], scopes: &state::Table) {
    let (policies, lines) = lines.split_at_mut(scopes.base as usize);
    for [fact, beside] in &mut lines.as_chunks_mut().0[..scopes.lines as usize] {
        if Kind::is_host(fact.tag()) {
            *beside = policies[Group::of(fact.value()).first() as usize];
        }
    }
}

/// What one policy allows, and the facts about that.
fn entry(
    policy: &model::Policy,
    asked: bool,
    sets: &mut Sets,
    facts: &mut Vec<Fact>,
) -> Result<Policy, CompileError> {
    let origins = origins::compile(policy)?;
    let origins = if asked { origins } else { origins::Compiled::default() };
    let mut flags = origins.flags;
    let methods = match &policy.methods {
        model::Methods::Any => {
            flags |= flag::ANY_METHOD;
            Vec::new()
        }
        model::Methods::List(names) => members(policy, Kind::Method, "method", names)?,
    };
    if policy.headers.any {
        flags |= flag::ANY_HEADER;
    }
    if policy.conduct.validate == model::Validate::Static {
        flags |= flag::ANY_METHOD | flag::ANY_HEADER;
    }
    let headers = members(policy, Kind::Header, "header", &policy.headers.names)?;
    Ok(Policy {
        flags,
        origins: sets.id(origins.members, facts),
        methods: sets.id(methods, facts),
        headers: sets.id(headers, facts),
        depths: origins.depths,
        ..bytemuck::Zeroable::zeroed()
    })
}

/// What policies answer, so far.
#[derive(Default)]
struct Templates {
    all: Vec<Template>,
    numbers: HashMap<[u8; TEMPLATE_MAX], u32>,
}

impl Templates {
    /// The number of this one.
    fn number(&mut self, template: &Template) -> u32 {
        *self.numbers.entry(template.text).or_insert_with(|| {
            self.all.push(*template);
            self.all.len() as u32 - 1
        })
    }
}

/// Names as members of a set, where the engine reads names as long as these.
fn members(
    policy: &model::Policy,
    kind: Kind,
    what: &'static str,
    names: &[String],
) -> Result<Vec<sets::Member>, CompileError> {
    if let Some(name) = names.iter().find(|name| name.len() > NAME_MAX) {
        return Err(CompileError::NameTooLong {
            policy: policy.name.clone(),
            what,
            name: name.clone(),
        });
    }
    Ok(names.iter().map(|name| (kind, name.clone())).collect())
}

impl Image {
    /// Lines and templates, for the functions that read them.
    pub fn parts(&self) -> (&[Line], &[Template]) {
        (&self.lines, &self.templates)
    }

    /// What the policy says on a head that has been read.
    pub fn decide(&self, head: &mut Head) -> Result<Answer, Exit> {
        policy::decide(self.parts(), &self.slot, head)
    }
}

/// A number for what the image says.
fn digest(slot: &Slot, lines: &[Line], templates: &[Template]) -> u64 {
    let key = |digest| [digest, 0];
    let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
    let table =
        |table: &state::Table| [pair(table.base, table.lines), pair(table.buckets, table.seed)];
    let ([a, b], [c, d]) = (table(&slot.scopes), table(&slot.origins));
    let first = [a, b, c, d, slot.any_host];
    let mut digest = siphash24(&key(0), &first);
    for line in lines {
        digest = siphash24(&key(digest), &line.0);
    }
    for template in templates {
        // Its sum follows from the text, and so does where it ends.
        for word in table::words(&template.text) {
            digest = siphash24(&key(digest), &[word]);
        }
    }
    digest
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::config;

    const LIMITS: Limits = Limits { lines: 1 << 20, policies: 1 << 12 };

    fn policies(text: &str) -> Config {
        let text = format!("[server]\nlisten = [\"0.0.0.0:80\"]\n{text}");
        config::parse(&text).config.unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
    }

    #[test]
    fn the_example_compiles_the_same_each_time() {
        let config = config::parse(config::EXAMPLE).config.unwrap();
        let image = compile(&config, LIMITS).unwrap();
        assert_eq!(image, compile(&config, LIMITS).unwrap());
        let Summary { policies, origins, facts, digest } = image.summary;
        // Two origins, three methods, two headers, one host, one prefix.
        assert_eq!((policies, origins, facts), (1, 2, 9));
        let mut other = config.clone();
        other.policies[0].max_age = Some(601);
        assert_ne!(compile(&other, LIMITS).unwrap().summary.digest, digest);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let config = policies(
            "[[policy]]\nname = \"a\"\nallow_origins = [\"https://a.example\"]\n\
             [[policy]]\nname = \"b\"\nmatch = { path_prefix = \"/b\" }\nallow_origins = [\"*\"]",
        );
        let few = Limits { policies: 1, ..LIMITS };
        let expected = CompileError::Policies { needed: 2, available: 1 };
        assert_eq!(compile(&config, few), Err(expected));
        // Two policies; two prefixes in three places of two lines, and their pilots; an origin in two
        // lines, and its pilot.
        let few = Limits { lines: 11, ..LIMITS };
        let expected = CompileError::Lines { needed: 12, available: 11 };
        assert_eq!(compile(&config, few), Err(expected));
        assert!(compile(&config, Limits { lines: 12, policies: 2 }).is_ok());
    }

    #[test]
    fn names_have_a_limit() {
        for (list, name, what) in [
            ("allow_methods", "M".repeat(65), "method"),
            ("allow_headers", "h".repeat(65), "header"),
        ] {
            let with = |name: &str| {
                policies(&format!(
                    "[[policy]]\nname = \"p\"\nallow_origins = [\"*\"]\n{list} = [\"{name}\"]"
                ))
            };
            assert!(compile(&with(&name[1..]), LIMITS).is_ok());
            let error =
                CompileError::NameTooLong { policy: "p".to_owned(), what, name: name.clone() };
            assert_eq!(compile(&with(&name), LIMITS), Err(error));
        }
    }

    #[test]
    fn a_hundred_thousand_origins_over_a_thousand_policies() {
        let mut config = config::parse(config::EXAMPLE).config.unwrap();
        let policy = config.policies.remove(0);
        for p in 0..1000 {
            let origins =
                (0..100).map(|o| format!("https://app-{o}.tenant-{p}.customers.example.com"));
            config.policies.push(model::Policy {
                name: format!("p{p}"),
                hosts: vec![format!("api-{p}.example.com")],
                origins: model::Origins::List(origins.map(model::OriginPattern::Exact).collect()),
                ..policy.clone()
            });
        }
        let image = compile(&config, LIMITS).unwrap();
        assert_eq!(image.summary.origins, 100_000);
        // The methods and headers are one set each, and so are the prefixes of all hosts.
        assert_eq!(image.summary.facts, 100_000 + 3 + 2 + 1000 + 1);
        assert_eq!(image.templates.len(), 1);
    }
}
