//! The way out of a gate: responses, what comes before them, the answer to what is refused, and the
//! end of a connection.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Gate, Observer, State};

/// For how long, and how many bytes, a connection lingers.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

impl<S: AsyncRead + AsyncWrite + Unpin, O: Observer + Unpin> Gate<S, O> {
    /// Something that has to do with writing, within the time for anything at all.
    fn poll_written<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.io), context) {
            self.writing.stop();
            return Poll::Ready(written);
        }
        ready!(self.writing.poll(context, self.rules.idle));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes what is to come before the response. What comes while something else is still being
    /// written is left out: it would end up in the middle.
    pub(super) fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(more) = self.turn.take_interim()
            && self.is_clean
        {
            self.interim.extend(more);
        }
        while !self.interim.is_empty() {
            let interim = mem::take(&mut self.interim);
            let written =
                self.poll_written(context, |io, context| io.poll_write(context, &interim));
            self.interim = interim;
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// The next bytes of a response.
    fn poll_response(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(context))?;
        self.is_clean = false;
        self.poll_written(context, write)
    }

    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let State::Refused(Some(answer)) = &self.state {
            let answer = answer.clone();
            let written = ready!(self.poll_written(context, |io, cx| io.poll_write(cx, &answer)))?;
            let rest = answer[written..].to_vec();
            self.state = State::Refused((written > 0 && !rest.is_empty()).then_some(rest));
        }
        self.poll_written(context, AsyncWrite::poll_flush)
    }

    /// Reads and forgets what still comes, within limits.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.ended {
            self.buffer.clear();
            match self.poll_fill_within(context, LINGER) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(read))) => {
                    let lingered = self.lingered.get_or_insert_default();
                    *lingered += read;
                    if *lingered > LINGER_BYTES {
                        break;
                    }
                }
                Poll::Ready(Ok(None) | Err(_)) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, O: Observer + Unpin> AsyncWrite for Gate<S, O> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_response(context, |io, context| io.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        ready!(gate.poll_written(context, AsyncWrite::poll_flush))?;
        // Whoever flushes has written all that there was.
        gate.is_clean = true;
        gate.poll_interim(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.lingered.is_none() {
            ready!(gate.poll_refusal(context))?;
            ready!(gate.poll_written(context, AsyncWrite::poll_shutdown))?;
            gate.lingered = Some(0);
            gate.reading.stop();
        }
        gate.poll_linger(context).map(Ok)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_response(context, |io, context| io.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// The whole answer to what was refused.
pub(super) fn answer(status: u16) -> Vec<u8> {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    format!(
        "HTTP/1.1 {status} {}\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        reason.unwrap_or_default()
    )
    .into_bytes()
}
