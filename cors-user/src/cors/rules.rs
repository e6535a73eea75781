//! The policy file as the slow path asks it, and the one function that judges a request.

use std::{borrow::Cow, net::Ipv6Addr};

use cors_common::{
    exit::Exit,
    framing::head::{is_token, split_port},
    state::Date,
};
use http::{HeaderValue, header};

use super::{
    actual::{Actual, Verdict},
    asked::{Asked, Kind},
    engine::{Engine, Question},
    names, path,
    reply::{self, Reply},
};
use crate::{
    compile::{self, CompileError, Limits},
    config::model::{Advertise, Conduct, Config, Expose, Methods, Origins, Policy, Validate},
};

/// A host that no file can name: a request has the policies for every host there.
const ANY_HOST: &str = "-";

/// The compiled policy, and what only the slow path has to know of each.
#[derive(Debug)]
pub struct Rules {
    engine: Engine,
    policies: Vec<Facts>,
}

/// What a policy says besides what is in the image.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) echoes: bool,
    pub(super) credentials: bool,
    pub(super) exposed: Option<HeaderValue>,
    pub(super) conduct: Conduct,
    any_method: bool,
}

/// What is to be done about a request.
#[derive(Debug)]
pub enum Judgement {
    /// No policy is for it: it is forwarded, and the answer is left as it is.
    Unmatched,
    /// A preflight, with its answer; it is never forwarded.
    Preflight(Reply),
    /// Everything else: it is forwarded, and the answer's headers are rewritten by this.
    Actual(Actual),
}

impl Rules {
    /// Compiles a policy file.
    pub fn new(config: &Config, limits: Limits) -> Result<Self, CompileError> {
        let prefixes = config.policies.iter().filter_map(|policy| policy.path_prefix.as_ref());
        let longest = prefixes.map(String::len).max().unwrap_or(0);
        let image = compile::compile_for_slow_path(config, limits)?;
        Ok(Self {
            engine: Engine::new(image, longest),
            policies: config.policies.iter().map(Facts::of).collect(),
        })
    }

    /// The name of a policy.
    pub fn name(&self, policy: usize) -> &str {
        &self.policies[policy].name
    }

    pub(super) fn facts(&self, policy: usize) -> &Facts {
        &self.policies[policy]
    }

    /// What is to be done about a request. `date` is for the answer to a preflight.
    pub fn judge(&self, asked: &Asked<'_>, date: &Date) -> Judgement {
        let place = match self.place(asked) {
            Ok(Some(place)) => place,
            Ok(None) => return Judgement::Unmatched,
            Err((policy, exit)) => return self.refused(policy, exit, asked, date),
        };
        match asked.kind() {
            Kind::NotCors => Judgement::Actual(Actual::new(place.policy, Verdict::NoOrigin)),
            Kind::Actual => {
                let verdict = match self.origin(asked, &place) {
                    Ok(origin) => Verdict::Allowed(origin.clone()),
                    Err(exit) => Verdict::Denied(exit),
                };
                Judgement::Actual(Actual::new(place.policy, verdict))
            }
            Kind::Preflight => match self.preflight(asked, &place, date) {
                Ok(reply) => Judgement::Preflight(reply),
                Err(exit) => self.refused(place.policy, exit, asked, date),
            },
        }
    }

    fn refused(&self, policy: usize, exit: Exit, asked: &Asked<'_>, date: &Date) -> Judgement {
        match asked.kind() {
            Kind::Preflight => {
                Judgement::Preflight(reply::denied(policy, &self.policies[policy], exit, date))
            }
            Kind::Actual => Judgement::Actual(Actual::new(policy, Verdict::Denied(exit))),
            Kind::NotCors => Judgement::Actual(Actual::new(policy, Verdict::NoOrigin)),
        }
    }

