//! A server that takes uploads in, checks them, and keeps nothing: it must not be what an upload
//! waits for.

use std::{
    io::{BufRead as _, BufReader, Read as _, Result, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

use cors_tests::netns::Netns;

/// How much is read at once.
pub(super) const BLOCK: usize = 256 << 10;

/// Listens until the process ends. Answers 200 where a request's body is `expected` or empty, and
/// 400 where it differs.
pub(super) fn listen(host: &Netns, at: SocketAddr, expected: Arc<Vec<u8>>) -> Result<()> {
    let listener = host.enter(|| TcpListener::bind(at))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away finds out itself.
            serve(stream, &expected).ok();
        }
    });
    Ok(())
}

/// The requests of a connection.
fn serve(stream: TcpStream, expected: &[u8]) -> Result<()> {
    let mut stream = BufReader::with_capacity(BLOCK, stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let same = length == 0 || is_next(&mut stream, length, expected)?;
        let status = if same { "200 OK" } else { "400 Bad Request" };
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.get_mut().write_all(response.as_bytes())?;
    }
}

/// Whether the next `length` bytes are `expected`. They are read in any case.
pub(super) fn is_next(
    stream: &mut BufReader<TcpStream>,
    length: usize,
    expected: &[u8],
) -> Result<bool> {
    let mut same = length == expected.len();
    let mut done = 0;
    // What came along with the head.
    let mut block = vec![0; BLOCK];
    while done < length {
        let most = BLOCK.min(length - done);
        let read = stream.read(&mut block[..most])?;
        if read == 0 {
            return Ok(false);
        }
        same = same && expected[done..done + read] == block[..read];
        done += read;
    }
    Ok(same)
}
