//! The question: which request a script makes, as it is asked on the command line.

use cors_oracle::{Browser, Credentials, Failure, Origin, Request};

/// A request that somebody wonders about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The origin of the page, or the URL of the page, or `null`.
    pub origin: String,
    /// The method, as the script writes it.
    pub method: String,
    /// Headers that the script sets: `name: value`, or a name alone.
    pub headers: Vec<String>,
    /// Whether the script says `credentials: "include"`.
    pub credentials: bool,
    /// Whether the script listens to the progress of an upload.
    pub upload: bool,
    /// Where the request goes; absent: somewhere that the policy is for.
    pub url: Option<String>,
    /// Whose preflight is looked at.
    pub browser: Browser,
}

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuestion {
    /// The origin is none.
    #[error(
        "`{0}` is no origin: write scheme, host and port of the page, as in https://app.example.com, or null"
    )]
    Origin(String),
    /// The URL, the method or a header is not what a script can ask for.
    #[error("no script can ask for that: {} ({})", .0.step.rule(), .0.said)]
    Script(Failure),
    /// There are several policies, and no URL that says which.
    #[error("the file has {0} policies: say with --url which request it is about")]
    Url(usize),
    /// A response that was given cannot be read.
    #[error("{what}, line {line}: {why}")]
    Response {
        /// Which of the two.
        what: &'static str,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
}

/// A question that has been read.
pub(super) struct Asked {
    /// The request as the browser has it.
    pub(super) request: Request,
    /// Names of headers that the browser ignores.
    pub(super) ignored: Vec<String>,
}

impl Question {
    /// The request; `url` where the question has none.
    pub(super) fn read(&self, url: &str) -> Result<Asked, BadQuestion> {
        let origin = Origin::of_page(&self.origin)
            .ok_or_else(|| BadQuestion::Origin(self.origin.clone()))?;
        let url = self.url.as_deref().unwrap_or(url);
        let mut request = Request::new(origin, &self.method, url).map_err(BadQuestion::Script)?;
        if self.credentials {
            request = request.with_credentials(Credentials::Include);
        }
        if self.upload {
            request = request.with_upload_listener();
        }
        let mut ignored = Vec::new();
        for header in &self.headers {
            let (name, value) = header.split_once(':').unwrap_or((header, ""));
            let name = name.trim();
            if !request.add_header(name, value).map_err(BadQuestion::Script)? {
                ignored.push(name.to_ascii_lowercase());
            }
        }
        Ok(Asked { request, ignored })
    }
}