    /// Where the image is asked about a request; an error where its path may be read in ways that
    /// have different policies, with one of them.
    fn place<'a>(&self, asked: &Asked<'a>) -> Result<Option<Place<'a>>, (usize, Exit)> {
        if asked.path == "*" {
            return Ok(None);
        }
        let host = host(asked.host);
        // Of an address in brackets the image only knows those that a policy lists.
        let hosts = [Some(&*host), host.starts_with('[').then_some(ANY_HOST)];
        for host in hosts.into_iter().flatten() {
            if let Some((path, policy)) = self.path(host, asked.path)? {
                return Ok(Some(Place { host: host.to_owned(), path, policy }));
            }
        }
        Ok(None)
    }

    fn path<'a>(&self, host: &str, path: &'a str) -> Result<Option<Found<'a>>, (usize, Exit)> {
        // Where it cannot be told which policy it is, the first one denies it.
        let lookup = |path: &str| match self.engine.policy(host, path) {
            Ok(policy) => Ok(Some(policy)),
            Err(Exit::Unmatched) => Ok(None),
            Err(exit) => Err((0, exit)),
        };
        if !path::is_ambiguous(path) {
            return Ok(lookup(path)?.map(|policy| (Cow::Borrowed(path), policy)));
        }
        let readings = path::readings(path).ok_or((0, Exit::AmbiguousPath))?;
        let found = readings.iter().map(|reading| lookup(reading));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        if found.iter().all(|policy| *policy == found[0]) {
            let reading = readings.into_iter().next().unwrap_or_default();
            return Ok(found[0].map(|policy| (Cow::Owned(reading), policy)));
        }
        let policy = found.into_iter().flatten().next().unwrap_or_default();
        Err((policy, Exit::AmbiguousPath))
    }

    fn origin<'a>(&self, asked: &Asked<'a>, place: &Place<'_>) -> Result<&'a HeaderValue, Exit> {
        let origin = asked.single(header::ORIGIN).ok_or(Exit::Duplicate)?;
        let question = Question {
            origin: origin.to_str().map_err(|_| Exit::Origin)?,
            ..Question::place(&place.host, &place.path)
        };
        self.engine.origin(&question)?;
        Ok(origin)
    }

    fn preflight(&self, asked: &Asked<'_>, place: &Place<'_>, date: &Date) -> Result<Reply, Exit> {
        let facts = &self.policies[place.policy];
        let (method, names) = match requested(asked) {
            Ok(requested) => requested,
            // What is wrong with the origin goes first, as in the driver.
            Err(exit) => return self.origin(asked, place).and(Err(exit)),
        };
        let origin = asked.single(header::ORIGIN).ok_or(Exit::Duplicate)?;
        let checks = facts.conduct.validate == Validate::Strict;
        let question = Question {
            origin: origin.to_str().map_err(|_| Exit::Origin)?,
            method: if checks { method } else { "GET" },
            names: if checks { &names } else { &[] },
            close: asked.close,
            ..Question::place(&place.host, &place.path)
        };
        let bytes = self.engine.preflight(&question, checks && !facts.any_method, date)?;
        let mut reply = reply::allowed(place.policy, &bytes)?;
        if facts.conduct.advertise == Advertise::Minimal {
            reply::narrow(&mut reply.headers, method, &names);
        }
        Ok(reply)
    }
}

/// The method and the headers that a preflight asks for.
fn requested<'a>(asked: &Asked<'a>) -> Result<(&'a str, Vec<String>), Exit> {
    let method = asked.single(header::ACCESS_CONTROL_REQUEST_METHOD).ok_or(Exit::Duplicate)?;
    let method = method.to_str().map_err(|_| Exit::MethodDenied)?;
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(Exit::MethodDenied);
    }
    Ok((method, names::requested(asked.headers)?))
}

/// A path in a spelling that the image can be asked about, and its policy.
type Found<'a> = (Cow<'a, str>, usize);

/// Host and path in a spelling that the image can be asked about.
struct Place<'a> {
    host: String,
    path: Cow<'a, str>,
    policy: usize,
}

/// The host without its port, as it is in policies: in lower case, without a dot at its end, and
/// an IPv6 address in its one canonical form (RFC 5952).
fn host(text: &str) -> String {
    let (host, _) = split_port(text.as_bytes());
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address.and_then(|text| text.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.strip_suffix('.').map_or(host.clone(), str::to_owned),
    }
}

impl Facts {
    fn of(policy: &Policy) -> Self {
        let exposed = match &policy.expose {
            Expose::Any => Some("*".to_owned()),
            Expose::List(names) if names.is_empty() => None,
            Expose::List(names) => Some(names.join(", ")),
        };
        Self {
            name: policy.name.clone(),
            echoes: policy.allow_credentials || !matches!(policy.origins, Origins::Any),
            credentials: policy.allow_credentials,
            exposed: exposed.and_then(|text| HeaderValue::try_from(text).ok()),
            conduct: policy.conduct,
            any_method: matches!(policy.methods, Methods::Any),
        }
    }
}
