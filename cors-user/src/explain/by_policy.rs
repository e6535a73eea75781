//! What a policy file means for a request: who answers its preflight, and what a browser makes of
//! it.

use cors_common::{exit::Exit, state::Date};
use cors_oracle::{Reason, Request, Response, Route, judge_actual, route};

use super::{
    advice, driver,
    explanation::{Answer, Answerer, Driver, Explanation, Preflight, Stage, Verdict, names},
    notes, paste, place,
    places::Places,
    preflight,
    question::{Asked, BadQuestion, Question},
    reading::{self, Facts, Reading},
    reply,
};
use crate::{
    compile::{CompileError, Image, Limits, compile},
    config::{self, model::Config},
    cors::Rules,
};

/// A policy file without errors.
#[derive(Clone, Copy, Debug)]
pub struct PolicyFile<'a> {
    /// Its text.
    pub source: &'a str,
    /// What it means.
    pub config: &'a Config,
    /// How much room the driver's tables have.
    pub limits: Limits,
}

/// Why a policy file cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question is none.
    #[error(transparent)]
    Question(#[from] BadQuestion),
    /// The policy does not fit the driver's tables.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Explains what becomes of a request under a policy. `date` is the one that answers bear.
pub fn by_policy(
    question: &Question,
    file: PolicyFile<'_>,
    date: &Date,
) -> Result<Explanation, Error> {
    let mut explanation = judge(question, file, date)?;
    if let Some(failed) = explanation.failure.as_ref().filter(|f| f.stage == Stage::Request) {
        explanation.changes = advice::for_script(failed);
    }
    if explanation.verdict == Verdict::Blocked && explanation.policy.is_some() {
        advise(question, file, date, &mut explanation);
    }
    Ok(explanation)
}

/// Adds what would change the verdict: only what has been tried, and does.
fn advise(question: &Question, file: PolicyFile<'_>, date: &Date, explanation: &mut Explanation) {
    let Ok(Asked { request, .. }) = question.read(&explanation.request.url) else { return };
    let index = explanation.policy.as_ref().map(|place| place.index);
    let policy = index.and_then(|index| Some((index, file.config.policies.get(index)?)));
    let Some((index, policy)) = policy else { return };
    let reading = reading::of_policy(index, policy, &Facts::of(&request));
    let changes = advice::changes(file.source, &reading, &request);
    if changes.is_empty() {
        return;
    }
    let source = advice::apply(file.source, &changes);
    match config::parse(&source).config {
        Ok(config) => {
            let mut question = question.clone();
            if let Some(upper) = advice::in_upper_case(&reading, request.method()) {
                question.method = upper;
            }
            let then =
                judge(&question, PolicyFile { source: &source, config: &config, ..file }, date);
            if then.is_ok_and(|then| then.verdict == Verdict::Allowed) {
                explanation.changes = changes;
            }
        }
        Err(problems) => {
            let hints = problems.iter().map(|problem| {
                format!("What it would take is refused in a policy file: {}.", problem.hint)
            });
            explanation.notes.extend(hints);
        }
    }
}

fn judge(question: &Question, file: PolicyFile<'_>, date: &Date) -> Result<Explanation, Error> {
    let url = match &question.url {
        Some(url) => url.clone(),
        None => any_url(file.config)?,
    };
    let Asked { mut request, ignored } = question.read(&url)?;
    let mut explanation = Explanation::of(&request, ignored);
    let image = compile(file.config, file.limits)?;
    let rules = Rules::new(file.config, file.limits)?;
    let case = Case { question, file, date, image: &image, rules: &rules };
    match route(&mut request) {
        Err(failure) => explanation.fail(Stage::Request, &failure),
        Ok(Route::SameOrigin | Route::Opaque) => explanation.verdict = Verdict::Allowed,
        Ok(Route::Cors(reasons)) => case.cors(&request, &reasons, &mut explanation),
    }
    notes::add(question, &request, &mut explanation);
    notes::add_of_server(&request, &file.config.server, &mut explanation);
    Ok(explanation)
}

/// A URL that the one policy of a file is for.
fn any_url(config: &Config) -> Result<String, BadQuestion> {
    let [policy] = &config.policies[..] else {
        return Err(BadQuestion::Url(config.policies.len()));
    };
    let host = policy.hosts.first().map_or("any-host.example", String::as_str);
    Ok(format!("https://{host}{}", policy.path_prefix.as_deref().unwrap_or("/")))
}

/// A question about a policy.
struct Case<'a> {
    question: &'a Question,
    file: PolicyFile<'a>,
    date: &'a Date,
    /// What the driver has of the policy.
    image: &'a Image,
    /// What the slow path has of it.
    rules: &'a Rules,
}

/// How a preflight ends.
enum End {
    Granted,
    Refused,
    Unknown,
}

