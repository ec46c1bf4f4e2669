//! An upstream that reads the bytes of its connections by the letter of RFC 9112 and nothing beyond: what a gateway sends it must
//! have one reading only.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::origin::RawOrigin;

/// A request as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// `POST /path body`, and `+name: value` for each trailer; or what cannot be read, and why.
    pub text: String,
    /// The names of its fields, in lower case.
    pub names: Vec<String>,
}

/// Reads strictly, remembers whole requests, and answers each with 200.
pub struct Recorder {
    origin: RawOrigin,
    seen: Arc<Mutex<Vec<Recorded>>>,
}

/// Why bytes are no request: one that breaks off is not worth a word, everything else is.
enum Unread {
    BrokenOff,
    Garbage(String),
}

impl Recorder {
    /// Starts it.
    ///
    /// # Panics
    /// The kernel has no port.
    pub async fn start() -> Self {
        let seen = Arc::<Mutex<Vec<Recorded>>>::default();
        let kept = Arc::clone(&seen);
        let origin = RawOrigin::start(move |stream| serve(stream, Arc::clone(&kept))).await;
        Self { origin, seen }
    }
    /// Its address as a target of the configuration.
    #[must_use]
    pub fn url(&self) -> String {
        self.origin.url()
    }
    /// Everything that has arrived whole so far, in order.
    ///
    /// # Panics
    /// Reading has panicked.
    #[must_use]
    pub fn seen(&self) -> Vec<Recorded> {
        self.seen.lock().expect("reading does not panic").clone()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Recorded>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let request = match request(&mut stream).await {
            Ok(request) => request,
            Err(Unread::BrokenOff) => return,
            Err(Unread::Garbage(text)) => {
                let request = Recorded { text: format!("garbage: {text}"), names: Vec::new() };
                seen.lock().expect("reading does not panic").push(request);
                return;
            }
        };
        let body = if request.text.starts_with("HEAD ") { "" } else { "ok" };
        seen.lock().expect("reading does not panic").push(request);
        if stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Result<Recorded, Unread> {
    let first = line(stream).await?;
    let Some((method, rest)) = first.split_once(' ') else { return Err(Unread::Garbage(first)) };
    let Some(target) = rest.strip_suffix(" HTTP/1.1").filter(|target| target.starts_with('/') && !target.contains(' '))
    else {
        return Err(Unread::Garbage(first));
    };
    let fields = fields(stream).await?;
    let values = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    let mut text = format!("{method} {target}");
    let (body, trailers) = match (&values("content-length")[..], &values("transfer-encoding")[..], &values("host")[..])
    {
        (_, _, hosts) if hosts.len() != 1 => return Err(Unread::Garbage(format!("{first} for {hosts:?}"))),
        ([], [], _) => (Vec::new(), Vec::new()),
        ([length], [], _) => {
            (take(stream, length.parse().map_err(|_| Unread::Garbage((*length).to_owned()))?).await?, Vec::new())
        }
        ([], ["chunked"], _) => chunked(stream).await?,
        framing => return Err(Unread::Garbage(format!("{first} with {framing:?}"))),
    };
    if !body.is_empty() {
        text += &format!(" {}", String::from_utf8_lossy(&body));
    }
    trailers.iter().for_each(|(name, value)| text += &format!(" +{name}: {value}"));
    Ok(Recorded { text, names: fields.into_iter().map(|(name, _)| name).collect() })
}

/// Fields up to the empty line, names in lower case.
async fn fields(stream: &mut BufReader<TcpStream>) -> Result<Vec<(String, String)>, Unread> {
    let mut fields = Vec::new();
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            return Ok(fields);
        }
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        match line.split_once(':') {
            Some((name, value)) if is_name(name) => fields.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            _ => return Err(Unread::Garbage(line)),
        }
    }
}

async fn chunked(stream: &mut BufReader<TcpStream>) -> Result<(Vec<u8>, Vec<(String, String)>), Unread> {
    let mut body = Vec::new();
    loop {
        let size = line(stream).await?;
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(&size, 16).ok().filter(|_| digits).ok_or(Unread::Garbage(size))?;
        if size == 0 {
            return Ok((body, fields(stream).await?));
        }
        body.extend(take(stream, size).await?);
        let end = line(stream).await?;
        if !end.is_empty() {
            return Err(Unread::Garbage(end));
        }
    }
}

async fn take(stream: &mut BufReader<TcpStream>, count: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.map_err(|_| Unread::BrokenOff)?;
    Ok(bytes)
}

/// A line without its CR LF, of which it has none inside.
async fn line(stream: &mut BufReader<TcpStream>) -> Result<String, Unread> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.map_err(|_| Unread::BrokenOff)?;
    if !line.ends_with(b"\n") {
        return Err(Unread::BrokenOff);
    }
    let text = String::from_utf8_lossy(&line).into_owned();
    match text.strip_suffix("\r\n") {
        Some(line) if !line.contains(['\r', '\0']) => Ok(line.to_owned()),
        _ => Err(Unread::Garbage(text)),
    }
}
