//! HTTP/1.1 by hand over one kept-alive connection: a client library would cost more CPU than the server under test.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longest time for one answer; after it the outcome is unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// A connection that rested longer is not used again: the server gives a first request five seconds (`server.head_timeout`)
/// and then answers 408 to whatever comes.
const RESTS_AT_MOST: Duration = Duration::from_secs(4);

/// One connection with one request in flight. It is opened when asked to or at the first use, and again
/// after a failure or a long rest.
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    /// Since it was opened or answered.
    rests_since: Instant,
    request: Vec<u8>,
    answer: Vec<u8>,
    retry_after_secs: Option<u64>,
}

/// Status and body of an answer.
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// The body as sent.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The body for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(self.body).with_context(|| format!("status {}: {}", self.status, self.text()))
    }
}

impl Connection {
    /// To `ip:port`.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            stream: None,
            rests_since: Instant::now(),
            request: Vec::with_capacity(2048),
            answer: Vec::with_capacity(4096),
            retry_after_secs: None,
        }
    }

    /// Opens it now. One that cannot be opened says so at its first request.
    pub async fn open(&mut self) {
        let _ = tokio::time::timeout(ANSWER_WITHIN, connected(&mut self.stream, &self.address)).await;
        self.rests_since = Instant::now();
    }

    /// `Retry-After` of the last answer.
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after_secs
    }

    /// A GET with a login cookie.
    pub async fn get(&mut self, path: &str, cookie: &str) -> anyhow::Result<Answer<'_>> {
        self.call("GET", path, cookie, "").await
    }

    /// A POST with a login cookie and a JSON body; without a body when it is empty.
    pub async fn post(&mut self, path: &str, cookie: &str, json: &str) -> anyhow::Result<Answer<'_>> {
        self.call("POST", path, cookie, json).await
    }

    async fn call(&mut self, method: &str, path: &str, cookie: &str, json: &str) -> anyhow::Result<Answer<'_>> {
        self.write_head(&[method, " ", path, " HTTP/1.1\r\nhost: "], cookie, json);
        if self.rests_since.elapsed() > RESTS_AT_MOST {
            self.stream = None;
        }
        match tokio::time::timeout(ANSWER_WITHIN, self.exchange()).await {
            Ok(Ok((status, body))) => Ok(Answer { status, body: self.answer.get(body).unwrap_or_default() }),
            Ok(Err(error)) => {
                self.stream = None;
                Err(error)
            }
            Err(_) => {
                self.stream = None;
                bail!("no answer within {ANSWER_WITHIN:?}")
            }
        }
    }

    fn write_head(&mut self, start: &[&str], cookie: &str, json: &str) {
        self.request.clear();
        for part in start {
            self.request.extend_from_slice(part.as_bytes());
        }
        self.request.extend_from_slice(self.address.as_bytes());
        if !cookie.is_empty() {
            self.request.extend_from_slice(b"\r\ncookie: ");
            self.request.extend_from_slice(cookie.as_bytes());
        }
        if json.is_empty() {
            self.request.extend_from_slice(b"\r\ncontent-length: 0\r\n\r\n");
        } else {
            let head = format!("\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", json.len());
            self.request.extend_from_slice(head.as_bytes());
            self.request.extend_from_slice(json.as_bytes());
        }
    }

    async fn exchange(&mut self) -> anyhow::Result<(u16, Range<usize>)> {
        let stream = connected(&mut self.stream, &self.address).await?;
        stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            let read = stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(head) = read_head(&self.answer)?
                && self.answer.len() >= head.body.end
            {
                self.retry_after_secs = head.retry_after_secs;
                self.rests_since = Instant::now();
                if head.closes {
                    self.stream = None;
                }
                return Ok((head.status, head.body));
            }
        }
    }
}

async fn connected<'a>(stream: &'a mut Option<TcpStream>, address: &str) -> anyhow::Result<&'a mut TcpStream> {
    match stream {
        Some(stream) => Ok(stream),
        none => {
            let stream = TcpStream::connect(address).await.with_context(|| address.to_owned())?;
            stream.set_nodelay(true)?;
            Ok(none.insert(stream))
        }
    }
}

struct Head {
    status: u16,
    body: Range<usize>,
    closes: bool,
    retry_after_secs: Option<u64>,
}

/// Reads the head once all of it is there. Answers without a length are not understood; the server sends none.
fn read_head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end])?;
    let status = text.get(9..12).context("no status")?.parse()?;
    let (mut length, mut closes, mut retry_after_secs) = (None, false, None);
    for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>()?);
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("retry-after") {
            retry_after_secs = value.trim().parse().ok();
        }
    }
    let length = match (length, status) {
        (Some(length), _) => length,
        (None, 204 | 304) => 0,
        (None, _) => bail!("an answer without content-length: {text}"),
    };
    Ok(Some(Head { status, body: end + 4..end + 4 + length, closes, retry_after_secs }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert!(read_head(&text[..30]).unwrap().is_none());
        let head = read_head(text).unwrap().unwrap();
        assert_eq!((head.status, &text[head.body], head.closes), (200, &b"hello"[..], false));
        let closing = read_head(b"HTTP/1.1 503 x\r\nconnection: close\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n")
            .unwrap()
            .unwrap();
        assert!(closing.closes && closing.status == 503 && closing.retry_after_secs == Some(3));
        assert!(read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
