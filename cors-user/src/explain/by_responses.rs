//! What a browser makes of responses that somebody has pasted.

use cors_oracle::{
    ALLOW_HEADERS, ALLOW_METHODS, Failure, Reason, Request, Response, Route, follow, judge_actual,
    route, visible_headers,
};

use super::{
    advice,
    explanation::{Answer, Answerer, Explanation, Stage, Verdict, names},
    notes,
    paste::{self, Pasted},
    preflight,
    question::{Asked, BadQuestion, Question},
};

/// Where a request goes if nobody says so: to another origin than any page's.
pub(super) const SOMEWHERE: &str = "https://server.invalid/";

/// Responses as they were pasted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// The answer to the preflight.
    pub preflight: Option<&'a str>,
    /// The response to the request itself.
    pub response: Option<&'a str>,
}

/// Explains what a browser makes of these responses to a request.
pub fn by_responses(question: &Question, given: Given<'_>) -> Result<Explanation, BadQuestion> {
    let Asked { mut request, ignored } = question.read(SOMEWHERE)?;
    let mut explanation = Explanation::of(&request, ignored);
    let to_preflight = read("the answer to the preflight", given.preflight)?;
    let to_request = read("the response", given.response)?;
    for pasted in to_preflight.iter().chain(&to_request).filter(|pasted| !pasted.has_status) {
        let note = format!("There is no status line: {} is assumed.", pasted.response.status);
        explanation.notes.push(note);
    }
    let failure = match route(&mut request) {
        Err(failure) => Some((Stage::Request, failure)),
        Ok(first) => {
            let mut case =
                Case { question, explanation: &mut explanation, to_preflight, incomplete: false };
            case.judge(&mut request, first, &to_request).err()
        }
    };
    if let Some((stage, failure)) = failure {
        explanation.fail(stage, &failure);
    }
    if let Some(failed) = &explanation.failure {
        explanation.changes = advice::for_server(failed, &request);
    }
    notes::add(question, &request, &mut explanation);
    Ok(explanation)
}

fn read(what: &'static str, text: Option<&str>) -> Result<Vec<Pasted>, BadQuestion> {
    text.map_or(Ok(Vec::new()), |text| {
        paste::heads(text).map_err(|error| BadQuestion::Response {
            what,
            line: error.line,
            why: error.why,
        })
    })
}

struct Case<'a> {
    question: &'a Question,
    explanation: &'a mut Explanation,
    to_preflight: Vec<Pasted>,
    /// Something is not known that would have to be.
    incomplete: bool,
}

impl Case<'_> {
    /// Judges all that was given; the request is the last one of a chain of redirects then.
    fn judge(
        &mut self,
        request: &mut Request,
        first: Route,
        responses: &[Pasted],
    ) -> Result<(), (Stage, Failure)> {
        let mut route_now = first;
        if let Route::Cors(reasons) = &route_now
            && !reasons.is_empty()
            && !self.preflight(request, reasons, responses)
        {
            return Ok(());
        }
        for (number, pasted) in responses.iter().enumerate() {
            self.response(request, &pasted.response)?;
            let next = follow(request, &pasted.response);
            let next = next.map_err(|failure| (Stage::Redirect, failure))?;
            let Some(next) = next else { break };
            *request = next;
            route_now = route(request).map_err(|failure| (Stage::Redirect, failure))?;
            if let Route::Cors(reasons) = &route_now
                && !reasons.is_empty()
            {
                self.incomplete = true;
                let note = format!(
                    "The redirect to {} needs a preflight of its own, whose answer is not known.",
                    request.url()
                );
                self.explanation.notes.push(note);
            }
            if number + 1 == responses.len() {
                self.incomplete = true;
                let note = format!("The response of {} is not known.", request.url());
                self.explanation.notes.push(note);
            }
        }
        if responses.is_empty() {
            let note = "The response to the request itself was not given: it needs \
                        Access-Control-Allow-Origin as well.";
            self.explanation.notes.push(note.to_owned());
        }
        if !self.incomplete {
            self.explanation.verdict = Verdict::Allowed;
        }
        Ok(())
    }

    /// Judges the answer to the preflight; whether the request is sent, as far as it is known.
    fn preflight(&mut self, request: &Request, reasons: &[Reason], responses: &[Pasted]) -> bool {
        let mut sent = preflight::sent(request, self.question.browser, reasons);
        let granted = match self.to_preflight.first() {
            None => {
                self.incomplete = true;
                let note = "A preflight comes first, and its answer was not given: paste it with \
                            --preflight-response.";
                self.explanation.notes.push(note.to_owned());
                let looks_like_it = |pasted: &Pasted| {
                    [ALLOW_METHODS, ALLOW_HEADERS]
                        .iter()
                        .any(|n| pasted.response.headers.contains(n))
                };
                if responses.iter().any(looks_like_it) {
                    let note = "What was given as the response looks like the answer to a \
                                preflight: then it belongs to --preflight-response.";
                    self.explanation.notes.push(note.to_owned());
                }
                true
            }
            Some(pasted) => {
                let response = &pasted.response;
                sent.response = Some(text(response));
                preflight::judge(self.explanation, &mut sent, request, Answerer::Given, response)
            }
        };
        self.explanation.preflight = Some(sent);
        granted
    }

    fn response(&mut self, request: &Request, response: &Response) -> Result<(), (Stage, Failure)> {
        let judgement = judge_actual(request, response);
        let visible = visible_headers(request, response);
        let visible = if judgement.is_pass() { visible } else { Vec::new() };
        self.explanation.notes.extend(notes::of_response(request, response));
        self.explanation.responses.push(Answer {
            url: request.url().to_string(),
            answered_by: Answerer::Given,
            response: text(response),
            passed: names(&judgement),
            visible_headers: visible.iter().map(|header| header.name.clone()).collect(),
        });
        judgement.outcome.map_err(|failure| (Stage::Response, failure))
    }
}

/// A head as text, in the form of HTTP/1.1.
fn text(response: &Response) -> String {
    let mut text = format!("HTTP/1.1 {}\r\n", response.status);
    for header in response.headers.iter() {
        text.extend([&*header.name, ": ", &String::from_utf8_lossy(&header.value), "\r\n"]);
    }
    text + "\r\n"
}
