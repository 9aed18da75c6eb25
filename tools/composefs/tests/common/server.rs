// SPDX-License-Identifier: GPL-2.0-only
//! A registry, for what real ones do not do on demand: to be slow, to break off, to lie.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// So many bytes of the body are sent, and the connection closed.
    pub breaks_after: Option<usize>,
    /// There is a pause when so many bytes of the body are sent.
    pub pauses_after: Option<usize>,
    /// The body is sent again and again, until nobody listens.
    pub is_endless: bool,
    /// A byte of the body at a time, with a pause.
    pub is_slow: bool,
    /// Not of the body is it that this is so, but of the head: the last header without end, a byte of it
    /// at a time.
    pub of_head: bool,
}

impl Reply {
    pub fn new(status: u16, body: &[u8]) -> Self {
        Self {
            status,
            body: body.to_vec(),
            ..Self::default()
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// One that runs, and what it was asked for.
pub struct Server {
    pub host: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn run(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let host = listener.local_addr().expect("address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { host, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("requests").clone()
    }

    /// How often something was asked for whose path ends so.
    pub fn count(&self, end: &str) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.path.ends_with(end))
            .count()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Reply) {
    let mut reader = BufReader::new(stream.try_clone().expect("stream"));
    while let Some(request) = read(&mut reader) {
        seen.lock().expect("requests").push(request.clone());
        if send(&stream, &answer(&request)).is_none() {
            return;
        }
    }
}

/// How whoever wants TLS begins.
const TLS: u8 = 0x16;

fn read(reader: &mut impl BufRead) -> Option<Request> {
    if reader.fill_buf().ok()?.first() == Some(&TLS) {
        return None;
    }
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|&count| count > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|&count| count > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap_or(0));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

/// `None` if the connection is not good for more.
fn send(mut stream: &TcpStream, reply: &Reply) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} x\r\n", reply.status);
    let mut header = String::new();
    for (name, value) in &reply.headers {
        header = format!("{name}: {value}\r\n");
        head += &header;
    }
    if reply.is_endless && reply.of_head {
        stream.write_all(head.as_bytes()).ok()?;
        loop {
            stream.write_all(header.as_bytes()).ok()?;
        }
    }
    if reply.is_endless {
        head += "Connection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).ok()?;
        loop {
            stream.write_all(&reply.body).ok()?;
        }
    }
    head += &format!("Content-Length: {}\r\n\r\n", reply.body.len());
    if reply.is_slow && reply.of_head {
        slowly(stream, head.as_bytes())?;
    } else {
        stream.write_all(head.as_bytes()).ok()?;
    }
    let body = &reply.body[..reply.breaks_after.unwrap_or(reply.body.len())];
    if reply.is_slow {
        slowly(stream, body)?;
    } else {
        let (first, second) = body.split_at(reply.pauses_after.unwrap_or(0));
        stream.write_all(first).ok()?;
        if reply.pauses_after.is_some() {
            thread::sleep(Duration::from_secs(1));
        }
        stream.write_all(second).ok()?;
    }
    reply.breaks_after.is_none().then_some(())
}

fn slowly(mut stream: &TcpStream, data: &[u8]) -> Option<()> {
    for byte in data {
        stream.write_all(&[*byte]).ok()?;
        thread::sleep(Duration::from_millis(200));
    }
    Some(())
}