impl Case<'_> {
    fn cors(&self, request: &Request, reasons: &[Reason], explanation: &mut Explanation) {
        let facts = Facts::of(request);
        let reading = self.reading(request, &facts);
        let places = Places::of(self.file.source);
        if !reasons.is_empty() {
            let mut sent = preflight::sent(request, self.question.browser, reasons);
            let end = self.preflight(request, reading.as_ref(), &mut sent, explanation);
            explanation.preflight = Some(sent);
            explanation.policy =
                place::decided(self.file.source, &places, reading.as_ref(), request);
            match end {
                End::Granted => {}
                End::Refused => {
                    notes::add_of_origin(&facts, reading.as_ref(), explanation);
                    return;
                }
                End::Unknown => return,
            }
        } else if reading.is_none() {
            notes::add_of_scope(&facts, self.file.config, explanation);
        }
        let Some(reading) = reading else { return };
        explanation.policy = place::decided(self.file.source, &places, Some(&reading), request);
        self.response(request, &reading, explanation);
        if explanation.verdict == Verdict::Blocked {
            notes::add_of_origin(&facts, Some(&reading), explanation);
        }
    }

    /// The policy that a request has: of the proxy's choice, which knows more spellings of hosts and
    /// paths, or of the driver's, where there is no proxy.
    fn reading(&self, request: &Request, facts: &Facts) -> Option<Reading<'_>> {
        let config = self.file.config;
        if !self.is_proxy() {
            return reading::read(config, facts);
        }
        let index = reply::to_request(self.rules, self.date, request)?.policy();
        Some(reading::of_policy(index, config.policies.get(index)?, facts))
    }

    /// Who answers the preflight, and whether it is granted.
    fn preflight(
        &self,
        request: &Request,
        reading: Option<&Reading<'_>>,
        sent: &mut Preflight,
        explanation: &mut Explanation,
    ) -> End {
        let driver = if self.file.config.server.is_behind_a_header() {
            explanation.notes.push(notes::BEHIND_A_HEADER.to_owned());
            Err(Exit::NotProtected)
        } else {
            driver::ask(self.image, self.date, sent.head.as_bytes())
        };
        let exit = driver.as_ref().err().copied().unwrap_or(Exit::Answered);
        sent.driver =
            Some(Driver { answers: driver.is_ok(), exit: exit.name(), help: exit.help() });
        let is_allowed = reading.is_some_and(Reading::allows);
        let limit = driver::limit(exit, &sent.head, &Facts::of(request), is_allowed);
        explanation.notes.extend(limit.map(|limit| limit + "."));
        let (by, answer) = match (driver, reading) {
            (Ok(answer), _) => (Answerer::Driver, String::from_utf8_lossy(&answer).into_owned()),
            (Err(_), _) if self.is_proxy() => {
                let Some(answer) = reply::to_preflight(self.rules, self.date, request) else {
                    notes::add_of_scope(&Facts::of(request), self.file.config, explanation);
                    return End::Unknown;
                };
                if exit == Exit::AmbiguousPath {
                    explanation.notes.push(notes::AMBIGUOUS.to_owned());
                }
                (Answerer::Agent, reply::text(&answer))
            }
            (Err(_), None) => {
                notes::add_of_scope(&Facts::of(request), self.file.config, explanation);
                return End::Unknown;
            }
            (Err(Exit::AmbiguousPath), _) => {
                explanation.notes.push(notes::AMBIGUOUS.to_owned());
                return End::Unknown;
            }
            (Err(_), Some(reading)) => {
                sent.answered_by = Some(Answerer::Server);
                if reading.allows() {
                    explanation.notes.push(notes::SERVER_ANSWERS.to_owned());
                    return End::Unknown;
                }
                explanation.notes.push(notes::SERVER_DECIDES.to_owned());
                let silent = Response { status: 403, ..Response::default() };
                preflight::judge(explanation, sent, request, Answerer::Server, &silent);
                return End::Refused;
            }
        };
        let response = paste::heads(&answer).ok().and_then(|heads| heads.into_iter().next());
        let response = response.map(|head| head.response).unwrap_or_default();
        let granted = preflight::judge(explanation, sent, request, by, &response);
        sent.response = Some(answer);
        if granted { End::Granted } else { End::Refused }
    }

    /// What the policy wants on the response to the request itself.
    fn response(&self, request: &Request, reading: &Reading<'_>, explanation: &mut Explanation) {
        let Some(actual) = reply::to_request(self.rules, self.date, request) else { return };
        let response = reply::on_response(self.rules, &actual);
        let judgement = judge_actual(request, &response);
        let lines = response.headers.iter().map(|header| {
            format!("{}: {}\r\n", header.name, String::from_utf8_lossy(&header.value))
        });
        let answered_by = if self.is_proxy() {
            Answerer::Agent
        } else {
            if judgement.is_pass() {
                explanation.notes.push(notes::SERVER_MUST_SAY.to_owned());
            }
            Answerer::Server
        };
        let exposed = reply::exposed(reading.policy);
        let exposed = if judgement.is_pass() { exposed } else { Vec::new() };
        explanation.responses.push(Answer {
            url: request.url().to_string(),
            answered_by,
            response: lines.collect(),
            passed: names(&judgement),
            visible_headers: exposed,
        });
        match judgement.outcome {
            Ok(()) => explanation.verdict = Verdict::Allowed,
            Err(failure) => explanation.fail(Stage::Response, &failure),
        }
    }

    fn is_proxy(&self) -> bool {
        self.file.config.server.proxy.is_some()
    }
}
